"""The SCPI that the simulated supplies speak (device sheet 3.3, 3.4, 4.3, 4.4)."""

from __future__ import annotations

import pytest

from cycler_unit.simulators.bench import SupplySpec
from cycler_unit.simulators.ea import EaSupply
from cycler_unit.simulators.scpi import compile_header


@pytest.fixture
def psb() -> EaSupply:
    return EaSupply(
        SupplySpec(name="s", model="ea-psb-10060-60", port=0, noise_v=0.0, noise_a=0.0), clock=lambda: 0.0
    )


@pytest.fixture
def held(psb: EaSupply) -> EaSupply:
    psb.handle("SYST:LOCK ON")
    return psb


def error(instrument: EaSupply) -> str | None:
    return instrument.handle("SYST:ERR?")


@pytest.mark.parametrize(
    ("pattern", "header", "fits"),
    [
        ("VOLTage", "VOLT", True),
        ("VOLTage", "voltage", True),
        ("VOLTage", ":Volt", True),
        ("VOLTage", "VOLTA", False),
        ("VOLTage", "VOL", False),
        ("[SOURce:]VOLTage", "SOUR:VOLTAGE", True),
        ("[SOURce:]VOLTage", "SOURC:VOLT", False),
        ("SYSTem:ERRor[:NEXT]", "syst:err:next", True),
        ("*IDN", "*idn", True),
        ("*IDN", "IDN", False),
    ],
)
def test_keywords_are_taken_short_or_whole_and_nothing_between(pattern: str, header: str, fits: bool) -> None:
    assert bool(compile_header(pattern).fullmatch(header.upper())) is fits


def test_identity_is_the_makers(psb: EaSupply) -> None:
    assert psb.handle("*IDN?") == (
        "EA Elektro-Automatik GmbH & Co. KG, PSB 10060-60, 1000000001, V3.02 05.09.2023"
    )


def test_answers_carry_units_and_the_decimals_of_the_rating(held: EaSupply) -> None:
    held.handle("VOLT 12.5;CURR 1.5;POW 100")
    assert held.handle("VOLT?;CURR?;POW?") == "12.50 V;1.50 A;100 W"
    assert held.handle("SYST:NOM:VOLT?") == "60.00 V"
    assert held.handle("SYSTEM:NOMINAL:POWER?") == "1500 W"


def test_joined_commands_may_begin_at_the_root_with_a_colon(held: EaSupply) -> None:
    held.handle("VOLT:PROT 20;:CURR 2;:SINK:CURR 3;:OUTP OFF")
    assert held.handle("VOLT:PROT?;:CURR?;:SINK:CURR?") == "20.00 V;2.00 A;3.00 A"


def test_a_header_continues_below_the_previous_one(held: EaSupply) -> None:
    held.handle("SINK:CURR 3;POW 40")
    # POW exists at the root too, and the root is looked at first, as the supplies do.
    assert held.handle("POW?;:SINK:POW?") == "40 W;1500 W"
    assert held.handle("STAT:OPER:COND?;:SYST:LOCK:OWN?") == "0;REMOTE"


@pytest.mark.parametrize(
    ("text", "volts"),
    [
        ("12", "12.00 V"),
        ("12.5V", "12.50 V"),
        ("1.25e1", "12.50 V"),
        ("500mV", "0.50 V"),
        ("MIN", "0.00 V"),
        ("MAX", "61.20 V"),
    ],
)
def test_numbers_have_optional_exponent_and_unit(held: EaSupply, text: str, volts: str) -> None:
    held.handle(f"VOLT {text}")
    assert held.handle("VOLT?") == volts


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("VOLTA 3", -113),
        ("VOLT", -109),
        ("VOLT three", -104),
        ("VOLT 3A", -131),
        ("VOLT 62", -222),
        ("VOLT -1", -222),
        ("CURR -1", -222),
        ("OUTP MAYBE", -104),
        ("MEAS:VOLT 3", -113),
        ("SYST:CONF:MODE UPS", -104),
    ],
)
def test_a_wrong_command_is_ignored_and_queued(held: EaSupply, command: str, code: int) -> None:
    assert held.handle(command) is None
    assert str(error(held)).startswith(f"{code},")
    assert error(held) == '0,"No error"'
    assert held.handle("VOLT?") == "0.00 V"


@pytest.mark.parametrize("command", ["VOLT 5", "CURR 1", "SINK:CURR 1", "OUTP ON", "VOLT:PROT 5", "*RST"])
def test_set_points_are_refused_while_remote_is_not_held(psb: EaSupply, command: str) -> None:
    assert psb.handle("SYST:LOCK:OWN?") == "NONE"
    psb.handle(command)
    assert error(psb) == '-201,"Invalid while in local"'
    assert psb.handle("VOLT?;:OUTP?") == "0.00 V;OFF"


def test_the_error_queue_is_read_one_by_one_or_at_once_and_overflows(held: EaSupply) -> None:
    for _ in range(40):
        held.handle("NONSENSE")
    assert held.handle("*STB?") == "4"
    assert error(held) == '-113,"Undefined header"'
    answer = str(held.handle("SYST:ERR:ALL?"))
    assert answer.endswith('-350,"Queue overflow"')
    assert held.handle("SYST:ERR:ALL?") == '0,"No error"'


def test_the_event_register_is_cleared_by_reading(held: EaSupply) -> None:
    assert held.handle("*ESR?") == "128"
    held.handle("NONSENSE;VOLT 99")
    assert held.handle("*ESR?") == str((1 << 5) | (1 << 4))
    assert held.handle("*ESR?") == "0"


def test_protections_reach_110_percent_and_set_points_102(held: EaSupply) -> None:
    held.handle("VOLT:PROT 66;:VOLT 61.2")
    assert held.handle("VOLT:PROT?;:VOLT?") == "66.00 V;61.20 V"
    held.handle("VOLT:PROT 66.1")
    assert str(error(held)).startswith("-222")


def test_adjust_limits_bound_the_set_point(held: EaSupply) -> None:
    held.handle("VOLT 3;:VOLT:LIM:LOW 2.5;:VOLT:LIM:HIGH 4.2")
    held.handle("VOLT 2;:VOLT 5")
    assert held.handle("VOLT?") == "3.00 V"
    held.errors.clear()
    held.handle("VOLT:LIM:LOW 3.5")
    assert str(error(held)).startswith("-221")
    held.handle("POW:LIM:LOW 1")
    assert str(error(held)).startswith("-113")


def test_resistance_mode_changes_only_while_off(held: EaSupply) -> None:
    held.handle("VOLT 1;:OUTP ON;:SYST:CONF:MODE UIR")
    assert held.handle("SYST:CONF:MODE?") == "UIP"
    assert str(error(held)).startswith("-221")
    held.handle("OUTP OFF;:SYST:CONF:MODE UIR;:SINK:RES 2.5")
    assert held.handle("SYST:CONF:MODE?;:SINK:RES?") == "UIR;2.500 OHM"


def test_a_source_knows_no_sink() -> None:
    source = EaSupply(SupplySpec(name="s", model="ea-ps-2084-05-b", port=0), clock=lambda: 0.0)
    source.handle("SYST:LOCK ON;:SINK:CURR 1")
    assert str(error(source)).startswith("-113")
    assert source.handle("SYST:NOM:VOLT?;CURR?") == "84.00 V;0.00 A"


def test_reset_keeps_remote_and_switches_off(held: EaSupply) -> None:
    held.handle("VOLT 5;:OUTP ON;:*RST")
    held.handle("*RST")
    assert held.handle("VOLT?;:OUTP?;:SYST:LOCK:OWN?") == "0.00 V;OFF;REMOTE"


def test_nonsense_never_raises(held: EaSupply) -> None:
    for text in (
        "",
        ";;",
        "?",
        ":",
        "VOLT?;;CURR?",
        "\x00\xff",
        "SYST:LOCK",
        "(@1)",
        "A" * 5000,
        " ; VOLT ; ?",
    ):
        held.handle(text)
    assert held.handle("*IDN?")


def test_the_status_byte_sums_up_what_the_other_registers_say(held: EaSupply) -> None:
    held.handle("*CLS")
    assert held.handle("*STB?") == "0"
    held.handle("OUTP ON")
    assert held.handle("*STB?") == str(1 << 7)
    held.trip("OT")
    assert int(held.handle("*STB?") or "") == 1 << 2 | 1 << 3
    held.handle("*SRE 8")
    assert int(held.handle("*STB?") or "") == 1 << 2 | 1 << 3 | 1 << 6


def test_a_completed_operation_is_an_event(held: EaSupply) -> None:
    held.handle("*CLS")
    held.handle("*OPC;*ESE 1")
    assert int(held.handle("*STB?") or "") & 1 << 5
    assert held.handle("*ESR?") == "1"
