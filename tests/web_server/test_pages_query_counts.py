"""Pages ask the database the same number of questions however many rows there are."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.web_server import factories, pages_lab
from web_server.cells import services as cells

# Session, person, the four of the line on top, and what the page itself asks.
LIMITS = {
    "/": 26,
    "/experiments/": 12,
    "/batteries/": 8,
    "/profiles/": 9,
    "/stations/": 9,
    "/units/": 9,
    "/catalogue/": 7,
    "/alarms/": 9,
}


@pytest.fixture
def lab(administrator):
    return pages_lab.fill(administrator)


def _count(client, address: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert client.get(address).status_code == 200
    return len(asked)


def _grow(lab, by, times: int) -> None:
    for i in range(times):
        station = factories.make_station(lab.unit, f"More {i}")
        battery = factories.make_battery(f"More {i}")
        cells.load(by, battery, station)
        profile = factories.make_profile(f"More {i}")
        pages_lab.run(by, factories.make_experiment(battery, profile, station, name=f"More {i}", by=by))
        pages_lab.trip(factories.make_station(lab.unit, f"Tripped {i}"))


@pytest.mark.parametrize("address", LIMITS)
def test_a_page_asks_few_questions_whatever_the_size_of_the_lab(address, lab, administrator, client):
    client.force_login(administrator)
    few = _count(client, address)
    _grow(lab, administrator, 5)
    many = _count(client, address)
    assert many == few
    assert many <= LIMITS[address]


@pytest.mark.parametrize(("address", "most"), [("stations/{}/control/", 20), ("units/{}/", 14)])
def test_pages_of_one_thing_ask_few_questions(lab, administrator, client, address, most):
    client.force_login(administrator)
    thing = lab.station if address.startswith("stations") else lab.unit
    few = _count(client, f"/{address.format(thing.uuid)}")
    _grow(lab, administrator, 3)
    assert _count(client, f"/{address.format(thing.uuid)}") == few
    assert few <= most


def test_a_devices_page_asks_few_questions(lab, administrator, client):
    client.force_login(administrator)
    assert _count(client, f"/devices/{lab.relays.uuid}/") <= 14


def test_an_experiments_page_asks_few_questions(lab, administrator, client):
    client.force_login(administrator)
    assert _count(client, f"/experiments/{lab.experiment.uuid}/") <= 16
