"""What a unit's events mean for the battery: quarantine, resistance; and where its black box goes."""

from __future__ import annotations

import json
import uuid
from types import SimpleNamespace
from typing import Any

from tests.web_server import factories
from web_server.cells import services as cells
from web_server.experiments import progress_from_unit, services
from web_server.experiments.models import Alarm, BlackBox, Event, Experiment
from wire import messages

AT = "2026-05-01T12:00:00+00:00"


def _running(lab: SimpleNamespace) -> Experiment:
    run = factories.make_experiment(lab.battery, lab.profile, lab.station)
    services.set_status(run, "starting", active_station=lab.station, active_battery=lab.battery)
    services.set_status(run, "running")
    return run


def _tell(lab: SimpleNamespace, *events: messages.Event, spool: str = "", first: int = 1) -> Any:
    batch = messages.EventBatch(spool=spool or str(uuid.uuid4()), first_seq=first, events=list(events))
    return progress_from_unit.store(lab.unit, batch)


def _alarm(lab: SimpleNamespace, experiment: Experiment | None = None, **detail: Any) -> messages.Event:
    told = {"id": str(uuid.uuid4()), "code": "limit", "class": "trip", **detail}
    return messages.Event(
        at=AT,
        kind="alarm",
        text="voltage 4.24 V is above the trip limit of 4.23 V",
        station=str(lab.station.uuid),
        experiment=str(experiment.uuid) if experiment else None,
        detail=told,
    )


def test_a_trip_that_the_unit_blames_on_the_battery_quarantines_it(small_lab: SimpleNamespace) -> None:
    _tell(small_lab, _alarm(small_lab, _running(small_lab), quarantine=True))
    small_lab.battery.refresh_from_db()
    assert small_lab.battery.quarantined
    assert "above the trip limit" in small_lab.battery.quarantine_reason
    assert small_lab.battery.quarantined_at is not None


def test_a_trip_at_rest_quarantines_the_battery_that_is_loaded(small_lab: SimpleNamespace) -> None:
    _tell(small_lab, _alarm(small_lab, quarantine=True))
    small_lab.battery.refresh_from_db()
    assert small_lab.battery.quarantined


def test_any_other_trip_quarantines_nothing(small_lab: SimpleNamespace) -> None:
    _tell(small_lab, _alarm(small_lab, _running(small_lab), code="missing"))
    small_lab.battery.refresh_from_db()
    assert not small_lab.battery.quarantined


def test_a_unit_speaks_for_its_own_batteries_alone(small_lab: SimpleNamespace) -> None:
    other = factories.make_station(factories.make_unit("unit 2"), "S2")
    foreign = factories.make_battery("B2")
    cells.load(small_lab.operator, foreign, other)
    _tell(small_lab, _alarm(small_lab, quarantine=True, battery=str(foreign.uuid)))
    foreign.refresh_from_db()
    assert not foreign.quarantined


def test_an_alarm_that_comes_again_does_not_undo_an_inspection(small_lab: SimpleNamespace) -> None:
    from web_server.cells import quarantine

    told = _alarm(small_lab, quarantine=True)
    _tell(small_lab, told)
    quarantine.inspect(small_lab.operator, small_lab.battery, "fine")
    _tell(small_lab, told)
    small_lab.battery.refresh_from_db()
    assert not small_lab.battery.quarantined
    assert Alarm.objects.count() == 1


def test_the_first_resistance_is_kept(small_lab: SimpleNamespace) -> None:
    run = _running(small_lab)

    def told(ohm: Any) -> messages.Event:
        detail = {"status": "running", "resistance_ohm": ohm}
        return messages.Event(at=AT, kind="status", text="running", experiment=str(run.uuid), detail=detail)

    _tell(small_lab, told("much"), told(-1.0), told(0.21))
    _tell(small_lab, told(0.4))
    small_lab.battery.refresh_from_db()
    assert small_lab.battery.resistance_ohm == 0.21
    assert small_lab.battery.resistance_at is not None


def test_a_black_box_is_stored_once_and_apart_from_the_events(small_lab: SimpleNamespace) -> None:
    alarm = _alarm(small_lab)
    box = messages.Event(
        at=AT,
        kind="black_box",
        text="black box",
        station=str(small_lab.station.uuid),
        detail={
            "alarm": alarm.detail["id"],
            "part": 1,
            "parts": 1,
            "exchanges": [{"device": "psb", "at": AT, "to": True, "text": "OUTP OFF"}],
            "readings": {"columns": {"voltage_v": [4.24]}},
        },
    )
    spool = str(uuid.uuid4())
    _tell(small_lab, alarm, box, spool=spool)
    again = _tell(small_lab, box, spool=spool, first=2)
    assert again.new == 0
    stored = BlackBox.objects.get()
    assert str(stored.alarm) == alarm.detail["id"]
    assert json.loads(stored.body)["exchanges"][0]["text"] == "OUTP OFF"
    assert not Event.objects.filter(kind="black_box").exists()
    # What follows a black box is no gap.
    note = messages.Event(at=AT, kind="note", text="after", station=str(small_lab.station.uuid))
    assert _tell(small_lab, note, spool=spool, first=3).new == 1
