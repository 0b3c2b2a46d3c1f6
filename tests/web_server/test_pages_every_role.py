"""Every page answers everybody: with the page, with who may see it, or with the login."""

import re

import pytest
from django.test import Client

from tests.web_server import pages_lab

ROLES = ("viewer", "operator", "manager", "administrator")
INLINE = re.compile(r"<script(?![^>]*\bsrc=)|\bstyle=|\son[a-z]+=\"|javascript:", re.I)


@pytest.fixture
def lab(administrator):
    return pages_lab.fill(administrator)


def _status(role: str, address: str) -> int:
    path = address.partition("?")[0]
    acts = (
        "/new/",
        "/edit/",
        "/repeat/",
        "/batch/",
        "/bulk/",
        "/load/",
        "/add/",
        "/console/",
        "/log/",
        "/lines/",
    )
    writes = path.endswith(acts)
    of_managers = path.startswith(("/stations/", "/zones/", "/catalogue/", "/units/"))
    needed = "manager" if writes and of_managers else "operator" if writes else "viewer"
    return 200 if ROLES.index(role) >= ROLES.index(needed) else 403


@pytest.mark.parametrize("role", ROLES)
def test_every_page_answers_every_role(role, request, lab):
    client = Client()
    client.force_login(request.getfixturevalue(role))
    for address in pages_lab.addresses(lab):
        answer = client.get(address)
        assert answer.status_code == _status(role, address), address
        if answer.status_code == 403:
            assert "you need the role" in answer.content.decode(), address


def test_a_stranger_is_sent_to_the_login_from_every_page(lab):
    for address in pages_lab.addresses(lab):
        answer = Client().get(address)
        assert answer.status_code == 302, address
        assert answer["Location"].startswith("/login/?next="), address


def test_no_page_carries_script_or_style_inside(lab, administrator, client):
    client.force_login(administrator)
    for address in pages_lab.addresses(lab):
        if "format=csv" in address or address.endswith(".json"):
            continue
        found = INLINE.search(client.get(address).content.decode())
        assert found is None, (address, found)


def test_no_page_names_another_site(lab, administrator, client):
    client.force_login(administrator)
    for address in pages_lab.addresses(lab):
        if "format=csv" in address or address.endswith(".json"):
            continue
        for link in re.findall(r'(?:src|href|action)="([^"]*)"', client.get(address).content.decode()):
            assert not re.match(r"(https?:)?//", link), (address, link)


def test_viewers_are_offered_no_button_that_would_be_refused(lab, viewer, client):
    client.force_login(viewer)
    for address in ("/batteries/", "/batteries/?q=nothing", f"/batteries/{lab.free.uuid}/"):
        assert "/new/" not in client.get(address).content.decode(), address
    for address in (
        "/",
        f"/experiments/{lab.experiment.uuid}/",
        f"/batteries/{lab.battery.uuid}/",
        "/units/",
        "/stations/",
        f"/stations/{lab.station.uuid}/control/",
        f"/devices/{lab.relays.uuid}/",
        "/alarms/",
    ):
        page = client.get(address).content.decode()
        actions = set(re.findall(r'<form[^>]*action="([^"]*)"', page))
        assert actions <= {"/logout/", "/experiments/bulk/"}, (address, actions)


def test_what_does_not_exist_is_not_found(administrator, client):
    client.force_login(administrator)
    nowhere = "00000000-0000-4000-8000-000000000000"
    for kind in ("experiments", "batteries", "profiles", "stations", "units"):
        assert client.get(f"/{kind}/{nowhere}/").status_code == 404
    assert client.get(f"/monitor/tile/{nowhere}/").status_code == 404


def test_acts_are_not_done_by_reading(lab, administrator, client):
    client.force_login(administrator)
    for address in (
        f"/experiments/{lab.experiment.uuid}/stop/",
        f"/batteries/{lab.battery.uuid}/eject/",
        f"/stations/{lab.station.uuid}/control/down/",
        f"/devices/{lab.relays.uuid}/down/",
        f"/zones/{lab.zone.uuid}/stop/",
        f"/units/{lab.unit.uuid}/restart/",
        "/monitor/stop-all/",
    ):
        assert client.get(address).status_code == 405


def test_what_went_wrong_is_said_on_a_page_of_its_own(administrator, client):
    client.force_login(administrator)
    page = client.get("/nowhere/").content.decode()
    assert "There is nothing at this address." in page
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(administrator)
    assert "press the button again" in strict.post("/monitor/stop-all/").content.decode()


def test_the_page_of_a_mistake_of_cellyards_own_needs_nothing():
    from django.template.loader import render_to_string

    assert "Nothing that runs is touched by it" in render_to_string("500.html")


def test_browsers_find_the_icon_where_they_look_by_themselves(client, db):
    assert client.get("/favicon.ico")["Location"].endswith("cellyard/icon.svg")
