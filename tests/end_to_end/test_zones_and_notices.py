"""An open interlock, stop-all with everything else dead, quarantine, notices, the black box: by the API."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.kit import acknowledged, alarms, break_, device, mend, taken, truth
from tests.end_to_end.steps import current, run
from tests.end_to_end.test_contact_and_kills import process
from tests.stack.api import Problem
from tests.stack.cellyard import Cellyard
from tests.stack.process import ROOT
from tests.stack.simulated import supply
from tests.stack.waiting import free_port, until
from tests.web_server.notice_servers import mail_server, webhook

COUPLER = "modbus-io-coupler"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cellyard]:
    """Three supplies, and a coupler with the door contact, the exhaust and the siren."""
    devices = [{"name": "coupler", "model": COUPLER, "port": free_port()}]
    supplies = [supply("psb1"), supply("psb2"), supply("psb3")]
    with Cellyard(tmp_path_factory.mktemp("lab"), supplies, devices=devices) as running:
        yield running


@pytest.fixture(scope="module")
def bench(lab: Cellyard) -> dict[str, Any]:
    """Two stations in a zone with a door, a third outside, a battery in each."""
    coupler = device(lab, COUPLER)
    zone = lab.api.post(
        "zones/",
        name="room",
        unit=coupler["unit"],
        interlocks=[{"name": "door", "device": coupler["id"], "measure": "door_closed"}],
        outputs=[
            {"name": "exhaust", "device": coupler["id"], "control": "exhaust", "on_trip": 1, "normal": 0},
            {
                "name": "siren",
                "device": coupler["id"],
                "control": "siren",
                "on_trip": 1,
                "normal": 0,
                "on_server_lost": True,
            },
        ],
    )
    places: dict[str, Any] = {"zone": zone["id"]}
    for number in (1, 2, 3):
        where = {"zone": zone["id"]} if number < 3 else {}
        station = lab.station(f"S{number}", supply=number - 1, **where)
        battery = lab.battery(f"B{number}", station["id"])
        places[f"station{number}"], places[f"battery{number}"] = station["id"], battery["id"]
    for number in (1, 2, 3):
        taken(lab, places[f"station{number}"])
    return places


@pytest.fixture
def calm(lab: Cellyard, bench: dict[str, Any]) -> Iterator[None]:
    yield
    for name in ("psb1", "psb2", "psb3", "coupler"):
        mend(lab, name)
    for experiment in lab.api.all("experiments/", status="queued,starting,running,paused"):
        lab.api.client.post(f"experiments/{experiment['id']}/stop/", json={"how": "now"})
    until(lambda: not lab.api.all("experiments/", status="queued,starting,running,paused"), 30, "all ended")
    acknowledged(lab)
    for number in (1, 2, 3):
        lab.api.client.post(f"batteries/{bench[f'battery{number}']}/inspect/", json={"note": "seen"})


def charging(lab: Cellyard, bench: dict[str, Any], *places: int) -> dict[int, str]:
    """Start a charge on some places; return the experiments when current flows in all of them."""
    started = {place: run(lab, bench, [current(0.1, 300)], place=place) for place in places}
    for experiment in started.values():
        lab.experiment_is(experiment, "running")
    for place in places:
        until(lambda n=place: truth(lab, f"psb{n}")["output"], 20, f"current flows in {place}")
    return started


def test_an_open_door_stops_every_station_of_its_zone_and_no_other(
    lab: Cellyard, bench: dict[str, Any], calm: None
) -> None:
    started = charging(lab, bench, 1, 2, 3)
    break_(lab, "coupler", "input_open", input="door_closed")
    for place in (1, 2):
        until(lambda n=place: not truth(lab, f"psb{n}")["output"], 10, "off")
        ended = lab.experiment_is(started[place], "error")
        assert "door" in ended["end_reason"]["text"]
        lab.station_is(bench[f"station{place}"], "tripped")
    until(lambda: truth(lab, "coupler")["outputs"]["exhaust"], 15, "the exhaust runs")
    until(lambda: truth(lab, "coupler")["outputs"]["siren"], 15, "the siren sounds")
    assert truth(lab, "psb3")["output"]
    assert lab.api.get(f"experiments/{started[3]}/")["status"] == "running"
    # Latched: while the door is open nobody acknowledges it away.
    raised = until(
        lambda: [each for each in alarms(lab, state="raised") if each["station"] == bench["station1"]],
        20,
        "alarm",
    )
    lab.api.client.post(f"alarms/{raised[0]['id']}/acknowledge/", params={"wait": 10})
    assert lab.api.get(f"stations/{bench['station1']}/")["state"] == "tripped"
    mend(lab, "coupler")
    acknowledged_but(lab, bench)


def test_with_the_server_away_a_trip_sounds_the_siren_until_the_server_knows(
    lab: Cellyard, bench: dict[str, Any], calm: None
) -> None:
    charging(lab, bench, 1)
    lab.network.cut()
    break_(lab, "psb1", "drift", offset_v=0.9)
    until(lambda: not truth(lab, "psb1")["output"], 20, "off")
    until(lambda: truth(lab, "coupler")["outputs"]["siren"], 60, "nobody can be told: the siren sounds")
    assert not truth(lab, "coupler")["outputs"]["exhaust"], "no interlock is open"
    lab.network.mend()
    until(lambda: not truth(lab, "coupler")["outputs"]["siren"], 60, "the server knows")


def test_while_the_units_own_program_hangs_the_zones_outputs_hold_their_trip_value(
    lab: Cellyard, bench: dict[str, Any], calm: None
) -> None:
    until(lambda: not truth(lab, "coupler")["outputs"]["exhaust"], 20, "all is calm")
    agent = process(lab, "agent")
    agent.suspend()
    for output in ("exhaust", "siren"):
        until(
            lambda each=output: truth(lab, "coupler")["outputs"][each], 20, f"{output}: nobody reads the door"
        )
    agent.kill()
    until(lambda: process(lab, "agent").pid != agent.pid, 60, "a new agent")
    for output in ("exhaust", "siren"):
        until(
            lambda each=output: not truth(lab, "coupler")["outputs"][each],
            40,
            f"{output}: the door is closed",
        )
    for number in (1, 2, 3):
        lab.station_is(bench[f"station{number}"], "idle")


def acknowledged_but(lab: Cellyard, bench: dict[str, Any]) -> None:
    """Acknowledge until both stations of the zone are idle; the third goes on."""

    def idle() -> bool:
        for alarm in alarms(lab, state="raised"):
            lab.api.client.post(f"alarms/{alarm['id']}/acknowledge/")
        return all(lab.api.get(f"stations/{bench[f'station{n}']}/")["state"] == "idle" for n in (1, 2))

    until(idle, 40, "both stations are idle again", every_s=0.3)


def test_stop_all_stops_a_zone_alone(lab: Cellyard, bench: dict[str, Any], calm: None) -> None:
    started = charging(lab, bench, 1, 3)
    lab.api.post("stations/stop-all/", zone=bench["zone"])
    lab.experiment_is(started[1], "stopped")
    assert not truth(lab, "psb1")["output"]
    assert truth(lab, "psb3")["output"]
    lab.api.post("stations/stop-all/")
    lab.experiment_is(started[3], "stopped")
    assert not truth(lab, "psb3")["output"]


def test_a_trip_quarantines_tells_people_and_leaves_a_black_box(
    lab: Cellyard, bench: dict[str, Any], calm: None
) -> None:
    with mail_server() as (box, mail), webhook() as (got, hook):
        mail_to = lab.api.post("notice-targets/", name="mail", address=mail, place=1)
        hook_to = lab.api.post("notice-targets/", name="hook", address=hook, place=1)
        assert "secret" not in str(hook_to)
        assert lab.api.post(f"notice-targets/{mail_to['id']}/test/")
        until(lambda: box.mails, 20, "the test arrives")
        started = charging(lab, bench, 1)
        break_(lab, "psb1", "drift", offset_v=0.9)
        ended = lab.experiment_is(started[1], "error")
        assert "voltage" in ended["end_reason"]["text"]
        # The loaded battery's watch may see the same drift a little later: that alarm is its own.
        trip = until(
            lambda: [each for each in alarms(lab, state="raised") if each["experiment"] == started[1]],
            20,
            "an alarm of the test",
        )[0]
        until(lambda: [each for each in box.mails if "S1" in each["subject"]], 30, "a mail within 30 s")
        until(lambda: got, 30, "the webhook within 30 s")
        sent = until(
            lambda: (rows := lab.api.get(f"alarms/{trip['id']}/deliveries/")["results"])
            and all(each["state"] == "sent" for each in rows)
            and rows, 20, "both are noted as sent",
        )  # fmt: skip
        assert {each["target_name"] for each in sent} == {"mail", "hook"}
        for each in (mail_to, hook_to):
            lab.api.client.delete(f"notice-targets/{each['id']}/")
    path = f"alarms/{trip['id']}/black-box/"
    found = until(
        lambda: (answer := lab.api.client.get(path)).is_success and answer.json(), 20, "the black box arrives"
    )
    assert found["exchanges"]
    assert "OUTP" in str(found["exchanges"])
    table = lab.api.client.get(path, params={"format": "csv"}).text
    assert "voltage_v" in table.splitlines()[0]
    assert len(table.splitlines()) > 10
    # Quarantined: refused although the station is calm again, until somebody has looked at it.
    mend(lab, "psb1")
    acknowledged(lab)
    with pytest.raises(Problem) as problem:
        run(lab, bench, [current(0.1, 2)])
    assert "quarantine" in str(problem.value.body)
    lab.api.post(f"batteries/{bench['battery1']}/inspect/", note="looked at it: no swelling")
    again = run(lab, bench, [current(0.1, 2)], rest_voltage_confirmed=True)
    lab.experiment_is(again, "finished")


def test_with_web_manager_and_broker_dead_the_units_own_command_stops_all(
    lab: Cellyard, bench: dict[str, Any]
) -> None:
    started = charging(lab, bench, 1, 2, 3)
    lab.web.kill()
    lab.manager.kill()
    lab.broker.stop()
    command = [sys.executable, "-m", "cycler_unit", "stop-all", "--config", str(lab.unit_file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("psb1", "psb2", "psb3"):
        assert not truth(lab, name)["output"]
    # What happened reaches the site when it is there again.
    lab.broker.start()
    lab.manager.start()
    lab.web.start()
    lab.wait_for_site()
    for experiment in started.values():
        ended = lab.experiment_is(experiment, "stopped", timeout_s=90)
        assert ended["end_reason"]["text"]
        lab.complete(experiment, 60)
