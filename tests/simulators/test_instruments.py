"""Load, meter, flow meter and gas analyser of the simulator: their quirks, over TCP and a pseudo-terminal."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cycler_unit.buses.local import LocalBuses
from cycler_unit.drivers.base import Device, PowerDevice, Target
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused
from tests.stack.simulated import Simulators
from tests.stack.waiting import until
from wire import kinds

DISCHARGE = Target("cc", "discharge", current_a=-1.0, voltage_min_v=2.5)
# On a pseudo-terminal nothing restarts when it is opened.
NOW = {"open_wait_s": 0.0}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    folder = tmp_path_factory.mktemp("bench")
    wired = {"circuit": "holder", "port": 0}
    simulators = Simulators(
        folder,
        [],
        circuits=[{"name": "holder", "cell": {"capacity_ah": 2.5, "soc": 0.5}}],
        devices=[
            {"name": "load", "model": "rs-pro-kel103", "pty": str(folder / "load"), **wired},
            {"name": "volts", "model": "bk-2831e", "pty": str(folder / "volts"), **wired},
            {"name": "amps", "model": "bk-5491b-current", "digits": "exponent", **wired},
            {"name": "flow", "model": "arduino-flow-meter", "port": 0, "pty": str(folder / "flow")},
            {"name": "booting", "model": "arduino-flow-meter", "port": 0, "boot_s": 0.6},
            {"name": "gas", "model": "pp-sba-5", "port": 0, "pty": str(folder / "gas")},
            {"name": "source", "model": "ea-ps-2084-05-b", "pty": str(folder / "source"), **wired},
            {"name": "sink", "model": "ea-el-9080-170-b", **wired},
        ],
    ).start()
    yield simulators
    simulators.stop()


def opened(running: Simulators, name: str, way: str = "TCPIP", **more: Any) -> Device:
    described = running.ask(query="devices")["devices"]
    model = next(each["model"] for each in described if each["name"] == name)
    link = next(each for each in running.links_of(name) if each["resource"].startswith(way))
    device = LocalBuses().device(kinds.get(model), {**link, **NOW, **more}, name)
    device.open()
    return device


@pytest.fixture(autouse=True)
def mended(running: Simulators) -> Iterator[None]:
    yield
    for name in ("load", "volts", "amps", "flow", "gas", "source", "sink"):
        running.ask(device=name, clear=True)
    for name in ("load", "source", "sink"):
        opened(running, name).close()


def power(running: Simulators, name: str, way: str = "TCPIP") -> PowerDevice:
    device = opened(running, name, way)
    assert isinstance(device, PowerDevice)
    return device


def flows(device: Device, amps: float) -> None:
    until(lambda: abs((device.read().current_a or 0.0) - amps) < 0.01, 5, f"{amps} A")


# --- the load -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["TCPIP", "ASRL"])
def test_the_load_discharges_and_a_meter_beside_it_sees_both(running: Simulators, way: str) -> None:
    load, volts, amps = power(running, "load", way), opened(running, "volts", way), opened(running, "amps")
    load.apply(DISCHARGE)
    flows(load, -1.0)
    assert volts.read().voltage_v == pytest.approx(load.read().voltage_v, abs=0.005)
    assert amps.read().current_a == pytest.approx(-1.0, abs=0.002)
    load.apply(Target("cp", power_w=-2.0))
    until(lambda: abs((load.read().power_w or 0.0) + 2.0) < 0.02, 5, "2 W")
    load.apply(Target("cr", "discharge", resistance_ohm=10.0))
    until(
        lambda: abs((load.read().current_a or 0.0) + (load.read().voltage_v or 0.0) / 10) < 0.01, 5, "10 Ohm"
    )
    load.make_safe()
    flows(load, 0.0)
    for device in (load, volts, amps):
        device.close()


def test_left_alone_the_load_goes_on_below_any_floor(running: Simulators) -> None:
    load = power(running, "load")
    load.apply(DISCHARGE)
    running.ask(device="load", fault="wrong_cell", soc=0.01)
    flows(load, -1.0)
    assert load.output_is_on()


def test_a_silent_clamp_of_the_load_is_refused_by_its_echo(running: Simulators) -> None:
    load = power(running, "load")
    running.ask(device="load", fault="clamp", current_a=0.5)
    with pytest.raises(DeviceRefused, match=r"0\.500A instead of 1"):
        load.apply(DISCHARGE)
    assert not running.ask(device="load", query="truth")["output"]


def test_a_load_that_takes_no_set_point_is_refused(running: Simulators) -> None:
    load = power(running, "load")
    running.ask(device="load", fault="refuse")
    with pytest.raises(DeviceRefused, match="holds :CURR"):
        load.apply(DISCHARGE)


def test_a_load_that_sticks_says_off_and_flows(running: Simulators) -> None:
    load = power(running, "load")
    load.apply(DISCHARGE)
    running.ask(device="load", fault="stuck_on")
    load.make_safe()
    assert not load.output_is_on()
    assert (load.read().current_a or 0.0) < -0.9


def test_mains_lost_is_lost_and_comes_back_off(running: Simulators) -> None:
    for name, target in (
        ("load", DISCHARGE),
        ("source", Target("cc", current_a=1.0, voltage_max_v=4.2)),
        ("sink", DISCHARGE),
    ):
        device = power(running, name)
        device.apply(target)
        running.ask(device=name, fault="mains_lost", for_s=0.1)
        with pytest.raises(DeviceLost):
            device.read()

        def reopened(device: PowerDevice = device) -> bool:
            device.open()
            return True

        until(reopened, 5, "mains back")
        assert not device.output_is_on()
        assert not running.ask(device=name, query="truth")["output"]


# --- source and load on one cell ------------------------------------------------------------------


def test_source_and_load_share_the_cell_that_both_measure(running: Simulators) -> None:
    source, sink = power(running, "source"), power(running, "sink")
    source.apply(Target("cc", current_a=1.0, voltage_max_v=4.2))
    flows(source, 1.0)
    source.make_safe()
    sink.apply(DISCHARGE)
    flows(sink, -1.0)
    assert abs(source.read().current_a or 0.0) < 0.02
    assert running.ask(circuit="holder", query="truth")["current_a"] == pytest.approx(-1.0, abs=0.01)


def test_over_its_serial_port_the_source_is_the_same(running: Simulators) -> None:
    link = next(each for each in running.links_of("source") if each["resource"].startswith("ASRL"))
    assert (link["baud_rate"], link["parity"]) == (9600, "odd")
    source = power(running, "source", "ASRL")
    source.apply(Target("cc", current_a=1.0, voltage_max_v=4.2))
    flows(source, 1.0)
    source.make_safe()
    source.close()


@pytest.mark.parametrize(
    ("fault", "more", "missing"),
    [("sensor_off", {}, True), ("noise", {"voltage_v": 0.2}, False), ("sense_open", {}, False)],
)
def test_what_a_broken_converter_shows(
    running: Simulators, fault: str, more: dict[str, Any], missing: bool
) -> None:
    source = power(running, "source")
    right = source.read().voltage_v or 0.0
    running.ask(device="source", fault=fault, **more)
    seen = [source.read().voltage_v for _ in range(20)]
    if missing:
        assert set(seen) == {None}
    elif fault == "noise":
        assert max(abs((each or 0.0) - right) for each in seen) > 0.1
    else:
        assert max(abs(each or 0.0) for each in seen) < 0.1


def test_a_refused_set_point_is_told_in_words(running: Simulators) -> None:
    source = power(running, "source")
    running.ask(device="source", fault="refuse")
    with pytest.raises(DeviceRefused, match=r"VOLT at .* instead of 4\.05 \(Execution error \(-200\)"):
        source.apply(Target("cc", current_a=1.0, voltage_max_v=4.05))


# --- the meter ------------------------------------------------------------------------------------


def raw(running: Simulators, name: str, message: bytes, lines: int) -> list[bytes]:
    """Return what the bare socket of a device says."""
    _, host, port, _ = next(each for each in running.links_of(name) if "TCPIP" in each["resource"])[
        "resource"
    ].split("::")
    with socket.create_connection((host, int(port)), timeout=5) as wire, wire.makefile("rb") as heard:
        wire.sendall(message)
        return [heard.readline() for _ in range(lines)]


def test_the_meter_echoes_and_ends_in_crlf(running: Simulators) -> None:
    assert raw(running, "volts", b"*IDN?\n", 2) == [
        b"*IDN?\r\n", b"2831E  Multimeter,Ver1.4.14.06.18,124E16150\r\n",
    ]  # fmt: skip
    assert raw(running, "volts", b"NONSENSE\nSYST:ERR?\n", 3)[2] == b'-113,"Undefined header"\r\n'


def test_the_meter_reads_against_a_reference_and_knows_all_its_functions(running: Simulators) -> None:
    said = raw(running, "volts", b"VOLT:DC:REF 100\nVOLT:DC:REF:STAT ON\nFETC?\nVOLT:DC:REF:STAT OFF\n", 5)
    assert float(said[3]) < -90.0
    assert raw(running, "volts", b"FUNC DIOD\nFUNC?\nFUNC VOLT:DC\n", 4)[2] == b"DIOD\r\n"


def test_a_fixed_range_overloads_and_an_automatic_one_does_not(running: Simulators) -> None:
    volts = opened(running, "volts")
    assert (volts.read().voltage_v or 0.0) > 3.0
    volts.set("range_v", 2.0)
    assert volts.read().voltage_v is None
    volts.set("range_v", 0.0)
    assert volts.read().voltage_v is not None


def test_the_meter_survives_a_lost_byte_and_shows_its_faults(running: Simulators) -> None:
    volts = opened(running, "volts")
    running.ask(device="volts", fault="lost_byte")
    right = volts.read().voltage_v
    assert right is not None
    running.ask(device="volts", fault="freeze")
    assert len({volts.read().voltage_v for _ in range(3)}) == 1
    running.ask(device="volts", clear=True)
    running.ask(device="volts", fault="drift", offset_v=0.5)
    assert volts.read().voltage_v == pytest.approx(right + 0.5, abs=0.02)
    running.ask(device="volts", fault="sensor_off")
    assert volts.read().voltage_v is None
    running.ask(device="volts", fault="drop_link")
    with pytest.raises(DeviceLost):
        volts.read()


def test_whatever_key_is_pressed_at_the_meter_no_wrong_voltage_is_read(
    running: Simulators, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cycler_unit.drivers.bk.LOOK_S", 0.0)
    right = opened(running, "volts").read().voltage_v
    assert right is not None
    for keys in ({"function": "CURR:DC"}, {"key": "relative"}):
        volts = opened(running, "volts")
        running.ask(device="volts", fault="panel_change", **keys)
        with pytest.raises(DeviceFault, match="front panel"):
            volts.read()
        volts.close()
        # Opening it again is all it takes.
        assert opened(running, "volts").read().voltage_v == pytest.approx(right, abs=0.02)
    volts = opened(running, "volts")
    running.ask(device="volts", fault="noise", voltage_v=0.05)
    for key in ("trigger", "hold"):
        running.ask(device="volts", fault="panel_change", key=key)
        volts.read()  # the number that was kept; after it the meter triggers by itself again
        if key == "hold":
            volts = opened(running, "volts")
        assert len({volts.read().voltage_v for _ in range(5)}) > 1


# --- the flow meter -------------------------------------------------------------------------------


def test_the_flow_meter_takes_its_exact_words_only(running: Simulators) -> None:
    assert raw(running, "flow", b":idn*?\n", 1) == [b":SCPI:ERROR::idn*?\n"]
    assert raw(running, "flow", b":IDN*?\r\n", 1) == [b":SCPI:ERROR::IDN*?\r\n"]
    assert raw(running, "flow", b"\n", 1) == [b":SCPI:ERROR:\n"]
    assert raw(running, "flow", b":IDN*?\n", 1) == [b":IDN:FLOWmeter:DEVice:001:VERsion:2\n"]


@pytest.mark.parametrize("way", ["TCPIP", "ASRL"])
def test_a_flow_counts_in_tens_and_never_returns_to_zero(running: Simulators, way: str) -> None:
    flow = opened(running, "flow", way)
    seen = {flow.read().extended["flow_main_ml_min"] for _ in range(30)}
    assert len(seen) > 1
    assert all(each is not None and each % 10 == 0 for each in seen)
    running.ask(device="flow", fault="pump_off")
    stopped = {flow.read().extended["flow_main_ml_min"] for _ in range(10)}
    assert len(stopped) == 1
    assert stopped != {0.0}


def test_a_flow_meter_that_restarts_when_opened_is_waited_for(running: Simulators) -> None:
    flow = opened(running, "booting", timeout_s=0.1)
    assert flow.read().extended["flow_main_ml_min"]


# --- the gas analyser -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["TCPIP", "ASRL"])
def test_the_gas_is_read_and_its_quirks_are_lived_with(running: Simulators, way: str) -> None:
    gas = opened(running, "gas", way)
    assert gas.read().extended["co2_ppm"] == pytest.approx(415, abs=10)
    running.ask(device="gas", fault="short_line", times=2)
    assert gas.read().extended["co2_ppm"] == pytest.approx(415, abs=10)
    running.ask(device="gas", fault="gas", co2_ppm=5000)
    assert gas.read().extended["co2_ppm"] == pytest.approx(5000, abs=10)
    running.ask(device="gas", fault="sensor_off")
    assert gas.read().extended["co2_ppm"] == -255.0
    gas.set("pump", 0.0)
    assert not running.ask(device="gas", query="truth")["pump"]


# --- two outputs ----------------------------------------------------------------------------------


def test_two_outputs_of_one_supply_are_two_devices_on_one_link(tmp_path: Path) -> None:
    model = "ea-ps-2384-05-b"
    simulators = Simulators(
        tmp_path,
        [],
        circuits=[{"name": "a", "cell": {"soc": 0.3}}, {"name": "b", "cell": {"soc": 0.7}}],
        devices=[
            {"name": "ps", "model": model, "circuit": "a", "circuit2": "b", "pty": str(tmp_path / "ps")}
        ],
    ).start()
    try:
        buses = LocalBuses()
        seen = buses.scan({**simulators.links_of("ps")[0], "channel_no": None}, lambda *said: None, [])
        assert [each.serial_number for each in seen] == ["1000000001/1", "1000000001/2"]
        one, two = (buses.device(kinds.get(model), each.link, "") for each in seen)
        assert isinstance(one, PowerDevice)
        assert isinstance(two, PowerDevice)
        one.open()
        two.open()
        two.apply(Target("cc", current_a=1.0, voltage_max_v=4.2))
        flows(two, 1.0)
        assert abs(one.read().current_a or 0.0) < 0.02
        one.close()
        assert two.unasked() is None
        assert not one.transport.alone  # type: ignore[attr-defined]
        simulators.ask(device="ps", fault="reversed", channel_no=1)
        assert simulators.ask(device="ps", query="truth")["voltage_v"] < 0.0
        two.make_safe()
        two.close()
    finally:
        simulators.stop()
