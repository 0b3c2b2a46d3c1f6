"""The pages of the operator's day: loading, tables, batches, repeats, alarms, notices; with and without scripts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.web_server import factories, pages_lab
from web_server.accounts.models import Person
from web_server.cells import quarantine
from web_server.cells.models import Battery
from web_server.commands.models import Command
from web_server.experiments.models import Alarm, Experiment
from web_server.lab.models import Station
from web_server.notices import services as notices
from web_server.notices.models import Delivery, Target


@pytest.fixture
def lab(administrator: Person, client: Client) -> SimpleNamespace:
    client.force_login(administrator)
    return pages_lab.fill(administrator)


def _text(answer: Any) -> str:
    return str(answer.content.decode())


# --- load -------------------------------------------------------------------------------------------


def _scan(client: Client, code: str, **kept: str) -> dict[str, Any]:
    answer = client.post("/load/", {"code": code, **kept}, headers={"Accept": "application/json"})
    assert answer.status_code == 200
    return dict(answer.json())


def test_a_pair_is_loaded_in_either_order(lab: SimpleNamespace, client: Client) -> None:
    free = factories.make_station(lab.unit, "S8", barcode="H-8")
    first = _scan(client, "H-8")
    assert first["pending"] == {"kind": "station", "id": str(free.uuid), "name": "S8"}
    assert _scan(client, "B2", station=first["pending"]["id"])["loaded"]["station"]["name"] == "S8"
    lab.free.refresh_from_db()
    assert lab.free.station == free
    assert _scan(client, "H-8", battery=str(lab.free.uuid))["text"] == "B2 is in S8 already."


def test_the_same_kind_twice_takes_the_second(lab: SimpleNamespace, client: Client) -> None:
    said = _scan(client, "S2", station=str(lab.station.uuid))
    assert said["text"] == "Holder S2 instead of S1. Now the cell."
    assert said["pending"]["name"] == "S2"


def test_what_is_refused_keeps_the_first_half(lab: SimpleNamespace, client: Client) -> None:
    said = _scan(client, "B2", station=str(lab.station.uuid))
    assert said["level"] == "error"
    assert "S1 holds B1" in said["text"]
    assert said["pending"]["name"] == "S1"
    assert _scan(client, "nobody", station=str(lab.station.uuid))["pending"]["name"] == "S1"


def test_loading_works_without_scripts(lab: SimpleNamespace, client: Client) -> None:
    factories.make_station(lab.unit, "S8", barcode="H-8")
    answer = client.post("/load/", {"code": "H-8"}, follow=True)
    assert "Holder S8. Now the cell." in _text(answer)
    station = Station.objects.get(name="S8")
    assert f'name="station" value="{station.uuid}"' in _text(answer)
    answer = client.post("/load/", {"code": "B2", "station": str(station.uuid)}, follow=True)
    assert "B2 is in S8." in _text(answer)
    answer = client.post(
        "/load/undo/", {"battery": str(lab.free.uuid), "station": str(station.uuid)}, follow=True
    )
    assert "B2 is out of S8 again." in _text(answer)


def test_what_the_voltage_said_is_still_there_after_a_reload(
    lab: SimpleNamespace, client: Client, django_assert_max_num_queries: Any
) -> None:
    for n in range(3):
        station = factories.make_station(lab.unit, f"R{n}", barcode=f"H-{n}")
        factories.make_battery(f"C{n}")
        pair = _scan(client, f"H-{n}")["pending"]
        _scan(client, f"C{n}", station=pair["id"])
        reading = {"voltage_v": 3.7 if n else 4.35}
        Station.objects.filter(pk=station.pk).update(reading=reading, reading_at=timezone.now())
    with django_assert_max_num_queries(8):
        page = _text(client.get("/load/"))
    assert page.count("3.700 V, inside the limits") == 2
    assert "4.350 V is outside C0" in page
    assert 'data-level="error"' in page
    Station.objects.update(state="running")
    assert "inside the limits" not in _text(client.get("/load/"))


def test_a_viewer_loads_nothing(lab: SimpleNamespace, viewer: Person, client: Client) -> None:
    client.force_login(viewer)
    assert client.post("/load/", {"code": "B2"}).status_code == 403
    undone = client.post("/load/undo/", {"battery": str(lab.battery.uuid), "station": str(lab.station.uuid)})
    assert undone.status_code == 302
    lab.battery.refresh_from_db()
    assert lab.battery.station == lab.station


# --- tables -----------------------------------------------------------------------------------------


def test_a_table_is_checked_and_taken(lab: SimpleNamespace, client: Client) -> None:
    typed = {"csv": "barcode\nT-1\nT-2", "like": str(lab.battery.uuid)}
    checked = client.post("/batteries/bulk/", {**typed, "act": "check"})
    assert checked.status_code == 200
    assert "Take all 2" in _text(checked)
    assert not Battery.objects.filter(barcode="T-1").exists()
    assert client.post("/batteries/bulk/", {**typed, "act": "take"}).status_code == 302
    assert Battery.objects.filter(barcode__in=["T-1", "T-2"]).count() == 2


def test_a_table_with_an_error_is_not_taken_and_nothing_typed_is_lost(
    lab: SimpleNamespace, client: Client
) -> None:
    typed = {"csv": "barcode,station\nT-1,nowhere", "like": str(lab.battery.uuid), "act": "take"}
    page = _text(client.post("/batteries/bulk/", typed))
    assert "There is no station" in page
    assert "T-1,nowhere" in page
    assert "Take all" not in page
    empty = client.post("/batteries/bulk/", {"csv": "", "act": "check"})
    assert empty.status_code == 422
    assert "Paste a table" in _text(empty)


# --- batches, repeats, drills -----------------------------------------------------------------------


def test_a_batch_is_checked_then_started(lab: SimpleNamespace, client: Client) -> None:
    before = Experiment.objects.count()
    typed = {
        "profile": str(lab.profile.uuid),
        "batteries": [str(lab.battery.uuid)],
        "name_template": "again {battery}",
        "stagger_s": "0",
    }
    checked = _text(client.post("/experiments/batch/", {**typed, "act": "check"}))
    assert "All 1 fit" in checked
    assert "again B1" in checked
    assert "waits for E1 on S1" in checked
    assert Experiment.objects.count() == before
    assert client.post("/experiments/batch/", {**typed, "act": "start"}).status_code == 302
    assert Experiment.objects.filter(name="again B1").exists()


def test_a_batch_takes_the_policies_of_each_run(lab: SimpleNamespace, client: Client) -> None:
    typed = {
        "profile": str(lab.profile.uuid),
        "batteries": [str(lab.battery.uuid)],
        "name_template": "guarded",
        "act": "start",
        "contact_policy": "off",
        "resume_policy": "resume",
    }
    refused = client.post("/experiments/batch/", typed)
    assert refused.status_code == 422
    assert "Say after how many seconds without server" in _text(refused)
    assert client.post("/experiments/batch/", {**typed, "off_after_s": "60"}).status_code == 302
    filed = Experiment.objects.get(name="guarded")
    assert (filed.contact_policy, filed.off_after_s, filed.resume_policy) == ("off", 60.0, "resume")


def test_a_batch_with_one_that_does_not_fit_starts_nothing_and_says_why(
    lab: SimpleNamespace, client: Client
) -> None:
    quarantine.put(lab.battery, "over voltage")
    before = Experiment.objects.count()
    typed = {"profile": str(lab.profile.uuid), "batteries": [str(lab.battery.uuid)], "name_template": "x"}
    page = client.post("/experiments/batch/", {**typed, "act": "start"})
    assert page.status_code == 422
    assert "B1 is in quarantine" in _text(page)
    assert Experiment.objects.count() == before


def test_a_run_is_repeated_on_another_battery(lab: SimpleNamespace, client: Client) -> None:
    page = f"/experiments/{lab.ended.uuid}/repeat/"
    answer = client.post(page, {"battery": str(lab.free.uuid), "station": str(lab.tripped.uuid)})
    assert answer.status_code == 302
    assert Experiment.objects.latest("id").origin == lab.ended
    quarantine.put(lab.free, "over voltage")
    refused = client.post(page, {"battery": str(lab.free.uuid)})
    assert refused.status_code == 422
    assert "B2 is in quarantine" in _text(refused)


def test_a_drill_is_asked_from_the_experiments_page(lab: SimpleNamespace, client: Client) -> None:
    page = _text(client.get(f"/experiments/{lab.experiment.uuid}/"))
    assert "Drill it" in page
    client.post(f"/experiments/{lab.experiment.uuid}/drill/", {"seconds": "30"})
    assert Command.objects.get(kind="station.drill").args["seconds"] == 30.0
    refused = client.post(f"/experiments/{lab.experiment.uuid}/drill/", {"seconds": "soon"}, follow=True)
    assert "is no number of seconds" in _text(refused)
    refused = client.post(f"/experiments/{lab.experiment.uuid}/drill/", {"seconds": "7200"}, follow=True)
    assert "A drill takes 1 to 3600 s" in _text(refused)


def test_the_filing_form_takes_policies_and_a_waiver(lab: SimpleNamespace, client: Client) -> None:
    Battery.objects.filter(pk=lab.battery.pk).update(energy_wh=30.0)
    typed = {"battery": lab.battery.uuid, "station": lab.station.uuid, "profile": lab.profile.uuid}
    refused = client.post("/experiments/new/", {**typed, "contact_policy": "off", "off_after_s": "60"})
    assert refused.status_code == 422
    assert "S1 has no sensor at the cell" in _text(refused)
    more = {"contact_policy": "off", "off_after_s": "60", "temperature_waiver": "camera"}
    assert client.post("/experiments/new/", {**typed, **more}).status_code == 302
    filed = Experiment.objects.latest("id")
    assert (filed.contact_policy, filed.off_after_s, filed.temperature_waiver) == ("off", 60.0, "camera")
    assert "waived the sensor at the cell: camera" in _text(client.get(f"/experiments/{filed.uuid}/"))


# --- alarms, notices, inspections -------------------------------------------------------------------


def test_an_alarms_page_says_what_to_do_who_was_told_and_who_saw_it(
    lab: SimpleNamespace, client: Client
) -> None:
    notices.add(None, name="night shift", address="https://hooks.example.org/very-secret")
    notices.plan()
    page = _text(client.get(f"/alarms/{lab.alarm.uuid}/"))
    assert "Look at the battery" in page
    assert "night shift" in page
    assert "very-secret" not in page
    assert "nobody has acknowledged it" in page
    Delivery.objects.update(state="failed", outcome="connection refused")
    assert "connection refused" in _text(client.get(f"/alarms/{lab.alarm.uuid}/"))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"severity": "unsafe"}, "Switch off at the last line of defence"),
        ({"code": "wiring"}, "polarity"),
        ({"code": "held"}, "resume the test, or stop it"),
        ({"code": "interlock"}, "Look at what opened"),
        ({"code": "odd", "quantity": ""}, "When you know the cause"),
    ],
)
def test_every_alarm_says_what_to_do(
    lab: SimpleNamespace, client: Client, columns: dict[str, str], said: str
) -> None:
    Alarm.objects.filter(pk=lab.alarm.pk).update(**columns)
    assert said in _text(client.get(f"/alarms/{lab.alarm.uuid}/"))


def test_addresses_are_managed_on_their_page_by_administrators_only(
    lab: SimpleNamespace, manager: Person, client: Client
) -> None:
    typed = {"name": "chat", "place": "1", "address": "https://hooks.example.org/very-secret", "active": "on"}
    assert client.post("/notices/", typed).status_code == 302
    target = Target.objects.get()
    assert "very-secret" not in _text(client.get(f"/notices/?change={target.uuid}"))
    changed = client.post(f"/notices/{target.uuid}/", {"name": "chat", "place": "2", "active": "on"})
    assert changed.status_code == 302
    target.refresh_from_db()
    assert (target.place, target.address.endswith("very-secret")) == (2, True)
    client.post(f"/notices/{target.uuid}/test/")
    assert Delivery.objects.get(alarm=None).target == target
    assert "data-waits" in _text(client.get("/notices/"))
    wrong = client.post("/notices/", {"name": "x", "place": "1", "address": "exec://very-secret"})
    assert wrong.status_code == 422
    client.force_login(manager)
    assert '<form method="post" action="/notices/' not in _text(client.get("/notices/"))
    assert client.post("/notices/", typed).status_code == 403
    client.post(f"/notices/{target.uuid}/remove/")
    assert Target.objects.exists()


def test_an_inspection_is_recorded_on_the_batterys_page(lab: SimpleNamespace, client: Client) -> None:
    quarantine.put(lab.free, "over voltage")
    address = f"/batteries/{lab.free.uuid}/"
    assert "In quarantine." in _text(client.get(address))
    client.post(f"{address}inspect/", {"note": "no swelling"})
    page = _text(client.get(address))
    assert "In quarantine." not in page
    assert "no swelling" in page
    assert "after: over voltage" in page


def test_the_monitor_offers_one_act_per_need(lab: SimpleNamespace, client: Client) -> None:
    page = _text(client.get("/"))
    assert page.count('data-need="tripped"') == 1
    assert 'data-need="approve"' in page
    assert "I have put it in" in page
