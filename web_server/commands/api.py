"""Commands in the REST API: what was asked of units, and what came of it."""

from __future__ import annotations

from typing import Any

import django_filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from web_server.accounts.roles import Role
from web_server.api.fields import Reference, StrictModelSerializer, StrictSerializer
from web_server.api.schema import WAIT
from web_server.api.views import Read
from web_server.commands import queries, services
from web_server.commands.arguments import ARGUMENTS, ArgumentsField, checked
from web_server.commands.models import Command
from web_server.commands.sending import send
from web_server.commands.waiting import answer_with, seconds_to_wait, until_closed
from web_server.lab.models import Device, Station, Unit
from web_server.lib.errors import Refused


class CommandBody(StrictModelSerializer):
    """One order to a unit."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    unit = Reference(read_only=True)
    station = Reference(read_only=True)
    experiment = Reference(read_only=True)
    args = serializers.SerializerMethodField(help_text="null in lists and events when larger than 4 kB.")
    result = serializers.JSONField(read_only=True)
    progress = serializers.JSONField(read_only=True, help_text="{done, of, text} of a long command.")
    outcome = serializers.SerializerMethodField(help_text="done, refused or failed: the unit's word")
    issued_by = serializers.CharField(source="issued_by_name", read_only=True)
    issued_at = serializers.DateTimeField(source="created_at", read_only=True)

    class Meta:
        model = Command
        fields = [
            "id",
            "kind",
            "args",
            "unit",
            "station",
            "experiment",
            "status",
            "outcome",
            "progress",
            "result",
            "reason",
            "issued_by",
            "issued_at",
            "sent_at",
            "expires_at",
            "closed_at",
        ]

    def get_args(self, command: Command) -> dict[str, Any] | None:
        """Return the arguments."""
        return command.args

    def get_outcome(self, command: Command) -> str | None:
        """Return the unit's word, or None before it."""
        return command.outcome or None


# These have their own addresses, whose services check and record far more than a bare command would:
# a contract, an alarm, a version.
ELSEWHERE = {
    "experiment.start": "POST experiments/",
    "experiment.pause": "POST experiments/{id}/pause/",
    "experiment.resume": "POST experiments/{id}/resume/",
    "experiment.stop": "POST experiments/{id}/stop/",
    "experiment.skip_step": "POST experiments/{id}/skip-step/",
    "station.configure": "PATCH stations/{id}/",
    "station.acknowledge": "POST alarms/{id}/acknowledge/",
    "station.stop_all": "POST stations/stop-all/",
}
# Characters of arguments that every list and every open page may get along with the command.
LARGE_ARGS = 4096
# What the site sends by itself (a loaded battery, the periods of recording) is nobody's to send.
KIND_CHOICES = [(kind, kind) for kind in services.KINDS if kind in ARGUMENTS]


class CommandRow(CommandBody):
    """A command in a list or an event: a start carries a whole profile, which is left out there."""

    def get_args(self, command: Command) -> dict[str, Any] | None:
        """Return the arguments unless they are large."""
        return command.args if len(command.args_text) <= LARGE_ARGS else None


class CommandRequest(StrictSerializer):
    """A command: ``args`` by ``kind``."""

    kind = serializers.ChoiceField(choices=KIND_CHOICES)
    args = ArgumentsField(required=False)
    expires_s = serializers.FloatField(required=False, min_value=1, max_value=600)

    def to_internal_value(self, data: Any) -> Any:
        """Say where a command that has its own address is asked for."""
        kind = data.get("kind") if hasattr(data, "get") else None
        if isinstance(kind, str) and kind in ELSEWHERE:
            raise serializers.ValidationError({"kind": [f"{kind} is asked for by {ELSEWHERE[kind]}"]})
        return super().to_internal_value(data)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check the arguments by the kind's own body."""
        return {**attrs, "args": checked(attrs["kind"], attrs.get("args", {}))}


class AddressedCommandRequest(CommandRequest):
    """A command with its address: a unit, a station, or a device."""

    unit = Reference(queryset=Unit.objects.all(), required=False)
    station = Reference(queryset=Station.objects.select_related("unit"), required=False)
    device = Reference(queryset=Device.objects.select_related("unit", "station", "model"), required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Ask for exactly one address."""
        if sum(name in attrs for name in ("unit", "station", "device")) != 1:
            raise Refused.one("Name either a unit, a station or a device.", "station")
        return super().validate(attrs)


class CommandFilters(django_filters.FilterSet):
    """Filters of the list of commands."""

    unit = django_filters.UUIDFilter(field_name="unit__uuid")
    station = django_filters.UUIDFilter(field_name="station__uuid")
    experiment = django_filters.UUIDFilter(field_name="experiment__uuid")
    issued_by = django_filters.CharFilter(field_name="issued_by_name")

    class Meta:
        model = Command
        fields = ["kind", "status"]


@extend_schema_view(
    list=extend_schema(summary="List commands", responses=CommandBody(many=True)),
    retrieve=extend_schema(summary="Read a command"),
)
class CommandViewSet(Read):
    """Orders to units. One is never changed: its unit's answer closes it."""

    serializer_class = CommandBody
    filterset_class = CommandFilters
    search_fields = ["kind", "reason", "issued_by_name"]
    ordering_fields = ["created_at", "kind", "status", "closed_at"]
    ordering = ["-created_at"]
    write_role = Role.OPERATOR
    query_parameters = {"create": {"wait"}}
    queryset = queries.listed()

    def get_serializer_class(self) -> type[CommandBody]:
        """Leave large arguments out of lists."""
        return CommandRow if self.action == "list" else CommandBody

    @extend_schema(
        summary="Send a command",
        request=AddressedCommandRequest,
        responses={201: CommandBody},
        parameters=[WAIT],
    )
    def create(self, request: Request) -> Response:
        """Send a command to a unit, a station or a device; `?wait=5` holds the answer until it is done."""
        wait_s = seconds_to_wait(request)
        body = self.body(AddressedCommandRequest)
        station, device = body.pop("station", None), body.pop("device", None)
        unit = body.pop("unit", None) or (station or device).unit
        command = send(request.user, unit=unit, station=station, device=device, **body)
        return answer_with(until_closed(command, wait_s))
