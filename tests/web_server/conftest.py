"""Fixtures of the site's tests: the standing people and a small lab."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.web_server import factories
from web_server.accounts.models import Person
from web_server.lab.models import Station


@pytest.fixture(autouse=True)
def quick_passwords(settings) -> None:
    """Hash passwords fast: Django's own hash takes half a second of each test, on purpose."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def viewer(db: None) -> Person:
    return factories.make_person("vera", "viewer")


@pytest.fixture
def operator(db: None) -> Person:
    return factories.make_person("otto", "operator")


@pytest.fixture
def manager(db: None) -> Person:
    return factories.make_person("mina", "manager")


@pytest.fixture
def administrator(db: None) -> Person:
    return factories.make_person("ada", "administrator")


@pytest.fixture
def station(db: None) -> Station:
    return factories.make_station(factories.make_unit())


@pytest.fixture
def small_lab(station: Station, operator: Person) -> SimpleNamespace:
    """One idle station with its battery loaded, a profile, and an operator."""
    from web_server.cells import services as cells

    battery = factories.make_battery()
    cells.load(operator, battery, station)
    battery.refresh_from_db()
    return SimpleNamespace(
        station=station,
        unit=station.unit,
        battery=battery,
        profile=factories.make_profile(),
        operator=operator,
    )
