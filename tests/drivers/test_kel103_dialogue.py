"""What the KEL103 driver says, byte by byte (device sheet 5)."""

from __future__ import annotations

import pytest

from cycler_unit.drivers.base import Protections, Target
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused
from cycler_unit.drivers.kel103 import Kel103

from .dialogue import Dialogue, Exchange, expected

OPENING: list[Exchange | str] = [
    ":INP 0",
    ":SYST:LOCK 1",
    (":INP?", "OFF"),
    ("*IDN?", "RND 320-KEL103 V2.60 SN:01234567"),
    (":STAT?", "0,4,1,0,0,0"),
]
ON: list[Exchange | str] = [":INP 1", (":INP?", "ON")]
TWO_AMPS = Target("cc", "discharge", current_a=-2.0, voltage_min_v=2.5)
TO_TWO_AMPS: list[Exchange | str] = [":CURR 2.000A", (":CURR?", "2.000A"), (":FUNC?", "CC"), *ON]


@pytest.fixture
def link() -> Dialogue:
    return Dialogue()


@pytest.fixture
def load(link: Dialogue, monkeypatch: pytest.MonkeyPatch) -> Kel103:
    monkeypatch.setattr("cycler_unit.drivers.scpi.ECHO_S", 0.0)
    device = Kel103({}, name="sink", transport=link)
    with expected(link, *OPENING):
        identity = device.open()
    assert (identity.model, identity.serial_number, identity.firmware) == (
        "RND 320-KEL103", "01234567", "V2.60",
    )  # fmt: skip
    return device


def test_three_words_of_identity_are_enough() -> None:
    identity = Kel103.identity_of("RS-KEL103 V3.10 SN:777")
    assert (identity.model, identity.firmware, identity.serial_number) == ("RS-KEL103", "V3.10", "777")


def test_off_is_the_first_thing_sent(load: Kel103) -> None:
    assert OPENING[0] == ":INP 0"


def test_another_device_at_the_link_is_refused(link: Dialogue) -> None:
    link.expect([*OPENING[:3], ("*IDN?", "KORAD KA3005P V2.0 SN:1")])
    with pytest.raises(DeviceRefused, match="'KORAD KA3005P', not a KEL103"):
        Kel103({}, transport=link).open()


def test_a_panel_that_stays_unlocked_is_refused(link: Dialogue) -> None:
    link.expect([*OPENING[:4], (":STAT?", "0,4,0,0,0,0")])
    with pytest.raises(DeviceRefused, match="does not lock its panel"):
        Kel103({}, transport=link).open()


def test_the_set_point_is_confirmed_before_the_input_goes_on(load: Kel103, link: Dialogue) -> None:
    with expected(link, *TO_TWO_AMPS):
        load.apply(TWO_AMPS)


@pytest.mark.parametrize(
    ("target", "script"),
    [
        (Target("cp", power_w=-5.0), [":POW 5.00W", (":POW?", "5.00W"), (":FUNC?", "CW")]),
        (
            Target("cr", "discharge", resistance_ohm=10.0),
            [":RES 10.000OHM", (":RES?", "10.000OHM"), (":FUNC?", "CR")],
        ),
        (Target("cc", "discharge", current_a=0.0), [":CURR 0.000A", (":CURR?", "0.000A"), (":FUNC?", "CC")]),
    ],
)
def test_units_are_glued_and_the_mode_follows(
    load: Kel103, link: Dialogue, target: Target, script: list[Exchange | str]
) -> None:
    with expected(link, *script, *ON):
        load.apply(target)


def test_a_change_while_on_asks_first_whether_it_still_is(load: Kel103, link: Dialogue) -> None:
    with expected(link, *TO_TWO_AMPS):
        load.apply(TWO_AMPS)
    with expected(link, (":INP?", "ON"), ":POW 5.00W", (":POW?", "5.00W"), (":FUNC?", "CW")):
        load.apply(Target("cp", power_w=-5.0))
    with (
        expected(link, (":INP?", "OFF")),
        pytest.raises(DeviceFault, match="switched its input off by itself"),
    ):
        load.apply(TWO_AMPS)


def test_a_silent_clamp_is_seen_by_its_echo(load: Kel103, link: Dialogue) -> None:
    clamped: list[Exchange | str] = [":CURR 2.000A", (":CURR?", "1.500A")]
    with (
        expected(link, *clamped, *clamped),
        pytest.raises(DeviceRefused, match=r"holds :CURR at 1\.500A instead of 2"),
    ):
        load.apply(TWO_AMPS)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (Target("cc", current_a=1.0, voltage_max_v=4.2), "cannot charge"),
        (Target("cv", "discharge", voltage_v=3.0, discharge_current_max_a=1.0), "bounds no current"),
        (Target("cc", current_a=-31.0), "cannot hold :CURR 31: up to 30"),
        (Target("cr", "discharge", resistance_ohm=0.0), "cannot hold :RES"),
        (Target("cc"), "has no number"),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_is_sent(
    load: Kel103, link: Dialogue, target: Target, why: str
) -> None:
    with expected(link), pytest.raises(DeviceRefused, match=why):
        load.apply(target)


def test_what_it_sinks_is_negative(load: Kel103, link: Dialogue) -> None:
    with expected(link, (":MEAS:VOLT?", "3.7486V"), (":MEAS:CURR?", "2.0015A")):
        measured = load.read()
    assert (measured.voltage_v, measured.current_a) == (3.7486, -2.0015)
    assert measured.power_w == pytest.approx(-7.5028, abs=1e-4)


def test_an_unreadable_value_is_missing(load: Kel103, link: Dialogue) -> None:
    with expected(link, (":MEAS:VOLT?", "----"), (":MEAS:CURR?", "9.9E37A")):
        measured = load.read()
    assert (measured.voltage_v, measured.current_a, measured.power_w) == (None, None, None)


def test_off_is_repeated_once_and_then_refused(load: Kel103, link: Dialogue) -> None:
    with expected(link, ":INP 0", (":INP?", "ON"), ":INP 0", (":INP?", "OFF")):
        load.make_safe()
    with (
        expected(link, ":INP 0", (":INP?", "ON"), ":INP 0", (":INP?", "ON")),
        pytest.raises(DeviceRefused, match="does not switch its input off"),
    ):
        load.make_safe()


def test_its_current_limit_is_the_protection_that_holds(load: Kel103, link: Dialogue) -> None:
    wanted = Protections(voltage_max_v=4.3, discharge_current_max_a=2.5, power_max_w=20.0)
    with expected(link, ":CURR:UPP 2.500A", (":CURR:UPP?", "2.500A")):
        assert load.protect(wanted) == wanted
    with expected(link, ":CURR:UPP 30.000A", (":CURR:UPP?", "30.000A")):
        assert load.protect(Protections(power_max_w=20.0)).power_max_w == 300.0


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ([(":INP?", "ON"), (":STAT?", "0,4,1,0,0,0"), (":FUNC?", "CC"), (":CURR?", "2.000A")], None),
        (
            [(":INP?", "ON"), (":STAT?", "0,4,1,0,0,0"), (":FUNC?", "CC"), (":CURR?", "2.500A")],
            "2.500A though",
        ),
        ([(":INP?", "ON"), (":STAT?", "0,4,1,0,0,0"), (":FUNC?", "CV"), (":CURR?", "2.000A")], "mode is CV"),
        ([(":INP?", "OFF"), (":STAT?", "0,4,0,0,0,0"), (":FUNC?", "CC"), (":CURR?", "0.000A")], "restarted"),
    ],
)
def test_what_nobody_asked_for_is_told(
    load: Kel103, link: Dialogue, script: list[Exchange | str], why: str | None
) -> None:
    with expected(link, *TO_TWO_AMPS):
        load.apply(TWO_AMPS)
    with expected(link, *script):
        found = load.unasked()
    assert (why is None and found is None) or (why is not None and why in (found or ""))


def test_closing_unlocks_the_panel_only_when_off(load: Kel103, link: Dialogue) -> None:
    with expected(link, ":SYST:LOCK 0"):
        load.close()
    with expected(link):
        load.close()


def test_a_lost_link_is_lost(load: Kel103, link: Dialogue) -> None:
    link.lost = True
    with pytest.raises(DeviceLost):
        load.read()
