"""Addresses of the whole site."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponseRedirect
from django.templatetags.static import static
from django.urls import include, path


@login_not_required
def favicon(_request: HttpRequest) -> HttpResponseRedirect:
    """Lead browsers to the icon: the admin and the API's own pages name none, so they ask here."""
    return HttpResponseRedirect(static("cellyard/icon.svg"))


urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("web_server.api.urls")),
    path("", include("web_server.api.health_urls")),
    path("favicon.ico", favicon),
    path("", include("web_server.pages_urls")),
]
