"""Addresses of the pages of batteries."""

from __future__ import annotations

from django.urls import path

from web_server.cells import bulk_views, load_views, views

urlpatterns = [
    path("batteries/", views.batteries, name="batteries"),
    path("load/", load_views.load, name="load"),
    path("load/voltage/", load_views.voltage, name="load-voltage"),
    path("load/undo/", load_views.undo, name="load-undo"),
    path("batteries/bulk/", bulk_views.bulk_batteries, name="battery-bulk"),
    path("batteries/new/", views.new, name="battery-new"),
    path("batteries/<uuid:uuid>/", views.battery, name="battery"),
    path("batteries/<uuid:uuid>/edit/", views.edit, name="battery-edit"),
    path("batteries/<uuid:uuid>/load/", views.load, name="battery-load"),
    path("batteries/<uuid:uuid>/eject/", views.eject, name="battery-eject"),
    path("batteries/<uuid:uuid>/inspect/", views.inspect, name="battery-inspect"),
    path("batteries/<uuid:uuid>/retire/", views.retire, name="battery-retire"),
]
