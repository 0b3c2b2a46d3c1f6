"""The operator's day by program: tables, batches, repeats, drills, inspections, notices, black boxes."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.web_server.api_lab import Lab, build, client_of, person
from web_server.cells import quarantine
from web_server.experiments.models import Alarm, BlackBox, Experiment
from web_server.lab.models import Station
from web_server.notices import services as notices
from web_server.notices.models import Delivery

pytestmark = pytest.mark.django_db


@pytest.fixture
def lab() -> Lab:
    return build()


def _post(lab: Lab, path: str, body: dict[str, Any], by: Any = None) -> Any:
    return client_of(by or lab.operator).post(f"/api/v1/{path}", body, format="json")


# --- batteries/bulk ---------------------------------------------------------------------------------


def test_a_table_is_looked_at_then_taken(lab: Lab) -> None:
    body = {"csv": "barcode,station\nT-1,\nT-2,", "like": str(lab.battery.uuid)}
    looked = _post(lab, "batteries/bulk/", {**body, "dry_run": True})
    assert looked.status_code == 200
    assert (looked.json()["valid"], looked.json()["done"], looked.json()["created"]) == (True, False, 2)
    assert looked.json()["rows"][0]["battery"] is None
    taken = _post(lab, "batteries/bulk/", body)
    assert taken.status_code == 201
    key = taken.json()["rows"][1]["battery"]
    shown = client_of(lab.operator).get(f"/api/v1/batteries/{key}/").json()
    assert (shown["barcode"], shown["lithium"]["capacity_ah"]) == ("T-2", 1.0)


def test_a_wrong_line_is_named_by_its_number(lab: Lab) -> None:
    answer = _post(lab, "batteries/bulk/", {"csv": "name,technology\nX,steam"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["line"] == 2
    assert answer.json()["errors"][0]["field"] == "technology"


def test_viewers_take_no_table_and_no_batch(lab: Lab) -> None:
    viewer = person("vera", "viewer", "a")
    assert _post(lab, "batteries/bulk/", {"csv": "name\nX"}, viewer).status_code == 403
    body = {"batteries": [str(lab.battery.uuid)], "profile": str(lab.profile.uuid), "dry_run": True}
    assert _post(lab, "experiments/batch/", body, viewer).status_code == 403
    for act in ("repeat", "drill"):
        assert _post(lab, f"experiments/{lab.file().uuid}/{act}/", {}, viewer).status_code == 403


# --- experiments/batch, repeat, drill ---------------------------------------------------------------


def test_a_batch_answers_each_battery_before_anything_starts(lab: Lab) -> None:
    lab.demo_cell_in_the_last_station()
    Station.objects.filter(pk=lab.stations[1].pk).update(state="tripped")
    cells = client_of(lab.operator).get("/api/v1/batteries/", {"loaded": "true"}).json()["results"]
    keys = [row["id"] for row in cells]
    body = {"batteries": keys, "profile": str(lab.profile.uuid), "name_template": "{n} {battery}"}
    looked = _post(lab, "experiments/batch/", {**body, "dry_run": True})
    assert looked.status_code == 200, looked.content
    first, second = looked.json()["entries"]
    assert (first["battery"], first["ok"], first["name"]) == (keys[0], True, "1 Cell 1")
    assert (second["battery"], second["ok"]) == (keys[1], False)
    assert "acknowledge its alarm" in second["errors"][0]["message"]
    assert not Experiment.objects.exists()
    filed = _post(lab, "experiments/batch/", {**body, "batteries": keys[:1], "stagger_s": 5})
    assert (filed.status_code, filed.json()["filed"]) == (201, 1)
    assert filed.json()["entries"][0]["experiment"] == str(Experiment.objects.get().uuid)


def test_a_batch_names_who_is_stopped(lab: Lab) -> None:
    quarantine.put(lab.battery, "over voltage")
    body = {"batteries": [str(lab.battery.uuid)], "profile": str(lab.profile.uuid)}
    answer = _post(lab, "experiments/batch/", body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "batteries.0"
    looked = _post(lab, "experiments/batch/", {**body, "only_fitting": True})
    assert (looked.status_code, looked.json()["filed"]) == (201, 0)


def test_a_run_is_repeated_in_another_station(lab: Lab) -> None:
    first = lab.file()
    answer = _post(lab, f"experiments/{first.uuid}/repeat/", {"station": str(lab.stations[1].uuid)})
    assert answer.status_code == 201, answer.content
    assert answer.json()["origin"] == str(first.uuid)
    assert answer.json()["station"] == str(lab.stations[1].uuid)


def test_a_drill_goes_to_the_unit(lab: Lab) -> None:
    run = lab.running()
    answer = _post(lab, f"experiments/{run.uuid}/drill/", {"seconds": 30})
    assert answer.status_code == 200, answer.content
    assert answer.json()["command"]["kind"] == "station.drill"
    assert _post(lab, f"experiments/{run.uuid}/drill/", {"seconds": 0}).status_code == 400


# --- inspections ------------------------------------------------------------------------------------


def test_an_inspection_is_recorded_with_who_and_when(lab: Lab) -> None:
    quarantine.put(lab.battery, "over voltage")
    path = f"batteries/{lab.battery.uuid}/"
    assert client_of(lab.operator).get(f"/api/v1/{path}").json()["quarantined"] is True
    assert _post(lab, path + "inspect/", {"note": ""}).status_code == 400
    shown = _post(lab, path + "inspect/", {"note": "no swelling"}).json()
    assert (shown["quarantined"], shown["quarantined_at"]) == (False, None)
    [seen] = client_of(lab.operator).get(f"/api/v1/{path}inspections/").json()["results"]
    told = (lab.operator.get_username(), "over voltage", "no swelling")
    assert (seen["by"], seen["reason"], seen["note"]) == told
    assert seen["at"]


# --- notices ----------------------------------------------------------------------------------------


def test_administrators_manage_addresses_that_are_never_shown_again(lab: Lab) -> None:
    admin = person("ada", "administrator", "a")
    body = {
        "name": "night",
        "address": "mailtos://o:open-sesame@mail.example.org?to=n@example.org",
        "place": 1,
    }
    assert _post(lab, "notice-targets/", body, lab.manager).status_code == 403
    made = _post(lab, "notice-targets/", body, admin)
    assert made.status_code == 201, made.content
    assert "open-sesame" not in made.content.decode()
    assert made.json()["shown"] == "mailtos://mail.example.org to n@example.org"
    path = f"/api/v1/notice-targets/{made.json()['id']}/"
    changed = client_of(admin).patch(path, {"place": 2}, format="json")
    assert (changed.status_code, changed.json()["place"]) == (200, 2)
    sent = client_of(admin).post(path + "test/", {}, format="json")
    assert (sent.status_code, sent.json()["state"], sent.json()["alarm"]) == (201, "due", None)
    assert client_of(admin).delete(path).status_code == 204
    assert Delivery.objects.get().target_name == "night"


def test_a_wrong_address_is_refused_at_its_field(lab: Lab) -> None:
    admin = person("ada", "administrator", "a")
    answer = _post(lab, "notice-targets/", {"name": "x", "address": "exec://sesame"}, admin)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["address"]


def test_an_alarm_tells_who_was_told(lab: Lab) -> None:
    notices.add(None, name="night", address="https://hooks.example.org/x")
    alarm = Alarm.objects.create(station=lab.stations[0], unit=lab.unit, code="limit", text="too high")
    notices.plan()
    path = f"/api/v1/alarms/{alarm.uuid}/deliveries/"
    [row] = client_of(lab.operator).get(path).json()["results"]
    assert (row["target_name"], row["state"], row["round"]) == ("night", "due", 1)


# --- the black box ----------------------------------------------------------------------------------


def test_a_black_box_is_put_together_from_its_parts(lab: Lab) -> None:
    alarm = Alarm.objects.create(station=lab.stations[0], unit=lab.unit, code="limit", text="too high")
    path = f"/api/v1/alarms/{alarm.uuid}/black-box/"
    client = client_of(lab.operator)
    assert client.get(path).status_code == 404
    spool = uuid.uuid4()
    for part, body in (
        (2, '{"exchanges":[{"to":"b"}],"readings":{"columns":{"voltage_v":[4.2],"cell_1_v":[4.1]}}}'),
        (1, '{"exchanges":[{"to":"a"}],"readings":{"columns":{"voltage_v":[4.0,4.1]}}}'),
    ):
        BlackBox.objects.create(
            unit=lab.unit, alarm=alarm.uuid, spool=spool, spool_seq=part, part=part, parts=2, body=body
        )
    found = client.get(path).json()
    assert found["complete"] is True
    assert [each["to"] for each in found["exchanges"]] == ["a", "b"]
    assert found["readings"] == {"voltage_v": [4.0, 4.1, 4.2], "cell_1_v": [None, None, 4.1]}
    lines = client.get(path, {"format": "csv"}).content.decode().splitlines()
    assert lines == ["voltage_v,cell_1_v", "4.0,", "4.1,", "4.2,4.1"]
    assert client.get(path, {"format": "pdf"}).status_code == 400
