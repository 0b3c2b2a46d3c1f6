"""Addresses of the pages of the laboratory."""

from __future__ import annotations

from django.urls import path

from web_server.lab.views import control, monitor, stations, system, units

urlpatterns = [
    path("", monitor.monitor, name="monitor"),
    path("monitor/glance/", monitor.line, name="monitor-glance"),
    path("monitor/trouble/", monitor.trouble, name="monitor-trouble"),
    path("monitor/tile/<uuid:uuid>/", monitor.tile, name="monitor-tile"),
    path("monitor/stop-all/", monitor.stop_all, name="stop-all"),
    path("stations/", stations.stations, name="stations"),
    path("stations/new/", stations.new, name="station-new"),
    path("stations/<uuid:uuid>/", stations.station, name="station"),
    path("stations/<uuid:uuid>/edit/", stations.edit, name="station-edit"),
    path("stations/<uuid:uuid>/stop/", stations.stop, name="station-stop"),
    path("stations/<uuid:uuid>/retire/", stations.retire, name="station-retire"),
    path("stations/<uuid:uuid>/control/", control.station, name="station-control"),
    path("stations/<uuid:uuid>/control/now/", control.station_now, name="station-control-now"),
    path("stations/<uuid:uuid>/control/down/", control.station_down, name="station-control-down"),
    path("devices/<uuid:uuid>/", control.device, name="device"),
    path("devices/<uuid:uuid>/now/", control.device_now, name="device-now"),
    path("devices/<uuid:uuid>/down/", control.device_down, name="device-down"),
    path("units/", units.units, name="units"),
    path("units/token/", units.token, name="unit-token"),
    path("units/<uuid:uuid>/", units.unit, name="unit"),
    path("units/<uuid:uuid>/approve/", units.approve, name="unit-approve"),
    path("units/<uuid:uuid>/detect/", units.detect, name="unit-detect"),
    path("units/<uuid:uuid>/rename/", units.rename, name="unit-rename"),
    path("units/<uuid:uuid>/retire/", units.retire, name="unit-retire"),
    path("system/", system.system, name="system"),
]
