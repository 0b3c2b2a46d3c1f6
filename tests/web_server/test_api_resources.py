"""Batteries, stations, units, profiles and experiments through the API: what programs rely on."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.web_server.api_lab import BATTERY, PROFILE, build, client_of
from web_server.accounts.models import AuditEntry
from web_server.commands.models import Command
from web_server.experiments import services as experiments
from web_server.experiments.models import Alarm, Experiment

pytestmark = pytest.mark.django_db


@pytest.fixture
def lab():
    return build()


class Api:
    """A program of somebody's."""

    def __init__(self, someone):
        self.client = client_of(someone)

    def get(self, address, **query):
        return self.client.get(f"/api/v1/{address}", query)

    def post(self, address, body=None):
        return self.client.post(f"/api/v1/{address}", body or {}, format="json")

    def patch(self, address, body):
        return self.client.patch(f"/api/v1/{address}", body, format="json")

    def put(self, address, body):
        return self.client.put(f"/api/v1/{address}", body, format="json")

    def delete(self, address):
        return self.client.delete(f"/api/v1/{address}")


@pytest.fixture
def operator(lab):
    return Api(lab.operator)


@pytest.fixture
def manager(lab):
    return Api(lab.manager)


def fields_of(answer):
    assert answer.status_code == 400, answer.content
    return [error["field"] for error in answer.json()["errors"]]


# --- batteries ------------------------------------------------------------------------------------


def test_a_new_battery_comes_back_whole_with_its_address(operator):
    answer = operator.post("batteries/", {**BATTERY, "name": "Cell 9", "tags": ["a"]})
    body = answer.json()
    assert answer["Location"].endswith(f"/api/v1/batteries/{body['id']}/")
    assert body["lithium"] == {"capacity_ah": 1.0, "chemistry": "NMC"}
    assert "lead_acid" not in body
    assert body["owner"] == "otto"
    assert operator.get(f"batteries/{body['id']}/").json() == body


@pytest.mark.parametrize(
    ("technology", "own"),
    [
        ("lead_acid", {"capacity_ah": 7.0, "chemistry": "Gel"}),
        ("redox_stack", {"electrode_size_cm2": 100.0, "membrane_type": "Nafion"}),
    ],
)
def test_each_technology_has_fields_of_its_own(operator, technology, own):
    body = {**BATTERY, "name": "Other", "technology": technology, technology: own}
    body.pop("lithium")
    made = operator.post("batteries/", body).json()
    assert made[technology].items() >= own.items()


def test_what_was_read_may_be_sent_back_changed(operator, lab):
    address = f"batteries/{lab.battery.uuid}/"
    whole = operator.get(address).json()
    answer = operator.put(address, {**whole, "project": "ageing"})
    assert answer.json()["project"] == "ageing"
    assert AuditEntry.objects.filter(act="battery.change", way="api").exists()


def test_what_the_system_sets_cannot_be_sent(operator, lab):
    address = f"batteries/{lab.battery.uuid}/"
    assert fields_of(operator.patch(address, {"station": None, "id": str(uuid4())})) == ["station", "id"]


def test_every_error_is_named_at_once(operator):
    wrong = {**BATTERY, "name": "", "cell_voltage_min_v": 5.0, "current_max_a": -1.0}
    found = fields_of(operator.post("batteries/", wrong))
    assert "name" in found
    fine = {**wrong, "name": "Cell 9"}
    assert {"cell_voltage_min_v", "current_max_a"} <= set(fields_of(operator.post("batteries/", fine)))


@pytest.mark.parametrize("number", ["NaN", "1e400", "true", "[]"])
def test_a_number_that_is_none_is_refused(operator, number):
    body = f'{{"name": "x", "technology": "lithium", "current_max_a": {number}}}'
    answer = operator.client.post("/api/v1/batteries/", body, content_type="application/json")
    assert answer.status_code == 400


def test_batteries_are_filtered_by_where_they_are(operator, lab):
    operator.post("batteries/", {**BATTERY, "name": "Cell 2"})
    names = lambda **query: [row["name"] for row in operator.get("batteries/", **query).json()["results"]]  # noqa: E731
    assert names(station=lab.stations[0].uuid) == ["Cell 1"]
    assert names(loaded="false") == ["Cell 2"]
    assert names(technology="lithium", ordering="-name") == ["Cell 2", "Cell 1"]
    assert names(search="cell 2") == ["Cell 2"]


def test_a_loaded_battery_is_not_loaded_elsewhere_and_the_answer_says_where_it_is(operator, lab):
    answer = operator.post(f"batteries/{lab.battery.uuid}/load/", {"station": str(lab.stations[1].uuid)})
    assert fields_of(answer) == ["battery"]
    assert "Station 1" in answer.json()["detail"]


def test_a_retired_battery_leaves_the_list_and_stays_readable(operator):
    body = operator.post("batteries/", {**BATTERY, "name": "Cell 2"}).json()
    assert operator.delete(f"batteries/{body['id']}/").status_code == 204
    assert operator.get("batteries/", search="Cell 2").json()["count"] == 0
    assert operator.get("batteries/", retired="true").json()["count"] == 1
    assert operator.get(f"batteries/{body['id']}/").json()["retired_at"]


# --- stations, units, devices ---------------------------------------------------------------------


def test_a_station_is_composed_and_a_change_is_its_next_version(manager, lab):
    body = {
        "name": "Station 3",
        "unit": str(lab.unit.uuid),
        "devices": [{"device": str(lab.devices[2].uuid), "role": "power"}],
        "limits": {"voltage_max_v": 5.0},
    }
    made = manager.post("stations/", body).json()
    assert made["version"] == 1
    assert made["devices"] == body["devices"]
    changed = manager.patch(f"stations/{made['id']}/", {"limits": {"voltage_max_v": 4.5}}).json()
    assert (changed["version"], changed["parent"]) == (2, 1)
    versions = manager.get(f"stations/{made['id']}/versions/").json()
    assert [(row["number"], row["parent"]) for row in versions] == [(2, 1), (1, None)]
    assert versions[1]["definition"]["limits"] == {"voltage_max_v": 5.0}


def test_a_used_device_is_not_free_and_not_composed_twice(manager, lab):
    free = [row["serial_number"] for row in manager.get("devices/", free="true").json()["results"]]
    assert free == ["sn-2"]
    body = {"name": "S", "unit": str(lab.unit.uuid)}
    taken = {**body, "devices": [{"device": str(lab.devices[0].uuid), "role": "power"}]}
    assert fields_of(manager.post("stations/", taken)) == ["devices"]


def test_a_wrong_part_of_a_station_is_named_by_its_place(manager, lab):
    body = {"name": "S", "unit": str(uuid4()), "devices": [{"device": "seven", "role": "king", "x": 1}]}
    assert set(fields_of(manager.post("stations/", body))) >= {
        "unit",
        "devices[0].device",
        "devices[0].role",
        "devices[0].x",
    }


def test_a_unit_is_never_created_by_the_api(manager):
    assert manager.post("units/", {"name": "x"}).status_code == 405


def test_stop_all_asks_every_unit_once_and_never_expires(operator, lab):
    commands = operator.post("stations/stop-all/").json()
    assert [command["kind"] for command in commands] == ["station.stop_all"]
    assert commands[0]["expires_at"] is None
    assert commands[0]["args"] == {}, "all of the unit"
    named = operator.post("stations/stop-all/", {"stations": [str(lab.stations[1].uuid)]}).json()
    assert named[0]["args"]["stations"] == [str(lab.stations[1].uuid)]


# --- profiles -------------------------------------------------------------------------------------


def test_a_profile_comes_back_with_every_part(operator):
    made = operator.post("profiles/", {**PROFILE, "name": "P", "record": {"every_s": 5.0}}).json()
    assert made["version"] == 1
    assert made["record"] == {"every_s": 5.0}
    assert [step["kind"] for step in made["steps"]] == ["cc", "rest"]
    assert {"capacity", "safety", "stop", "finish", "format"} <= set(made)


def test_a_change_is_the_next_version_and_the_old_one_stays(operator, lab):
    address = f"profiles/{lab.profile.uuid}/"
    steps = [*PROFILE["steps"], {"kind": "note", "text": "done"}]
    assert operator.patch(address, {"steps": steps}).json()["version"] == 2
    assert [row["number"] for row in operator.get(f"{address}versions/").json()] == [2, 1]
    assert len(operator.get(f"{address}versions/1/").json()["definition"]["steps"]) == 2
    assert operator.get(f"{address}versions/7/").status_code == 400


def test_a_profile_that_was_read_may_be_sent_back_changed(operator, lab):
    address = f"profiles/{lab.profile.uuid}/"
    whole = operator.get(address).json()
    answer = operator.put(address, {**whole, "description": "as before"})
    assert answer.status_code == 200, answer.content
    assert answer.json()["steps"] == whole["steps"]


def test_errors_of_steps_carry_the_steps_number(operator):
    steps = [{"kind": "rest", "end": [{"quantity": "time_s", "value": 5}]}, {"kind": "cc", "current_a": 1.0}]
    answer = operator.post("profiles/", {"name": "P", "steps": steps})
    assert [error["step"] for error in answer.json()["errors"]] == [2]


def test_errors_of_the_text_form_carry_the_line(operator):
    answer = operator.post("profiles/check/", {"name": "P", "text": "WAIT, 60\nDANCE, 3"})
    assert answer.json()["valid"] is False
    assert answer.json()["errors"][0]["line"] == 2


def test_a_check_knows_the_battery_and_the_station(operator, lab):
    body = {**PROFILE, "battery": str(lab.battery.uuid), "station": str(lab.stations[0].uuid)}
    fine = operator.post("profiles/check/", body).json()
    assert fine["valid"] is True
    assert {"voltage_max_v", "current_max_a", "duration_max_s"} <= set(fine["summary"])
    steps = [{**PROFILE["steps"][0], "current_a": 3.0}]
    wrong = operator.post("profiles/check/", {**body, "steps": steps}).json()
    assert wrong["valid"] is False
    assert wrong["errors"][0]["step"] == 1


TEXT = "CC, 0.5, VOLTAGE, 4.1\nWAIT, 60\n"


@pytest.mark.parametrize("form", ["plain", "json", "file"])
def test_the_text_form_is_imported_however_it_is_sent(operator, form):
    client, address = operator.client, "/api/v1/profiles/import/?format=text"
    if form == "plain":
        answer = client.generic("POST", f"{address}&name=Imported", TEXT, content_type="text/plain")
    elif form == "json":
        answer = client.post(address, {"name": "Imported", "text": TEXT}, format="json")
    else:
        answer = client.post(
            address, {"file": SimpleUploadedFile("Imported.txt", TEXT.encode())}, format="multipart"
        )
    assert answer.status_code == 201, answer.content
    assert answer.json()["name"] == "Imported"
    assert [step["kind"] for step in answer.json()["steps"]] == ["cc", "rest"]


def test_an_export_is_imported_again_unchanged(operator, lab):
    text = operator.get(f"profiles/{lab.profile.uuid}/export/", format="json")
    assert text["Content-Disposition"] == 'attachment; filename="Charge_and_rest.json"'
    body = {**text.json(), "name": "Again"}
    again = operator.post("profiles/import/", body).json()
    assert again["steps"] == operator.get(f"profiles/{lab.profile.uuid}/").json()["steps"]


def test_the_text_form_comes_out_as_it_went_in(operator):
    made = operator.post("profiles/", {"name": "T", "text": TEXT}).json()
    answer = operator.get(f"profiles/{made['id']}/export/", format="text")
    assert answer.content.decode() == TEXT


def test_what_the_text_form_cannot_say_is_refused_with_the_reason(operator, lab):
    answer = operator.get(f"profiles/{lab.profile.uuid}/export/", format="text")
    assert answer.status_code == 400
    assert answer.json()["detail"]


# --- experiments ----------------------------------------------------------------------------------


def order(lab, **more):
    ids = {"battery": lab.battery, "profile": lab.profile, "station": lab.stations[0]}
    return {"name": "Run", **{name: str(row.uuid) for name, row in ids.items()}, **more}


def test_an_experiment_is_queued_and_shows_its_whole_body(operator, lab):
    answer = operator.post("experiments/", order(lab, priority=2, tags=["x"], resume_policy="resume"))
    body = answer.json()
    assert answer.status_code == 201
    assert body["status"] == "queued"
    assert body["profile"] == str(lab.profile.uuid)
    assert body["profile_version"] == 1
    assert body["owner"] == "otto"
    assert set(body["progress"]) == {"step", "steps", "cycle", "percent", "expected_end"}
    assert body["complete"] is False


def test_what_can_leave_the_limits_is_refused_when_filed_with_the_step(operator, lab):
    steps = [{**PROFILE["steps"][0], "current_a": 3.0}]
    hot = operator.post("profiles/", {"name": "Hot", "steps": steps}).json()
    answer = operator.post("experiments/", order(lab, profile=hot["id"]))
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["step"] == 1
    assert not Experiment.objects.exists()


def test_a_station_query_picks_and_both_together_are_refused(operator, lab):
    assert "station" in fields_of(operator.post("experiments/", order(lab, station_query={})))
    body = order(lab, station_query={"location": "nowhere"}, station=None)
    assert fields_of(operator.post("experiments/", body)) == ["station_query"]
    assert operator.post("experiments/", {**body, "station_query": {"sensing": 4}}).status_code == 201


def test_pausing_asks_the_unit_and_names_the_command(operator, lab):
    experiment = lab.running()
    answer = operator.post(f"experiments/{experiment.uuid}/pause/")
    assert answer.status_code == 200
    assert answer.json()["status"] == "running"
    command = answer.json()["command"]
    assert (command["kind"], command["status"]) == ("experiment.pause", "queued")
    assert operator.get(f"commands/{command['id']}/").json()["experiment"] == str(experiment.uuid)


def test_what_cannot_be_done_now_is_refused_with_the_status(operator, lab):
    answer = operator.post(f"experiments/{lab.file().uuid}/resume/")
    assert fields_of(answer) == ["status"]
    assert "queued" in answer.json()["detail"]


def test_a_refusing_unit_is_a_409_with_its_reason(operator, lab, monkeypatch):
    def refused(command, _seconds):
        Command.objects.filter(pk=command.pk).update(status="refused", outcome="refused", reason="latched")
        command.refresh_from_db()
        return command

    monkeypatch.setattr("web_server.experiments.api.until_closed", refused)
    answer = operator.post(f"experiments/{lab.running().uuid}/pause/?wait=1")
    assert answer.status_code == 409
    assert "latched" in answer.json()["detail"]
    assert answer.json()["command"]["outcome"] == "refused"


def test_stopping_a_queued_one_cancels_it_without_a_command(operator, lab):
    body = operator.post(f"experiments/{lab.file().uuid}/stop/", {"reason": "no more"}).json()
    assert body["status"] == "cancelled"
    assert body["command"] is None


def test_a_requeued_one_names_its_origin(operator, lab):
    first = lab.file()
    experiments.cancel(lab.operator, first)
    again = operator.post(f"experiments/{first.uuid}/requeue/")
    assert again.status_code == 201
    assert again.json()["origin"] == str(first.uuid)


def test_the_queue_is_reordered(operator, lab):
    ids = [str(lab.file(name=name).uuid) for name in "abc"]
    answer = operator.post("experiments/queue/", {"experiments": ids[::-1]})
    assert [row["name"] for row in answer.json()] == ["c", "b", "a"]
    queued = operator.get("experiments/", status="queued", ordering="-priority").json()["results"]
    assert [row["name"] for row in queued] == ["c", "b", "a"]


def test_experiments_are_filtered_by_what_the_list_shows(operator, lab):
    lab.running(name="on")
    lab.file(name="waits")
    count = lambda **query: operator.get("experiments/", **query).json()["count"]  # noqa: E731
    assert count(status="queued,running") == 2
    assert count(status="running") == 1
    assert count(technology="lead_acid") == 0
    assert count(battery=lab.battery.uuid, profile=lab.profile.uuid) == 2
    assert operator.get("experiments/", status="asleep").status_code == 400


def test_events_are_told_after_a_number_and_by_kind(operator, lab):
    experiment = lab.running()
    rows = operator.get(f"experiments/{experiment.uuid}/events/").json()["results"]
    assert [row["kind"] for row in rows] == ["status", "status", "status"]
    assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows)
    experiments.note(lab.operator, experiment, "hm")
    later = operator.get(f"experiments/{experiment.uuid}/events/", after=rows[-1]["seq"]).json()["results"]
    assert [row["text"] for row in later] == ["hm"]
    assert operator.get(f"experiments/{experiment.uuid}/events/", kind="note").json()["count"] == 1


def test_the_list_takes_few_queries_however_long_it_is(operator, lab, django_assert_max_num_queries):
    for n in range(8):
        lab.file(name=f"run {n}")
    for address in ("experiments/", "batteries/", "stations/", "profiles/", "devices/", "commands/"):
        with django_assert_max_num_queries(9):
            assert operator.get(address).status_code == 200


# --- alarms and commands --------------------------------------------------------------------------


def test_an_alarm_is_acknowledged_only_when_the_unit_says_so(operator, lab):
    alarm = Alarm.objects.create(station=lab.stations[0], code="v_max", text="too high", limit=4.2)
    answer = operator.post(f"alarms/{alarm.uuid}/acknowledge/").json()
    assert answer["state"] == "raised"
    assert answer["command"]["kind"] == "station.acknowledge"
    assert operator.get("alarms/", state="raised", station=lab.stations[0].uuid).json()["count"] == 1


def test_acts_with_their_own_address_are_not_sent_as_bare_commands(operator, lab):
    address = f"stations/{lab.stations[0].uuid}/commands/"
    for kind in ("experiment.start", "station.configure", "station.acknowledge", "experiment.stop"):
        answer = operator.post(address, {"kind": kind})
        assert fields_of(answer) == ["kind"]
        assert "asked for by" in answer.json()["detail"]
    assert not Command.objects.exists()


def test_a_command_needs_one_address(operator, lab):
    body = {"kind": "detect"}
    both = {"unit": str(lab.unit.uuid), "station": str(lab.stations[0].uuid)}
    assert operator.post("commands/", body).status_code == 400
    assert operator.post("commands/", {**body, **both}).status_code == 400
    assert operator.post("commands/", {**body, "unit": str(lab.unit.uuid)}).status_code == 201


def test_lists_leave_large_arguments_out_and_the_command_itself_has_them(operator, lab):
    made = operator.post(
        "commands/", {"kind": "detect", "unit": str(lab.unit.uuid), "args": {"links": ["y" * 5000]}}
    )
    assert len(made.json()["args"]["links"][0]) == 5000
    assert operator.get("commands/").json()["results"][0]["args"] is None
    assert operator.get(f"commands/{made.json()['id']}/").json()["args"]["links"]


@pytest.mark.parametrize("wait", ["x", "-1", "31", "nan"])
def test_a_wrong_wait_is_refused_before_anything_is_sent(operator, lab, wait):
    answer = operator.post(f"units/{lab.unit.uuid}/detect/?wait={wait}")
    assert fields_of(answer) == ["wait"]
    assert not Command.objects.exists()
