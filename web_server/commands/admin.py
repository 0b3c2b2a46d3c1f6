"""The outbox in the admin."""

from __future__ import annotations

from django.contrib import admin

from web_server.commands.models import Command
from web_server.lib.admin import ShownAdmin


@admin.register(Command)
class CommandAdmin(ShownAdmin):
    """What was asked of units and what came of it."""

    list_display = (
        "created_at",
        "kind",
        "status",
        "unit",
        "station",
        "experiment",
        "issued_by_name",
        "sends",
        "reason",
    )
    list_filter = ("status", "kind", "urgent", "unit")
    search_fields = ("kind", "reason", "issued_by_name", "experiment__name", "station__name")
    list_select_related = ("unit", "station", "experiment")
