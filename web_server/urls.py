"""Addresses of the whole site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("web_server.api.urls")),
    path("", include("web_server.api.health_urls")),
    path("", include("web_server.pages_urls")),
]
