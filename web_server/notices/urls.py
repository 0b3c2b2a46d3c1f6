"""Addresses of the pages of notices."""

from __future__ import annotations

from django.urls import path

from web_server.notices import views

urlpatterns = [
    path("notices/", views.notices, name="notices"),
    path("notices/<uuid:uuid>/", views.change, name="notice-change"),
    path("notices/<uuid:uuid>/test/", views.test, name="notice-test"),
    path("notices/<uuid:uuid>/remove/", views.remove, name="notice-remove"),
]
