"""Batteries in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from web_server.cells import services
from web_server.cells.models import Battery, Inspection, LeadAcid, Lithium, RedoxStack
from web_server.lib.admin import ShownAdmin, acted


def _part(shown: type[Model]) -> type[admin.StackedInline]:
    """Return the inline that shows one technology's own fields."""

    class Part(admin.StackedInline):
        model = shown
        extra = 0
        can_delete = False

        def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
            return False

        def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
            return False

    return Part


@admin.register(Battery)
class BatteryAdmin(ShownAdmin):
    """Batteries; limits are changed on their page, which checks them together."""

    editable = ("description", "project", "tags", "owner", "manufactured_on")
    list_display = (
        "name",
        "technology",
        "manufacturer",
        "model",
        "serial_number",
        "station",
        "quarantined",
        "retired_at",
    )
    list_filter = ("technology", "quarantined", "project", "lithium__chemistry")
    search_fields = ("name", "manufacturer", "model", "serial_number", "barcode", "project")
    list_select_related = ("station",)
    inlines = tuple(_part(model) for model in (Lithium, LeadAcid, RedoxStack))
    actions = ("eject", "retire")

    @admin.action(description="Record as taken out of its station")
    def eject(self, request: HttpRequest, queryset: QuerySet[Battery]) -> None:
        """Eject the chosen batteries."""
        acted(self, request, queryset, services.eject)

    @admin.action(description="Retire")
    def retire(self, request: HttpRequest, queryset: QuerySet[Battery]) -> None:
        """Retire the chosen batteries."""
        acted(self, request, queryset, services.retire)


class _PartAdmin(ShownAdmin):
    """The technology's own fields."""

    search_fields = ("battery__name",)
    list_select_related = ("battery",)


@admin.register(Lithium)
class LithiumAdmin(_PartAdmin):
    """Lithium."""

    list_display = ("battery", "capacity_ah", "chemistry")
    list_filter = ("chemistry",)


@admin.register(LeadAcid)
class LeadAcidAdmin(_PartAdmin):
    """Lead-acid."""

    list_display = ("battery", "capacity_ah", "chemistry")
    list_filter = ("chemistry",)


@admin.register(RedoxStack)
class RedoxStackAdmin(_PartAdmin):
    """Redox stacks."""

    list_display = ("battery", "electrode_size_cm2", "membrane_type", "electrolyte_type")
    list_filter = ("membrane_type", "electrolyte_type")


@admin.register(Inspection)
class InspectionAdmin(ShownAdmin):
    """Who looked at a battery, when, and what was seen."""

    list_display = ("at", "battery", "by_name", "note")
    list_filter = ("by_name",)
    search_fields = ("battery__name", "by_name", "note", "reason")
    list_select_related = ("battery",)
