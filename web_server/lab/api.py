"""Units, device models, devices and stations in the REST API."""

from __future__ import annotations

from typing import Any

import django_filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from web_server.accounts.roles import Role
from web_server.api.fields import Reference, StrictSerializer
from web_server.api.schema import WAIT
from web_server.api.views import Changeable, NoBody, Read, Resource, ResourceFilters
from web_server.commands.api import CommandBody, CommandRequest
from web_server.commands.sending import send
from web_server.commands.waiting import answer_with, seconds_to_wait, until_closed
from web_server.lab import services
from web_server.lab.bodies import (
    AddModelBody,
    DeviceBody,
    DeviceModelBody,
    StationBody,
    StationVersionBody,
    UnitBody,
    ZoneBody,
)
from web_server.lab.models import Device, DeviceModel, Station, Unit, Zone
from web_server.measurements.api import READING_PARAMETERS, ReadingsBody, asked_readings


class DetectBody(StrictSerializer):
    """Where to look; nothing = everywhere."""

    links = serializers.ListField(child=serializers.CharField(), required=False)


class UnitFilters(ResourceFilters):
    """Filters of the list of units."""

    class Meta:
        model = Unit
        fields = ["approved", "online", "hardware_id"]


@extend_schema_view(
    list=extend_schema(summary="List units"),
    retrieve=extend_schema(summary="Read a unit"),
    update=extend_schema(summary="Rename a unit"),
    partial_update=extend_schema(summary="Rename a unit"),
    destroy=extend_schema(summary="Retire a unit"),
)
class UnitViewSet(Changeable):
    """Cycler computers. A unit makes itself known; it cannot be created here."""

    serializer_class = UnitBody
    filterset_class = UnitFilters
    search_fields = ["name", "hostname", "hardware_id", "ip"]
    ordering_fields = ["name", "hostname", "online", "approved", "last_seen", "version", "clock_skew_s"]
    ordering = ["name"]
    write_role = Role.MANAGER
    roles = {"detect": Role.OPERATOR, "commands": Role.OPERATOR}
    query_parameters = {"detect": {"wait"}, "commands": {"wait"}}
    queryset = Unit.objects.select_related("approved_by")

    def change(self, instance: Unit, **body: Any) -> Unit:
        """Rename a unit."""
        return services.rename_unit(self.request.user, instance, **body) if body else instance

    def put_away(self, instance: Unit) -> None:
        """Retire a unit."""
        services.retire_unit(self.request.user, instance)

    @extend_schema(summary="Approve a waiting unit", request=NoBody, responses=UnitBody)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, id: Any) -> Response:
        """Let a waiting unit take part."""
        self.body(NoBody)
        unit = self.get_object()
        services.approve(request.user, unit)
        return self.show(unit)

    @extend_schema(
        summary="Look for devices", request=DetectBody, responses={201: CommandBody}, parameters=[WAIT]
    )
    @action(detail=True, methods=["post"])
    def detect(self, request: Request, id: Any) -> Response:
        """Ask the unit to look for devices; they appear in `devices`."""
        unit, wait_s = self.get_object(), seconds_to_wait(request)
        command = services.detect(request.user, unit, self.body(DetectBody).get("links"))
        return answer_with(until_closed(command, wait_s))

    @extend_schema(
        summary="Send a command to a unit",
        request=CommandRequest,
        responses={201: CommandBody},
        parameters=[WAIT],
    )
    @action(detail=True, methods=["post"])
    def commands(self, request: Request, id: Any) -> Response:
        """Send a command; its outcome is in the answer with `?wait=`, else in `commands/{id}/`."""
        unit, wait_s = self.get_object(), seconds_to_wait(request)
        command = send(request.user, unit=unit, **self.body(CommandRequest))
        return answer_with(until_closed(command, wait_s))


class RecordBody(StrictSerializer):
    """How often a device's readings are recorded while nothing runs."""

    record_every_s = serializers.FloatField(min_value=1, max_value=3600, allow_null=True)


class DeviceModelFilters(django_filters.FilterSet):
    """Filters of the catalogue."""

    class Meta:
        model = DeviceModel
        fields = ["key", "maker", "type", "family", "role", "link", "source"]


@extend_schema_view(
    list=extend_schema(summary="List the catalogue"), retrieve=extend_schema(summary="Read a device model")
)
class DeviceModelViewSet(Read):
    """Kinds of device that Cellyard knows: its catalogue, drivers installed on units, models added here."""

    serializer_class = DeviceModelBody
    write_role = Role.MANAGER
    filterset_class = DeviceModelFilters
    search_fields = ["key", "label", "maker", "model", "family"]
    ordering_fields = ["label", "maker", "model", "type", "family", "role", "voltage_max_v", "current_max_a"]
    ordering = ["label"]
    queryset = DeviceModel.objects.all()

    @extend_schema(
        summary="Add a model of a known family", request=AddModelBody, responses={201: DeviceModelBody}
    )
    def create(self, request: Request) -> Response:
        """Add a model with the driver of a known one; its limits lie inside that one's."""
        return self.show(services.add_model(request.user, **self.body(AddModelBody)), status=201)

    @extend_schema(summary="Remove a model that was added here")
    def destroy(self, request: Request, id: Any) -> Response:
        """Remove a model that people added and that no device is of."""
        services.remove_model(request.user, self.get_object())
        return Response(status=204)


class DeviceFilters(django_filters.FilterSet):
    """Filters of the list of devices."""

    unit = django_filters.UUIDFilter(field_name="unit__uuid")
    model = django_filters.UUIDFilter(field_name="model__uuid")
    station = django_filters.UUIDFilter(field_name="station__uuid")
    free = django_filters.BooleanFilter(field_name="station", lookup_expr="isnull")

    class Meta:
        model = Device
        fields = ["connected", "serial_number"]


@extend_schema_view(
    list=extend_schema(summary="List devices"), retrieve=extend_schema(summary="Read a device")
)
class DeviceViewSet(Read):
    """What units found, and whether a station uses it."""

    write_role = Role.OPERATOR
    query_parameters = {"commands": {"wait"}, "readings": {"from", "to", "points"}}

    serializer_class = DeviceBody
    filterset_class = DeviceFilters
    search_fields = ["serial_number", "link_name", "model__label", "model__key", "unit__name"]
    ordering_fields = ["serial_number", "link_name", "model__label", "unit__name", "connected", "last_seen"]
    ordering = ["unit__name", "model__label", "serial_number"]
    queryset = Device.objects.select_related("unit", "model", "station", "zone")

    @extend_schema(summary="Change how often its readings are recorded", request=RecordBody)
    def partial_update(self, request: Request, id: Any) -> Response:
        """Set the period of recording while nothing runs; null = every 10 s."""
        device = self.get_object()
        return self.show(services.record_every(request.user, device, **self.body(RecordBody)))

    @extend_schema(
        summary="Read a device's recorded readings", parameters=READING_PARAMETERS, responses=ReadingsBody
    )
    @action(detail=True, methods=["get"], pagination_class=None, filterset_class=None)
    def readings(self, request: Request, id: Any) -> Response:
        """Return what was recorded while it ran no experiment, as columns; gaps are rows of nulls."""
        return Response(asked_readings(self.get_object(), request))

    @extend_schema(
        summary="Send a command to a device",
        request=CommandRequest,
        responses={201: CommandBody},
        parameters=[WAIT],
    )
    @action(detail=True, methods=["post"])
    def commands(self, request: Request, id: Any) -> Response:
        """Read it, take its lease, set it, switch it off; `?wait=5` holds the answer until it is done."""
        device, wait_s = self.get_object(), seconds_to_wait(request)
        command = send(request.user, unit=device.unit, device=device, **self.body(CommandRequest))
        return answer_with(until_closed(command, wait_s))


class StopAllBody(StrictSerializer):
    """Which stations to stop, or those of which zone; nothing = all."""

    stations = serializers.ListField(child=Reference(queryset=Station.objects.all()), required=False)
    zone = Reference(queryset=Zone.objects.all(), required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse both at once."""
        if len(attrs) > 1:
            raise serializers.ValidationError({"zone": ["name stations or a zone, not both"]})
        return attrs


class StationFilters(ResourceFilters):
    """Filters of the list of stations."""

    unit = django_filters.UUIDFilter(field_name="unit__uuid")
    zone = django_filters.UUIDFilter(field_name="zone__uuid")
    battery = django_filters.UUIDFilter(field_name="battery__uuid")
    empty = django_filters.BooleanFilter(field_name="battery", lookup_expr="isnull")

    class Meta:
        model = Station
        fields = ["state", "location", "barcode"]


@extend_schema_view(
    list=extend_schema(summary="List stations"),
    create=extend_schema(summary="Compose a station"),
    retrieve=extend_schema(summary="Read a station"),
    update=extend_schema(summary="Compose a station anew (a new version)"),
    partial_update=extend_schema(summary="Change parts of a station (a new version)"),
    destroy=extend_schema(summary="Retire a station"),
)
class StationViewSet(Resource):
    """Test channels: devices of one unit with the measures they record."""

    serializer_class = StationBody
    filterset_class = StationFilters
    search_fields = ["name", "location", "barcode", "unit__name", "battery__name"]
    ordering_fields = ["name", "location", "state", "unit__name", "battery__name", "created_at", "updated_at"]
    ordering = ["name"]
    write_role = Role.MANAGER
    roles = {"commands": Role.OPERATOR, "stop_all": Role.OPERATOR}
    query_parameters = {"commands": {"wait"}, "stop_all": {"wait"}}
    queryset = Station.objects.select_related(
        "unit", "owner", "battery", "active_experiment", "zone"
    ).prefetch_related("devices__device", "measures__device")

    def add(self, **body: Any) -> Station:
        """Compose a station."""
        return services.compose_station(self.request.user, **_entries(body))

    def change(self, instance: Station, **body: Any) -> Station:
        """Change a station's composition."""
        return services.compose_station(self.request.user, station=instance, **_entries(body))

    def put_away(self, instance: Station) -> None:
        """Retire a station."""
        services.retire_station(self.request.user, instance)

    @extend_schema(summary="List a station's versions", responses=StationVersionBody(many=True))
    @action(detail=True, methods=["get"], pagination_class=None, filterset_class=None)
    def versions(self, request: Request, id: Any) -> Response:
        """List how it was composed over time, newest first."""
        rows = self.get_object().versions.select_related("parent", "made_by")
        return Response(StationVersionBody(rows, many=True).data)

    @extend_schema(
        summary="Send a command to a station",
        request=CommandRequest,
        responses={201: CommandBody},
        parameters=[WAIT],
    )
    @action(detail=True, methods=["post"])
    def commands(self, request: Request, id: Any) -> Response:
        """Send a command; its outcome is in the answer with `?wait=`, else in `commands/{id}/`."""
        station, wait_s = self.get_object(), seconds_to_wait(request)
        command = send(request.user, unit=station.unit, station=station, **self.body(CommandRequest))
        return answer_with(until_closed(command, wait_s))

    @extend_schema(
        summary="Stop stations",
        request=StopAllBody,
        responses={201: CommandBody(many=True)},
        parameters=[WAIT],
    )
    @action(detail=False, methods=["post"], url_path="stop-all")
    def stop_all(self, request: Request) -> Response:
        """Switch off the named stations, or all: one command per unit, never expiring."""
        wait_s = seconds_to_wait(request)
        body = self.body(StopAllBody)
        commands = services.stop_all(request.user, body.get("stations"), zone=body.get("zone"))
        closed = [until_closed(command, wait_s) for command in commands]
        return Response(CommandBody(closed, many=True).data, status=201)


class ZoneFilters(django_filters.FilterSet):
    """Filters of the list of zones."""

    unit = django_filters.UUIDFilter(field_name="unit__uuid")

    class Meta:
        model = Zone
        fields = ["name"]


@extend_schema_view(
    list=extend_schema(summary="List zones"),
    create=extend_schema(summary="Make a zone"),
    retrieve=extend_schema(summary="Read a zone"),
    update=extend_schema(summary="Change a zone (its stations get a new version)"),
    partial_update=extend_schema(summary="Change parts of a zone"),
    destroy=extend_schema(summary="Remove a zone that no station is in"),
)
class ZoneViewSet(Resource):
    """What stations share: interlocks, and outputs that act when one opens."""

    serializer_class = ZoneBody
    filterset_class = ZoneFilters
    search_fields = ["name", "description", "unit__name"]
    ordering_fields = ["name", "unit__name", "created_at", "updated_at"]
    ordering = ["name"]
    write_role = Role.MANAGER
    queryset = Zone.objects.select_related("unit").prefetch_related("stations")
    # A zone holds no history of its own: it is removed, not retired.
    retire = None  # type: ignore[assignment]

    def add(self, **body: Any) -> Zone:
        """Make a zone."""
        return services.save_zone(self.request.user, **_plain(body))

    def change(self, instance: Zone, **body: Any) -> Zone:
        """Change a zone."""
        return services.save_zone(self.request.user, zone=instance, **_plain(body))

    def put_away(self, instance: Zone) -> None:
        """Remove a zone."""
        services.remove_zone(self.request.user, instance)


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    """Turn the parts of a zone into plain dicts, with devices by their id."""
    for part in ("interlocks", "outputs"):
        if part in body:
            body[part] = [{**entry, "device": str(entry["device"])} for entry in body[part]]
    return body


def _entries(body: dict[str, Any]) -> dict[str, Any]:
    """Turn the parts of a composition into plain dicts, as the service takes them."""
    for part in ("devices", "measures", "outputs"):
        if part in body:
            body[part] = [dict(entry) for entry in body[part]]
    if "limits" in body:
        body["limits"] = dict(body["limits"])
    return body
