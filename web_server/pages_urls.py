"""Addresses of the pages."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("web_server.lab.urls")),
    path("", include("web_server.accounts.urls")),
    path("", include("web_server.cells.urls")),
    path("", include("web_server.profiles.urls")),
    path("", include("web_server.experiments.urls")),
    path("", include("web_server.notices.urls")),
]
