"""What is typed is saved, or comes back whole with what is wrong at its place."""

import json

import pytest

from tests.web_server import factories
from web_server.cells.models import Battery
from web_server.experiments.models import Experiment
from web_server.lab.models import Station
from web_server.profiles.models import Profile

LITHIUM = {
    "name": "Cell 7",
    "technology": "lithium",
    "lithium-capacity_ah": "5",
    "lithium-chemistry": "NMC",
    "cell_voltage_min_v": "2.5",
    "cell_voltage_max_v": "4.2",
    "current_min_a": "-5",
    "current_max_a": "5",
    "tags": "ageing, 2026",
}
LEAD = {
    **LITHIUM,
    "name": "Pack",
    "technology": "lead_acid",
    "lead_acid-capacity_ah": "7.2",
    "lead_acid-chemistry": "Gel",
    "cells_in_series": "6",
}
REDOX = {
    **LITHIUM,
    "name": "Stack",
    "technology": "redox_stack",
    "redox_stack-electrode_size_cm2": "100",
    "redox_stack-membrane_type": "Nafion",
}
STEPS = [{"kind": "cc", "current_a": 0.5, "end": [{"quantity": "voltage_v", "value": 4.1}]}]


@pytest.fixture
def by(operator, client):
    client.force_login(operator)
    return operator


@pytest.mark.parametrize("typed", [LITHIUM, LEAD, REDOX], ids=lambda typed: typed["technology"])
def test_a_battery_of_each_technology_is_recorded(typed, by, client):
    answer = client.post("/batteries/new/", typed)
    battery = Battery.objects.get(name=typed["name"])
    assert answer.status_code == 302
    assert answer["Location"].startswith(f"/batteries/{battery.uuid}/")
    assert battery.technology == typed["technology"]
    assert battery.detail is not None
    assert battery.tags == ["ageing", "2026"]


def test_a_battery_that_is_wrong_comes_back_as_it_was_typed(by, client):
    answer = client.post(
        "/batteries/new/", {**LITHIUM, "cell_voltage_min_v": "4.5", "description": "from the shelf"}
    )
    page = answer.content.decode()
    assert answer.status_code == 422
    assert 'value="4.5"' in page
    assert "from the shelf" in page
    assert "“Cell at least” (4.5) must be below “Cell at most” (4.2)" in page
    assert not Battery.objects.exists()


def test_an_error_of_the_technologys_own_part_stands_at_its_field(by, client):
    page = client.post("/batteries/new/", {**LITHIUM, "lithium-capacity_ah": "-1"}).content.decode()
    assert "“Capacity” must be above 0" in page
    assert 'value="-1"' in page


def test_a_number_that_is_none_is_named(by, client):
    page = client.post("/batteries/new/", {**LITHIUM, "current_max_a": "five"}).content.decode()
    assert "Enter a number" in page
    assert 'value="five"' in page


def test_a_battery_is_changed_and_its_limits_can_be_taken_out(by, client):
    battery = factories.make_battery("B1", temperature_max_c=45.0)
    typed = {**LITHIUM, "name": "B1", "temperature_max_c": ""}
    assert client.post(f"/batteries/{battery.uuid}/edit/", typed).status_code == 302
    battery.refresh_from_db()
    assert battery.temperature_max_c is None
    assert battery.cell_voltage_min_v == 2.5


def test_a_profile_is_saved_and_changed_as_the_next_version(by, client):
    typed = {"name": "P", "definition": json.dumps({"steps": STEPS, "stop": {"run_s": 100, "when": "now"}})}
    assert client.post("/profiles/new/", typed).status_code == 302
    profile = Profile.objects.get(name="P")
    typed["definition"] = json.dumps({"steps": STEPS})
    assert client.post(f"/profiles/{profile.uuid}/edit/", typed).status_code == 302
    profile.refresh_from_db()
    assert profile.version == 2
    assert not profile.latest.definition.get("stop"), "what the editor took out is out"


def test_a_profile_with_an_error_comes_back_with_the_step_named(by, client):
    definition = json.dumps({"steps": [{"kind": "cc", "current_a": 0.5}]})
    answer = client.post("/profiles/new/", {"name": "P", "definition": definition})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Step 1" in page
    assert "&quot;current_a&quot;: 0.5" in page


@pytest.mark.parametrize(
    "definition", ["{", "[1]", "", "[" * 5000], ids=["no JSON", "a list", "nothing", "too deep"]
)
def test_a_definition_that_is_none_is_refused_in_words(definition, by, client):
    answer = client.post("/profiles/new/", {"name": "P", "definition": definition})
    assert answer.status_code == 422
    assert not Profile.objects.exists()


def _ask(client, address: str, body) -> dict:
    return client.post(address, json.dumps(body), content_type="application/json").json()


def test_the_editor_is_told_errors_by_step_while_typing(by, client):
    found = _ask(
        client, "/profiles/check/", {"definition": {"name": "P", "steps": [{"kind": "cc", "current_a": 1}]}}
    )
    assert found["valid"] is False
    assert found["errors"][0]["step"] == 1


def test_the_editor_checks_against_the_chosen_battery(by, client):
    battery = factories.make_battery()
    steps = [{"kind": "cc", "current_a": 0.5, "end": [{"quantity": "voltage_v", "value": 4.5}]}]
    body = {"definition": {"name": "P", "steps": steps}, "battery": str(battery.uuid)}
    assert _ask(client, "/profiles/check/", body)["valid"] is False


@pytest.mark.parametrize("body", [None, [], {}, {"definition": 3}, {"definition": {}, "battery": "x"}])
def test_the_editors_questions_bear_nonsense(body, by, client):
    assert _ask(client, "/profiles/check/", body)["valid"] is False


def test_text_becomes_steps_and_back(by, client):
    steps = _ask(client, "/profiles/convert/", {"text": "WAIT, 60\nCC, 1.5, VOLTAGE, 4.2"})["definition"][
        "steps"
    ]
    assert [step["kind"] for step in steps] == ["rest", "cc"]
    written = _ask(client, "/profiles/convert/", {"definition": {"name": "P", "steps": steps}})
    assert "VOLTAGE, 4.2" in written["text"]


def test_an_error_in_the_text_names_its_line(by, client):
    found = _ask(client, "/profiles/convert/", {"text": "WAIT, 60\nJUMP, 3"})
    assert found["definition"] is None
    assert found["errors"][0]["line"] == 2


def test_an_experiment_is_filed_and_the_battery_recorded_as_put_in(by, client, station):
    battery, profile = factories.make_battery(), factories.make_profile()
    typed = {
        "battery": battery.uuid,
        "station": station.uuid,
        "profile": profile.uuid,
        "load": "on",
        "priority": "3",
    }
    answer = client.post("/experiments/new/", typed)
    experiment = Experiment.objects.get()
    assert answer["Location"].startswith(f"/experiments/{experiment.uuid}/")
    assert experiment.priority == 3
    assert experiment.name == "P1 on B1"
    battery.refresh_from_db()
    assert battery.station == station


def test_a_profile_is_written_on_the_page_of_the_new_experiment(by, client, station):
    battery = factories.make_battery()
    definition = json.dumps({"steps": STEPS})
    typed = {
        "battery": battery.uuid,
        "station": "any",
        "profile": "new",
        "profile_name": "Written here",
        "definition": definition,
    }
    assert client.post("/experiments/new/", typed).status_code == 302
    assert Experiment.objects.get().profile.name == "Written here"


def test_a_refused_experiment_saves_no_profile_and_keeps_what_was_typed(by, client, station):
    battery = factories.make_battery()
    steps = [{"kind": "cc", "current_a": 0.5, "end": [{"quantity": "voltage_v", "value": 9.5}]}]
    typed = {
        "battery": battery.uuid,
        "station": station.uuid,
        "profile": "new",
        "profile_name": "Too high",
        "definition": json.dumps({"steps": steps}),
        "description": "a long story",
    }
    answer = client.post("/experiments/new/", typed)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Step 1" in page
    assert "a long story" in page
    assert "9.5" in page
    assert not Profile.objects.exists()


def test_choosing_nothing_says_what_to_choose(by, client):
    page = client.post("/experiments/new/", {}).content.decode()
    for what in ("battery", "station", "profile"):
        assert f"Choose a {what}." in page


def test_a_profile_outside_the_common_limits_is_offered_disabled_with_the_reason(by, client, station):
    battery = factories.make_battery()
    factories.make_profile("Fits")
    steps = [{"kind": "cc", "current_a": 0.5, "end": [{"quantity": "voltage_v", "value": 9.5}]}]
    factories.make_profile("Too high", steps=steps)
    page = client.get(
        f"/experiments/new/fits/?battery={battery.uuid}&station={station.uuid}"
    ).content.decode()
    fits, _, rest = page.partition("Too high")
    assert "Fits" in fits, "what fits comes first"
    assert 'class="why">Step 1' in rest
    assert "disabled" in fits.rpartition("<label")[2]


def test_a_station_is_composed_from_the_devices_of_a_unit(manager, client):
    client.force_login(manager)
    unit = factories.make_unit()
    device = factories.make_device(unit, "0042")
    relays = factories.make_device(unit, "relays", model="esp32-relay-board")
    typed = {
        "name": "S9",
        f"role-{device.uuid}": "power",
        "sensing": "4",
        "limit-current_max_a": "2",
        "max_energy_wh": "12.5",
        "max_hazard_level": "4",
        f"role-{relays.uuid}": "isolator",
        f"output-{relays.uuid}-relay_0": "pump",
        f"output-{relays.uuid}-relay_0-on_trip": "0",
        f"all-{relays.uuid}": "on",
        "dead_man": "pump",
    }
    assert client.post(f"/stations/new/?unit={unit.uuid}", typed).status_code == 302
    station = Station.objects.get(name="S9")
    assert station.limits == {"current_max_a": 2.0}
    assert station.outputs == [
        {"name": "pump", "device": str(relays.uuid), "control": "relay_0", "on_trip": 0.0}
    ]
    assert (station.max_energy_wh, station.max_hazard_level, station.dead_man) == (12.5, 4, "pump")
    assert "roots_temperature_c" in [row.name for row in station.measures.all()]
    shown = client.get(f"/stations/{station.uuid}/edit/").content.decode()
    assert 'value="pump"' in shown
    assert "Power (it cannot drive a battery)" in shown, "what does not fit says why"
    typed["limit-current_max_a"] = "1"
    assert client.post(f"/stations/{station.uuid}/edit/", typed).status_code == 302
    station.refresh_from_db()
    assert station.version == 2
    # Taken out of the station; the names that it had come back from the form as they were.
    named = {
        f"measure-{relays.uuid}-{row.measure}": row.name for row in station.measures.filter(device=relays)
    }
    assert named
    without = {**typed, **named, f"role-{relays.uuid}": "", f"all-{relays.uuid}": "", "dead_man": ""}
    assert client.post(f"/stations/{station.uuid}/edit/", without).status_code == 302
    station.refresh_from_db()
    assert (station.outputs, station.measures.filter(device=relays).count()) == ([], 0)


def test_a_station_without_a_power_device_comes_back_with_the_reason(manager, client):
    client.force_login(manager)
    unit = factories.make_unit()
    answer = client.post(f"/stations/new/?unit={unit.uuid}", {"name": "S9", "sensing": "4"})
    assert answer.status_code == 422
    assert "needs a device with the role power" in answer.content.decode()
    assert 'value="S9"' in answer.content.decode()
