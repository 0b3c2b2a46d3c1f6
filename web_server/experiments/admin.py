"""Experiments and what happened in them, in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from web_server.experiments import services
from web_server.experiments.models import Alarm, BlackBox, Event, Experiment, StepRow
from web_server.lab import services as lab
from web_server.lib.admin import ShownAdmin, acted


@admin.register(Experiment)
class ExperimentAdmin(ShownAdmin):
    """Experiments; their status is the services' and the unit's alone."""

    editable = ("description", "project", "tags", "owner")
    list_display = (
        "name",
        "status",
        "battery",
        "station",
        "profile_version",
        "priority",
        "created_at",
        "finished_at",
    )
    list_filter = ("status", "battery__technology", "station", "project")
    search_fields = (
        "name",
        "description",
        "battery__name",
        "station__name",
        "profile_version__profile__name",
    )
    list_select_related = ("battery", "station", "profile_version__profile")
    date_hierarchy = "created_at"
    actions = ("cancel", "stop", "requeue")

    @admin.action(description="Cancel (queued)")
    def cancel(self, request: HttpRequest, queryset: QuerySet[Experiment]) -> None:
        """Take the chosen experiments out of the queue."""
        acted(self, request, queryset, services.cancel)

    @admin.action(description="Stop now")
    def stop(self, request: HttpRequest, queryset: QuerySet[Experiment]) -> None:
        """Stop the chosen experiments."""
        acted(
            self,
            request,
            queryset,
            lambda by, experiment: services.stop(by, experiment, reason="by the admin"),
        )

    @admin.action(description="Queue again as a copy")
    def requeue(self, request: HttpRequest, queryset: QuerySet[Experiment]) -> None:
        """File copies of the chosen experiments."""
        acted(self, request, queryset, services.requeue)


@admin.register(StepRow)
class StepRowAdmin(ShownAdmin):
    """Steps as they were run."""

    list_display = ("experiment", "step_count", "step", "label", "mode", "cycle", "started_at", "duration_s")
    list_filter = ("mode",)
    search_fields = ("experiment__name", "label")
    list_select_related = ("experiment",)


@admin.register(Event)
class EventAdmin(ShownAdmin):
    """What happened."""

    list_display = ("at", "kind", "text", "experiment", "station", "unit")
    list_filter = ("kind", "station", "unit")
    search_fields = ("text", "experiment__name", "station__name")
    list_select_related = ("experiment", "station", "unit")
    date_hierarchy = "at"


@admin.register(Alarm)
class AlarmAdmin(ShownAdmin):
    """Alarms; the unit's latch is the truth."""

    list_display = (
        "raised_at",
        "state",
        "severity",
        "code",
        "text",
        "station",
        "experiment",
        "acknowledged_by",
    )
    list_filter = ("state", "severity", "code", "station")
    search_fields = ("code", "text", "experiment__name", "station__name")
    list_select_related = ("station", "experiment", "acknowledged_by")
    actions = ("acknowledge",)

    @admin.action(description="Acknowledge")
    def acknowledge(self, request: HttpRequest, queryset: QuerySet[Alarm]) -> None:
        """Ask the units to release these latches."""
        acted(self, request, queryset, lab.acknowledge)


@admin.register(BlackBox)
class BlackBoxAdmin(ShownAdmin):
    """Parts of what units kept before an alarm; put together on the alarm's page."""

    list_display = ("at", "alarm", "part", "parts", "station", "unit")
    list_filter = ("station",)
    search_fields = ("alarm", "text")
    list_select_related = ("station", "unit")
