"""What experiments and what happens in them look like in the REST API and the event stream."""

from __future__ import annotations

from typing import Any

import msgspec
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from cycling.steps import Record
from web_server.api.fields import ByName, Reference, StrictModelSerializer, StrictSerializer
from web_server.cells.models import Battery
from web_server.experiments.models import Alarm, Event, Experiment, StepRow
from web_server.lab.models import Station
from web_server.measurements.models import CycleRow
from web_server.profiles.models import Profile


class ElectrolyteBody(StrictSerializer):
    """What flows through a redox stack."""

    polarity = serializers.CharField(required=False, allow_blank=True)
    volume_ml = serializers.FloatField(required=False, allow_null=True, min_value=0)
    initial_soc_percent = serializers.FloatField(required=False, allow_null=True, min_value=0, max_value=100)
    flow_min_ml_min = serializers.FloatField(required=False, allow_null=True, min_value=0)
    flow_max_ml_min = serializers.FloatField(required=False, allow_null=True, min_value=0)

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        """Return what was given."""
        return dict(instance)


class StationQueryBody(StrictSerializer):
    """Which stations would do; `{}` = any that fits."""

    location = serializers.CharField(required=False, max_length=100)
    unit = serializers.CharField(required=False, max_length=100, help_text="Name or id.")
    tags = serializers.ListField(child=serializers.CharField(), required=False)
    measures = serializers.ListField(child=serializers.CharField(), required=False)
    sensing = serializers.ChoiceField(choices=[2, 4], required=False)
    voltage_min_v = serializers.FloatField(required=False)
    voltage_max_v = serializers.FloatField(required=False)
    current_min_a = serializers.FloatField(required=False)
    current_max_a = serializers.FloatField(required=False)

    def to_representation(self, instance: dict[str, Any]) -> dict[str, Any]:
        """Return what was given."""
        return dict(instance)


@extend_schema_field({"$ref": "#/components/schemas/Record"})
class RecordField(serializers.JSONField):
    """The recording rule of one run, instead of the profile's."""

    def to_internal_value(self, data: Any) -> Any:
        """Refuse what is no recording rule."""
        strange = set(data) - set(Record.__struct_fields__) if isinstance(data, dict) else set()
        if strange:
            raise serializers.ValidationError({name: ["unknown field"] for name in sorted(strange)})
        try:
            msgspec.convert(data, Record)
        except msgspec.ValidationError as exc:
            raise serializers.ValidationError(str(exc)) from None
        return super().to_internal_value(data)


def _request_id() -> serializers.UUIDField:
    """Return the number of one filing, made up by whoever sends it."""
    return serializers.UUIDField(
        required=False,
        allow_null=True,
        write_only=True,
        help_text="Made up by the sender. Sent again (a lost answer, a double click) it files nothing twice: "
        "the answer is what it filed before.",
    )


class ProgressBody(serializers.Serializer):  # type: ignore[type-arg]
    """Step n of N."""

    step = serializers.IntegerField(allow_null=True)
    steps = serializers.IntegerField(allow_null=True)
    cycle = serializers.IntegerField()
    percent = serializers.FloatField(allow_null=True)
    expected_end = serializers.DateTimeField(allow_null=True)


@extend_schema_field(
    {
        "type": ["object", "null"],
        "properties": {
            "code": {"type": "string"},
            "text": {"type": "string"},
            "quantity": {"type": "string"},
            "limit": {"type": "number"},
            "measured": {"type": "number"},
            "since": {"type": "number"},
            "delay_s": {"type": "number"},
            "device": {"type": "string"},
            "seq": {"type": "integer"},
            "person": {"type": "string"},
        },
    }
)
class EndReasonField(serializers.JSONField):
    """Why it ended: ``code``, ``text`` and the numbers."""


class VersionField(serializers.IntegerField):
    """A profile's version by its number."""

    def to_representation(self, value: Any) -> int:
        """Return the number."""
        return int(value.number)


class ExperimentBody(StrictModelSerializer):
    """One run of one profile on one battery on one station."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    battery = Reference(queryset=Battery.objects.all())
    profile = Reference(queryset=Profile.objects.all())
    profile_version = VersionField(
        required=False, help_text="The version that runs; when not given, the newest when filed."
    )
    station = Reference(queryset=Station.objects.all(), required=False, allow_null=True)
    station_query = StationQueryBody(required=False, allow_null=True)
    electrolyte = ElectrolyteBody(required=False, allow_null=True)
    record = RecordField(required=False, allow_null=True)
    tags = serializers.ListField(child=serializers.CharField(), required=False)
    owner = ByName(read_only=True)
    temperature_waived_by = ByName(read_only=True, help_text="Who gave `temperature_waiver`.")
    origin = Reference(read_only=True, help_text="The experiment of which this one is a copy.")
    progress = ProgressBody(read_only=True)
    end_reason = EndReasonField(read_only=True)
    request_id = _request_id()
    complete = serializers.BooleanField(
        source="is_complete", read_only=True, help_text="Final, and every sample is stored."
    )

    class Meta:
        model = Experiment
        fields = [
            "id",
            "name",
            "description",
            "battery",
            "profile",
            "profile_version",
            "station",
            "station_query",
            "load",
            "initial_soc_percent",
            "electrolyte",
            "priority",
            "record",
            "contact_policy",
            "off_after_s",
            "resume_policy",
            "resume_within_s",
            "rest_voltage_confirmed",
            "temperature_waiver",
            "temperature_waived_by",
            "not_before",
            "owner",
            "project",
            "tags",
            "origin",
            "status",
            "queued_because",
            "waiting_for",
            "created_at",
            "updated_at",
            "started_at",
            "finished_at",
            "station_version",
            "capacity_ah",
            "envelope",
            "envelope_sha256",
            "progress",
            "planned_end",
            "sample_count",
            "last_seq",
            "complete",
            "end_reason",
            "error",
            "request_id",
        ]
        # The same `request_id` again is no error: the service answers with what it filed.
        validators: list[Any] = []
        read_only_fields = [
            "status",
            "not_before",
            "planned_end",
            "queued_because",
            "waiting_for",
            "created_at",
            "updated_at",
            "started_at",
            "finished_at",
            "station_version",
            "capacity_ah",
            "envelope",
            "envelope_sha256",
            "sample_count",
            "last_seq",
            "error",
        ]


class StopBody(StrictSerializer):
    """How to stop, and why."""

    how = serializers.ChoiceField(
        choices=[("now", "Output off at once"), ("finish", "Run the profile's finish steps")], default="now"
    )
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=500)


class QueueBody(StrictSerializer):
    """Queued experiments in the order in which they should run, the next one first."""

    experiments = serializers.ListField(
        child=Reference(queryset=Experiment.objects.all()), allow_empty=False, max_length=500
    )


class RequeueBody(StrictSerializer):
    """Nothing but the number of the request."""

    request_id = _request_id()


class RepeatBody(StrictSerializer):
    """On what else to run it again; nothing: on the same."""

    battery = Reference(queryset=Battery.objects.select_related("station"), required=False)
    station = Reference(queryset=Station.objects.all(), required=False)
    request_id = _request_id()


class DrillBody(StrictSerializer):
    """How long the unit behaves as if the server were away."""

    seconds = serializers.FloatField(min_value=1, max_value=3600)


def _choices(name: str) -> Any:
    """Return what the experiment's own field offers: the same names in the schema."""
    return Experiment._meta.get_field(name).choices


class BatchBody(StrictSerializer):
    """One profile on many batteries, each in the station that holds it."""

    batteries = serializers.ListField(
        child=Reference(queryset=Battery.objects.all()),
        allow_empty=False,
        max_length=500,
    )
    profile = Reference(queryset=Profile.objects.all())
    name_template = serializers.CharField(
        required=False,
        default="{profile} on {battery}",
        max_length=250,
        help_text="May hold {battery} {profile} {station} {n} {date}.",
    )
    stagger_s = serializers.FloatField(
        required=False, default=0.0, min_value=0, max_value=86400, help_text="Between two starts."
    )
    dry_run = serializers.BooleanField(
        required=False, default=False, help_text="Only say of each battery whether it fits; nothing is filed."
    )
    only_fitting = serializers.BooleanField(
        required=False,
        default=False,
        help_text="File those that fit; without it one that does not stops all.",
    )
    description = serializers.CharField(required=False, allow_blank=True)
    project = serializers.CharField(required=False, allow_blank=True, max_length=100)
    tags = serializers.ListField(child=serializers.CharField(), required=False)
    priority = serializers.IntegerField(required=False)
    record = RecordField(required=False, allow_null=True)
    contact_policy = serializers.ChoiceField(choices=_choices("contact_policy"), required=False)
    off_after_s = serializers.FloatField(required=False, allow_null=True)
    resume_policy = serializers.ChoiceField(choices=_choices("resume_policy"), required=False)
    resume_within_s = serializers.FloatField(required=False)
    rest_voltage_confirmed = serializers.BooleanField(required=False)
    temperature_waiver = serializers.CharField(required=False, allow_blank=True, max_length=500)
    request_id = _request_id()


class BatchErrorBody(serializers.Serializer):  # type: ignore[type-arg]
    """What stops one battery."""

    field = serializers.CharField(allow_null=True)
    step = serializers.IntegerField(required=False)
    message = serializers.CharField()


class BatchEntryBody(serializers.Serializer):  # type: ignore[type-arg]
    """One battery of a batch: ok, or what stops it."""

    battery = Reference(read_only=True)
    name = serializers.CharField()
    station = Reference(read_only=True)
    ok = serializers.BooleanField()
    waits = serializers.CharField(help_text="What it waits for by itself before it starts; often nothing.")
    not_before = serializers.DateTimeField(allow_null=True)
    errors = BatchErrorBody(many=True)
    experiment = Reference(read_only=True, help_text="Null in a dry run, and where it is stopped.")


class BatchAnswer(serializers.Serializer):  # type: ignore[type-arg]
    """Every battery of the batch, in the order of the request."""

    valid = serializers.BooleanField(help_text="Nothing stops any of them.")
    filed = serializers.IntegerField()
    entries = BatchEntryBody(many=True)


class BlackBoxBody(serializers.Serializer):  # type: ignore[type-arg]
    """The last readings and device exchanges before an alarm."""

    alarm = serializers.UUIDField()
    at = serializers.DateTimeField()
    text = serializers.CharField()
    complete = serializers.BooleanField(help_text="Every part of it is stored.")
    exchanges = serializers.ListField(child=serializers.DictField())
    readings = serializers.DictField(child=serializers.ListField())


class StepRowBody(StrictModelSerializer):
    """One step as it was run."""

    end_reason = EndReasonField(read_only=True)

    class Meta:
        model = StepRow
        fields = [
            "step",
            "step_count",
            "label",
            "tags",
            "cycle",
            "mode",
            "started_at",
            "duration_s",
            "voltage_start_v",
            "voltage_end_v",
            "current_end_a",
            "charge_in_ah",
            "charge_out_ah",
            "energy_in_wh",
            "energy_out_wh",
            "temperature_max_c",
            "dcir",
            "end_reason",
            "flags",
        ]


class CycleRowBody(StrictModelSerializer):
    """One cycle of an experiment."""

    coulombic_efficiency = serializers.FloatField(read_only=True, allow_null=True)
    energy_efficiency = serializers.FloatField(read_only=True, allow_null=True)

    class Meta:
        model = CycleRow
        fields = [
            "cycle",
            "tags",
            "started_at",
            "ended_at",
            "duration_s",
            "seq_first",
            "seq_last",
            "charge_in_ah",
            "charge_out_ah",
            "energy_in_wh",
            "energy_out_wh",
            "coulombic_efficiency",
            "energy_efficiency",
            "voltage_min_v",
            "voltage_max_v",
            "current_min_a",
            "current_max_a",
            "temperature_max_c",
        ]


class EventBody(StrictModelSerializer):
    """Something that happened. ``seq`` rises and may have gaps."""

    seq = serializers.IntegerField(source="pk", read_only=True)
    experiment = Reference(read_only=True)
    station = Reference(read_only=True)
    detail = serializers.JSONField(read_only=True)

    class Meta:
        model = Event
        fields = ["seq", "experiment", "station", "at", "kind", "text", "step", "detail"]


class AlarmBody(StrictModelSerializer):
    """Something a person must see."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    experiment = Reference(read_only=True)
    station = Reference(read_only=True)
    acknowledged_by = ByName(read_only=True)

    class Meta:
        model = Alarm
        fields = [
            "id",
            "experiment",
            "station",
            "raised_at",
            "severity",
            "code",
            "text",
            "quantity",
            "limit",
            "measured",
            "state",
            "acknowledge_asked_at",
            "acknowledge_refused",
            "acknowledged_by",
            "acknowledged_at",
            "cleared_at",
        ]
