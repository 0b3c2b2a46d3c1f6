"""Addresses of the pages of batteries."""

from __future__ import annotations

from django.urls import path

from web_server.cells import views

urlpatterns = [
    path("batteries/", views.batteries, name="batteries"),
    path("batteries/new/", views.new, name="battery-new"),
    path("batteries/<uuid:uuid>/", views.battery, name="battery"),
    path("batteries/<uuid:uuid>/edit/", views.edit, name="battery-edit"),
    path("batteries/<uuid:uuid>/load/", views.load, name="battery-load"),
    path("batteries/<uuid:uuid>/eject/", views.eject, name="battery-eject"),
    path("batteries/<uuid:uuid>/inspect/", views.inspect, name="battery-inspect"),
    path("batteries/<uuid:uuid>/retire/", views.retire, name="battery-retire"),
]
