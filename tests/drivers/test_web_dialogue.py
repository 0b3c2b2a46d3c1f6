"""ESPHome nodes, ESP32 relay boards and lamps: the requests they get and what is made of the answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused
from cycler_unit.drivers.esp32 import PwmLamp, RelayBoard
from cycler_unit.drivers.esphome import EsphomeNode
from tests.drivers.scripted import ScriptedServer, http_answer, http_seen, http_whole

OFF = http_answer('{"id":"switch-relay_1","value":false,"state":"OFF"}')
ON = http_answer('{"id":"switch-relay_1","value":true,"state":"ON"}')
DONE = http_answer("")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    running = ScriptedServer(http_whole, http_seen)
    yield running
    running.close()


# --- ESPHome ------------------------------------------------------------------------------------


def node(server: ScriptedServer, **more: Any) -> EsphomeNode:
    link = {
        "url": f"http://127.0.0.1:{server.port}",
        "relays": {"pump": "relay_1"},
        "sensors": {"temperature_c": "room temp"},
        **more,
    }
    return EsphomeNode(link, name="climate box")


def sensor(value: Any) -> bytes:
    return http_answer(json.dumps({"id": "sensor-x", "value": value, "state": "26.3 °C"}))


def opened(server: ScriptedServer) -> EsphomeNode:
    device = node(server)
    with server.expecting(
        [
            (b"POST /switch/relay_1/turn_off", DONE),
            (b"GET /switch/relay_1", OFF),
            (b"GET /sensor/room%20temp", sensor(26.3)),
            (b"GET /switch/relay_1", OFF),
        ]
    ):
        identity = device.open()
    assert identity.text == f"ESPHome, node, 127.0.0.1:{server.port}, "
    return device


def test_a_node_is_switched_off_before_anything_is_asked(server: ScriptedServer) -> None:
    opened(server).close()


def test_a_relay_is_switched_and_read_back(server: ScriptedServer) -> None:
    device = opened(server)
    with server.expecting([(b"POST /switch/relay_1/turn_on", DONE), (b"GET /switch/relay_1", ON)]):
        assert device.set("pump", 1.0) == 1.0
    device.close()


def test_values_are_not_truncated_and_no_value_is_missing(server: ScriptedServer) -> None:
    device = opened(server)
    for said, value in ((26.3456, 26.3456), (-0.5, -0.5), (None, None), ("NaN", None), (True, None)):
        with server.expecting([(b"GET /sensor/room%20temp", sensor(said)), (b"GET /switch/relay_1", ON)]):
            assert device.read().extended == {"temperature_c": value, "pump": 1.0}
    device.close()


@pytest.mark.parametrize(("state", "unit"), [("79.3 °F", "°F"), ("299.5 K", "K")])
def test_a_sensor_in_another_unit_is_refused(server: ScriptedServer, state: str, unit: str) -> None:
    device = opened(server)
    answer = json.dumps({"id": "sensor-x", "value": 79.3, "state": state})
    with (
        server.expecting([(b"GET /sensor/room%20temp", http_answer(answer))]),
        pytest.raises(DeviceRefused, match=f"states room temp in {unit}, temperature_c is in °C"),
    ):
        device.read()
    device.close()


@pytest.mark.parametrize("text", ["", "26.3", "null", "[26.3]", '{"value":26.', "<html>26.3</html>"])
def test_an_answer_that_is_no_object_is_lost(server: ScriptedServer, text: str) -> None:
    device = opened(server)
    with (
        server.expecting([(b"GET /sensor/room%20temp", http_answer(text))]),
        pytest.raises(DeviceLost, match="no JSON object"),
    ):
        device.read()
    device.close()


@pytest.mark.parametrize(
    "text",
    [
        '{"value":"26.3"}',
        '{"value":NaN}',
        '{"value":Infinity}',
        '{"value":1e999}',
        '{"state":"26.3 °C"}',
        "{}",
    ],
)
def test_a_value_that_is_no_number_is_missing(server: ScriptedServer, text: str) -> None:
    device = opened(server)
    with server.expecting([(b"GET /sensor/room%20temp", http_answer(text)), (b"GET /switch/relay_1", ON)]):
        assert device.read().extended["temperature_c"] is None
    device.close()


def test_a_name_that_the_node_does_not_have_is_said_when_it_is_opened(server: ScriptedServer) -> None:
    device = node(server, relays={}, sensors={"temperature_c": "gone"})
    with (
        server.expecting([(b"GET /sensor/gone", http_answer("", 404))]),
        pytest.raises(DeviceRefused, match="has no GET /sensor/gone"),
    ):
        device.open()


def test_a_switch_that_does_not_say_its_state_is_lost(server: ScriptedServer) -> None:
    device = opened(server)
    with (
        server.expecting(
            [(b"GET /sensor/room%20temp", sensor(1.0)), (b"GET /switch/relay_1", http_answer("{}"))]
        ),
        pytest.raises(DeviceLost, match="does not say whether relay_1 is on"),
    ):
        device.read()
    device.close()


def test_relays_that_are_no_names_are_refused(server: ScriptedServer) -> None:
    with pytest.raises(DeviceRefused, match="must be names"):
        node(server, relays=["relay_1"]).open()


# --- ESP32 relays -------------------------------------------------------------------------------

INFO = {
    "ch0": 0, "ch1": 0, "ch2": 0, "ch3": 0, "pcb_temp": 31.5, "roots_temp": 21.25, "ext_temp": 22.4,
    "ext_hum": 41.0, "int_temp": -255, "int_hum": -255.0, "uptime": 100,
}  # fmt: skip


def info(**changed: Any) -> tuple[bytes, bytes]:
    return b"GET /info", http_answer(json.dumps({**INFO, **changed}))


def relay(channel: int, state: int) -> tuple[bytes, bytes]:
    request = b'POST /relay {"channel":%d,"state":%d}' % (channel, state)
    return request, http_answer(f"RESULT: SUCCESS\n Relay: {channel}, set to state: {state}\n")


def board(server: ScriptedServer) -> RelayBoard:
    device = RelayBoard({"url": f"http://127.0.0.1:{server.port}"}, name="relays")
    script = [each for n in range(4) for each in (relay(n, 0), info())]
    with server.expecting([*script, info()]):
        device.open()
    return device


def test_all_relays_are_off_after_opening_and_one_goes_on(server: ScriptedServer) -> None:
    device = board(server)
    with server.expecting([relay(1, 1), info(ch1=1)]):
        assert device.set("relay_1", 1.0) == 1.0
    device.close()


def test_an_absent_sensor_is_missing_not_minus_255(server: ScriptedServer) -> None:
    device = board(server)
    with server.expecting([info()]):
        found = device.read().extended
    assert found["roots_temperature_c"] == 21.25
    assert found["int_temperature_c"] is None
    assert found["int_humidity_pct"] is None
    assert found["uptime_s"] == 100
    device.close()


@pytest.mark.parametrize(
    "said",
    [
        "RESULT: ERROR Failed to parse JSON",
        "RESULT: ERROR Invalid channel type",
        "RESULT: ERROR Invalid state type",
        "RESULT: ERROR invalid params!",
    ],
)
def test_an_error_in_the_text_is_a_refusal_though_the_status_is_200(
    server: ScriptedServer, said: str
) -> None:
    device = board(server)
    request, _ = relay(2, 1)
    with (
        server.expecting([(request, http_answer(said))]),
        pytest.raises(DeviceRefused, match="refuses channel 2: RESULT: ERROR"),
    ):
        device.set("relay_2", 1.0)
    device.close()


def test_a_relay_that_does_not_follow_is_repeated_once_and_then_refused(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cycler_unit.drivers.knobs.ECHO_S", 0.0)
    device = board(server)
    with (
        server.expecting([relay(0, 1), info(), relay(0, 1), info()]),
        pytest.raises(DeviceRefused, match="holds relay_0 at 0 instead of 1"),
    ):
        device.set("relay_0", 1.0)
    device.close()


def test_a_reboot_that_dropped_a_relay_is_a_fault_and_said_once(server: ScriptedServer) -> None:
    device = board(server)
    with server.expecting(
        [relay(3, 1), info(ch3=1), info(ch3=1, uptime=101), info(uptime=2), info(uptime=3)]
    ):
        device.set("relay_3", 1.0)
        device.read()
        with pytest.raises(DeviceFault, match="restarted by itself: its relays are off, 3 was on"):
            device.read()
        assert device.read().extended["relay_3"] == 0.0
    device.close()


@pytest.mark.parametrize("state", [2, -1, "1", None, True, 0.5])
def test_a_relay_in_no_state_is_missing_and_confirms_nothing(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, state: Any
) -> None:
    monkeypatch.setattr("cycler_unit.drivers.knobs.ECHO_S", 0.0)
    device = board(server)
    with server.expecting([info(ch1=state)]):
        assert device.read().extended["relay_1"] is None
    with (
        server.expecting([relay(1, 1), info(ch1=state)] * 2),
        pytest.raises(DeviceRefused, match="holds relay_1 at nothing readable instead of 1"),
    ):
        device.set("relay_1", 1.0)
    device.close()


def test_a_reboot_is_noticed_though_a_page_in_between_had_no_uptime(server: ScriptedServer) -> None:
    device = board(server)
    with server.expecting([relay(3, 1), info(ch3=1), info(ch3=1), info(ch3=1, uptime=None), info(uptime=2)]):
        device.set("relay_3", 1.0)
        device.read()
        device.read()
        with pytest.raises(DeviceFault, match="restarted by itself"):
            device.read()
    device.close()


@pytest.mark.parametrize("said", ["", "RESULT:", "<html>busy</html>"])
def test_neither_success_nor_error_is_lost(server: ScriptedServer, said: str) -> None:
    device = board(server)
    request, _ = relay(2, 1)
    with (
        server.expecting([(request, http_answer(said))]),
        pytest.raises(DeviceLost, match="neither success nor error"),
    ):
        device.set("relay_2", 1.0)
    device.close()


def test_another_web_server_is_no_relay_board(server: ScriptedServer) -> None:
    with server.expecting([(b"GET /info", http_answer('{"ch0":0}'))]):
        assert RelayBoard.probe({"url": f"http://127.0.0.1:{server.port}"}) is None
    with server.expecting([info()]):
        identity = RelayBoard.probe({"url": f"http://127.0.0.1:{server.port}"})
    assert identity is not None
    assert identity.model == "relay board"


# --- the lamp -----------------------------------------------------------------------------------


def duties(*percent: int) -> tuple[bytes, bytes]:
    page = {"pcb_temp": 40.5} | {f"ch{n}_pwm": value for n, value in enumerate(percent)}
    return b"GET /info", http_answer(json.dumps(page))


def pwm(channel: int, duty: int, said: str = "RESULT: SUCCESS") -> tuple[bytes, bytes]:
    return b'POST /pwm {"channel":%d,"duty":%d}' % (channel, duty), http_answer(said)


def test_a_lamp_is_dark_when_opened_then_dimmed_and_dark_again(server: ScriptedServer) -> None:
    lamp = PwmLamp({"url": f"http://127.0.0.1:{server.port}"}, name="lamp")
    dark = [each for n in range(4) for each in (pwm(n, 0), duties(0, 0, 0, 0))]
    with server.expecting([*dark, duties(0, 0, 0, 0)]):
        lamp.open()
    with server.expecting([pwm(2, 37), duties(0, 0, 37, 0), duties(0, 0, 37, 0)]):
        assert lamp.set("duty_2_pct", 37.4) == 37.0
        assert lamp.read().extended["duty_2_pct"] == 37.0
    with server.expecting(dark):
        lamp.make_safe()
    for duty in (101, -1, "0", None):
        with server.expecting([duties(0, duty, 0, 0)]):  # type: ignore[arg-type]
            assert lamp.read().extended["duty_1_pct"] is None
    with (
        server.expecting([pwm(0, 5, "ERROR invalid params!")]),
        pytest.raises(DeviceRefused, match="ERROR invalid params"),
    ):
        lamp.set("duty_0_pct", 5.0)
    lamp.close()
