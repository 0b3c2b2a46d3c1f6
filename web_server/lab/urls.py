"""Addresses of the pages of the laboratory."""

from __future__ import annotations

from django.urls import path

from web_server.lab.views import catalogue, console, control, monitor, stations, system, units, zones

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
    path("zones/new/", zones.new, name="zone-new"),
    path("zones/<uuid:uuid>/edit/", zones.edit, name="zone-edit"),
    path("zones/<uuid:uuid>/remove/", zones.remove, name="zone-remove"),
    path("zones/<uuid:uuid>/stop/", zones.stop, name="zone-stop"),
    path("catalogue/", catalogue.catalogue, name="catalogue"),
    path("catalogue/add/", catalogue.add, name="model-add"),
    path("catalogue/<uuid:uuid>/", catalogue.model, name="model"),
    path("catalogue/<uuid:uuid>/remove/", catalogue.remove, name="model-remove"),
    path("devices/<uuid:uuid>/", control.device, name="device"),
    path("devices/<uuid:uuid>/now/", control.device_now, name="device-now"),
    path("devices/<uuid:uuid>/down/", control.device_down, name="device-down"),
    path("devices/<uuid:uuid>/period/", control.device_period, name="device-period"),
    path("units/", units.units, name="units"),
    path("units/token/", units.token, name="unit-token"),
    path("units/<uuid:uuid>/", units.unit, name="unit"),
    path("units/<uuid:uuid>/devices/", units.found, name="unit-devices"),
    path("units/<uuid:uuid>/console/", console.console, name="unit-console"),
    path("units/<uuid:uuid>/log/", units.log, name="unit-log"),
    path("units/<uuid:uuid>/log/lines/", units.log_lines, name="unit-log-lines"),
    path("units/<uuid:uuid>/approve/", units.approve, name="unit-approve"),
    path("units/<uuid:uuid>/detect/", units.detect, name="unit-detect"),
    path("units/<uuid:uuid>/rename/", units.rename, name="unit-rename"),
    path("units/<uuid:uuid>/restart/", units.restart, name="unit-restart"),
    path("units/<uuid:uuid>/retire/", units.retire, name="unit-retire"),
    path("system/", system.system, name="system"),
]
