"""A deadlock's victim begins again; nothing else does."""

from __future__ import annotations

import pytest
from django.db import OperationalError, transaction

from tests.web_server import factories
from web_server.lab.models import Unit
from web_server.lib.transactions import TRIES, atomic

GONE, DEADLOCK = 2006, 1213


class Act:
    """Writes a unit's name, and fails with an error of the database so many times."""

    def __init__(self, unit: Unit, code: int, failures: int) -> None:
        self.unit, self.code, self.failures = unit, code, failures
        self.tries = 0

    def __call__(self) -> str:
        self.tries += 1
        self.unit.name = f"try {self.tries}"
        self.unit.save(update_fields=["name"])
        if self.tries <= self.failures:
            raise OperationalError(self.code, "said the database")
        return "done"


@pytest.mark.django_db(transaction=True)
def test_a_deadlock_is_tried_again_from_its_beginning() -> None:
    act = Act(factories.make_unit(name="before"), DEADLOCK, 2)
    assert atomic(act)() == "done"
    assert act.tries == 3
    assert Unit.objects.get().name == "try 3"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("code", "tries"), [(DEADLOCK, TRIES), (GONE, 1)])
def test_what_does_not_end_is_told_and_leaves_nothing_behind(code: int, tries: int) -> None:
    act = Act(factories.make_unit(name="before"), code, 100)
    with pytest.raises(OperationalError):
        atomic(act)()
    assert act.tries == tries
    assert Unit.objects.get().name == "before"


@pytest.mark.django_db(transaction=True)
def test_a_part_of_a_transaction_is_not_begun_again_alone() -> None:
    act = Act(factories.make_unit(name="before"), DEADLOCK, 1)
    with pytest.raises(OperationalError), transaction.atomic():
        atomic(act)()
    assert act.tries == 1
