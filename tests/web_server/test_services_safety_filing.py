"""Filing by the safety rules: each refusal names what to change, and the start asks again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.web_server import factories
from web_server.accounts.models import AuditEntry, Person
from web_server.cells import quarantine
from web_server.cells import services as cells
from web_server.cells.models import Battery
from web_server.commands.models import Command
from web_server.experiments import services
from web_server.experiments.models import Experiment
from web_server.lab.models import Station
from web_server.lib.errors import NotAllowed, Refused


def _file(lab: SimpleNamespace, by: Person | None = None, **body: Any) -> Experiment:
    given = {"name": "E1", "battery": lab.battery, "profile": lab.profile, "station": lab.station}
    return services.file(by or lab.operator, **{**given, **body})


def _errors(lab: SimpleNamespace, **body: Any) -> dict[str, str]:
    with pytest.raises(Refused) as refused:
        _file(lab, **body)
    return {str(error["field"]): error["message"] for error in refused.value.errors}


def _battery(lab: SimpleNamespace, **columns: Any) -> None:
    Battery.objects.filter(pk=lab.battery.pk).update(**columns)


def _station(lab: SimpleNamespace, **columns: Any) -> None:
    Station.objects.filter(pk=lab.station.pk).update(**columns)


# --- rule 21: energy and class --------------------------------------------------------------------


def test_more_energy_than_the_station_may_hold_is_refused(small_lab: SimpleNamespace) -> None:
    _station(small_lab, max_energy_wh=10.0)
    _battery(small_lab, energy_wh=15.0)
    message = _errors(small_lab)["battery.energy_wh"]
    assert "15 Wh" in message
    assert "at most 10 Wh" in message
    assert "choose a station" in message


def test_energy_that_nobody_gave_is_worked_out_from_the_capacity(small_lab: SimpleNamespace) -> None:
    _station(small_lab, max_energy_wh=0.1)
    assert "0.21 Wh" in _errors(small_lab)["battery.energy_wh"]


def test_a_higher_hazard_level_than_the_station_may_hold_is_refused(small_lab: SimpleNamespace) -> None:
    _station(small_lab, max_hazard_level=3)
    assert "give B1's hazard_level" in _errors(small_lab)["battery.hazard_level"]
    _battery(small_lab, hazard_level=4)
    assert "hazard level 4; S1 takes at most 3" in _errors(small_lab)["battery.hazard_level"]
    _battery(small_lab, hazard_level=3)
    _file(small_lab)


def test_what_changed_since_the_filing_is_seen_at_the_start(small_lab: SimpleNamespace) -> None:
    filed = _file(small_lab)
    _station(small_lab, max_hazard_level=2)
    assert services.start_next(small_lab.station) is None
    filed.refresh_from_db()
    assert "hazard_level" in filed.queued_because
    assert filed.status == "queued"


# --- rule 16: temperature ---------------------------------------------------------------------------


def test_above_20_wh_without_a_sensor_at_the_cell_is_refused(small_lab: SimpleNamespace) -> None:
    _battery(small_lab, energy_wh=21.0)
    message = _errors(small_lab)["temperature_waiver"]
    assert "S1 has no sensor at the cell" in message
    assert "let a manager waive it" in message


def test_a_manager_may_waive_it_with_a_reason(small_lab: SimpleNamespace, manager: Person) -> None:
    _battery(small_lab, energy_wh=21.0)
    with pytest.raises(NotAllowed, match="manager"):
        _file(small_lab, temperature_waiver="short test")
    filed = _file(small_lab, by=manager, temperature_waiver=" thermal camera on it ")
    assert (filed.temperature_waiver, filed.temperature_waived_by) == ("thermal camera on it", manager)
    assert filed.events.filter(kind="note", text__contains="waived the sensor at the cell").exists()
    entry = AuditEntry.objects.get(act="experiment.waive_temperature")
    assert (entry.person, entry.detail["reason"]) == (manager, "thermal camera on it")
    started = services.start_next(small_lab.station)
    assert started == filed


def test_a_blank_reason_waives_nothing(small_lab: SimpleNamespace, manager: Person) -> None:
    _battery(small_lab, energy_wh=21.0)
    assert "temperature_waiver" in _errors(small_lab, by=manager, temperature_waiver="   ")


def test_a_copy_keeps_the_waiver_only_on_the_same_battery_and_station(
    small_lab: SimpleNamespace, manager: Person
) -> None:
    _battery(small_lab, energy_wh=21.0)
    filed = _file(small_lab, by=manager, temperature_waiver="camera")
    again = services.repeat(small_lab.operator, filed)
    assert (again.temperature_waiver, again.temperature_waived_by) == ("camera", manager)
    second = factories.make_station(small_lab.unit, "S2")
    with pytest.raises(Refused, match="no sensor at the cell"):
        services.repeat(small_lab.operator, filed, station=second)


def test_a_station_without_a_sensor_is_named_when_it_fits(small_lab: SimpleNamespace) -> None:
    from web_server.profiles.services import definition_of

    made = services.draw_up(small_lab.battery, small_lab.station, definition_of(small_lab.profile.latest))
    assert made.fits
    assert any("S1 has no sensor at the cell" in warning["message"] for warning in made.warnings)


# --- rule 15: charge budget ---------------------------------------------------------------------------


def test_without_capacity_something_else_must_bound_the_charge(small_lab: SimpleNamespace) -> None:
    body = factories.battery_body("Stack", energy_wh=5.0)
    body.pop("lithium")
    body |= {"technology": "redox_stack", "redox_stack": {"electrode_size_cm2": 25.0}}
    stack = cells.add(None, **body)
    with pytest.raises(Refused, match="q_abs_max_ah"):
        _file(small_lab, battery=stack)
    bounded = factories.make_profile("bounded", safety={"q_abs_max_ah": 0.5})
    _file(small_lab, battery=stack, profile=bounded)


# --- rule 7: quarantine ---------------------------------------------------------------------------------


def test_a_battery_in_quarantine_is_not_filed_before_an_inspection(small_lab: SimpleNamespace) -> None:
    quarantine.put(small_lab.battery, "voltage above its limit")
    assert "record an inspection" in _errors(small_lab)["battery"]
    quarantine.inspect(small_lab.operator, small_lab.battery, "no swelling, 3.71 V")
    _file(small_lab)
    seen = small_lab.battery.inspections.get()
    assert (seen.by_name, seen.note) == ("otto", "no swelling, 3.71 V")


# --- rule 9: contact ------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["finish_step", "off"])
def test_every_contact_policy_is_filed_and_sent(small_lab: SimpleNamespace, policy: str) -> None:
    _file(small_lab, contact_policy=policy, off_after_s=60.0)
    assert services.start_next(small_lab.station) is not None
    sent = Command.objects.get(kind="experiment.start").args
    assert (sent["contact_policy"], sent["off_after_s"]) == (policy, 60.0)


def test_a_drill_is_asked_of_the_unit_of_a_running_experiment_only(small_lab: SimpleNamespace) -> None:
    filed = _file(small_lab)
    with pytest.raises(Refused, match="only a running one"):
        services.drill(small_lab.operator, filed, seconds=30)
    services.start_next(small_lab.station)
    filed.refresh_from_db()
    services.set_status(filed, "running")
    command = services.drill(small_lab.operator, filed, seconds=30)
    assert (command.kind, command.args["seconds"], command.args["person"]) == ("station.drill", 30.0, "otto")
    with pytest.raises(Refused, match="1 to 3600"):
        services.drill(small_lab.operator, filed, seconds=0)


def test_viewers_drill_nothing(small_lab: SimpleNamespace, viewer: Person) -> None:
    with pytest.raises(NotAllowed):
        services.drill(viewer, _file(small_lab), seconds=30)


# --- rule 4: the pulse check ----------------------------------------------------------------------------


def test_the_first_start_records_the_resistance_and_later_ones_compare(small_lab: SimpleNamespace) -> None:
    filed = _file(small_lab)
    services.start_next(small_lab.station)
    first = Command.objects.get(kind="experiment.start")
    assert first.args["pulse"] == "record"
    filed.refresh_from_db()
    services.set_status(filed, "stopped")
    _battery(small_lab, resistance_ohm=0.2)
    _file(small_lab, name="E2")
    services.start_next(small_lab.station)
    second = Command.objects.filter(kind="experiment.start").latest("id")
    assert (second.args["pulse"], second.args["battery"]["resistance_ohm"]) == ("check", 0.2)


# --- rules 14 and 3: directions; steps that switch outputs --------------------------------------------------


def _profile(name: str, **step: Any) -> Any:
    end = [{"quantity": "time_s", "value": 5}]
    return factories.make_profile(name, steps=[{"kind": "rest", "end": end}, {"end": end, **step}])


def _problems(lab: SimpleNamespace, **body: Any) -> list[tuple[int | None, str | None, str]]:
    with pytest.raises(Refused) as refused:
        _file(lab, **body)
    return [(error.get("step"), error["field"], error["message"]) for error in refused.value.errors]


def test_a_step_against_the_stations_quadrant_is_refused_with_its_step(small_lab: SimpleNamespace) -> None:
    _station(small_lab, quadrants="charge")
    out = _profile("out", kind="cc", current_a=-0.2)
    found = [each for each in _problems(small_lab, profile=out) if each[1] == "direction"]
    assert found == [
        (2, "direction", "It would discharge, but the station can only charge: take another station.")
    ]
    _file(small_lab, profile=_profile("in", kind="cc", current_a=0.2))


def test_a_direction_that_nothing_ends_by_itself_is_refused_for_much_energy(
    small_lab: SimpleNamespace, operator: Person
) -> None:
    load = factories.make_device(small_lab.unit, "kel", model="rs-pro-kel103")
    sink = factories.make_station(
        small_lab.unit, "Sink", devices=[{"device": load, "role": "power"}], quadrants="discharge"
    )
    pack = factories.make_battery("Pack", energy_wh=8.0, lithium={"capacity_ah": 2.2, "chemistry": "NMC"})
    out = _profile("out", kind="cc", current_a=-0.2)
    [(step, field, message)] = _problems(small_lab, battery=pack, station=sink, profile=out)
    assert (step, field) == (2, "direction")
    assert "does not end a discharge by itself and the battery holds 8 Wh, more than 5 Wh" in message
    small = factories.make_battery("Small", energy_wh=4.0, lithium={"capacity_ah": 1.1, "chemistry": "NMC"})
    _file(small_lab, battery=small, station=sink, profile=out)
    Station.objects.filter(pk=sink.pk).update(unguarded_max_wh=10.0)
    _file(small_lab, battery=pack, station=sink, profile=out)


def test_an_output_beside_its_range_is_refused_with_its_step(small_lab: SimpleNamespace) -> None:
    chamber = factories.make_device(small_lab.unit, "ch1", model="chamber-modbus-int16")
    output = {"name": "oven", "device": str(chamber.uuid), "control": "set_point_c"}
    oven = factories.make_station(
        small_lab.unit,
        "Oven",
        devices=[
            {"device": factories.make_device(small_lab.unit, "77"), "role": "power"},
            {"device": chamber, "role": "auxiliary"},
        ],
        outputs=[{**output, "minimum": 10.0, "maximum": 60.0, "safe": 25.0}],
    )
    battery = factories.make_battery("In the oven")
    for name, outputs, said in (("hot", {"oven": 61.0}, "60"), ("none", {"pump": 1.0}, "no output pump")):
        profile = _profile(name, kind="cc", current_a=0.2, outputs=outputs)
        [(step, _, message)] = _problems(small_lab, battery=battery, station=oven, profile=profile)
        assert step == 2
        assert said in message
    fits = _profile("fits", kind="cc", current_a=0.2, outputs={"oven": 60.0})
    _file(small_lab, battery=battery, station=oven, profile=fits)
