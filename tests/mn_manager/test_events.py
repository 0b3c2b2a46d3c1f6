"""Events: each exactly once, with what it means for experiment, steps and alarms."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import msgspec
import pytest

from cycling.reading import EndReason
from cycling.reading import StepRow as RunStep
from mn_manager import receive
from tests.mn_manager.conftest import Bridge, batch, event
from tests.web_server import factories
from web_server.experiments.models import Alarm, Event, Experiment, Status, StepRow
from web_server.measurements.models import CycleRow
from wire import messages

Make = Callable[..., messages.EventBatch]
REASON = {"code": "finished", "text": "all steps are done"}


def step_row(step_count: int = 1, mode: str = "cc", **more: object) -> dict[str, object]:
    """Return a step row as a unit sends it."""
    row = RunStep(
        step=step_count,
        step_count=step_count,
        label="charge",
        tags=["rpt"],
        cycle=1,
        mode=mode,
        started_us=1_700_000_000_000_000,
        duration_s=61.0,
        voltage_start_v=3.5,
        voltage_end_v=3.7,
        current_end_a=0.5,
        charge_in_ah=0.01,
        charge_out_ah=0.0,
        energy_in_wh=0.035,
        energy_out_wh=0.0,
        temperature_max_c=None,
        dcir=[],
        end_reason=EndReason(code="time_s", text="60 s are over"),
    )
    return dict(msgspec.to_builtins(row)) | more


def test_a_run_is_followed_from_running_to_its_end(
    bridge: Bridge, experiment: Experiment, events: Make
) -> None:
    unit = experiment.station.unit
    bridge.unit_says(unit, "events", events(event("status", experiment, status="running")))
    experiment.refresh_from_db()
    assert experiment.status == Status.RUNNING
    assert experiment.started_at is not None
    bridge.unit_says(
        unit,
        "events",
        events(
            event("step", experiment, row=step_row()),
            event("status", experiment, status="finished", end_reason=REASON, last_seq=42),
        ),
    )
    experiment.refresh_from_db()
    assert (experiment.status, experiment.last_seq, experiment.end_reason) == ("finished", 42, REASON)
    assert experiment.active_station is None
    assert StepRow.objects.get(experiment=experiment).end_reason["code"] == "time_s"
    assert [ack["events"]["through"] for ack in bridge.link.take("/acks")] == [1, 3]
    told = Event.objects.filter(experiment=experiment, kind="status").values_list("detail__status", flat=True)
    assert list(told)[-3:] == ["starting", "running", "finished"]


def test_the_same_events_again_do_nothing_and_are_acknowledged(
    bridge: Bridge, experiment: Experiment, events: Make
) -> None:
    told = events(
        event("status", experiment, status="running"), event("alarm", experiment, id=str(uuid.uuid4()))
    )
    for _ in range(3):
        bridge.unit_says(experiment.station.unit, "events", told)
    assert Event.objects.exclude(spool=None).count() == 2
    assert Alarm.objects.count() == 1
    assert len(bridge.link.take("/acks")) == 3


def test_a_batch_that_overlaps_adds_only_its_new_events(
    bridge: Bridge, experiment: Experiment, events: Make
) -> None:
    unit = experiment.station.unit
    bridge.unit_says(unit, "events", events(event("note", experiment), event("note", experiment)))
    bridge.unit_says(unit, "events", events(*[event("note", experiment)] * 3, first_seq=1))
    stored = Event.objects.exclude(spool=None).values_list("spool_seq", flat=True)
    assert list(stored) == [1, 2, 3]


def test_events_after_a_gap_wait_for_those_before(
    bridge: Bridge, experiment: Experiment, events: Make
) -> None:
    unit = experiment.station.unit
    bridge.unit_says(unit, "events", events(event("note", experiment), first_seq=5))
    assert bridge.link.take("/acks") == [], "an acknowledgement would delete 1 to 4 on the unit"
    bridge.unit_says(unit, "events", events(*[event("note", experiment)] * 5, first_seq=1))
    assert bridge.link.take("/acks")[0]["events"]["through"] == 5


def test_a_gap_that_nothing_fills_is_taken_in_the_end(
    bridge: Bridge, experiment: Experiment, events: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive, "GAP_FOR_EVER_S", -1.0)
    told = events(event("note", experiment), first_seq=900)
    bridge.unit_says(experiment.station.unit, "events", told)
    bridge.unit_says(experiment.station.unit, "events", told)
    assert bridge.link.take("/acks")[0]["events"]["through"] == 900


def test_a_trip_becomes_an_alarm_and_an_error_with_its_cause(
    bridge: Bridge, experiment: Experiment, events: Make
) -> None:
    latch = str(uuid.uuid4())
    reason = {"code": "limit", "text": "voltage 4.31 V above 4.30 V", "limit": 4.3, "measured": 4.31}
    bridge.unit_says(
        experiment.station.unit,
        "events",
        events(
            event("status", experiment, status="running"),
            event("alarm", experiment, reason["text"], id=latch, code="limit", limit=4.3, measured=4.31),
            event("status", experiment, status="error", end_reason=reason, last_seq=7),
        ),
    )
    alarm = Alarm.objects.get(uuid=latch)
    assert (alarm.state, alarm.limit, alarm.measured, alarm.station) == (
        "raised",
        4.3,
        4.31,
        experiment.station,
    )
    assert (alarm.severity, alarm.experiment) == ("trip", experiment)
    experiment.refresh_from_db()
    assert (experiment.status, experiment.error) == ("error", reason["text"])


def test_nothing_leaves_a_final_status(bridge: Bridge, experiment: Experiment, events: Make) -> None:
    unit = experiment.station.unit
    bridge.unit_says(unit, "events", events(event("status", experiment, status="running")))
    bridge.unit_says(unit, "events", events(event("status", experiment, status="stopped", end_reason=REASON)))
    bridge.unit_says(unit, "events", events(event("status", experiment, status="running")))
    experiment.refresh_from_db()
    assert experiment.status == Status.STOPPED


def test_a_unit_cannot_speak_for_experiments_of_another(
    bridge: Bridge, experiment: Experiment, events: Make
) -> None:
    stranger = factories.make_unit("stranger")
    bridge.leases.renew()
    bridge.unit_says(stranger, "events", events(event("status", experiment, status="error")))
    experiment.refresh_from_db()
    assert experiment.status == Status.STARTING
    assert bridge.counters.dropped["unusable"] == 2, "its station and its experiment"
    assert bridge.link.take("/acks"), "the rest of its spool must not be held up"


@pytest.mark.parametrize(
    "row", [{"step": 1}, "text", None, step_row() | {"step": -1}, step_row() | {"flags": 2**70}]
)
def test_a_step_row_that_cannot_be_stored_is_counted_and_its_event_kept(
    bridge: Bridge, experiment: Experiment, events: Make, row: object
) -> None:
    told = events(event("step", experiment, row=row))
    bridge.unit_says(experiment.station.unit, "events", msgspec.json.encode(msgspec.to_builtins(told)))
    assert not StepRow.objects.exists()
    assert bridge.counters.dropped["unusable"] == 1
    assert bridge.link.take("/acks")[0]["events"]["through"] == 1


def test_a_time_that_is_none_does_not_hold_up_the_spool(
    bridge: Bridge, experiment: Experiment, events: Make
) -> None:
    told = messages.Event(at="yesterday", kind="note", text="hm", experiment="no uuid", step=-5)
    bridge.unit_says(experiment.station.unit, "events", events(told))
    assert Event.objects.get(text="hm").step is None
    assert bridge.link.take("/acks")


def test_the_tags_of_steps_mark_their_cycle(bridge: Bridge, experiment: Experiment, events: Make) -> None:
    unit = experiment.station.unit
    bridge.unit_says(unit, "samples", batch(experiment))
    bridge.unit_says(unit, "events", events(event("step", experiment, row=step_row())))
    assert CycleRow.objects.get(experiment=experiment, cycle=1).tags == ["rpt"]


def test_a_rest_at_the_end_is_the_batterys_new_rest_voltage(
    bridge: Bridge, experiment: Experiment, events: Make
) -> None:
    unit, battery = experiment.station.unit, experiment.battery
    battery.last_rest_voltage_v = 3.3
    battery.save()
    bridge.unit_says(unit, "events", events(event("status", experiment, status="running")))
    battery.refresh_from_db()
    assert battery.last_rest_voltage_v is None, "while it runs the old one is no guide"
    bridge.unit_says(
        unit,
        "events",
        events(
            event("step", experiment, row=step_row(mode="rest")),
            event("status", experiment, status="finished", end_reason=REASON),
        ),
    )
    battery.refresh_from_db()
    assert battery.last_rest_voltage_v == 3.7
