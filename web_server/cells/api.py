"""Batteries in the REST API."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from web_server.accounts.models import Person
from web_server.accounts.roles import Role
from web_server.api.fields import ByName, Reference, StrictModelSerializer, StrictSerializer
from web_server.api.schema import query
from web_server.api.views import NoBody, Resource, ResourceFilters
from web_server.cells import bulk, quarantine, services
from web_server.cells.models import Battery, Inspection, LeadAcid, Lithium, RedoxStack
from web_server.lab.models import Station


class LithiumBody(StrictModelSerializer):
    """What only lithium batteries have."""

    class Meta:
        model = Lithium
        fields = ["capacity_ah", "chemistry"]


class LeadAcidBody(StrictModelSerializer):
    """What only lead-acid batteries have."""

    class Meta:
        model = LeadAcid
        fields = ["capacity_ah", "chemistry"]


class RedoxStackBody(StrictModelSerializer):
    """What only redox flow stacks have."""

    class Meta:
        model = RedoxStack
        fields = [
            "electrode_size_cm2",
            "electrode_composition",
            "bipolar_type",
            "membrane_type",
            "electrolyte_type",
        ]


class BatteryBody(StrictModelSerializer):
    """A battery. Of ``lithium``, ``lead_acid`` and ``redox_stack`` only its technology's is there."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    owner = ByName(queryset=Person.objects.all(), required=False, allow_null=True)
    tags = serializers.ListField(child=serializers.CharField(), required=False)
    station = Reference(read_only=True)
    loaded_by = ByName(read_only=True)
    experiment = serializers.SerializerMethodField(help_text="The experiment that has it now.")
    lithium = LithiumBody(required=False)
    lead_acid = LeadAcidBody(required=False)
    redox_stack = RedoxStackBody(required=False)

    class Meta:
        model = Battery
        fields = [
            "id",
            "name",
            "description",
            "manufacturer",
            "model",
            "serial_number",
            "barcode",
            "manufactured_on",
            "technology",
            "cells_in_series",
            "cell_voltage_min_v",
            "cell_voltage_max_v",
            "voltage_min_v",
            "voltage_max_v",
            "current_min_a",
            "current_max_a",
            "temperature_min_c",
            "temperature_max_c",
            "charge_temperature_min_c",
            "charge_temperature_max_c",
            "temperature_rise_max_k",
            "temperature_slope_max_k_min",
            "cell_spread_max_v",
            "voltage_abs_min_v",
            "voltage_abs_max_v",
            "energy_wh",
            "hazard_level",
            "owner",
            "project",
            "tags",
            "station",
            "loaded_at",
            "loaded_by",
            "experiment",
            "quarantined",
            "quarantine_reason",
            "quarantined_at",
            "last_rest_voltage_v",
            "last_rest_at",
            "resistance_ohm",
            "resistance_at",
            "retired_at",
            "created_at",
            "updated_at",
            "lithium",
            "lead_acid",
            "redox_stack",
        ]
        read_only_fields = [
            "loaded_at",
            "quarantined",
            "quarantine_reason",
            "quarantined_at",
            "last_rest_voltage_v",
            "last_rest_at",
            "resistance_ohm",
            "resistance_at",
            "retired_at",
            "created_at",
            "updated_at",
        ]
        # Whether names and serial numbers are taken is the service's to say, in a sentence.
        validators: list[Any] = []
        extra_kwargs = {"name": {"validators": []}, "barcode": {"validators": []}}

    def get_experiment(self, battery: Battery) -> str | None:
        """Return the UUID of the experiment that has it now."""
        experiment = getattr(battery, "active_experiment", None)
        return str(experiment.uuid) if experiment else None

    def to_representation(self, instance: Battery) -> dict[str, Any]:
        """Leave out the parts of other technologies."""
        shown = super().to_representation(instance)
        for technology in Battery.Technology.values:
            if technology != instance.technology:
                shown.pop(technology, None)
        return shown


class LoadBody(StrictSerializer):
    """Where the battery was put."""

    station = Reference(queryset=Station.objects.all())


class InspectBody(StrictSerializer):
    """What was seen."""

    note = serializers.CharField(allow_blank=False)


class InspectionBody(StrictModelSerializer):
    """A person looked at a battery."""

    by = serializers.CharField(source="by_name", read_only=True)

    class Meta:
        model = Inspection
        fields = ["at", "by", "reason", "note"]


class BulkBody(StrictSerializer):
    """A table of batteries."""

    csv = serializers.CharField(
        max_length=bulk.CHARACTERS_MAX,
        help_text="The first line names the columns: " + ", ".join(bulk.COLUMNS),
    )
    like = Reference(
        queryset=Battery.objects.all(),
        required=False,
        allow_null=True,
        help_text="What a line leaves out is taken from this battery.",
    )
    dry_run = serializers.BooleanField(
        required=False, default=False, help_text="Only say what would become of each line."
    )


class BulkErrorBody(serializers.Serializer):  # type: ignore[type-arg]
    """What is wrong with a line."""

    field = serializers.CharField(allow_null=True)
    message = serializers.CharField()


class BulkRowBody(serializers.Serializer):  # type: ignore[type-arg]
    """One line and what becomes of it."""

    line = serializers.IntegerField()
    name = serializers.CharField()
    created = serializers.BooleanField(help_text="False: it was there.")
    station = serializers.CharField(help_text="Where it was loaded; empty: nowhere.")
    battery = serializers.SerializerMethodField(help_text="Its id; null in a dry run of a new one.")
    errors = BulkErrorBody(many=True)

    def get_battery(self, row: bulk.Row) -> str | None:
        """Return the UUID of a battery that is really there."""
        kept = row.battery is not None and (not row.created or self.context.get("done"))
        return str(row.battery.uuid) if kept and row.battery else None


class BulkAnswer(serializers.Serializer):  # type: ignore[type-arg]
    """Every line of the table."""

    valid = serializers.BooleanField()
    done = serializers.BooleanField()
    created = serializers.IntegerField()
    loaded = serializers.IntegerField()
    rows = BulkRowBody(many=True)


class BatteryFilters(ResourceFilters):
    """Filters of the list of batteries."""

    station = django_filters.UUIDFilter(field_name="station__uuid")
    owner = django_filters.CharFilter(field_name="owner__username")
    loaded = django_filters.BooleanFilter(field_name="station", lookup_expr="isnull", exclude=True)
    chemistry = django_filters.CharFilter(method="by_chemistry")

    class Meta:
        model = Battery
        fields = ["technology", "manufacturer", "model", "serial_number", "barcode", "project", "quarantined"]

    def by_chemistry(self, rows: QuerySet[Battery], _name: str, chemistry: str) -> QuerySet[Battery]:
        """Keep batteries of this chemistry, whatever the technology."""
        return rows.filter(Q(lithium__chemistry=chemistry) | Q(lead_acid__chemistry=chemistry))


@extend_schema_view(
    list=extend_schema(summary="List batteries"),
    create=extend_schema(summary="Record a battery"),
    retrieve=extend_schema(summary="Read a battery"),
    update=extend_schema(summary="Change a battery, all fields"),
    partial_update=extend_schema(summary="Change some fields of a battery"),
    destroy=extend_schema(summary="Retire a battery"),
)
class BatteryViewSet(Resource):
    """Objects under test."""

    serializer_class = BatteryBody
    filterset_class = BatteryFilters
    search_fields = ["name", "description", "manufacturer", "model", "serial_number", "barcode", "project"]
    ordering_fields = [
        "name",
        "technology",
        "manufacturer",
        "model",
        "serial_number",
        "project",
        "created_at",
        "updated_at",
        "loaded_at",
        "station__name",
    ]
    ordering = ["name"]
    write_role = Role.OPERATOR
    query_parameters = {"inspections": {"page", "page_size"}}
    queryset = Battery.objects.select_related(
        "station", "owner", "loaded_by", "active_experiment", "lithium", "lead_acid", "redox_stack"
    )

    def add(self, **body: Any) -> Battery:
        """Record a battery."""
        return services.add(self.request.user, **body)

    def change(self, instance: Battery, **body: Any) -> Battery:
        """Change a battery."""
        return services.change(self.request.user, instance, **body)

    def put_away(self, instance: Battery) -> None:
        """Retire a battery."""
        services.retire(self.request.user, instance)

    @extend_schema(summary="Load a battery into a station", request=LoadBody, responses=BatteryBody)
    @action(detail=True, methods=["post"])
    def load(self, request: Request, id: str) -> Response:
        """Record that the battery was put into a station."""
        battery = self.get_object()
        services.load(request.user, battery, **self.body(LoadBody))
        return self.show(battery)

    @extend_schema(summary="Take a battery out", request=NoBody, responses=BatteryBody)
    @action(detail=True, methods=["post"])
    def eject(self, request: Request, id: str) -> Response:
        """Record that the battery was taken out of its station."""
        self.body(NoBody)
        battery = self.get_object()
        services.eject(request.user, battery)
        return self.show(battery)

    @extend_schema(summary="Record an inspection", request=InspectBody, responses=BatteryBody)
    @action(detail=True, methods=["post"])
    def inspect(self, request: Request, id: str) -> Response:
        """End a quarantine with a note of what was seen."""
        battery = self.get_object()
        quarantine.inspect(request.user, battery, **self.body(InspectBody))
        return self.show(battery)

    @extend_schema(
        summary="Inspections",
        parameters=[
            query("page", OpenApiTypes.INT, "Page, from 1."),
            query("page_size", OpenApiTypes.INT, "Rows on a page, at most 1000."),
        ],
        responses=InspectionBody(many=True),
        filters=False,
    )
    @action(detail=True, methods=["get"])
    def inspections(self, request: Request, id: str) -> Response:
        """Who looked at it, when, and what was seen; the newest first."""
        rows = self.get_object().inspections.order_by("-id")
        return self.get_paginated_response(InspectionBody(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        summary="Create and load many from a table",
        request=BulkBody,
        responses={200: BulkAnswer, 201: BulkAnswer},
    )
    @action(detail=False, methods=["post"], pagination_class=None, filterset_class=None)
    def bulk(self, request: Request) -> Response:
        """Take a CSV table, all lines or none; errors name the line. With `dry_run` nothing is kept."""
        body = self.body(BulkBody)
        table = bulk.take(request.user, body["csv"], like=body.get("like"), dry_run=body["dry_run"])
        shown = BulkAnswer(table, context={"done": table.done}).data
        return Response(shown, status=201 if table.done else 200)
