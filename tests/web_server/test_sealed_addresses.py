"""Addresses of notices lie encrypted in the database, and a changed key is a sentence, not a fault."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from web_server.accounts.models import Person
from web_server.notices import sealing, sending, services
from web_server.notices.models import Target

MAIL = "mailtos://otto:open-sesame@mail.example.org:587?from=lab@example.org&to=night@example.org"
OTHER_KEY = "another key for tests only, " * 3

pytestmark = pytest.mark.django_db


@pytest.fixture
def target(administrator: Person) -> Target:
    return services.add(administrator, name="night shift", address=MAIL)


def _in_the_database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM notices_target")
        return repr(cursor.fetchall())


def test_the_database_tells_no_password(target: Target) -> None:
    rows = _in_the_database()
    assert "night shift" in rows
    assert "open-sesame" not in rows
    assert "otto" not in rows
    assert Target.objects.get().address == MAIL


def test_the_same_address_looks_different_each_time() -> None:
    assert sealing.seal(MAIL) != sealing.seal(MAIL)


def test_a_changed_key_is_said_in_words_and_sends_nothing(target: Target, settings: Any) -> None:
    settings.SECRET_KEY = OTHER_KEY
    outcome = sending.send_to(Target.objects.get(), "title", "body")
    assert not outcome.sent
    assert "another CELLYARD_SECRET_KEY" in outcome.text
    assert "enter the address again" in outcome.text


def test_entered_again_under_the_new_key_it_works(
    target: Target, administrator: Person, settings: Any
) -> None:
    settings.SECRET_KEY = OTHER_KEY
    services.change(administrator, Target.objects.get(), name="night shift", address=MAIL)
    assert Target.objects.get().address == MAIL


def test_a_sealed_address_that_was_changed_is_refused(target: Target) -> None:
    changed = target.sealed[:-8] + "AAAAAAA="
    with pytest.raises(sealing.Unreadable):
        sealing.unseal(changed)


def test_the_migration_seals_what_lay_there_readable_and_gives_it_back(target: Target) -> None:
    migration = importlib.import_module("web_server.notices.migrations.0002_sealed_addresses")
    Target.objects.update(sealed=MAIL)
    migration.encrypt(apps, None)
    assert "open-sesame" not in _in_the_database()
    assert Target.objects.get().address == MAIL
    migration.decrypt(apps, None)
    assert Target.objects.get().sealed == MAIL
