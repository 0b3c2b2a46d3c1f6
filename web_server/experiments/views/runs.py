"""Experiments: find, compare, act on many; and one run with all that happened in it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid5

import msgspec
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from web_server.experiments import listing, saying, services
from web_server.experiments.forms import request_id
from web_server.experiments.models import Event, Experiment
from web_server.lab.glance import glance
from web_server.lib import cursor
from web_server.lib.errors import Refused, ServiceError
from web_server.page import act, page, part
from web_server.profiles.listing import numbered
from web_server.profiles.services import definition_of

SECTION = "experiments"
COLUMNS = (
    ("status", "Status"),
    ("battery", "Battery"),
    ("profile", "Profile"),
    ("station", "Station"),
    ("progress", "Progress"),
    ("started", "Started"),
    ("finished", "Ended"),
    ("created", "Filed"),
    ("project", "Project"),
)
# Hidden until somebody asks for them.
USUALLY_HIDDEN = "created project"
FILTERS = ("q", "status", "technology", "battery", "station", "profile")


def experiments(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """List the experiments; ``?format=csv`` downloads what the filters show."""
    person: Any = request.user
    sort = request.GET.get("sort", "-created_at")
    sort = sort if sort.lstrip("-") in listing.SORTS else "-created_at"
    found = listing.listed(request.GET)
    if request.GET.get("format") == "csv":
        return _as_csv(found.order_by(sort))
    rows = cursor.take(found, sort, request.GET.get("after", ""))
    return page(
        request,
        "experiments/experiments.html",
        SECTION,
        rows=rows,
        default_sort="-created_at",
        columns=COLUMNS,
        hidden=person.preferences.get("columns", {}).get("experiments", USUALLY_HIDDEN),
        chosen=request.GET.getlist("status"),
        filtered=any(request.GET.get(name) for name in FILTERS),
        **listing.choices(),
    )


def _as_csv(found: Any) -> StreamingHttpResponse:
    class Echo:
        def write(self, row: str) -> str:
            return row

    writer = csv.writer(Echo())

    def lines() -> Iterator[str]:
        yield writer.writerow(
            [
                "id",
                "name",
                "status",
                "battery",
                "profile",
                "version",
                "station",
                "created_at",
                "started_at",
                "finished_at",
                "end_reason",
            ]
        )
        for row in found.iterator(chunk_size=500):
            times = [at.isoformat() if at else "" for at in (row.created_at, row.started_at, row.finished_at)]
            reason = (row.end_reason or {}).get("text", "")
            names = [row.name, row.status, row.battery.name, row.profile.name, row.profile_version.number]
            # A cell that begins like a formula would be run by a spreadsheet.
            cells = [row.uuid, *names, row.station.name if row.station else "", *times, reason]
            yield writer.writerow(
                ["'" + c if isinstance(c, str) and c[:1] in "=+-@" and c else c for c in cells]
            )

    answer = StreamingHttpResponse(lines(), content_type="text/csv")
    answer["Content-Disposition"] = 'attachment; filename="experiments.csv"'
    return answer


def _live(experiment: Experiment) -> dict[str, Any]:
    """Return what changes while an experiment runs."""
    events = listing.events(experiment)
    last_status = next((row for row in events if row.kind == Event.Kind.STATUS), None)
    profile = definition_of(experiment.profile_version)
    steps = numbered(profile)
    current = next((row for row in steps if row["number"] == experiment.step), None)
    return {
        "experiment": experiment,
        "line": saying.first_line(experiment, last_status),
        "steps": steps,
        "current": current if experiment.is_active else None,
        "events": events,
        "last": listing.last_sample(experiment) if experiment.is_active else None,
        "alarms": listing.alarms(experiment),
        "commands": listing.open_commands(experiment),
        "step_rows": listing.step_rows(experiment),
        "cycles": listing.cycles(experiment),
        "record": experiment.record or msgspec.to_builtins(profile.record),
    }


def experiment(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Show one run: live, history, steps, events, alarms, cycles."""
    shown = get_object_or_404(listing.one(uuid))
    return page(request, "experiments/experiment.html", SECTION, **_live(shown))


def live(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Send the parts of the page that changed."""
    shown = get_object_or_404(listing.one(uuid))
    return part(request, "experiments/live.html", oob=True, glance=glance(), **_live(shown))


def _control(request: HttpRequest, uuid: UUID, do: Any, said: str) -> HttpResponse:
    person: Any = request.user
    run = get_object_or_404(Experiment, uuid=uuid)
    back = reverse("experiment", args=[uuid])
    return act(request, lambda: do(person, run), said.format(name=run.name), back)


@require_POST
def pause(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Ask the unit to pause."""
    return _control(request, uuid, services.pause, "Pause of {name} is asked for.")


@require_POST
def resume(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Ask the unit to go on, or tell it that a person has done what it waits for."""
    return _control(request, uuid, services.resume, "{name} is asked to go on.")


@require_POST
def stop(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Stop now, or with the profile's finish steps."""
    how: Any = request.POST.get("how", "now")
    reason = request.POST.get("reason", "")[:500]
    said = "Stop of {name} is asked for; it is off when the unit has confirmed it."
    return _control(request, uuid, lambda by, run: services.stop(by, run, how=how, reason=reason), said)


@require_POST
def skip_step(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """End the running step."""
    return _control(request, uuid, services.skip_step, "The running step of {name} is asked to end.")


@require_POST
def cancel(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Take a queued experiment out of the queue."""
    return _control(request, uuid, services.cancel, "{name} is out of the queue.")


@require_POST
def note(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Add a remark to the events."""
    text = request.POST.get("text", "")[:2000]
    return _control(request, uuid, lambda by, run: services.note(by, run, text), "Noted.")


@require_POST
def requeue(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """File a copy of an ended experiment; sent twice it files one, and says so."""
    person: Any = request.user
    run = get_object_or_404(Experiment, uuid=uuid)
    once = request_id(request.POST)
    before = services.filed_before(once)

    def said(copy: Experiment) -> str:
        twice = "; it was sent twice and is there once." if copy == before else "."
        return f"A copy of {run.name} is in the queue{twice}"

    back = reverse("experiment", args=[uuid])
    return act(request, lambda: services.requeue(person, run, request_id=once), said, back)


@require_POST
def drill(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Let the unit behave for a while as if the server were away."""
    typed = request.POST.get("seconds", "").strip().replace(",", ".")

    def ask(by: Any, run: Any) -> Any:
        try:
            seconds = float(typed)
        except ValueError:
            raise Refused.one(f"{typed!r} is no number of seconds.", "seconds") from None
        return services.drill(by, run, seconds=seconds)

    said = "The drill of {name} is asked for; what came of it will stand in the events."
    return _control(request, uuid, ask, said)


@require_POST
def bulk(request: HttpRequest) -> HttpResponse:
    """Do one thing to every selected experiment, and say what came of each."""
    person: Any = request.user
    once = request_id(request.POST)
    acts = {
        "stop": services.stop,
        "pause": services.pause,
        "resume": services.resume,
        "requeue": lambda by, run: services.requeue(by, run, request_id=once and uuid5(once, str(run.uuid))),
    }
    do: Any = acts.get(request.POST.get("act", ""))
    keys = [key for key in (listing._uuid(text) for text in request.POST.getlist("pick")) if key]
    rows = list(Experiment.objects.filter(uuid__in=keys[:500]))

    def each() -> str:
        done, refused = 0, []
        for row in rows:
            try:
                do(person, row)
                done += 1
            except ServiceError as error:
                refused.append(str(error))
        return f"Asked for {done} of {len(rows)}." + (" " + " ".join(refused) if refused else "")

    if do is None or not rows:
        return act(request, lambda: None, "Nothing was selected.", reverse("experiments"))
    return act(request, each, lambda said: said, reverse("experiments"))
