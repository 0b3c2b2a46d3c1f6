"""What the flow meter driver says, byte by byte (device sheet 7)."""

from __future__ import annotations

import pytest

from cycler_unit.drivers.errors import DeviceLost, DeviceRefused
from cycler_unit.drivers.flow import FlowMeter

from .dialogue import Dialogue, expected

IDENTITY = ":IDN:FLOWmeter:DEVice:001:VERsion:2"
ASK = ":MEASure:FLOW?"


@pytest.fixture
def link() -> Dialogue:
    return Dialogue()


@pytest.fixture
def meter(link: Dialogue) -> FlowMeter:
    device = FlowMeter({"retry_s": 0.0}, name="flow", transport=link)
    with expected(link, (":IDN*?", IDENTITY)):
        identity = device.open()
    assert (identity.model, identity.serial_number, identity.firmware) == ("FLOWmeter", "001", "2")
    return device


def test_both_flows_come_by_one_exchange(meter: FlowMeter, link: Dialogue) -> None:
    with expected(link, (ASK, ":MEASure:FLOW:DATA:4250:0")):
        assert meter.read().extended == {"flow_main_ml_min": 4250.0, "flow_aux_ml_min": 0.0}


def test_an_answer_to_something_else_is_asked_for_once_more(meter: FlowMeter, link: Dialogue) -> None:
    with expected(link, (ASK, ":SCPI:ERROR:"), (ASK, ":MEASure:FLOW:DATA:1020:40")):
        assert meter.read().extended["flow_main_ml_min"] == 1020.0
    with expected(link, (ASK, ":SCPI:ERROR:"), (ASK, ":MEASure:FLOW:DATA:10")):
        assert meter.read().extended == {"flow_main_ml_min": None, "flow_aux_ml_min": None}


@pytest.mark.parametrize(
    "numbers",
    [
        "425:0",
        "4250",
        "4250:",
        ":0",
        "0250:0",
        "42500:0",
        "4250:-10",
        "4250.0:0",
        "nan:0",
        "4250:0:0",
        "4250:0;4250:0",
    ],
)
def test_a_garbled_flow_is_never_a_value(meter: FlowMeter, link: Dialogue, numbers: str) -> None:
    garbled = f":MEASure:FLOW:DATA:{numbers}"
    with expected(link, (ASK, garbled), (ASK, garbled)):
        assert meter.read().extended == {"flow_main_ml_min": None, "flow_aux_ml_min": None}


@pytest.mark.parametrize("hz", [0, 1, 24, 100, 235, 300])
def test_every_count_is_a_value(meter: FlowMeter, link: Dialogue, hz: int) -> None:
    with expected(link, (ASK, f":MEASure:FLOW:DATA:{hz * 1000 // 235 * 10}:0")):
        assert meter.read().extended["flow_main_ml_min"] == hz * 1000 // 235 * 10


def test_its_identity_is_asked_again_while_it_starts(link: Dialogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cycler_unit.drivers.flow.RETRY_EVERY_S", 0.0)
    meter = FlowMeter({}, transport=link)
    with expected(link, (":IDN*?", ""), (":IDN*?", ":SCPI:ERROR:x:IDN*?"), (":IDN*?", IDENTITY)):
        meter.open()


def test_who_never_says_so_is_no_flow_meter(link: Dialogue) -> None:
    meter = FlowMeter({"retry_s": 0.0}, transport=link)
    with (
        expected(link, (":IDN*?", "EA Elektro-Automatik")),
        pytest.raises(DeviceRefused, match="not a flow meter"),
    ):
        meter.open()
    link.lost = True
    with pytest.raises(DeviceLost):
        meter.open()
    assert not link.opened
