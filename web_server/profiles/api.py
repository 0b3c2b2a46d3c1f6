"""Profiles in the REST API."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import F, Prefetch
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import exceptions, serializers
from rest_framework.decorators import action
from rest_framework.parsers import BaseParser, JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from cycling import text as textform
from web_server.accounts.roles import Role
from web_server.api.fields import ByName, Reference, StrictModelSerializer, StrictSerializer
from web_server.api.schema import query
from web_server.api.views import Resource, ResourceFilters
from web_server.cells.models import Battery
from web_server.lab.models import Station
from web_server.lib.errors import Refused
from web_server.measurements.export import plain_name
from web_server.profiles import services
from web_server.profiles.models import Profile, ProfileVersion

# Parts of the definition, as in steps.md; each is one object of the step model.
PARTS = ("format", "capacity", "record", "safety", "stop", "finish", "steps", "origin")
FORMATS = ("text", "json")


def part(name: str, many: bool = False, **kwargs: Any) -> serializers.Field:  # type: ignore[type-arg]
    """Return a field for one part of the step model, which the core checks."""
    reference = {"$ref": f"#/components/schemas/{name}"}
    schema = {"type": "array", "items": reference} if many else reference
    field = extend_schema_field(schema)(type(f"{name}Field", (serializers.JSONField,), {}))
    return field(required=False, **kwargs)


class DefinitionFields(StrictSerializer):
    """A profile's definition: ``steps`` as in steps.md, or ``text`` in the text form."""

    name = serializers.CharField(required=False, allow_blank=True)
    description = serializers.CharField(required=False, allow_blank=True)
    format = serializers.CharField(required=False)
    capacity = part("Capacity")
    record = part("Record")
    safety = part("Safety")
    stop = part("Stop", allow_null=True)
    finish = part("AnyStep", many=True)
    steps = part("AnyStep", many=True)
    origin = part("Origin", allow_null=True)
    text = serializers.CharField(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        help_text="The text form, one instruction a line; alone it is parsed, beside `steps` it is kept.",
    )


class CheckBody(DefinitionFields):
    """What to check, and for which battery and station."""

    battery = Reference(queryset=Battery.objects.all(), required=False, allow_null=True)
    station = Reference(queryset=Station.objects.all(), required=False, allow_null=True)
    project = serializers.CharField(required=False, allow_blank=True)
    tags = serializers.ListField(child=serializers.CharField(), required=False)


class Finding(serializers.Serializer):  # type: ignore[type-arg]
    """An error or a warning, with where it is."""

    step = serializers.IntegerField(allow_null=True)
    label = serializers.CharField(allow_null=True, required=False)
    line = serializers.IntegerField(allow_null=True)
    field = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    message = serializers.CharField()


class Summary(serializers.Serializer):  # type: ignore[type-arg]
    """What the profile asks of a battery."""

    voltage_min_v = serializers.FloatField(allow_null=True)
    voltage_max_v = serializers.FloatField(allow_null=True)
    current_min_a = serializers.FloatField(allow_null=True)
    current_max_a = serializers.FloatField(allow_null=True)
    duration_max_s = serializers.FloatField(allow_null=True)


class CheckResult(serializers.Serializer):  # type: ignore[type-arg]
    """The verdict."""

    valid = serializers.BooleanField()
    errors = Finding(many=True)  # type: ignore[assignment]
    warnings = Finding(many=True)
    summary = Summary()


class ProfileRow(StrictModelSerializer):
    """A profile as a list shows it: without its steps."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    owner = ByName(read_only=True)
    tags = serializers.ListField(child=serializers.CharField(), required=False)
    summary = serializers.SerializerMethodField()

    class Meta:
        model = Profile
        fields = [
            "id",
            "name",
            "description",
            "version",
            "owner",
            "project",
            "tags",
            "summary",
            "retired_at",
            "created_at",
            "updated_at",
        ]
        read_only_fields = ["version", "retired_at", "created_at", "updated_at"]

    @extend_schema_field(Summary)
    def get_summary(self, profile: Profile) -> dict[str, Any]:
        """Return what the newest version asks of a battery."""
        return newest(profile).summary


class ProfileBody(ProfileRow):
    """A profile with the definition of its newest version."""

    name = serializers.CharField(max_length=100)
    description = serializers.CharField(required=False, allow_blank=True)
    project = serializers.CharField(required=False, allow_blank=True, max_length=100)
    format = serializers.CharField(required=False)
    capacity = part("Capacity")
    record = part("Record")
    safety = part("Safety")
    stop = part("Stop", allow_null=True)
    finish = part("AnyStep", many=True)
    steps = part("AnyStep", many=True)
    origin = part("Origin", allow_null=True)
    text = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)

    class Meta(ProfileRow.Meta):
        fields = [*ProfileRow.Meta.fields, *PARTS, "text"]

    def to_representation(self, instance: Profile) -> dict[str, Any]:
        """Return the row with its newest version's definition."""
        row = {name: self.fields[name] for name in ProfileRow.Meta.fields}
        shown = {name: field.to_representation(value) for name, field, value in _read(row, instance)}
        return {**shown, **definition_of(newest(instance))}


def _read(fields: dict[str, Any], instance: Profile) -> Any:
    for name, field in fields.items():
        value = field.get_attribute(instance)
        if value is None:
            field = _Null
        yield name, field, value


class _Null:
    @staticmethod
    def to_representation(_value: Any) -> None:
        """Return nothing."""


def newest(profile: Profile) -> ProfileVersion:
    """Return the newest version, from what the query brought along where it did."""
    fetched = getattr(profile, "newest", None)
    return fetched[0] if fetched else profile.latest


def definition_of(version: ProfileVersion) -> dict[str, Any]:
    """Return a version's parts with nothing left out, so that programs need no defaults."""
    whole = version.definition
    shown = {name: whole.get(name) for name in PARTS}
    shown["format"] = shown["format"] or "profile/1"
    for name in ("capacity", "record", "safety"):
        shown[name] = shown[name] or {}
    shown["steps"], shown["finish"] = shown["steps"] or [], shown["finish"] or []
    return shown | ({"text": version.text} if version.text else {})


class VersionRow(StrictModelSerializer):
    """One version of a profile."""

    made_by = ByName(read_only=True)
    summary = serializers.JSONField(read_only=True)

    class Meta:
        model = ProfileVersion
        fields = ["number", "made_at", "made_by", "summary"]


class VersionBody(VersionRow):
    """One version of a profile with its definition."""

    definition = serializers.SerializerMethodField()

    class Meta(VersionRow.Meta):
        fields = [*VersionRow.Meta.fields, "definition"]

    @extend_schema_field({"type": "object"})
    def get_definition(self, version: ProfileVersion) -> dict[str, Any]:
        """Return the definition."""
        return definition_of(version)


class PlainText(BaseParser):
    """A body that is the text itself."""

    media_type = "text/plain"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> str:
        """Return the text."""
        try:
            return stream.read().decode("utf-8-sig")  # type: ignore[no-any-return]
        except UnicodeDecodeError:
            raise exceptions.ParseError("The text is not in UTF-8.") from None


class ProfileFilters(ResourceFilters):
    """Filters of the list of profiles."""

    class Meta:
        model = Profile
        fields = ["project", "version"]


@extend_schema_view(
    list=extend_schema(summary="List profiles", responses=ProfileRow(many=True)),
    create=extend_schema(summary="Save a new profile"),
    retrieve=extend_schema(summary="Read a profile"),
    update=extend_schema(summary="Save the next version, whole"),
    partial_update=extend_schema(summary="Save the next version with some parts changed"),
    destroy=extend_schema(summary="Retire a profile"),
)
class ProfileViewSet(Resource):
    """Test procedures; each change is a new version."""

    filterset_class = ProfileFilters
    search_fields = ["name", "description", "project"]
    ordering_fields = ["name", "version", "project", "created_at", "updated_at", "owner__username"]
    ordering = ["name"]
    write_role = Role.OPERATOR
    roles = {"check": Role.VIEWER}
    query_parameters = {"import_": {"format", "name"}, "export": {"format", "version"}}
    queryset = Profile.objects.select_related("owner").prefetch_related(
        Prefetch("versions", ProfileVersion.objects.filter(number=F("profile__version")), to_attr="newest")
    )

    def get_serializer_class(self) -> type[serializers.BaseSerializer]:  # type: ignore[type-arg]
        """Leave the steps out of lists."""
        return ProfileRow if self.action == "list" else ProfileBody

    def add(self, **body: Any) -> Profile:
        """Save a new profile."""
        return services.save(self.request.user, **body)

    def change(self, instance: Profile, **body: Any) -> Profile:
        """Save the next version."""
        return services.save(self.request.user, profile=instance, **body)

    def put_away(self, instance: Profile) -> None:
        """Retire a profile."""
        services.retire(self.request.user, instance)

    @extend_schema(summary="Check a profile without saving it", request=CheckBody, responses=CheckResult)
    @action(detail=False, methods=["post"])
    def check(self, request: Request) -> Response:
        """Say whether the profile may run: alone, on a battery, on a station."""
        body = self.body(CheckBody)
        battery, station = body.pop("battery", None), body.pop("station", None)
        return Response(services.check(body, battery=battery, station=station))

    @extend_schema(
        summary="Import a profile",
        parameters=[
            query("format", OpenApiTypes.STR, "Form of what is sent.", enum=FORMATS),
            query("name", OpenApiTypes.STR, "The profile's name, where what is sent has none."),
        ],
        request={
            "text/plain": OpenApiTypes.STR,
            "application/json": ProfileBody,
            "multipart/form-data": {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary"}, "name": {"type": "string"}},
            },
        },
        responses={201: ProfileBody},
    )
    @action(
        detail=False,
        methods=["post"],
        url_path="import",
        url_name="import",
        parser_classes=[JSONParser, PlainText, MultiPartParser],
    )
    def import_(self, request: Request) -> Response:
        """Save what another program or the text form wrote: sent as it is, as JSON, or as a file."""
        return self.show(self.add(**_imported(request)), status=201)

    @extend_schema(
        summary="Export a profile",
        parameters=[
            query("format", OpenApiTypes.STR, "Form of the answer.", enum=FORMATS, default="json"),
            query("version", OpenApiTypes.INT, "The newest without it."),
        ],
        responses={(200, "text/plain"): OpenApiTypes.STR, (200, "application/json"): OpenApiTypes.OBJECT},
    )
    @action(detail=True, methods=["get"])
    def export(self, request: Request, id: Any) -> HttpResponse:
        """Write the profile as a file: the whole definition as JSON, or the text form."""
        profile, form = self.get_object(), _form(request)
        version = _version(profile, request.query_params.get("version"))
        if form == "text":
            written, kind, ending = _as_text(version), "text/plain; charset=utf-8", "txt"
        else:
            written, kind, ending = json.dumps(version.definition, indent=2), "application/json", "json"
        answer = HttpResponse(written, content_type=kind)
        answer["Content-Disposition"] = f'attachment; filename="{plain_name(profile.name)}.{ending}"'
        return answer

    @extend_schema(summary="List a profile's versions", responses=VersionRow(many=True))
    @action(detail=True, methods=["get"], pagination_class=None, filterset_class=None)
    def versions(self, request: Request, id: Any) -> Response:
        """List the versions, newest first."""
        rows = self.get_object().versions.select_related("made_by")
        return Response(VersionRow(rows, many=True).data)

    @extend_schema(summary="Read one version of a profile", responses=VersionBody)
    @action(detail=True, methods=["get"], url_path="versions/<int:number>", url_name="version")
    def version(self, request: Request, id: Any, number: int) -> Response:
        """Read one version whole."""
        return Response(VersionBody(_version(self.get_object(), number)).data)


def _version(profile: Profile, number: Any) -> ProfileVersion:
    if number is None:
        return newest(profile)
    found = profile.versions.filter(number=number).first() if str(number).isdigit() else None
    if found is None:
        raise Refused.one(f"{profile.name} has no version {number}.", "version")
    return found


def _form(request: Request, default: str = "json") -> str:
    form = request.query_params.get("format", default)
    if form not in FORMATS:
        raise exceptions.ValidationError({"format": [f"one of {', '.join(FORMATS)}"]})
    return form


def _as_text(version: ProfileVersion) -> str:
    """Return the text as it was typed, else the definition written in the text form."""
    if version.text:
        return version.text
    try:
        return textform.write(services.definition_of(version))
    except textform.CannotWrite as exc:
        raise Refused.one(str(exc), "format") from None


def _imported(request: Request) -> dict[str, Any]:
    """Return what was sent as a body that `services.save` takes."""
    sent, name = request.data, request.query_params.get("name")
    if hasattr(sent, "getlist"):
        file = sent.get("file")
        if not hasattr(file, "read"):
            raise exceptions.ValidationError({"file": ["send the file here"]})
        name = name or sent.get("name") or file.name.rsplit(".", 1)[0]
        try:
            sent = file.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise exceptions.ValidationError({"file": ["this is no text in UTF-8"]}) from None
    form = _form(request, "json" if isinstance(sent, dict) else "text")
    if isinstance(sent, str) and form == "json":
        try:
            sent = json.loads(sent)
        except ValueError as exc:
            raise exceptions.ValidationError({"steps": [f"this is no JSON: {exc}"]}) from None
    if form == "text":
        sent = {"text": sent} if isinstance(sent, str) else sent
        if not isinstance(sent, dict) or not isinstance(sent.get("text"), str):
            raise exceptions.ValidationError({"text": ["the text form is missing"]})
    if not isinstance(sent, dict):
        raise exceptions.ValidationError({"steps": ["a profile is an object"]})
    return {**sent, "name": name} if name and not sent.get("name") else dict(sent)
