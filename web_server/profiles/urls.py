"""Addresses of the pages of profiles."""

from __future__ import annotations

from django.urls import path

from web_server.profiles import views

urlpatterns = [
    path("profiles/", views.profiles, name="profiles"),
    path("profiles/new/", views.new, name="profile-new"),
    path("profiles/check/", views.check, name="profile-check"),
    path("profiles/convert/", views.convert, name="profile-convert"),
    path("profiles/<uuid:uuid>/", views.profile, name="profile"),
    path("profiles/<uuid:uuid>/edit/", views.edit, name="profile-edit"),
    path("profiles/<uuid:uuid>/retire/", views.retire, name="profile-retire"),
    path("profiles/<uuid:uuid>/v<int:number>.json", views.download, name="profile-download"),
]
