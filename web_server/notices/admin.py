"""Notices in the admin: what was sent, to read. Addresses are managed on their page, and shown nowhere."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from web_server.lib.admin import ShownAdmin
from web_server.notices.models import Delivery, Escalation, Target


@admin.register(Target)
class TargetAdmin(ShownAdmin):
    """Who hears of alarms."""

    list_display = ("name", "place", "way", "shown", "active")
    list_filter = ("way", "active")
    search_fields = ("name", "shown")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return all fields but the address, which may hold a password."""
        return [name for name in super().get_fields(request, obj) if name != "sealed"]


@admin.register(Escalation)
class EscalationAdmin(ShownAdmin):
    """How far each alarm has been told."""

    list_display = ("alarm", "round", "next_at")
    list_filter = ("round",)
    search_fields = ("alarm__text",)
    list_select_related = ("alarm",)


@admin.register(Delivery)
class DeliveryAdmin(ShownAdmin):
    """What was sent to whom, and what came of it."""

    list_display = ("created_at", "target_name", "state", "attempts", "outcome")
    list_filter = ("state",)
    search_fields = ("target_name", "outcome")
