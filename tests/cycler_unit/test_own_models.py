"""A model that an operator added to the catalogue: found by a scan, driven by its family's driver, with its own limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from cycler_unit import catalogue
from cycler_unit.buses import can_scan
from cycler_unit.buses.local import LocalBuses
from cycler_unit.buses.text_scan import scan
from cycler_unit.drivers.base import Device, Target
from cycler_unit.drivers.errors import DeviceRefused
from tests.drivers.can_lab import lab
from tests.drivers.dialogue import Dialogue
from wire import kinds

SMALLER = "EA Elektro-Automatik GmbH & Co. KG, PSB 10060-30, 2538170001, V3.02"
RATINGS = "SYST:LOCK:OWN?;:SYST:NOM:VOLT?;:SYST:NOM:CURR?;:SYST:NOM:POW?"


def add(base: str, model: str, **more: Any) -> str:
    """Teach the unit an operator's row, as the site makes it from a base; return its key."""
    key = f"own-{model.lower().replace(' ', '-')}"
    row = {**msgspec.to_builtins(kinds.get(base)), "key": key, "model": model, "identity": model, **more}
    assert catalogue.learn([row]) == []
    return key


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    catalogue.forget()
    yield
    catalogue.forget()


def made(key: str, link: Dialogue, **more: Any) -> Any:
    device: Any = LocalBuses().device(catalogue.get(key), {"kind": "visa", **more}, "left")
    device.transport = link
    return device


def opening(link: Dialogue, ratings: str) -> None:
    link.expect(
        ["OUTP OFF", "SYST:LOCK ON", "OUTP OFF", ("OUTP?", "OFF"), ("*IDN?", SMALLER), (RATINGS, ratings)]
    )


def test_a_supply_of_another_rating_is_opened_and_held_to_its_row() -> None:
    key = add("ea-psb-10060-60", "PSB 10060-30", current_min_a=-30.0, current_max_a=30.0, power_min_w=-1000.0,
              power_max_w=1000.0)  # fmt: skip
    link = Dialogue()
    device = made(key, link)
    opening(link, "REMOTE;60.00 V;30.00 A;1000 W")
    link.expect([("SYST:ERR?", '0,"No error"'), ("SYST:CONF:MODE?", "UIP")])
    assert device.open().model == "PSB 10060-30"
    with pytest.raises(DeviceRefused, match=r"CURR 40: 0 to 30\.6"):
        device.apply(Target("cc", "charge", current_a=40.0, voltage_max_v=4.2))


def test_a_row_may_promise_less_than_the_device_is_rated_for_but_never_more() -> None:
    less = add("ea-psb-10060-60", "PSB 10060-30", current_min_a=-10.0, current_max_a=10.0)
    link = Dialogue()
    opening(link, "REMOTE;60.00 V;30.00 A;1500 W")
    link.expect([("SYST:ERR?", '0,"No error"'), ("SYST:CONF:MODE?", "UIP")])
    made(less, link).open()
    more = add("ea-psb-10060-60", "PSB 10060-30")
    link = Dialogue()
    opening(link, "REMOTE;60.00 V;30.00 A;1500 W")
    with pytest.raises(DeviceRefused, match=r"rated 30\.00 A, the catalogue says 60"):
        made(more, link).open()


@pytest.mark.parametrize(
    ("base", "model", "answer"),
    [
        ("rs-pro-kel103", "KEL102", "RS-KEL102 V1.10 SN:7"),
        ("bk-2831e", "2831F", "2831F  Multimeter,Ver1.4,7"),
    ],
)
def test_other_families_take_the_rows_model_too(base: str, model: str, answer: str) -> None:
    device = made(add(base, model), Dialogue())
    assert device.model == model
    assert device.identity_of(answer).serial_number == "7"


def test_a_limit_that_the_familys_row_repeats_in_its_settings_is_the_rows_own() -> None:
    key = add("caen-v6533", "V6533 low", voltage_max_v=2000.0)
    device: Device = LocalBuses().device(catalogue.get(key), {"kind": "caen", "address": "x"}, "hv")
    assert device.link["voltage_max_v"] == 2000.0


def test_shipped_models_are_left_alone() -> None:
    assert catalogue.ratings(kinds.get("ea-psb-10060-60")) == {}


class Wire:
    """A text link on which one device answers one question."""

    is_open = True

    def __init__(self, settings: dict[str, Any]) -> None:
        self.answers = settings["answers"]

    def open(self) -> None: ...

    def close(self) -> None: ...

    def converse(self, message: str, timeout_s: float) -> list[str]:
        return [self.answers[message]] if message in self.answers else []


def test_a_scan_prefers_the_operators_row_where_both_fit() -> None:
    link = {
        "kind": "visa",
        "resource": "TCPIP::x::1::SOCKET",
        "answers": {"*IDN?": "RND 320-KEL103 V2.60 SN:1"},
    }
    (before,) = scan(link, lambda done, of, text: None, Wire)  # type: ignore[arg-type]
    assert before.kind == "rs-pro-kel103"
    key = add("rs-pro-kel103", "RND 320-KEL103")
    (after,) = scan(link, lambda done, of, text: None, Wire)  # type: ignore[arg-type]
    assert after.kind == key


def test_on_can_the_operators_row_is_preferred_too() -> None:
    key = add("epc", "EPC A", current_max_a=5.0, identity="^Wattrex, EPC A")
    with lab() as bench:
        bench.add("epc", node=0x13)
        (seen,) = can_scan.scan(bench.link, lambda done, of, text: None, [], listen_s=0.2)
    assert seen.kind == key
