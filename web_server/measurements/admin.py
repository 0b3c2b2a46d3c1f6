"""Cycles and readings of idle devices in the admin. Samples and rollups have composite keys, which the admin cannot show: they are
reached from their experiment's page."""

from __future__ import annotations

from django.contrib import admin

from web_server.lib.admin import ShownAdmin
from web_server.measurements.models import CycleRow, DeviceReading


@admin.register(CycleRow)
class CycleRowAdmin(ShownAdmin):
    """Cycles of experiments."""

    list_display = (
        "experiment",
        "cycle",
        "charge_in_ah",
        "charge_out_ah",
        "energy_in_wh",
        "energy_out_wh",
        "ended_at",
    )
    list_filter = ("ended_at",)
    search_fields = ("experiment__name",)
    list_select_related = ("experiment",)


@admin.register(DeviceReading)
class DeviceReadingAdmin(ShownAdmin):
    """What devices were read at while they ran no experiment."""

    list_display = ("at", "device", "unit", "values")
    list_filter = ("unit",)
    search_fields = ("device__serial_number", "device__model__label")
    list_select_related = ("device__model", "unit")
    # Millions of rows: the newest are found by the index on the device and the time.
    show_full_result_count = False
