"""On Monitor each thing that needs a hand has one button, and the button does what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.web_server import factories
from web_server.accounts.models import Person
from web_server.cells import quarantine
from web_server.cells import services as cells
from web_server.cells.models import Battery
from web_server.commands.models import Command
from web_server.experiments import attention, services
from web_server.experiments.models import Experiment
from web_server.lab.models import Station, Unit
from web_server.notices import services as notices
from web_server.notices.models import Delivery

NEED = re.compile(
    r'<div class="note [^"]*" data-need="(\w+)">(.*?)(?=<div class="note |</section>)', re.DOTALL
)
FORM = re.compile(r'<form method="post" action="([^"]+)"(.*?)</form>', re.DOTALL)
HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')
LINK = re.compile(r'<a class="btn[^"]*" href="([^"]+)"')


def _unsafe(lab: SimpleNamespace) -> None:
    factories.make_alarm(lab.station, severity="unsafe", code="off_failed")
    Station.objects.update(state="unsafe", state_detail="still 0.5 A", last_defence="the red switch")


def _tripped(lab: SimpleNamespace) -> None:
    alarm = factories.make_alarm(lab.station)
    Station.objects.update(state="tripped", latched_alarm=alarm.uuid)


def _latched(lab: SimpleNamespace) -> None:
    Station.objects.update(state="tripped", latched_alarm="11111111-1111-1111-1111-111111111111")


def _held(lab: SimpleNamespace) -> None:
    services.set_status(factories.make_running(lab), "paused", text="E1: held after a power cut")


def _held_with_alarm(lab: SimpleNamespace) -> None:
    run = factories.make_running(lab)
    services.set_status(run, "paused")
    alarm = factories.make_alarm(lab.station, code="held", text="the unit was away", experiment=run)
    Station.objects.update(state="tripped", latched_alarm=alarm.uuid)


def _overdue(lab: SimpleNamespace) -> None:
    ago = timezone.now() - timedelta(hours=2)
    factories.make_running(lab, planned_end=ago, started_at=ago - timedelta(hours=1))


def _silent(lab: SimpleNamespace) -> None:
    factories.make_running(lab)
    Station.objects.update(reading_at=timezone.now() - timedelta(minutes=2))


def _unheard(lab: SimpleNamespace) -> None:
    notices.add(None, name="night shift", address="https://hooks.example.org/x")
    _tripped(lab)
    notices.plan()
    Delivery.objects.update(attempts=1, outcome="connection refused")


def _to_load(lab: SimpleNamespace) -> None:
    cells.eject(None, lab.battery)
    factories.make_experiment(lab.battery, lab.profile, lab.station)


def _any_station(lab: SimpleNamespace) -> None:
    cells.eject(None, lab.battery)
    services.file(None, name="E1", battery=lab.battery, profile=lab.profile, station_query={})


def _move(lab: SimpleNamespace) -> None:
    factories.make_experiment(lab.battery, lab.profile, factories.make_station(lab.unit, "S2"))


def _swap(lab: SimpleNamespace) -> None:
    factories.make_experiment(factories.make_battery("B2"), lab.profile, lab.station)


# kind, how it comes about, what the button asks for (a page's text, or what is true afterwards)
CASES: list[tuple[str, Callable[[SimpleNamespace], Any], str | Callable[[SimpleNamespace], bool]]] = [
    ("unsafe", _unsafe, "the red switch"),
    ("tripped", _tripped, lambda lab: _asked("station.acknowledge")),
    ("tripped", _latched, "S1"),
    ("unheard", _tripped, "Who hears of alarms"),
    ("unheard", _unheard, "connection refused"),
    ("held", _held, lambda lab: _asked("experiment.resume")),
    ("held", _held_with_alarm, lambda lab: _asked("station.acknowledge")),
    (
        "waiting",
        lambda lab: factories.make_running(lab, waiting_for="operator: fill the tank"),
        lambda lab: _asked("experiment.resume"),
    ),
    ("inspect", lambda lab: quarantine.put(lab.battery, "over voltage"), "Record the inspection"),
    (
        "warning",
        lambda lab: factories.make_alarm(lab.station, severity="warning"),
        lambda lab: _asked("station.acknowledge"),
    ),
    ("overdue", _overdue, "E1"),
    ("stale", _silent, "E1"),
    ("stale", lambda lab: Unit.objects.update(online=False), "unit 1"),
    (
        "finished",
        lambda lab: services.set_status(factories.make_running(lab), "finished"),
        lambda lab: _place(lab) is None,
    ),
    ("load", _to_load, lambda lab: _place(lab) == lab.station),
    ("load", _any_station, "Cell B1. Now the holder."),
    ("load", _move, "Eject"),
    ("load", _swap, "Eject"),
    ("approve", lambda lab: Unit.objects.update(approved=False), lambda lab: Unit.objects.get().approved),
]


def _asked(kind: str) -> bool:
    return Command.objects.filter(kind=kind).count() == 1


def _place(lab: SimpleNamespace) -> Station | None:
    return Battery.objects.get(pk=lab.battery.pk).station


def _needs(client: Client) -> dict[str, str]:
    return dict(NEED.findall(client.get("/").content.decode()))


@pytest.mark.parametrize(("kind", "comes_about", "wanted"), CASES)
def test_each_kind_says_since_when_and_why_and_its_one_button_works(
    small_lab: SimpleNamespace,
    administrator: Person,
    client: Client,
    kind: str,
    comes_about: Callable[[SimpleNamespace], Any],
    wanted: str | Callable[[SimpleNamespace], bool],
) -> None:
    comes_about(small_lab)
    client.force_login(administrator)
    need = _needs(client)[kind]
    assert re.search(r"<p>(<b[^>]*>)?\S.{6,}", need), "why, in a sentence"
    if comes_about is not _latched:
        assert "<time" in need, "since when"
    forms, links = FORM.findall(need), LINK.findall(need)
    assert len(forms) + len(links) == 1, "one button"
    if callable(wanted):
        [(address, inside)] = forms
        answer = client.post(address, dict(HIDDEN.findall(inside)), follow=True)
        assert answer.redirect_chain[-1][0] == "/", "back on Monitor"
        assert 'class="note note-error" role="status"' not in answer.content.decode()
        assert wanted(small_lab)
    else:
        answer = client.get(links[0], follow=True)
        assert answer.status_code == 200
        assert wanted in answer.content.decode()


def test_every_kind_is_among_the_cases() -> None:
    assert {kind for kind, *_ in CASES} == set(attention.ORDER)


def test_a_viewer_sees_the_cause_without_a_button_that_would_be_refused(
    small_lab: SimpleNamespace, viewer: Person, client: Client
) -> None:
    _held(small_lab)
    client.force_login(viewer)
    need = _needs(client)["held"]
    assert "held after a power cut" in need
    assert not FORM.findall(need)


def test_the_line_on_top_does_not_say_that_all_is_well_while_a_test_waits_for_somebody(
    small_lab: SimpleNamespace, viewer: Person, client: Client
) -> None:
    client.force_login(viewer)
    run = factories.make_running(small_lab, waiting_for="25 ± 1 °C")
    assert "nothing is wrong" in client.get("/monitor/glance/").content.decode()
    for columns in ({"waiting_for": "operator: fill the tank"}, {"waiting_for": "", "status": "paused"}):
        Experiment.objects.filter(pk=run.pk).update(**columns)
        line = client.get("/monitor/glance/").content.decode()
        assert "1 test waits for somebody" in line
        assert "nothing is wrong" not in line
        assert "Needs attention <span>1</span>" in client.get("/").content.decode()
