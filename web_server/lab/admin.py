"""The lab in the admin: catalogue, units, devices, stations, managers."""

from __future__ import annotations

from typing import Any

import msgspec
from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from web_server.lab import catalogue, services
from web_server.lab.models import (
    Device,
    DeviceModel,
    EnrolToken,
    Hold,
    ManagerBeat,
    Station,
    StationDevice,
    StationMeasure,
    StationVersion,
    Unit,
    Zone,
)
from web_server.lib.admin import ShownAdmin, acted


class DeviceModelForm(forms.ModelForm):
    """A catalogue row must be one that envelope and unit can read."""

    class Meta:
        model = DeviceModel
        fields = "__all__"  # noqa: DJ007  # the whole row is the form

    def clean(self) -> dict[str, Any]:
        """Try the row as the struct that everything else uses."""
        cleaned = super().clean() or {}
        try:
            catalogue.kind_of(
                DeviceModel(**{key: entry for key, entry in cleaned.items() if key != "source"})
            )
        except (msgspec.ValidationError, TypeError) as error:
            raise forms.ValidationError(f"The row is no device model: {error}") from None
        return cleaned


@admin.register(DeviceModel)
class DeviceModelAdmin(ShownAdmin):
    """The catalogue; rows of Cellyard itself come back with the next migrate."""

    form = DeviceModelForm
    editable = tuple(
        field.name
        for field in DeviceModel._meta.concrete_fields
        if field.name not in ("id", "uuid", "created_at", "updated_at")
    )
    list_display = ("label", "maker", "model", "type", "role", "link", "source")
    list_filter = ("type", "role", "link", "maker", "source")
    search_fields = ("label", "maker", "model", "key")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Show what is not there yet only once it is."""
        return list(self.editable) if obj is None else super().get_fields(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Keep the key: devices and units refer to it."""
        return [] if obj is None else ["key", *super().get_readonly_fields(request, obj)]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow managers to add models of their own."""
        return bool(request.user.may("manager"))


@admin.register(Unit)
class UnitAdmin(ShownAdmin):
    """Cycler computers."""

    list_display = (
        "name",
        "hostname",
        "approved",
        "online",
        "last_seen",
        "version",
        "clock_skew_s",
        "spool_batches",
    )
    list_filter = ("approved", "online", "version")
    search_fields = ("name", "hostname", "hardware_id", "ip")
    actions = ("approve", "retire")

    @admin.action(description="Approve")
    def approve(self, request: HttpRequest, queryset: QuerySet[Unit]) -> None:
        """Approve the chosen units."""
        acted(self, request, queryset, services.approve)

    @admin.action(description="Retire")
    def retire(self, request: HttpRequest, queryset: QuerySet[Unit]) -> None:
        """Retire the chosen units."""
        acted(self, request, queryset, services.retire_unit)


@admin.register(EnrolToken)
class EnrolTokenAdmin(ShownAdmin):
    """One-time tokens of units; their secrets are nowhere."""

    list_display = ("note", "created_at", "expires_at", "used_at", "unit", "issued_by")
    list_filter = ("used_at",)
    search_fields = ("note", "unit__name")
    list_select_related = ("unit", "issued_by")


@admin.register(Device)
class DeviceAdmin(ShownAdmin):
    """Devices that units found, with their status."""

    list_display = (
        "model",
        "serial_number",
        "unit",
        "link_name",
        "connected",
        "station",
        "last_seen",
        "detail",
    )
    list_filter = ("connected", "model", "unit", "model__type")
    search_fields = ("serial_number", "link_name", "model__label", "unit__name", "station__name")
    list_select_related = ("model", "unit", "station")


class _Shown(admin.TabularInline):
    """Rows under a station: shown, not changed."""

    extra = 0
    can_delete = False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class _Devices(_Shown):
    model = StationDevice


class _Measures(_Shown):
    model = StationMeasure


@admin.register(Station)
class StationAdmin(ShownAdmin):
    """Stations; they are composed on their page, which makes versions."""

    editable = ("location", "description", "last_defence", "tags", "owner")
    list_display = (
        "name",
        "location",
        "unit",
        "version",
        "unit_version",
        "state",
        "reading_at",
        "retired_at",
    )
    list_filter = ("state", "unit", "location")
    search_fields = ("name", "location", "barcode", "unit__name")
    list_select_related = ("unit",)
    inlines = (_Devices, _Measures)
    actions = ("stop", "retire")

    @admin.action(description="Stop (all outputs off)")
    def stop(self, request: HttpRequest, queryset: QuerySet[Station]) -> None:
        """Switch off the chosen stations."""
        acted(self, request, queryset, lambda by, station: services.stop_all(by, [station]))

    @admin.action(description="Retire")
    def retire(self, request: HttpRequest, queryset: QuerySet[Station]) -> None:
        """Retire the chosen stations."""
        acted(self, request, queryset, services.retire_station)


@admin.register(StationVersion)
class StationVersionAdmin(ShownAdmin):
    """What stations were made of."""

    list_display = ("station", "number", "parent", "made_at", "made_by")
    list_filter = ("station",)
    search_fields = ("station__name",)
    list_select_related = ("station", "parent__station", "made_by")


@admin.register(StationDevice)
class StationDeviceAdmin(ShownAdmin):
    """Which device does what in which station."""

    list_display = ("station", "device", "role")
    list_filter = ("role", "station")
    search_fields = ("station__name", "device__serial_number")
    list_select_related = ("station", "device__model")


@admin.register(StationMeasure)
class StationMeasureAdmin(ShownAdmin):
    """The measures that stations record, under their own names."""

    list_display = ("station", "name", "measure", "device", "unit_of_measure")
    list_filter = ("measure", "station")
    search_fields = ("station__name", "name", "measure")
    list_select_related = ("station", "device__model")


@admin.register(Zone)
class ZoneAdmin(ShownAdmin):
    """What stations share; changed on its own page, which tells the stations' units."""

    list_display = ("name", "unit", "max_age_s", "updated_at")
    list_filter = ("unit",)
    search_fields = ("name", "description", "unit__name")
    list_select_related = ("unit",)


@admin.register(Hold)
class HoldAdmin(ShownAdmin):
    """Who holds what by hand, as its unit confirmed it."""

    list_display = ("__str__", "person_name", "station", "device", "taken_at", "until")
    list_filter = ("person_name",)
    search_fields = ("person_name", "station__name", "device__serial_number")
    list_select_related = ("station", "device__model")


@admin.register(ManagerBeat)
class ManagerBeatAdmin(ShownAdmin):
    """Manager processes and when they were last seen."""

    list_display = ("manager", "hostname", "pid", "version", "seen_at", "broker_connected", "units")
    list_filter = ("broker_connected",)
    search_fields = ("manager", "hostname")
