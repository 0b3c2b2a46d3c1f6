"""Experiments and alarms in the REST API."""

from __future__ import annotations

from typing import Any

import django_filters
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import exceptions, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from web_server.accounts.roles import Role
from web_server.api import problems
from web_server.api.fields import StrictSerializer, written
from web_server.api.schema import WAIT, query
from web_server.api.views import NoBody, Read
from web_server.cells.models import Battery
from web_server.commands.api import CommandBody
from web_server.commands.models import Command
from web_server.commands.waiting import seconds_to_wait, until_closed
from web_server.experiments import black_box, services
from web_server.experiments.bodies import (
    AlarmBody,
    BatchAnswer,
    BatchBody,
    BlackBoxBody,
    CycleRowBody,
    DrillBody,
    EventBody,
    ExperimentBody,
    QueueBody,
    RepeatBody,
    RequeueBody,
    StepRowBody,
    StopBody,
)
from web_server.experiments.models import Alarm, Experiment, Status
from web_server.lab.services import acknowledge
from web_server.measurements import export
from web_server.measurements.api import SAMPLE_PARAMETERS, SamplesBody, asked_samples
from web_server.notices.bodies import DeliveryBody

EXPORTS = ("csv",)


class ExperimentAct(ExperimentBody):
    """The experiment, and the command that went to its unit (null when none was needed)."""

    command = CommandBody(read_only=True, allow_null=True)

    class Meta(ExperimentBody.Meta):
        fields = [*ExperimentBody.Meta.fields, "command"]


class NoteBody(StrictSerializer):
    """A remark for the events."""

    text = serializers.CharField(max_length=2000)


class ExperimentFilters(django_filters.FilterSet):
    """Filters of the list of experiments; ``status`` may name several, comma-separated."""

    status = django_filters.BaseInFilter(field_name="status")
    battery = django_filters.UUIDFilter(field_name="battery__uuid")
    station = django_filters.UUIDFilter(field_name="station__uuid")
    profile = django_filters.UUIDFilter(field_name="profile_version__profile__uuid")
    technology = django_filters.CharFilter(field_name="battery__technology")
    owner = django_filters.CharFilter(field_name="owner__username")
    origin = django_filters.UUIDFilter(field_name="origin__uuid")
    created_after = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="gte")
    created_before = django_filters.IsoDateTimeFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = Experiment
        fields = ["project"]

    def filter_queryset(self, queryset: QuerySet[Experiment]) -> QuerySet[Experiment]:
        """Refuse a status that there is not."""
        unknown = set(self.form.cleaned_data.get("status") or []) - set(Status.values)
        if unknown:
            known = ", ".join(Status.values)
            raise exceptions.ValidationError(
                {"status": [f"unknown: {', '.join(sorted(unknown))}; known: {known}"]}
            )
        return super().filter_queryset(queryset)


def _act(summary: str, request: Any = NoBody) -> Any:
    return extend_schema(summary=summary, request=request, responses=ExperimentAct, parameters=[WAIT])


def _rows(summary: str, body: Any, *more: Any) -> Any:
    parameters = [
        query("page", OpenApiTypes.INT, "Page, from 1."),
        query("page_size", OpenApiTypes.INT, "Rows on a page, at most 1000."),
        *more,
    ]
    return extend_schema(summary=summary, parameters=parameters, responses=body(many=True), filters=False)


@extend_schema_view(
    list=extend_schema(summary="List experiments"),
    create=extend_schema(summary="File an experiment"),
    retrieve=extend_schema(summary="Read an experiment"),
    partial_update=extend_schema(summary="Change name, description, project, tags; priority while queued"),
)
class ExperimentViewSet(Read):
    """Runs of a profile on a battery on a station."""

    serializer_class = ExperimentBody
    filterset_class = ExperimentFilters
    search_fields = [
        "name",
        "description",
        "project",
        "battery__name",
        "station__name",
        "profile_version__profile__name",
    ]
    ordering_fields = [
        "name",
        "status",
        "priority",
        "created_at",
        "started_at",
        "finished_at",
        "expected_end",
        "percent",
        "battery__name",
        "station__name",
        "profile_version__profile__name",
    ]
    ordering = ["-created_at"]
    write_role = Role.OPERATOR
    query_parameters = {
        **{act: {"wait"} for act in ("pause", "resume", "stop", "skip_step", "drill")},
        "samples": {"after", "limit", "from", "to", "points"},
        "events": {"page", "page_size", "after", "kind"},
        "steps": {"page", "page_size"},
        "cycles": {"page", "page_size"},
        "export": {"format"},
    }
    queryset = Experiment.objects.select_related(
        "battery", "profile_version__profile", "station", "owner", "origin", "temperature_waived_by"
    )

    def create(self, request: Request) -> Response:
        """Put an experiment into the queue: 201 `queued`, or everything that stands against it."""
        return self.show(services.file(request.user, **_plain(self.body())), status=201)

    def partial_update(self, request: Request, id: Any) -> Response:
        """Change what people call it, and its priority while it is queued."""
        experiment = self.get_object()
        serializer = self.get_serializer(experiment, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        services.change(request.user, experiment, **serializer.validated_data)
        return self.show(experiment)

    # --- acts --------------------------------------------------------------------------------------

    @_act("Pause")
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, id: Any) -> Response:
        """Ask the unit to switch the output off and keep everything."""
        self.body(NoBody)
        return self._asked(lambda experiment: services.pause(request.user, experiment))

    @_act("Resume")
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, id: Any) -> Response:
        """Ask the unit to go on; also confirms a step that waits for an operator."""
        self.body(NoBody)
        return self._asked(lambda experiment: services.resume(request.user, experiment))

    @_act("Stop", StopBody)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, id: Any) -> Response:
        """Ask the unit to stop, now or through the finish steps. A queued one is cancelled."""
        body = self.body(StopBody)
        return self._asked(lambda experiment: services.stop(request.user, experiment, **body))

    @_act("Skip the running step")
    @action(detail=True, methods=["post"], url_path="skip-step")
    def skip_step(self, request: Request, id: Any) -> Response:
        """Ask the unit to end the running step and go to the next."""
        self.body(NoBody)
        return self._asked(lambda experiment: services.skip_step(request.user, experiment))

    def _asked(self, act: Any) -> Response:
        """Do ``act``, wait if asked to, and answer with the experiment and the command."""
        wait_s = seconds_to_wait(self.request)
        # Without the parts that only the answer shows: there and back is to take less than 40 ms.
        experiment = get_object_or_404(Experiment, uuid=self.kwargs["id"])
        self.check_object_permissions(self.request, experiment)
        command: Command | None = act(experiment)
        if command is not None:
            command = until_closed(command, wait_s)
        fresh = self.get_queryset().get(pk=experiment.pk)
        fresh.command = command
        shown = written(ExperimentAct, fresh)
        if command is not None and command.status in (Command.Status.REFUSED, Command.Status.FAILED):
            problem = problems.body(
                409, f"The unit {command.status} it: {command.reason or 'no reason given'}"
            )
            return Response(
                {**problem, "command": shown["command"]}, status=409, content_type=problems.MEDIA_TYPE
            )
        return Response(shown)

    @extend_schema(summary="Cancel a queued experiment", request=NoBody)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, id: Any) -> Response:
        """Take a queued experiment out of the queue."""
        self.body(NoBody)
        return self.show(services.cancel(request.user, self.get_object()))

    @extend_schema(summary="File it again", request=RequeueBody, responses={201: ExperimentBody})
    @action(detail=True, methods=["post"])
    def requeue(self, request: Request, id: Any) -> Response:
        """File a copy of an ended experiment; the copy names its origin."""
        body = self.body(RequeueBody)
        return self.show(services.requeue(request.user, self.get_object(), **body), status=201)

    @extend_schema(
        summary="Run it again, on the same or on something else",
        request=RepeatBody,
        responses={201: ExperimentBody},
    )
    @action(detail=True, methods=["post"])
    def repeat(self, request: Request, id: Any) -> Response:
        """File the same again, whatever its status; the copy names its origin."""
        body = self.body(RepeatBody)
        return self.show(services.repeat(request.user, self.get_object(), **body), status=201)

    @_act("Drill the loss of the server", DrillBody)
    @action(detail=True, methods=["post"])
    def drill(self, request: Request, id: Any) -> Response:
        """Let the unit behave as if the server were away: its `contact_policy` must act."""
        body = self.body(DrillBody)
        return self._asked(lambda experiment: services.drill(request.user, experiment, **body))

    @extend_schema(
        summary="One profile on many batteries",
        request=BatchBody,
        responses={200: BatchAnswer, 201: BatchAnswer},
    )
    @action(detail=False, methods=["post"], pagination_class=None, filterset_class=None)
    def batch(self, request: Request) -> Response:
        """Answer each battery with ok or what stops it; without `dry_run` file them, all or `only_fitting`."""
        body = self.body(BatchBody)
        keys = [battery.pk for battery in body.pop("batteries")]
        rows = Battery.objects.select_related("station__unit").in_bulk(keys)
        entries = services.file_many(request.user, batteries=[rows[key] for key in keys], **body)
        answer = {
            "valid": all(entry.ok for entry in entries),
            "filed": sum(entry.experiment is not None for entry in entries),
            "entries": entries,
        }
        return Response(written(BatchAnswer, answer), status=200 if body["dry_run"] else 201)

    @extend_schema(summary="Reorder the queue", request=QueueBody, responses=ExperimentBody(many=True))
    @action(detail=False, methods=["post"], pagination_class=None, filterset_class=None)
    def queue(self, request: Request) -> Response:
        """Give queued experiments this order, the next one first."""
        experiments = self.body(QueueBody)["experiments"]
        services.reorder(request.user, experiments)
        rows = self.get_queryset().filter(pk__in=[row.pk for row in experiments])
        ordered = rows.order_by("-priority", "id")
        return Response(self.get_serializer(ordered, many=True).data)

    @extend_schema(summary="Write a remark", request=NoteBody, responses={201: EventBody})
    @action(detail=True, methods=["post"], url_path="notes")
    def notes(self, request: Request, id: Any) -> Response:
        """Add a person's remark to the events."""
        experiment = self.get_object()
        services.note(request.user, experiment, self.body(NoteBody)["text"])
        newest = experiment.events.select_related("experiment", "station").order_by("-pk").first()
        return Response(EventBody(newest).data, status=201)

    # --- what it measured and what happened --------------------------------------------------------

    @extend_schema(summary="Samples", parameters=SAMPLE_PARAMETERS, responses=SamplesBody, filters=False)
    @action(detail=True, methods=["get"])
    def samples(self, request: Request, id: Any) -> Response:
        """Raw columns after a number, or a window in few points that keep minima and maxima."""
        return Response(asked_samples(self.get_object(), request))

    @_rows(
        "Events",
        EventBody,
        query("after", OpenApiTypes.INT, "Only events with a higher `seq`."),
        query("kind", OpenApiTypes.STR, "status, step, alarm, device or note; several comma-separated."),
    )
    @action(detail=True, methods=["get"])
    def events(self, request: Request, id: Any) -> Response:
        """What happened, oldest first."""
        rows = self.get_object().events.select_related("experiment", "station").order_by("pk")
        after, kind = request.query_params.get("after"), request.query_params.get("kind")
        if after is not None:
            if not after.isdigit():
                raise exceptions.ValidationError({"after": ["a whole number"]})
            rows = rows.filter(pk__gt=int(after))
        if kind:
            rows = rows.filter(kind__in=kind.split(","))
        return self._paged(rows, EventBody)

    @_rows("Steps as they were run", StepRowBody)
    @action(detail=True, methods=["get"])
    def steps(self, request: Request, id: Any) -> Response:
        """Steps as they were run, in order; the running one is not among them."""
        return self._paged(self.get_object().step_rows.order_by("step_count"), StepRowBody)

    @_rows("Cycles", CycleRowBody)
    @action(detail=True, methods=["get"])
    def cycles(self, request: Request, id: Any) -> Response:
        """Charge, energy and efficiency by cycle."""
        return self._paged(self.get_object().cycle_rows.order_by("cycle"), CycleRowBody)

    def _paged(self, rows: QuerySet[Any], body: Any) -> Response:
        return self.get_paginated_response(body(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        summary="Samples as a file",
        parameters=[query("format", OpenApiTypes.STR, "The file's form.", enum=EXPORTS, default="csv")],
        responses={(200, "text/csv"): OpenApiTypes.STR},
    )
    @action(detail=True, methods=["get"])
    def export(self, request: Request, id: Any) -> StreamingHttpResponse:
        """All samples stored by now, streamed; the names in the header carry the units."""
        form = request.query_params.get("format", "csv")
        if form not in EXPORTS:
            raise exceptions.ValidationError({"format": [f"one of {', '.join(EXPORTS)}"]})
        experiment = self.get_object()
        # Under ASGI a plain generator would be read to its end before the first byte goes out.
        is_async = isinstance(request._request, ASGIRequest)
        chunks = export.csv_chunks_async(experiment) if is_async else export.csv_chunks(experiment)
        answer = StreamingHttpResponse(chunks, content_type="text/csv; charset=utf-8")
        name = export.file_name(experiment, "csv")
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    """Turn nested ordered dicts into plain ones, as the service takes them."""
    for part in ("electrolyte", "station_query"):
        if body.get(part) is not None:
            body[part] = dict(body[part])
    return body


class AlarmFilters(django_filters.FilterSet):
    """Filters of the list of alarms; ``state`` may name several, comma-separated."""

    state = django_filters.BaseInFilter(field_name="state")
    station = django_filters.UUIDFilter(field_name="station__uuid")
    experiment = django_filters.UUIDFilter(field_name="experiment__uuid")

    class Meta:
        model = Alarm
        fields = ["code", "severity"]


class AlarmAct(AlarmBody):
    """The alarm, and the command that asks its unit to release the latch (null when there is none)."""

    command = CommandBody(read_only=True, allow_null=True)

    class Meta(AlarmBody.Meta):
        fields = [*AlarmBody.Meta.fields, "command"]


@extend_schema_view(
    list=extend_schema(summary="List alarms"), retrieve=extend_schema(summary="Read an alarm")
)
class AlarmViewSet(Read):
    """What a person must see."""

    serializer_class = AlarmBody
    filterset_class = AlarmFilters
    search_fields = ["code", "text", "station__name", "experiment__name"]
    ordering_fields = ["raised_at", "severity", "code", "state", "station__name"]
    ordering = ["-raised_at"]
    write_role = Role.OPERATOR
    query_parameters = {"acknowledge": {"wait"}, "black_box": {"format"}, "deliveries": {"page", "page_size"}}
    queryset = Alarm.objects.select_related("experiment", "station", "acknowledged_by")

    @extend_schema(summary="Acknowledge", request=NoBody, responses=AlarmAct, parameters=[WAIT])
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, id: Any) -> Response:
        """Ask the unit to release the latch; the state changes when the unit has said so."""
        self.body(NoBody)
        wait_s = seconds_to_wait(request)
        alarm = self.get_object()
        command = acknowledge(request.user, alarm)
        if command is not None:
            command = until_closed(command, wait_s)
        fresh = self.get_queryset().get(pk=alarm.pk)
        fresh.command = command
        return Response(written(AlarmAct, fresh))

    @extend_schema(
        summary="Black box",
        parameters=[
            query(
                "format", OpenApiTypes.STR, "csv: the readings alone.", enum=["json", "csv"], default="json"
            )
        ],
        responses={(200, "application/json"): BlackBoxBody, (200, "text/csv"): OpenApiTypes.STR},
    )
    @action(detail=True, methods=["get"], url_path="black-box")
    def black_box(self, request: Request, id: Any) -> Response | StreamingHttpResponse:
        """The last readings and device exchanges before the alarm, as the unit kept them; 404 without."""
        form = request.query_params.get("format", "json")
        if form not in ("json", "csv"):
            raise exceptions.ValidationError({"format": ["json or csv"]})
        found = black_box.whole(self.get_object())
        if found is None:
            raise exceptions.NotFound("Its unit has sent no black box for this alarm.")
        if form == "json":
            answer: Any = Response(found)
        else:
            answer = HttpResponse("".join(black_box.as_csv(found["readings"])), content_type="text/csv")
        answer["Content-Disposition"] = f'attachment; filename="black-box-{str(id)[:8]}.{form}"'
        return answer

    @extend_schema(
        summary="Who was told",
        parameters=[
            query("page", OpenApiTypes.INT, "Page, from 1."),
            query("page_size", OpenApiTypes.INT, "Rows on a page, at most 1000."),
        ],
        responses=DeliveryBody(many=True),
        filters=False,
    )
    @action(detail=True, methods=["get"])
    def deliveries(self, request: Request, id: Any) -> Response:
        """Messages about this alarm, the newest first: to whom, when, and what came of it."""
        rows = self.get_object().deliveries.select_related("alarm", "target").order_by("-pk")
        return self.get_paginated_response(DeliveryBody(self.paginate_queryset(rows), many=True).data)
