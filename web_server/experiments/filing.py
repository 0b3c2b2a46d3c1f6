"""Filing an experiment: everything that can be known to be wrong is said now, not when it starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import msgspec
from django.db import IntegrityError

from cycling.steps import Record
from web_server.accounts import audit
from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.cells import quarantine
from web_server.cells import services as cells
from web_server.cells.models import Battery
from web_server.experiments import start, stations
from web_server.experiments.contract import Contract, draw_up
from web_server.experiments.models import Experiment
from web_server.experiments.states import add_event
from web_server.lab.models import Station
from web_server.lib import fields
from web_server.lib.errors import Refused
from web_server.lib.lookup import find
from web_server.lib.transactions import atomic
from web_server.profiles.models import Profile, ProfileVersion

_TEXTS = {"description": 10_000, "project": 100, "temperature_waiver": 500}
_POLICIES = {"contact_policy": ("continue", "finish_step", "off"), "resume_policy": ("hold", "resume")}
_NUMBERS = ("initial_soc_percent", "off_after_s", "resume_within_s")
# What may be given besides battery, profile and station.
COLUMNS = (
    "name",
    *_TEXTS,
    *_POLICIES,
    *_NUMBERS,
    "priority",
    "record",
    "electrolyte",
    "tags",
    "load",
    "rest_voltage_confirmed",
)
# What nobody can change after filing, and so tells one request from another.
FIXED = tuple(each for each in COLUMNS if each not in ("name", "description", "project", "priority", "tags"))
FIELDS = (*COLUMNS, "battery", "profile", "profile_version", "station", "station_query")
ELECTROLYTE = ("volume_ml", "initial_soc_percent", "flow_min_ml_min", "flow_max_ml_min")
POLARITIES = ("positive", "negative")


def filed_before(request_id: UUID | None, battery: Any = None) -> Experiment | None:
    """Return what this very request filed already (for ``battery``, where it files many), or None."""
    if request_id is None:
        return None
    rows = Experiment.objects.filter(request_id=request_id)
    if battery is not None:
        try:
            rows = rows.filter(battery=find(Battery, battery, "battery"))
        except Refused:
            return None
    return rows.select_related("battery", "station", "profile_version__profile").first()


def check_same(before: Experiment, body: Mapping[str, Any], columns: Iterable[str] = FIXED) -> None:
    """Let nobody take what a request filed before for what the same ``request_id`` asks for now.

    Raises:
        Refused: the profile, the station or one of ``columns`` is another one.
    """
    asked = {
        "profile": (_uuid(body.get("profile")), str(before.profile.uuid)),
        **{column: (_as_filed(column, body.get(column)), getattr(before, column)) for column in columns},
    }
    if body.get("station_query") is None and before.station_query is None:
        asked["station"] = (_uuid(body.get("station")), _uuid(before.station))
    else:
        asked["station_query"] = (body.get("station_query"), before.station_query)
    other = [name for name, (now, then) in asked.items() if now != then]
    if other:
        message = (
            f"The same request filed {before.name} already, with another {other[0]}. "
            "To file this too, send it as a new request."
        )
        raise Refused.one(message, "request_id")


def _uuid(row: Any) -> str:
    return str(getattr(row, "uuid", row))


def _as_filed(column: str, given: Any) -> Any:
    if given is None:
        return Experiment._meta.get_field(column).get_default()
    return given.strip() if isinstance(given, str) else given


def file(
    by: Person | None,
    *,
    origin: Experiment | None = None,
    request_id: UUID | None = None,
    **body: Any,
) -> Experiment:
    """File an experiment as ``queued``; battery, profile and station as rows or UUIDs.

    With a ``request_id`` that came before for this battery nothing is filed: the experiment of then is
    returned, also when both come at the same moment.

    Steps: 1. every field; 2. ``load``: record the battery as put in; 3. the contract, computed as it
    will be at the start: with the station, or with each that the query means, of which one must fit;
    4. the size of the message to the unit; 5. row, event, audit.

    Raises:
        NotAllowed: the role is too low.
        Refused: every error with its field, or its step and limit; ``request_id``: it filed another one.
    """
    require(by, Role.OPERATOR, "file an experiment")
    before = filed_before(request_id, body.get("battery"))
    if before is None:
        try:
            return _file(by, origin, request_id, body)
        except (Refused, IntegrityError):
            # The same request at the same moment was faster; also what it loaded may stand in the way here.
            before = filed_before(request_id, body.get("battery"))
            if before is None:
                raise
    check_same(before, body)
    return before


@atomic
def _file(
    by: Person | None, origin: Experiment | None, request_id: UUID | None, body: Mapping[str, Any]
) -> Experiment:
    errors = problems(body)
    if errors:
        raise Refused(errors)
    experiment = _row(by, body, origin)
    experiment.request_id = request_id
    if experiment.temperature_waiver:
        _waive(by, experiment, origin)
    if experiment.load and experiment.station:
        cells.load(by, experiment.battery, experiment.station)
        experiment.battery.refresh_from_db()
    station, contract = _fitting(experiment, long_delays=by is None or by.may(Role.MANAGER))
    large = start.too_large(start.arguments(experiment, station, contract))
    if large:
        raise Refused([large])
    experiment.capacity_ah = contract.capacity_ah
    experiment.queued_because = "waits for its turn"
    experiment.save()
    add_event(experiment, "status", f"{experiment.name}: queued", status="queued")
    if experiment.temperature_waiver:
        _note_waiver(experiment)
    audit.record(by, "experiment.file", experiment, origin=str(origin.uuid) if origin else None)
    return experiment


def _waive(by: Person | None, experiment: Experiment, origin: Experiment | None) -> None:
    """Note who lets it run without a sensor at the cell: a manager, with a reason (safety.md rule 16).

    A copy on the same battery and station keeps the waiver of the one that it is a copy of.

    Raises:
        NotAllowed: the role is too low.
    """
    same = origin is not None and (
        origin.temperature_waiver == experiment.temperature_waiver
        and origin.battery_id == experiment.battery_id
        and origin.station_id == experiment.station_id
    )
    if same and origin is not None:
        experiment.temperature_waived_by = origin.temperature_waived_by
        return
    require(by, Role.MANAGER, "waive the sensor at the cell")
    experiment.temperature_waived_by = by


def _note_waiver(experiment: Experiment) -> None:
    person = experiment.temperature_waived_by
    name = person.get_username() if person else audit.NOBODY
    text = f"{name} waived the sensor at the cell: {experiment.temperature_waiver}"
    add_event(experiment, "note", text, person=name)
    audit.record(person, "experiment.waive_temperature", experiment, reason=experiment.temperature_waiver)


def problems(body: Mapping[str, Any]) -> list[fields.Error]:
    """Return everything wrong with single fields of ``body``."""
    errors = [
        *fields.unknown(body, FIELDS, "experiment"),
        *fields.name(body),
        *fields.texts(body, _TEXTS),
        *fields.tags(body),
        *fields.numbers(body, [*_NUMBERS, "priority"]),
        *_choices(body),
        *_record(body.get("record")),
    ]
    if body.get("station") is not None and body.get("station_query") is not None:
        errors.append(fields.error("station", "Give a station or a station_query, not both."))
    if body.get("station") is None and body.get("station_query") is None:
        errors.append(fields.error("station", "Choose a station, or give a station_query."))
    if body.get("station_query") is not None:
        errors += stations.problems(body["station_query"])
        if body.get("load"):
            errors.append(
                fields.error("load", "Only with a station: into which one did you put the battery?")
            )
    for needed in ("battery", "profile"):
        if not body.get(needed):
            errors.append(fields.error(needed, f"Choose a {needed}."))
    return errors or _ranges(body)


def _choices(body: Mapping[str, Any]) -> list[fields.Error]:
    errors = [
        fields.error(field, f"Unknown {field} {body[field]!r}; use one of {', '.join(allowed)}.")
        for field, allowed in _POLICIES.items()
        if field in body and body[field] not in allowed
    ]
    for field in ("load", "rest_voltage_confirmed"):
        if not isinstance(body.get(field, False), bool):
            errors.append(fields.error(field, f"{field} is true or false."))
    if body.get("contact_policy") in ("finish_step", "off") and body.get("off_after_s") is None:
        # safety.md rule 9: without a time nothing would bound how long it runs alone.
        errors.append(
            fields.error(
                "off_after_s", f"Say after how many seconds without server: {body['contact_policy']}."
            )
        )
    priority = body.get("priority", 0)
    if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > 1_000_000:
        errors.append(fields.error("priority", "priority is a whole number; higher goes first."))
    return errors


def _ranges(body: Mapping[str, Any]) -> list[fields.Error]:
    errors = []
    soc = body.get("initial_soc_percent")
    if soc is not None and not 0 <= soc <= 100:
        errors.append(fields.error("initial_soc_percent", "initial_soc_percent is 0 to 100."))
    for field in ("off_after_s", "resume_within_s"):
        if body.get(field) is not None and body[field] <= 0:
            errors.append(fields.error(field, f"{field} must be above 0 s."))
    return errors


def _record(given: Any) -> list[fields.Error]:
    if given is None:
        return []
    if isinstance(given, dict):
        unknown = fields.unknown(given, Record.__struct_fields__, "recording rule")
        if unknown:
            return [{**error, "field": f"record.{error['field']}"} for error in unknown]
    try:
        rule = msgspec.convert(given, Record)
    except msgspec.ValidationError as error:
        return [fields.error("record", f"record: {error}")]
    return [] if rule.every_s > 0 else [fields.error("record.every_s", "every_s must be above 0 s.")]


def _electrolyte(given: Any, battery: Battery) -> list[fields.Error]:
    """Return errors of the electrolyte: for redox stacks only, inside sensible bounds."""
    if given is None:
        return []
    if battery.technology != Battery.Technology.REDOX_STACK:
        return [
            fields.error("electrolyte", f"{battery.name} is {battery.get_technology_display()}; it has none.")
        ]
    if not isinstance(given, dict):
        return [fields.error("electrolyte", "electrolyte is an object.")]
    errors = [
        *fields.unknown(given, ("polarity", *ELECTROLYTE), "electrolyte"),
        *fields.numbers(given, ELECTROLYTE),
    ]
    if given.get("polarity") is not None and given["polarity"] not in POLARITIES:
        errors.append(fields.error("polarity", f"polarity is one of {', '.join(POLARITIES)}."))
    if not errors:
        errors += [
            fields.error(field, f"{field} must not be negative.")
            for field in ELECTROLYTE
            if given.get(field) is not None and given[field] < 0
        ]
        errors += fields.in_order(given, "flow_min_ml_min", "flow_max_ml_min", strict=False)
    return [{**error, "field": f"electrolyte.{error['field']}"} for error in errors]


def _row(by: Person | None, body: Mapping[str, Any], origin: Experiment | None) -> Experiment:
    """Return the unsaved row, with what it refers to."""
    battery = find(Battery, body["battery"], "battery")
    profile = find(Profile, body["profile"], "profile")
    station = find(Station, body["station"], "station") if body.get("station") is not None else None
    errors = [
        fields.error(field, f"{item} is retired.")
        for field, item in (("battery", battery), ("profile", profile), ("station", station))
        if item is not None and item.retired_at
    ]
    errors += _electrolyte(body.get("electrolyte"), battery)
    if battery.quarantined:
        errors.append(fields.error("battery", quarantine.sentence(battery)))
    if errors:
        raise Refused(errors)
    given = {column: body[column] for column in COLUMNS if body.get(column) is not None}
    given["name"] = body["name"].strip()
    if "temperature_waiver" in given:
        given["temperature_waiver"] = given["temperature_waiver"].strip()
    return Experiment(
        owner=by,
        origin=origin,
        battery=battery,
        profile_version=_version(profile, body.get("profile_version")),
        station=station,
        station_query=body.get("station_query"),
        **given,
    )


def _version(profile: Profile, number: Any) -> ProfileVersion:
    if number is None:
        return profile.latest
    version = profile.versions.filter(number=number).first() if isinstance(number, int) else None
    if version is None:
        raise Refused.one(f"{profile.name} has no version {number!r}.", "profile_version")
    return version


def _fitting(experiment: Experiment, *, long_delays: bool) -> tuple[Station, Contract]:
    """Return the station, or the first that the query means and that fits, with its contract."""
    profile = start.definition(experiment)
    given: dict[str, Any] = {
        "initial_soc_percent": experiment.initial_soc_percent,
        "long_delays": long_delays,
        "temperature_waiver": experiment.temperature_waiver,
    }
    if experiment.station is not None:
        contract = draw_up(experiment.battery, experiment.station, profile, **given)
        if not contract.fits:
            raise Refused(contract.errors)
        return experiment.station, contract
    candidates = stations.meant(experiment.station_query or {})
    if not candidates:
        raise Refused.one("No station is as the query asks.", "station_query")
    why_not = []
    for station in candidates:
        contract = draw_up(experiment.battery, station, profile, **given)
        if contract.fits:
            return station, contract
        why_not += [{**error, "message": f"{station.name}: {error['message']}"} for error in contract.errors]
    raise Refused(why_not)
