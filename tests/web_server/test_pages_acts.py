"""Buttons do what they say, once, and say what came of it."""

import re

import pytest
from django.test import Client

from tests.web_server import factories, pages_lab
from web_server.accounts.models import AuditEntry, Token
from web_server.commands.models import Command
from web_server.experiments.models import Experiment


@pytest.fixture
def lab(administrator):
    return pages_lab.fill(administrator)


@pytest.fixture
def on(operator, client):
    client.force_login(operator)
    return client


def _said(client, address: str, **typed) -> str:
    return client.post(address, typed, follow=True).content.decode()


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        ("pause", "experiment.pause"),
        ("stop", "experiment.stop"),
        ("skip", "experiment.skip_step"),
        ("resume", "experiment.resume"),
    ],
)
def test_a_control_becomes_one_command(act, kind, lab, on):
    page = _said(on, f"/experiments/{lab.experiment.uuid}/{act}/")
    assert Command.objects.filter(kind=kind, experiment=lab.experiment).count() == 1
    assert "the unit has not answered yet" in page


def test_until_the_unit_answers_a_stop_says_not_confirmed_off(lab, on):
    assert "Not confirmed off." in _said(on, f"/experiments/{lab.experiment.uuid}/stop/")
    assert "not confirmed off" in on.get("/").content.decode()


def test_stop_with_finish_carries_the_word(lab, on):
    _said(on, f"/experiments/{lab.experiment.uuid}/stop/", how="finish", reason="lunch")
    args = Command.objects.get(kind="experiment.stop").args
    assert (args["how"], args["reason"]) == ("finish", "lunch")


def test_htmx_gets_the_sentence_alone(lab, on):
    answer = on.post(f"/experiments/{lab.experiment.uuid}/pause/", headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert "<html" not in answer.content.decode()
    assert "asked for" in answer.content.decode()


def test_a_refusal_is_a_sentence_and_no_error_page(lab, on):
    page = _said(on, f"/experiments/{lab.ended.uuid}/pause/")
    assert "Cannot pause E0: it is error." in page


def test_a_viewer_cannot_press_what_a_viewer_may_not(lab, viewer, client):
    client.force_login(viewer)
    page = _said(client, f"/experiments/{lab.experiment.uuid}/stop/")
    assert "you need the role operator" in page
    assert not Command.objects.exists()


def test_acts_need_the_csrf_token(lab, operator):
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(operator)
    assert strict.post(f"/experiments/{lab.experiment.uuid}/stop/").status_code == 403
    assert not Command.objects.exists()


def test_one_comes_back_to_where_one_was_and_never_to_another_site(lab, on):
    address = f"/experiments/{lab.experiment.uuid}/pause/"
    assert on.post(address, {"next": "/?state=running"})["Location"] == "/?state=running"
    for elsewhere in ("https://example.org/", "//example.org", "javascript:alert(1)"):
        assert on.post(address, {"next": elsewhere})["Location"].startswith("/experiments/")


def test_a_queued_experiment_leaves_the_queue(lab, on):
    assert "out of the queue" in _said(on, f"/experiments/{lab.queued.uuid}/cancel/")
    lab.queued.refresh_from_db()
    assert lab.queued.status == "cancelled"


def test_an_ended_one_is_run_again_as_a_copy(lab, on):
    _said(on, f"/experiments/{lab.ended.uuid}/requeue/")
    assert Experiment.objects.get(origin=lab.ended).status == "queued"


def test_many_are_stopped_in_one_act_and_each_refusal_is_said(lab, on):
    page = _said(
        on, "/experiments/bulk/", act="stop", pick=[str(lab.experiment.uuid), str(lab.ended.uuid), "x"]
    )
    assert "Asked for 1 of 2. E0 is error already." in page


def test_a_note_stands_in_the_events(lab, on):
    assert "smells of solvent" in _said(
        on, f"/experiments/{lab.experiment.uuid}/note/", text="smells of solvent"
    )


def test_a_note_is_text_and_no_markup(lab, on):
    page = _said(on, f"/experiments/{lab.experiment.uuid}/note/", text="<script>alert(1)</script>")
    assert "<script>alert" not in page


def test_an_alarm_is_acknowledged_by_asking_the_unit(lab, on):
    page = _said(on, f"/alarms/{lab.alarm.uuid}/acknowledge/")
    assert Command.objects.get(kind="station.acknowledge").args["alarm"] == str(lab.alarm.uuid)
    assert "the unit has not released it yet" in page


def test_a_battery_is_put_in_and_taken_out(lab, on):
    free = factories.make_station(lab.unit, "S3")
    _said(on, f"/batteries/{lab.free.uuid}/load/", station=str(free.uuid))
    lab.free.refresh_from_db()
    assert lab.free.station == free
    _said(on, f"/batteries/{lab.free.uuid}/eject/")
    lab.free.refresh_from_db()
    assert lab.free.station is None


def test_a_battery_in_use_stays_in_and_the_page_says_why(lab, on):
    assert "stop it first" in _said(on, f"/batteries/{lab.battery.uuid}/eject/")


@pytest.mark.parametrize("station", ["", "x", "00000000-0000-4000-8000-000000000000"])
def test_loading_into_no_station_is_asked_back(station, lab, on):
    assert "Choose the station" in _said(on, f"/batteries/{lab.free.uuid}/load/", station=station)


def test_a_unit_is_approved_by_a_manager_alone(lab, operator, manager, client):
    client.force_login(operator)
    assert "you need the role manager" in _said(client, f"/units/{lab.pending.uuid}/approve/")
    client.force_login(manager)
    _said(client, f"/units/{lab.pending.uuid}/approve/")
    lab.pending.refresh_from_db()
    assert lab.pending.approved


def test_a_unit_is_asked_to_look_for_devices(lab, manager, client):
    client.force_login(manager)
    _said(client, f"/units/{lab.unit.uuid}/detect/")
    assert Command.objects.get().kind == "detect"


def test_everything_is_stopped_at_once(lab, on):
    _said(on, "/monitor/stop-all/")
    assert Command.objects.get().kind == "station.stop_all"


def test_a_token_is_shown_once_and_works(operator, client):
    client.force_login(operator)
    page = client.post(
        "/account/tokens/", {"name": "notebook", "scope": "viewer", "expires_in_days": "30"}
    ).content.decode()
    secret = re.search(r'id="secret"[^>]*>([^<]+)<', page)
    assert secret
    answer = Client().get("/api/v1/batteries/", headers={"Authorization": f"Token {secret[1]}"})
    assert answer.status_code == 200
    assert secret[1] not in client.get("/account/").content.decode()
    client.post(f"/account/tokens/{Token.objects.get().uuid}/revoke/")
    assert (
        Client().get("/api/v1/batteries/", headers={"Authorization": f"Token {secret[1]}"}).status_code == 401
    )


def test_a_token_of_somebody_else_is_not_there(operator, viewer, client):
    client.force_login(viewer)
    client.post("/account/tokens/", {"name": "mine", "scope": "viewer", "expires_in_days": "30"})
    client.force_login(operator)
    assert client.post(f"/account/tokens/{Token.objects.get().uuid}/revoke/").status_code == 404


def test_the_password_is_changed_only_by_who_knows_it(operator, client):
    client.force_login(operator)
    typed = {"old_password": "wrong", "password": "another long secret 7"}
    assert client.post("/account/password/", typed).status_code == 422
    typed["old_password"] = "correct horse battery"
    assert client.post("/account/password/", typed).status_code == 302
    assert client.get("/account/").status_code == 200, "one stays logged in"
    assert client.login(username="otto", password="another long secret 7")


def test_login_leads_back_to_the_page_one_wanted(operator, client):
    typed = {"username": "otto", "password": "correct horse battery", "next": "/batteries/"}
    assert client.post("/login/", typed)["Location"] == "/batteries/"


def test_what_pages_do_is_in_the_audit_trail(lab, on):
    _said(on, f"/experiments/{lab.queued.uuid}/cancel/")
    entry = AuditEntry.objects.filter(act="experiment.cancelled").get()
    assert (entry.person_name, entry.way) == ("otto", "page")
