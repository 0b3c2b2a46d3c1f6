"""What units, devices and stations look like in the REST API and the event stream."""

from __future__ import annotations

import json
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from web_server.api.fields import ByName, Reference, StrictModelSerializer, StrictSerializer
from web_server.lab.composition import LIMITS
from web_server.lab.models import (
    Device,
    DeviceModel,
    Station,
    StationDevice,
    StationVersion,
    Unit,
    Zone,
)


class UnitBody(StrictModelSerializer):
    """A cycler computer. Only its name can be changed; the rest is what it says of itself."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    approved_by = ByName(read_only=True)
    status = serializers.CharField(read_only=True, help_text="pending, online, offline or retired")

    class Meta:
        model = Unit
        fields = [
            "id",
            "name",
            "hostname",
            "hardware_id",
            "ip",
            "version",
            "approved",
            "approved_at",
            "approved_by",
            "status",
            "online",
            "last_seen",
            "clock_skew_s",
            "uptime_s",
            "load",
            "disk_free_bytes",
            "spool_batches",
            "rejected_batches",
            "dropped_messages",
            "unknown_devices",
            "retired_at",
            "created_at",
            "updated_at",
        ]
        read_only_fields = [name for name in fields if name != "name"]
        extra_kwargs = {"name": {"validators": []}}


class DeviceModelBody(StrictModelSerializer):
    """A kind of device that the catalogue knows."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    measures = serializers.JSONField(read_only=True)
    controls = serializers.JSONField(read_only=True)
    link_settings = serializers.JSONField(read_only=True)
    off = serializers.JSONField(read_only=True)

    class Meta:
        model = DeviceModel
        fields = [
            "id",
            "key",
            "label",
            "maker",
            "model",
            "type",
            "family",
            "role",
            "link",
            "link_settings",
            "identity",
            "voltage_min_v",
            "voltage_max_v",
            "current_min_a",
            "current_max_a",
            "power_min_w",
            "power_max_w",
            "measures",
            "controls",
            "off",
            "source",
        ]


class DeviceBody(StrictModelSerializer):
    """A device that a unit found."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    unit = Reference(read_only=True)
    model = Reference(read_only=True)
    model_key = serializers.CharField(source="model.key", read_only=True)
    label = serializers.CharField(source="model.label", read_only=True)
    measures = serializers.ListField(
        source="model.measure_names", child=serializers.CharField(), read_only=True
    )
    controls = serializers.SerializerMethodField(help_text="What can be set on it.")
    station = Reference(read_only=True)
    zone = Reference(read_only=True)
    free = serializers.SerializerMethodField()

    class Meta:
        model = Device
        fields = [
            "id",
            "unit",
            "model",
            "model_key",
            "label",
            "measures",
            "serial_number",
            "link_name",
            "connected",
            "detail",
            "controls",
            "station",
            "zone",
            "free",
            "record_every_s",
            "first_seen",
            "last_seen",
            "gone_since",
        ]
        read_only_fields = [name for name in fields if name != "record_every_s"]

    def get_free(self, device: Device) -> bool:
        """Return whether a station can still take it."""
        return device.station_id is None and device.zone_id is None

    def get_controls(self, device: Device) -> list[str]:
        """Return the names of its controls."""
        return [control["name"] for control in device.model.controls]


class StationDeviceBody(StrictSerializer):
    """A device's part in a station."""

    device = Reference(queryset=Device.objects.all())
    role = serializers.ChoiceField(choices=StationDevice.Role.choices)


class StationMeasureBody(StrictSerializer):
    """A measure of a device under the station's name for it."""

    device = Reference(queryset=Device.objects.all())
    measure = serializers.CharField()
    name = serializers.CharField()


class StationOutputBody(StrictSerializer):
    """An auxiliary output: a control of a device under a name for steps, and what it takes on events."""

    name = serializers.CharField()
    device = serializers.UUIDField()
    control = serializers.CharField()
    minimum = serializers.FloatField(required=False, allow_null=True)
    maximum = serializers.FloatField(required=False, allow_null=True)
    safe = serializers.FloatField(required=False, allow_null=True, help_text="Manual Down and a lost lease.")
    on_trip = serializers.FloatField(required=False, allow_null=True)
    on_finish = serializers.FloatField(required=False, allow_null=True)

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        """Return what is set."""
        return {name: given for name, given in instance.items() if given is not None}


class InterlockBody(StrictSerializer):
    """A boolean measure that must read ``ok``."""

    name = serializers.CharField()
    device = serializers.UUIDField()
    measure = serializers.CharField()
    ok = serializers.FloatField(required=False, help_text="1 (default): closed is well; 0: open is well.")

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        """Return it as it is kept."""
        return dict(instance)


class ZoneOutputBody(StrictSerializer):
    """An output that acts when an interlock of its zone opens."""

    name = serializers.CharField()
    device = serializers.UUIDField()
    control = serializers.CharField()
    on_trip = serializers.FloatField()
    normal = serializers.FloatField(required=False, allow_null=True)
    on_server_lost = serializers.BooleanField(
        required=False, help_text="The annunciator: also when an alarm cannot reach the server."
    )

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        """Return it as it is kept."""
        return dict(instance)


class ZoneBody(StrictModelSerializer):
    """What stations share: interlocks, and outputs that act when one opens."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    unit = Reference(queryset=Unit.objects.all())
    interlocks = InterlockBody(many=True, required=False)
    outputs = ZoneOutputBody(many=True, required=False)
    stations = serializers.SerializerMethodField()

    class Meta:
        model = Zone
        fields = [
            "id",
            "name",
            "description",
            "unit",
            "interlocks",
            "outputs",
            "max_age_s",
            "stations",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["created_at", "updated_at"]
        extra_kwargs = {"name": {"validators": []}, "description": {"required": False}}

    def get_stations(self, zone: Zone) -> list[str]:
        """Return the UUIDs of the stations in it."""
        return [str(station.uuid) for station in zone.stations.all() if station.retired_at is None]


class OfMeasureBody(StrictSerializer):
    """How well one measure is measured."""

    resolution = serializers.FloatField(required=False, min_value=0)
    accuracy = serializers.FloatField(required=False, min_value=0)
    accuracy_rel = serializers.FloatField(required=False, min_value=0)
    max_age_s = serializers.FloatField(required=False, min_value=0, allow_null=True)
    frozen_s = serializers.FloatField(required=False, min_value=0, allow_null=True)
    period_s = serializers.FloatField(required=False, min_value=0, allow_null=True)


class AddModelBody(StrictSerializer):
    """A model of a known family: what is left out is as ``base`` has it."""

    base = Reference(queryset=DeviceModel.objects.all())
    label = serializers.CharField(max_length=100)
    maker = serializers.CharField(max_length=100)
    model = serializers.CharField(max_length=100)
    identity = serializers.CharField(
        max_length=250, required=False, help_text="Regular expression on what it answers."
    )
    voltage_min_v = serializers.FloatField(required=False, allow_null=True)
    voltage_max_v = serializers.FloatField(required=False, allow_null=True)
    current_min_a = serializers.FloatField(required=False, allow_null=True)
    current_max_a = serializers.FloatField(required=False, allow_null=True)
    power_min_w = serializers.FloatField(required=False, allow_null=True)
    power_max_w = serializers.FloatField(required=False, allow_null=True)
    link_settings = serializers.DictField(required=False)
    measures = serializers.DictField(child=OfMeasureBody(), required=False)


class StationLimitsBody(StrictSerializer):
    """Limits that the station itself adds (wires, holder, fuse)."""

    def get_fields(self) -> dict[str, serializers.Field]:  # type: ignore[type-arg]
        """Return one number per limit of the envelope's station."""
        numbers = {name: serializers.FloatField(required=False) for name in (*LIMITS, "isolator_max_v")}
        return {**numbers, "store": serializers.CharField(required=False, max_length=60)}

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        """Return the limits that are set."""
        return dict(instance)


@extend_schema_field(
    {
        "type": "object",
        "nullable": True,
        "properties": {
            name: {"type": "number", "nullable": True} for name in ("voltage_v", "current_a", "temperature_c")
        },
    }
)
class ReadingField(serializers.JSONField):
    """The newest reading."""


class StationBody(StrictModelSerializer):
    """Devices of one unit composed into one test channel, and what it is doing."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    unit = Reference(queryset=Unit.objects.all())
    tags = serializers.ListField(child=serializers.CharField(), required=False)
    devices = StationDeviceBody(many=True)
    measures = StationMeasureBody(many=True, required=False)
    outputs = StationOutputBody(many=True, required=False)
    limits = StationLimitsBody(required=False)
    zone = Reference(queryset=Zone.objects.all(), required=False, allow_null=True)
    parent = serializers.SerializerMethodField(help_text="Number of the version before.")
    owner = ByName(read_only=True)
    battery = serializers.SerializerMethodField()
    experiment = serializers.SerializerMethodField()
    reading = ReadingField(read_only=True)

    class Meta:
        model = Station
        fields = [
            "id",
            "name",
            "location",
            "barcode",
            "description",
            "last_defence",
            "tags",
            "unit",
            "devices",
            "measures",
            "outputs",
            "limits",
            "sensing",
            "loop_period_s",
            "quadrants",
            "leak_a",
            "dead_man",
            "unguarded_max_wh",
            "max_energy_wh",
            "max_hazard_level",
            "zone",
            "version",
            "unit_version",
            "parent",
            "owner",
            "state",
            "state_detail",
            "battery",
            "experiment",
            "reading",
            "reading_at",
            "latched_alarm",
            "lease",
            "output_values",
            "retired_at",
            "created_at",
            "updated_at",
        ]
        read_only_fields = [
            "lease",
            "output_values",
            "version",
            "unit_version",
            "state",
            "state_detail",
            "reading_at",
            "latched_alarm",
            "retired_at",
            "created_at",
            "updated_at",
        ]
        extra_kwargs = {"name": {"validators": []}, "barcode": {"validators": []}}

    def get_parent(self, station: Station) -> int | None:
        """Return the number of the version before."""
        return station.version - 1 if station.version > 1 else None

    def get_battery(self, station: Station) -> str | None:
        """Return the UUID of the battery loaded here."""
        return str(station.loaded_battery.uuid) if station.loaded_battery else None

    def get_experiment(self, station: Station) -> str | None:
        """Return the UUID of the experiment that holds it."""
        return str(station.experiment.uuid) if station.experiment else None


class StationVersionBody(StrictModelSerializer):
    """A station as it was composed at one time."""

    parent = serializers.IntegerField(source="parent.number", default=None, read_only=True)
    definition = serializers.SerializerMethodField()
    made_by = ByName(read_only=True)

    class Meta:
        model = StationVersion
        fields = ["number", "parent", "made_at", "made_by", "definition"]

    @extend_schema_field({"type": "object"})
    def get_definition(self, version: StationVersion) -> dict[str, Any]:
        """Return the composition."""
        return dict(json.loads(version.definition))


class StationLive(serializers.BaseSerializer):  # type: ignore[type-arg]
    """What changes of a station while it works; the body of the stream's ``station`` message."""

    def to_representation(self, station: Station) -> dict[str, Any]:
        """Return the tile of the Monitor as plain values."""
        experiment = station.experiment
        return {
            "id": str(station.uuid),
            "name": station.name,
            "unit": str(station.unit.uuid),
            "state": station.state,
            "state_detail": station.state_detail,
            "battery": str(station.loaded_battery.uuid) if station.loaded_battery else None,
            "battery_name": station.loaded_battery.name if station.loaded_battery else None,
            "experiment": str(experiment.uuid) if experiment else None,
            "experiment_name": experiment.name if experiment else None,
            "experiment_status": experiment.status if experiment else None,
            "waiting_for": experiment.waiting_for if experiment else "",
            "progress": experiment.progress if experiment else None,
            "reading": station.reading,
            "reading_at": station.reading_at,
            "latched_alarm": str(station.latched_alarm) if station.latched_alarm else None,
            "lease": station.lease or None,
            "output_values": station.output_values,
            "version": station.version,
        }
