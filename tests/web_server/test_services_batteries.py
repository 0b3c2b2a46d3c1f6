"""Batteries: their limits make sense together, and they are in one place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.web_server import factories
from web_server.accounts.models import AuditEntry, Person
from web_server.cells import quarantine, services
from web_server.experiments import services as experiments
from web_server.lab.models import Station
from web_server.lib.errors import NotAllowed, Refused

REDOX = {"electrode_size_cm2": 25.0, "membrane_type": "Nafion 117", "electrolyte_type": "vanadium"}


def _errors(**body: Any) -> dict[str, str]:
    errors: dict[str, str] = {}
    for error in services.problems(factories.battery_body(**body)):
        errors[error["field"]] = errors.get(error["field"], "") + error["message"]
    return errors


def test_a_sound_body_has_no_problems() -> None:
    assert _errors() == {}


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({"cell_voltage_min_v": 4.3}, "cell_voltage_min_v", "cell_voltage_min_v (4.3) must be below"),
        ({"voltage_min_v": 5.0, "voltage_max_v": 4.0}, "voltage_min_v", "must be below voltage_max_v (4)"),
        ({"voltage_min_v": 4.25}, "voltage_min_v", "4.25 V is not below its upper limit 4.2 V"),
        ({"cell_voltage_min_v": None}, "voltage_min_v", "voltage_min_v or cell_voltage_min_v"),
        ({"cell_voltage_max_v": None}, "voltage_max_v", "voltage_max_v or cell_voltage_max_v"),
        ({"voltage_abs_max_v": 4.1}, "voltage_abs_max_v", "below the upper limit 4.2 V"),
        ({"voltage_abs_min_v": 3.1}, "voltage_abs_min_v", "above the lower limit 3 V"),
        ({"current_min_a": 1.0}, "current_min_a", "zero or negative"),
        ({"current_max_a": -1.0}, "current_max_a", "zero or positive"),
        ({"current_min_a": None}, "current_min_a", "nothing bounds the current"),
        ({"temperature_min_c": 60, "temperature_max_c": 0}, "temperature_min_c", "must be below"),
        ({"voltage_max_v": float("nan")}, "voltage_max_v", "finite number"),
        ({"voltage_max_v": "4.2"}, "voltage_max_v", "finite number"),
        ({"cells_in_series": 0}, "cells_in_series", "1 to 1000"),
        ({"hazard_level": 8}, "hazard_level", "EUCAR"),
        ({"name": " "}, "name", "name"),
        ({"colour": "red"}, "colour", "no field"),
        ({"technology": "nickel"}, "technology", "lithium, lead_acid, redox_stack"),
        (
            {"lithium": {"capacity_ah": 1, "chemistry": "NiMH"}},
            "lithium.chemistry",
            "NMC, NCA, LMO, LFP, LCO, Other",
        ),
        ({"lithium": {"capacity_ah": 0, "chemistry": "NMC"}}, "lithium.capacity_ah", "above 0"),
        ({"lithium": None}, "lithium", "capacity_ah, chemistry"),
        ({"redox_stack": REDOX}, "redox_stack", "no part"),
        ({"manufactured_on": "yesterday"}, "manufactured_on", "a date like"),
        ({"tags": "one"}, "tags", "list"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], field: str, said: str) -> None:
    assert said in _errors(**body)[field]


def test_a_pack_takes_the_tighter_limit_and_the_missing_one_from_its_cells() -> None:
    assert _errors(cells_in_series=4, voltage_max_v=16.8) == {}
    crossed = _errors(cells_in_series=4, voltage_max_v=11.0)
    assert "12 V is not below its upper limit 11 V" in crossed["voltage_min_v"]


@pytest.mark.parametrize(
    ("technology", "part"),
    [
        ("lithium", {"capacity_ah": 5.0, "chemistry": "LFP"}),
        ("lead_acid", {"capacity_ah": 44.0, "chemistry": "Gel"}),
        ("redox_stack", REDOX),
    ],
)
def test_each_technology_has_its_own_fields(operator: Person, technology: str, part: dict[str, Any]) -> None:
    body = {**factories.battery_body(), "technology": technology}
    body.pop("lithium")
    battery = services.add(operator, **body, **{technology: part})
    for field, entry in part.items():
        assert getattr(battery.detail, field) == entry
    assert battery.capacity_ah == part.get("capacity_ah")


def test_all_errors_come_at_once(operator: Person) -> None:
    with pytest.raises(Refused) as refused:
        services.add(operator, **factories.battery_body(name="", current_min_a=2.0, hazard_level=9))
    assert {error["field"] for error in refused.value.errors} >= {"name", "current_min_a", "hazard_level"}


def test_names_and_serial_numbers_are_taken_once(operator: Person) -> None:
    services.add(operator, **factories.battery_body("B1", manufacturer="LG", model="M50T", serial_number="7"))
    with pytest.raises(Refused, match="B1"):
        services.add(operator, **factories.battery_body("B1"))
    with pytest.raises(Refused, match="maker, model and serial number"):
        services.add(
            operator, **factories.battery_body("B2", manufacturer="LG", model="M50T", serial_number="7")
        )


def test_a_viewer_adds_nothing(viewer: Person) -> None:
    with pytest.raises(NotAllowed):
        services.add(viewer, **factories.battery_body())


def test_a_change_keeps_the_rest_and_is_audited(operator: Person) -> None:
    battery = services.add(operator, **factories.battery_body())
    services.change(operator, battery, current_max_a=0.8, lithium={"chemistry": "NCA"})
    assert (battery.current_max_a, battery.current_min_a) == (0.8, -1.0)
    assert (battery.lithium.chemistry, battery.lithium.capacity_ah) == ("NCA", 0.05)
    changed = AuditEntry.objects.latest("id").detail["changed"]
    assert changed["current_max_a"] == [1.0, 0.8]


def test_the_technology_changes_only_before_the_first_experiment(small_lab: SimpleNamespace) -> None:
    free = factories.make_battery("B2")
    services.change(
        small_lab.operator,
        free,
        technology="lead_acid",
        lead_acid={"capacity_ah": 2.0, "chemistry": "Liquid"},
    )
    assert free.capacity_ah == 2.0
    factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station)
    with pytest.raises(Refused, match="technology stays"):
        services.change(small_lab.operator, small_lab.battery, technology="lead_acid")


def test_loading_says_who_and_when(small_lab: SimpleNamespace) -> None:
    battery = small_lab.battery
    assert battery.station == small_lab.station
    assert battery.loaded_by == small_lab.operator
    assert battery.loaded_at is not None
    assert AuditEntry.objects.filter(act="battery.load", item_uuid=battery.uuid).exists()


def test_a_battery_is_in_one_station_and_a_station_holds_one(small_lab: SimpleNamespace) -> None:
    second = factories.make_station(small_lab.unit, "S2")
    with pytest.raises(Refused, match="B1 is in S1; eject it"):
        services.load(small_lab.operator, small_lab.battery, second)
    with pytest.raises(Refused, match="S1 holds B1"):
        services.load(small_lab.operator, factories.make_battery("B2"), small_lab.station)


def test_loading_where_it_is_already_is_no_error(small_lab: SimpleNamespace) -> None:
    assert services.load(small_lab.operator, small_lab.battery, small_lab.station) == small_lab.battery


def test_nothing_is_ejected_while_an_experiment_has_it(small_lab: SimpleNamespace) -> None:
    factories.make_experiment(small_lab.battery, small_lab.profile, small_lab.station)
    started = experiments.start_next(small_lab.station)
    assert started is not None
    with pytest.raises(Refused, match="stop it first"):
        services.eject(small_lab.operator, small_lab.battery)
    experiments.set_status(started, "stopped", {"code": "stopped", "text": "stopped"})
    assert services.eject(small_lab.operator, small_lab.battery).station is None


def test_nothing_is_ejected_while_the_output_may_be_on(small_lab: SimpleNamespace) -> None:
    Station.objects.filter(pk=small_lab.station.pk).update(state="unsafe")
    with pytest.raises(Refused, match="may be on"):
        services.eject(small_lab.operator, small_lab.battery)


def test_a_viewer_neither_loads_nor_ejects(small_lab: SimpleNamespace, viewer: Person) -> None:
    for act in (
        lambda: services.load(viewer, small_lab.battery, small_lab.station),
        lambda: services.eject(viewer, small_lab.battery),
    ):
        with pytest.raises(NotAllowed):
            act()


def test_a_retired_battery_is_not_loaded(operator: Person, station: Station) -> None:
    battery = services.retire(operator, factories.make_battery())
    with pytest.raises(Refused, match="retired"):
        services.load(operator, battery, station)


def test_an_inspection_ends_a_quarantine_and_needs_a_note(operator: Person) -> None:
    battery = factories.make_battery()
    quarantine.put(battery, "over voltage")
    with pytest.raises(Refused, match="what you saw"):
        quarantine.inspect(operator, battery, " ")
    seen = quarantine.inspect(operator, battery, "no swelling")
    battery.refresh_from_db()
    assert not battery.quarantined
    assert (seen.by, seen.by_name, seen.reason, seen.note) == (
        operator,
        "otto",
        "over voltage",
        "no swelling",
    )
