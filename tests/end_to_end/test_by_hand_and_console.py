"""Control by hand and the console, by the API down to the devices' own bytes; idle readings (safety rule 20)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.kit import acknowledged, device, done, lease, refused, send, truth
from tests.end_to_end.steps import current, run
from tests.stack.api import Problem
from tests.stack.cellyard import ADMIN_PASSWORD, Cellyard
from tests.stack.simulated import supply
from tests.stack.waiting import free_port, until

TYPED = {
    "connected": "other", "voltage_min_v": 2.8, "voltage_max_v": 4.25,
    "current_min_a": -0.5, "current_max_a": 0.5, "duration_s": 120,
}  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cellyard]:
    """Two supplies, a relay board, one high voltage channel, and an EPC on a CAN bus that nobody uses."""
    bus = {"interface": "udp_multicast", "channel": "239.74.163.2", "port": free_port()}
    devices = [
        {"name": "relays", "model": "esp32-relay-board", "port": free_port()},
        {"name": "hv", "model": "caen-v6533", "channels": 1, "ramp": 20.0, "port": free_port()},
        {"name": "epc", "model": "epc", "node": 0x14, "serial_number": 7, "circuit": "holder", **bus},
    ]
    circuits = [{"name": "holder", "cell": {"chemistry": "NMC", "capacity_ah": 2.5}}]
    supplies = [supply("psb1"), supply("psb2")]
    unit = {"record_every_s": 1.0}
    folder = tmp_path_factory.mktemp("lab")
    with Cellyard(folder, supplies, devices=devices, circuits=circuits, unit=unit) as running:
        yield running


@pytest.fixture(scope="module")
def places(lab: Cellyard) -> dict[str, str]:
    """Two stations, the first with a battery, the second empty."""
    first, second = lab.station("S1", 0), lab.station("S2", 1)
    battery = lab.battery("B1", first["id"])
    where = f"stations/{first['id']}"
    # The unit hears of a loaded battery after the site: a heartbeat later.
    key = until(lambda: taken_lease(lab, where), 20, "the unit knows the battery")
    done(lab, where, "device.lease", lease=key, release=True)
    lab.station_is(first["id"], "idle")
    return {"station1": first["id"], "station2": second["id"], "battery1": battery["id"]}


def taken_lease(lab: Cellyard, where: str) -> str | None:
    """Return a lease of the loaded battery, None while the unit does not know of it."""
    command = send(lab, where, "device.lease", connected="battery")
    if command["outcome"] != "done":
        assert "no battery is loaded" in command["reason"], command
        return None
    return str(command["args"]["lease"])


@pytest.fixture
def calm(lab: Cellyard) -> Iterator[None]:
    yield
    for station in lab.api.all("stations/"):
        send(lab, f"stations/{station['id']}", "device.off")
    acknowledged(lab)


# --- stations ---------------------------------------------------------------------------------------


def test_a_loaded_battery_is_charged_by_hand_inside_its_own_limits(
    lab: Cellyard, places: dict[str, str], calm: None
) -> None:
    where = f"stations/{places['station1']}"
    key = lease(lab, where, connected="battery")
    done(lab, where, "device.set", lease=key, values={"mode": "cc", "current_a": 0.2})
    until(lambda: truth(lab, "psb1")["output"], 10, "current flows")
    read = done(lab, where, "device.read")
    assert read["lease"]["lease"] == key
    until(lambda: done(lab, where, "device.read")["values"]["current_a"] == pytest.approx(0.2, abs=0.05), 10)
    assert "current_a" in refused(
        lab, where, "device.set", lease=key, values={"mode": "cc", "current_a": 3.0}
    )
    lab.station_is(places["station1"], "manual")
    done(lab, where, "device.off")
    assert not truth(lab, "psb1")["output"]
    lab.station_is(places["station1"], "idle")


def test_two_people_never_hold_one_station(lab: Cellyard, places: dict[str, str], calm: None) -> None:
    where = f"stations/{places['station2']}"
    key = lease(lab, where, **TYPED)
    assert "admin" in refused(lab, where, "device.lease", **TYPED)
    done(lab, where, "device.lease", lease=key, release=True)


def test_typed_limits_hold_and_a_lease_that_nobody_renews_falls_back_to_off(
    lab: Cellyard, places: dict[str, str], calm: None
) -> None:
    where = f"stations/{places['station2']}"
    key = lease(lab, where, **TYPED)
    assert "0.5" in refused(lab, where, "device.set", lease=key, values={"mode": "cc", "current_a": 0.6})
    done(lab, where, "device.set", lease=key, values={"mode": "cc", "current_a": -0.2})
    until(lambda: truth(lab, "psb2")["output"], 10, "current flows")
    lab.station_is(places["station2"], "manual")
    until(lambda: not truth(lab, "psb2")["output"], 30, "the lease lapses")
    lab.station_is(places["station2"], "idle")
    assert refused(lab, where, "device.set", lease=key, values={"mode": "cc", "current_a": 0.1})


def test_without_limits_nothing_is_leased(lab: Cellyard, places: dict[str, str]) -> None:
    with pytest.raises(Problem) as problem:
        lab.api.post(
            f"stations/{places['station2']}/commands/", kind="device.lease", args={"connected": "other"}
        )
    assert "voltage_max_v" in str(problem.value.body)


def test_down_stops_an_experiment_and_is_confirmed_off(
    lab: Cellyard, places: dict[str, str], calm: None
) -> None:
    experiment = run(lab, places, [current(0.1, 300)])
    lab.experiment_is(experiment, "running")
    until(lambda: truth(lab, "psb1")["output"], 20, "current flows")
    where = f"stations/{places['station1']}"
    assert "is running test" in refused(lab, where, "device.lease", connected="battery")
    command = send(lab, where, "device.off")
    assert command["outcome"] == "done", command
    assert command["result"]["stopped"] == experiment
    assert not truth(lab, "psb1")["output"]
    assert lab.experiment_is(experiment, "stopped")["end_reason"]["person"] == "admin"


def test_a_station_in_hand_is_not_composed_anew_and_keeps_its_battery(
    lab: Cellyard, places: dict[str, str], calm: None
) -> None:
    path, where = f"stations/{places['station1']}/", f"stations/{places['station1']}"
    key = lease(lab, where, connected="battery")
    lab.station_is(places["station1"], "manual")
    with pytest.raises(Problem) as problem:
        lab.api.patch(path, loop_period_s=0.2)
    assert "manual" in str(problem.value.body)
    done(lab, where, "device.lease", lease=key, release=True)
    lab.station_is(places["station1"], "idle")
    version = lab.api.patch(path, loop_period_s=0.2)["version"]
    until(lambda: lab.api.get(path)["unit_version"] == version, 30, "the unit has the new version")
    assert lab.api.get(path)["battery"] == places["battery1"]
    # The unit still knows which battery is loaded: it leases it by hand.
    key = lease(lab, where, connected="battery")
    done(lab, where, "device.lease", lease=key, release=True)


# --- devices in no station --------------------------------------------------------------------------


def test_a_relay_is_switched_by_hand_and_falls_back_when_the_lease_is_over(lab: Cellyard) -> None:
    where = f"devices/{device(lab, 'esp32-relay-board')['id']}"
    key = lease(lab, where, duration_s=60)
    done(lab, where, "device.set", lease=key, values={"relay_2": 1})
    until(lambda: truth(lab, "relays")["channels"][2] == 1, 10, "the relay is on")
    until(lambda: done(lab, where, "device.read")["values"]["relay_2"] == 1.0, 10, "it reads back")
    done(lab, where, "device.lease", lease=key, release=True)
    until(lambda: truth(lab, "relays")["channels"][2] == 0, 20, "the relay is off again")


def test_a_high_voltage_channel_ramps_by_hand_inside_its_typed_limits_and_goes_down(lab: Cellyard) -> None:
    where = f"devices/{device(lab, 'caen-v6533')['id']}"
    key = lease(
        lab, where, connected="other", voltage_min_v=0, voltage_max_v=200, current_min_a=0,
        current_max_a=2e-5, duration_s=120,
    )  # fmt: skip
    done(lab, where, "device.set", lease=key, values={"rup_v_s": 50, "rdwn_v_s": 500})
    done(lab, where, "device.set", lease=key, values={"vset_v": 100, "power": 1})

    def voltage() -> float:
        lab.api.post(f"{where}/commands/", kind="device.lease", args={"lease": key})
        return float(done(lab, where, "device.read")["values"]["vmon_v"])

    until(lambda: voltage() == pytest.approx(100, rel=0.05), 30, "it has ramped up")
    assert "200" in refused(lab, where, "device.set", lease=key, values={"vset_v": 300})
    done(lab, where, "device.off")
    until(lambda: done(lab, where, "device.read")["values"]["vmon_v"] < 5, 30, "it has gone down")


def test_readings_of_idle_devices_are_recorded_and_served(lab: Cellyard, places: dict[str, str]) -> None:
    relays = device(lab, "esp32-relay-board")["id"]
    lab.api.patch(f"devices/{relays}/", record_every_s=1)

    def rows() -> Any:
        columns = lab.api.get(f"devices/{relays}/readings/")["columns"]
        return len([each for each in columns["int_temperature_c"] if each is not None]) >= 3 and columns

    columns = until(rows, 30, "three recorded readings")
    assert columns["time_us"] == sorted(columns["time_us"])
    supply_ = lab.api.get("devices/", station=places["station2"])["results"][0]["id"]
    until(
        lambda: lab.api.get(f"devices/{supply_}/readings/")["columns"].get("voltage_v"),
        30,
        "a station's supply is recorded while it is idle",
    )


# --- console ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unit(lab: Cellyard) -> str:
    return f"units/{lab.api.get('units/')['results'][0]['id']}"


def test_a_query_answers_with_the_devices_own_lines(lab: Cellyard, unit: str, places: Any) -> None:
    found = done(lab, unit, "scpi.query", link="psb2", text="*IDN?")
    assert "EA Elektro-Automatik" in found["lines"][0]


def test_on_a_bus_that_runs_the_console_may_ask_and_not_write(
    lab: Cellyard, unit: str, places: dict[str, str], calm: None
) -> None:
    experiment = run(lab, places, [current(0.1, 300)])
    lab.experiment_is(experiment, "running")
    assert "S1" in refused(lab, unit, "scpi.write", link="psb1", text="OUTP OFF")
    assert done(lab, unit, "scpi.query", link="psb1", text="MEAS:VOLT?")["lines"]
    assert lab.api.get(f"experiments/{experiment}/")["status"] == "running"


def test_a_frame_is_answered_raw_and_decoded(lab: Cellyard, unit: str) -> None:
    [link] = {
        each["link_name"].split(" node")[0] for each in lab.api.all("devices/") if each["model_key"] == "epc"
    }
    # REQUEST (message 1) of INFO (0) to node 0x14.
    found = done(lab, unit, "can.send", link=link, id=0x141, payload="00", listen_s=1.0)
    assert found["frames"], found
    [info] = [each for each in found["frames"] if (each.get("decoded") or {}).get("name") == "EPC_INFO"][:1]
    assert info["decoded"]["node"] == 0x14
    assert info["payload"]
    heard = done(lab, unit, "can.listen", link=link, seconds=0.5)
    assert heard["lost"] == 0
    assert "node 0" in refused(lab, unit, "can.send", link=link, id=0x000, payload="00")


def test_the_console_is_for_managers_and_everything_is_in_the_trail(lab: Cellyard, unit: str) -> None:
    token = lab.api.post("token/", username="admin", password=ADMIN_PASSWORD, scope="operator")["token"]
    answer = lab.api.client.post(
        f"{unit}/commands/", json={"kind": "scpi.query", "args": {"link": "psb2", "text": "*IDN?"}},
        headers={"Authorization": f"Token {token}"},
    )  # fmt: skip
    assert answer.status_code == 403, answer.text
    assert "manager" in answer.text
    read = "from web_server.accounts.models import AuditEntry as A"
    show = "print([(e.act, e.person and e.person.username, str(e.detail)) for e in A.objects.all()])"
    trail = lab.manage("shell", "-c", f"{read}; {show}")
    for kind in (
        "scpi.query",
        "scpi.write",
        "can.send",
        "can.listen",
        "device.lease",
        "device.set",
        "device.off",
    ):
        assert kind in trail, trail[-3000:]
