"""What the EA driver says, byte by byte (device sheet 4.3 and 4.4)."""

from __future__ import annotations

import pytest

from cycler_unit.drivers.base import Protections, Target
from cycler_unit.drivers.ea_models import El9080_170B, Ps2084_05B, Ps2384_05B, Psb10060_60
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused

from .dialogue import Dialogue, Exchange, expected

IDENTITY = "EA Elektro-Automatik GmbH & Co. KG, PSB 10060-60, 2538170001, V3.02"
OPENING: list[Exchange | str] = [
    "OUTP OFF",
    "SYST:LOCK ON",
    "OUTP OFF",
    ("OUTP?", "OFF"),
    ("*IDN?", IDENTITY),
    (
        "SYST:LOCK:OWN?;:SYST:NOM:VOLT?;:SYST:NOM:CURR?;:SYST:NOM:POW?",
        "REMOTE;60.00 V;60.00 A;1500 W",
    ),
    ("SYST:ERR?", '-201,"Invalid while in local"'),
    ("SYST:ERR?", '0,"No error"'),
    ("SYST:CONF:MODE?", "UIP"),
]
# What a freshly started supply holds.
FRESH: list[Exchange | str] = [
    ("VOLT?;:CURR?;:POW?;:SINK:CURR?;:SINK:POW?", "0.00 V;0.00 A;1500 W;0.00 A;1500 W"),
    ("SINK:RES?", "2000.000 OHM"),
]
ON: list[Exchange | str] = ["OUTP ON", ("OUTP?", "ON")]
# How off is read back, and who has control meanwhile.
OFF_AND_OWNER = "OUTP?;:SYST:LOCK:OWN?"
OFF: list[Exchange | str] = ["OUTP OFF", (OFF_AND_OWNER, "OFF;REMOTE")]
LOST: list[Exchange | str] = ["OUTP OFF", (OFF_AND_OWNER, "ON;LOCAL")]
# Asked back with every set point while on.
BOUNDS = "VOLT?;:CURR?;:SINK:CURR?;:OUTP?"
CHARGE = Target("cc", "charge", current_a=10.0, voltage_max_v=4.2, voltage_min_v=2.5)
DISCHARGE = Target("cc", "discharge", current_a=-5.0, voltage_max_v=4.2, voltage_min_v=2.5)
TO_CHARGE: list[Exchange | str] = [
    ("VOLT 4.20;:VOLT?", "4.20 V"),
    ("CURR 10.00;:CURR?", "10.00 A"),
]


@pytest.fixture
def link() -> Dialogue:
    return Dialogue()


@pytest.fixture
def psb(link: Dialogue, monkeypatch: pytest.MonkeyPatch) -> Psb10060_60:
    monkeypatch.setattr("cycler_unit.drivers.scpi.ECHO_S", 0.0)
    device = Psb10060_60({}, name="left", transport=link)
    with expected(link, *OPENING):
        identity = device.open()
    assert identity.serial_number == "2538170001"
    return device


def charging(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(link, *FRESH, *TO_CHARGE, *ON):
        psb.apply(CHARGE)


def test_off_is_the_first_thing_sent_and_confirmed_before_anything_is_known(
    psb: Psb10060_60, link: Dialogue
) -> None:
    assert OPENING[0] == "OUTP OFF"
    assert link.opened


def test_another_model_at_the_link_is_refused(link: Dialogue) -> None:
    link.expect([*OPENING[:4], ("*IDN?", IDENTITY.replace("10060-60", "10200-25"))])
    with pytest.raises(DeviceRefused, match="'PSB 10200-25', not 'PSB 10060-60'"):
        Psb10060_60({}, transport=link).open()


def test_ratings_that_differ_from_the_catalogue_are_refused(link: Dialogue) -> None:
    query = OPENING[5][0]
    link.expect([*OPENING[:5], (query, "REMOTE;60.00 V;120.0 A;1500 W")])
    with pytest.raises(DeviceRefused, match=r"rated 120\.0 A, the catalogue says 60"):
        Psb10060_60({}, transport=link).open()


def test_a_device_in_local_control_is_refused(link: Dialogue) -> None:
    query = OPENING[5][0]
    link.expect([*OPENING[:5], (query, "LOCAL;60.00 V;60.00 A;1500 W")])
    with pytest.raises(DeviceRefused, match="it is LOCAL"):
        Psb10060_60({}, transport=link).open()


def test_an_output_that_stays_on_at_opening_is_refused(
    link: Dialogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cycler_unit.drivers.scpi.ECHO_S", 0.0)
    link.expect([*OPENING[:3], ("OUTP?", "ON"), ("SYST:LOCK:OWN?", "LOCAL")])
    with pytest.raises(DeviceRefused, match="does not switch its output off"):
        Psb10060_60({}, transport=link).open()


def test_a_charge_carries_its_ceiling_and_the_bounds_precede_the_output(
    psb: Psb10060_60, link: Dialogue
) -> None:
    charging(psb, link)


def test_a_discharge_carries_its_floor_never_zero_volts(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(
        link, *FRESH, ("VOLT 2.50;:VOLT?", "2.50 V"), ("SINK:CURR 5.00;:SINK:CURR?", "5.00 A"), *ON
    ):
        psb.apply(DISCHARGE)


def test_charge_to_discharge_passes_through_zero_current(psb: Psb10060_60, link: Dialogue) -> None:
    charging(psb, link)
    with expected(
        link,
        ("CURR 0.00;:CURR?", "0.00 A"),
        ("VOLT 2.50;:VOLT?", "2.50 V"),
        ("SINK:CURR 5.00;:SINK:CURR?", "5.00 A"),
        (BOUNDS, "2.50 V;0.00 A;5.00 A;ON"),
    ):
        psb.apply(DISCHARGE)


def test_discharge_to_charge_passes_through_zero_current(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(
        link, *FRESH, ("VOLT 2.50;:VOLT?", "2.50 V"), ("SINK:CURR 5.00;:SINK:CURR?", "5.00 A"), *ON
    ):
        psb.apply(DISCHARGE)
    with expected(
        link,
        ("SINK:CURR 0.00;:SINK:CURR?", "0.00 A"),
        ("VOLT 4.20;:VOLT?", "4.20 V"),
        ("CURR 10.00;:CURR?", "10.00 A"),
        (BOUNDS, "4.20 V;10.00 A;0.00 A;ON"),
    ):
        psb.apply(CHARGE)


def test_only_what_changes_is_written(psb: Psb10060_60, link: Dialogue) -> None:
    charging(psb, link)
    with expected(link, ("CURR 4.00;:CURR?", "4.00 A"), (BOUNDS, "4.20 V;4.00 A;0.00 A;ON")):
        psb.apply(Target("cc", "charge", current_a=4.0, voltage_max_v=4.2))
    with expected(link, (BOUNDS, "4.20 V;4.00 A;0.00 A;ON")):
        psb.apply(Target("cc", "charge", current_a=4.0, voltage_max_v=4.2))


def test_cv_regulates_from_both_sides_with_its_compliance(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(
        link,
        *FRESH,
        ("VOLT 3.70;:VOLT?", "3.70 V"),
        ("CURR 2.00;:SINK:CURR 1.00;:CURR?;:SINK:CURR?", "2.00 A;1.00 A"),
        *ON,
    ):
        psb.apply(Target("cv", voltage_v=3.7, charge_current_max_a=2.0, discharge_current_max_a=1.0))


def test_cv_while_charging_cannot_sink(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(link, *FRESH, ("VOLT 4.20;:VOLT?", "4.20 V"), ("CURR 2.00;:CURR?", "2.00 A"), *ON):
        psb.apply(
            Target("cv", "charge", voltage_v=4.2049, charge_current_max_a=2.0, discharge_current_max_a=9.0)
        )


def test_cp_bounds_power_current_and_voltage(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(
        link,
        *FRESH,
        ("SINK:POW 100;:SINK:POW?", "100 W"),
        ("VOLT 10.00;:VOLT?", "10.00 V"),
        ("SINK:CURR 20.00;:SINK:CURR?", "20.00 A"),
        *ON,
    ):
        psb.apply(Target("cp", power_w=-100.0, voltage_min_v=10.0, discharge_current_max_a=20.0))


def test_cr_selects_resistance_mode_with_the_output_off(psb: Psb10060_60, link: Dialogue) -> None:
    charging(psb, link)
    with expected(
        link,
        *OFF,
        "SYST:CONF:MODE UIR",
        ("SYST:CONF:MODE?", "UIR"),
        (FRESH[0][0], "4.20 V;10.00 A;1500 W;0.00 A;1500 W"),
        FRESH[1],
        ("CURR 0.00;:CURR?", "0.00 A"),
        ("VOLT 2.50;:VOLT?", "2.50 V"),
        ("SINK:CURR 3.00;:SINK:RES 1.500;:SINK:CURR?;:SINK:RES?", "3.00 A;1.500 OHM"),
        *ON,
    ):
        psb.apply(
            Target("cr", "discharge", resistance_ohm=1.5, voltage_min_v=2.5, discharge_current_max_a=3.0)
        )


def test_a_ceiling_between_two_steps_is_rounded_down_and_a_floor_up(psb: Psb10060_60) -> None:
    charge = psb.registers(Target("cc", current_a=1.0, voltage_max_v=4.2059))
    discharge = psb.registers(Target("cc", current_a=-1.0, voltage_min_v=2.5041))
    assert charge.voltage_v == pytest.approx(4.20)
    assert discharge.voltage_v == pytest.approx(2.51)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (Target("cc", current_a=1.0), "voltage ceiling"),
        (Target("cc", current_a=-1.0), "voltage floor"),
        (Target("cc", current_a=-1.0, voltage_min_v=0.0), "voltage floor"),
        (Target("cv", voltage_v=3.7), "compliance current"),
        (Target("cp", power_w=10.0, voltage_max_v=4.2), "charge current"),
        (Target("cp", power_w=-10.0, voltage_min_v=2.5), "discharge current"),
        (Target("cc", voltage_max_v=4.2), "has no number"),
        (Target("cr", "charge", resistance_ohm=2.0, voltage_max_v=4.2), "by resistance"),
        (Target("cc", current_a=62.0, voltage_max_v=4.2), "cannot hold CURR 62"),
    ],
)
def test_a_target_without_a_bound_is_refused_before_anything_is_sent(
    psb: Psb10060_60, link: Dialogue, target: Target, why: str
) -> None:
    with expected(link), pytest.raises(DeviceRefused, match=why):
        psb.apply(target)


def test_a_source_refuses_to_discharge() -> None:
    source = Ps2084_05B({}, transport=Dialogue())
    with pytest.raises(DeviceRefused, match="cannot discharge"):
        source.apply(Target("cc", current_a=-1.0, voltage_min_v=2.5))
    assert source.registers(Target("cc", current_a=1.0, voltage_max_v=14.4)).source_a == 1.0


def test_a_wrong_echo_is_repeated_once_and_then_refused_with_the_devices_reason(
    psb: Psb10060_60, link: Dialogue
) -> None:
    with (
        expected(
            link,
            *FRESH,
            ("VOLT 4.20;:VOLT?", "0.00 V"),
            ("VOLT 4.20;:VOLT?", "0.00 V"),
            ("SYST:ERR?", '-221,"Settings conflict"'),
            ("SYST:ERR?", '0,"No error"'),
        ),
        pytest.raises(DeviceRefused, match=r"VOLT at 0\.00 V instead of 4\.2.*Settings conflict"),
    ):
        psb.apply(CHARGE)


def test_a_set_point_taken_at_the_second_try_is_fine(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(link, *FRESH, ("VOLT 4.20;:VOLT?", "0.00 V"), *TO_CHARGE, *ON):
        psb.apply(CHARGE)


def test_an_echo_is_looked_at_again_while_the_device_needs_time(
    psb: Psb10060_60, link: Dialogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cycler_unit.drivers.scpi.ECHO_S", 5.0)
    with expected(link, *FRESH, ("VOLT 4.20;:VOLT?", "0.00 V"), ("VOLT?", "4.20 V"), TO_CHARGE[1], *ON):
        psb.apply(CHARGE)


def test_an_echo_printed_coarsely_is_accepted_to_half_its_last_digit(
    psb: Psb10060_60, link: Dialogue
) -> None:
    with expected(link, *FRESH, ("VOLT 4.20;:VOLT?", "4.2 V"), ("CURR 10.04;:CURR?", "10.0 A"), *ON):
        psb.apply(Target("cc", current_a=10.04, voltage_max_v=4.2))


def test_after_a_refusal_the_registers_are_read_again(psb: Psb10060_60, link: Dialogue) -> None:
    wrong: list[Exchange | str] = [("VOLT 4.20;:VOLT?", "?"), ("VOLT 4.20;:VOLT?", "?"), ("SYST:ERR?", "0")]
    with expected(link, *FRESH, *wrong), pytest.raises(DeviceRefused):
        psb.apply(CHARGE)
    charging(psb, link)


def test_an_output_that_went_off_by_itself_is_a_fault(psb: Psb10060_60, link: Dialogue) -> None:
    charging(psb, link)
    with (
        expected(
            link,
            ("CURR 4.00;:CURR?", "4.00 A"),
            (BOUNDS, "4.20 V;4.00 A;0.00 A;OFF"),
            ("SYST:ERR?", '-200,"OVP"'),
            ("SYST:ERR?", "0"),
        ),
        pytest.raises(DeviceFault, match="OVP"),
    ):
        psb.apply(Target("cc", current_a=4.0, voltage_max_v=4.2))


def test_a_bound_changed_by_hand_is_a_fault(psb: Psb10060_60, link: Dialogue) -> None:
    charging(psb, link)
    with (
        expected(link, ("CURR 4.00;:CURR?", "4.00 A"), (BOUNDS, "4.50 V;4.00 A;0.00 A;ON")),
        pytest.raises(DeviceFault, match=r"VOLT at 4\.50 V, not 4\.2: changed by hand"),
    ):
        psb.apply(Target("cc", current_a=4.0, voltage_max_v=4.2))


def test_an_output_that_does_not_go_on_is_refused(psb: Psb10060_60, link: Dialogue) -> None:
    script: list[Exchange | str] = ["OUTP ON", ("OUTP?", "OFF"), ("SYST:ERR?", '0,"No error"')]
    with (
        expected(link, *FRESH, *TO_CHARGE, *script),
        pytest.raises(DeviceRefused, match="does not switch its output on"),
    ):
        psb.apply(CHARGE)


def test_make_safe_of_a_slow_output_keeps_control(psb: Psb10060_60, link: Dialogue) -> None:
    charging(psb, link)
    slow: list[Exchange | str] = ["OUTP OFF", (OFF_AND_OWNER, "ON;REMOTE")]
    with expected(link, *slow, "SYST:LOCK ON", "OUTP OFF", ("OUTP?", "OFF")):
        psb.make_safe()
    with expected(link, *FRESH, *TO_CHARGE, *ON):
        psb.apply(CHARGE)


def test_make_safe_needs_one_command_and_its_echo(psb: Psb10060_60, link: Dialogue) -> None:
    charging(psb, link)
    with expected(link, *OFF):
        psb.make_safe()


def test_make_safe_takes_control_to_switch_off_and_leaves_the_fault_to_be_seen(
    psb: Psb10060_60, link: Dialogue
) -> None:
    charging(psb, link)
    with expected(link, *LOST, "SYST:LOCK ON", "OUTP OFF", ("OUTP?", "OFF")):
        psb.make_safe()
    with expected(link), pytest.raises(DeviceFault, match="was taken away; open it again"):
        psb.apply(CHARGE)
    with expected(link, *OPENING, *FRESH, *TO_CHARGE, *ON):
        psb.open()
        psb.apply(CHARGE)


def test_make_safe_says_so_when_the_output_stays_on(psb: Psb10060_60, link: Dialogue) -> None:
    with (
        expected(
            link,
            *LOST,
            "SYST:LOCK ON",
            "OUTP OFF",
            ("OUTP?", "ON"),
            ("SYST:LOCK:OWN?", "LOCAL"),
        ),
        pytest.raises(DeviceRefused, match=r"does not switch its output off \(control: LOCAL\)"),
    ):
        psb.make_safe()


def test_an_unclear_answer_counts_as_on(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(link, ("OUTP?", "")):
        assert psb.output_is_on()


def test_voltage_and_current_come_from_one_command(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(link, ("MEAS:ARR?", "12.50 V, -1.50 A, -18.8 W")):
        measured = psb.read()
    assert (measured.voltage_v, measured.current_a, measured.power_w) == (12.5, -1.5, -18.8)


@pytest.mark.parametrize("text", ["", "ERROR", "12.50 V", "12.50 V, 1.5 A"])
def test_a_garbled_answer_is_missing_not_zero(psb: Psb10060_60, link: Dialogue, text: str) -> None:
    with expected(link, ("MEAS:ARR?", text)):
        measured = psb.read()
    assert measured.voltage_v is None
    assert measured.current_a is None


def test_one_missing_number_leaves_the_others(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(link, ("MEAS:ARR?", "9.9E37 V, 1.50 A, 0 W")):
        measured = psb.read()
    assert measured.voltage_v is None
    assert measured.current_a == 1.5


def test_protections_are_rounded_outwards_and_read_back(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(
        link,
        ("VOLT:PROT 4.26;:CURR:PROT 10.31;:VOLT:PROT?;:CURR:PROT?", "4.26 V;10.31 A"),
        ("POW:PROT 90;:SINK:CURR:PROT 66.00;:POW:PROT?;:SINK:CURR:PROT?", "90 W;66.00 A"),
        ("SINK:POW:PROT 90;:SINK:POW:PROT?", "90 W"),
        (
            "VOLT:PROT?;:CURR:PROT?;:POW:PROT?;:SINK:CURR:PROT?;:SINK:POW:PROT?",
            "4.26 V;10.31 A;90 W;66.00 A;90 W",
        ),
    ):
        held = psb.protect(Protections(voltage_max_v=4.251, charge_current_max_a=10.301, power_max_w=89.2))
    assert held == Protections(
        voltage_max_v=4.26, charge_current_max_a=10.31, discharge_current_max_a=66.0, power_max_w=90.0
    )


def test_a_protection_that_is_not_taken_is_refused(psb: Psb10060_60, link: Dialogue) -> None:
    message = "VOLT:PROT 4.26;:CURR:PROT 66.00;:VOLT:PROT?;:CURR:PROT?"
    with (
        expected(link, (message, "66.00 V;66.00 A"), (message, "66.00 V;66.00 A"), ("SYST:ERR?", "0")),
        pytest.raises(DeviceRefused, match="VOLT:PROT"),
    ):
        psb.protect(Protections(voltage_max_v=4.26))


def test_a_fault_names_alarm_output_and_owner(psb: Psb10060_60, link: Dialogue) -> None:
    charging(psb, link)
    question = "STAT:QUES:COND?;:OUTP?;:SYST:LOCK:OWN?"
    with expected(link, (question, "3072;ON;REMOTE"), ("SYST:ERR?", '0,"No error"')):
        assert psb.fault() is None
    with expected(link, (question, "1;OFF;LOCAL"), ("SYST:ERR?", '0,"No error"')):
        assert psb.fault() == (
            "over-voltage protection (OVP); the output is off though it was ordered on; "
            "remote control was taken away (owner: LOCAL)"
        )


def test_closing_releases_remote_once_and_never_raises(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(link, "SYST:LOCK OFF"):
        psb.close()
        psb.close()
    assert not link.opened


def test_closing_while_on_keeps_remote_control(psb: Psb10060_60, link: Dialogue) -> None:
    charging(psb, link)
    with expected(link):
        psb.close()


def test_closing_a_dead_link_is_quiet(psb: Psb10060_60, link: Dialogue) -> None:
    link.lost = True
    psb.close()


def test_answers_that_do_not_match_the_questions_mean_a_lost_device(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(link, (FRESH[0][0], "0.00 V;0.00 A")), pytest.raises(DeviceLost, match="2 of 5"):
        psb.apply(CHARGE)


def test_a_set_point_refused_in_local_control_is_a_fault_in_words(psb: Psb10060_60, link: Dialogue) -> None:
    wrong = ("VOLT 4.20;:VOLT?", "0.00 V")
    with (
        expected(link, *FRESH, wrong, wrong, ("SYST:ERR?", "-201"), ("SYST:ERR?", "0")),
        pytest.raises(DeviceFault, match=r"taken away.*invalid while in local \(-201\)"),
    ):
        psb.apply(CHARGE)


UNASKED = ("OUTP?;:SYST:LOCK:OWN?", "ON;REMOTE")
MODE = ("SYST:CONF:MODE?", "UIP")
HELD = [
    ("VOLT?;:CURR?;:POW?;:SINK:CURR?;:SINK:POW?", "4.20 V;10.00 A;1500 W;0.00 A;1500 W"),
    ("SINK:RES?", "2000.000 OHM"),
]


def test_nothing_is_unasked_while_all_is_as_ordered(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(link, ("OUTP?;:SYST:LOCK:OWN?", "OFF;REMOTE")):
        assert psb.unasked() is None
    charging(psb, link)
    with expected(link, UNASKED, MODE, *HELD):
        assert psb.unasked() is None


def test_a_set_point_turned_at_the_panel_is_unasked(psb: Psb10060_60, link: Dialogue) -> None:
    charging(psb, link)
    turned = (HELD[0][0], HELD[0][1].replace("10.00 A", "12.00 A"))
    with expected(link, UNASKED, ("SYST:CONF:MODE?", "UIR"), turned, HELD[1]):
        found = psb.unasked() or ""
    assert "CURR is 12.00 A though 10 was ordered" in found
    assert "the mode is UIR though UIP was ordered" in found


def test_a_restart_is_unasked(psb: Psb10060_60, link: Dialogue) -> None:
    charging(psb, link)
    with expected(link, ("OUTP?;:SYST:LOCK:OWN?", "OFF;NONE"), MODE, *HELD):
        found = psb.unasked() or ""
    assert "remote control was lost (owner: NONE)" in found
    assert "the output is OFF though it was ordered ON" in found


def test_an_output_switched_on_at_the_panel_is_unasked(psb: Psb10060_60, link: Dialogue) -> None:
    with expected(link, ("OUTP?;:SYST:LOCK:OWN?", "ON;LOCAL")):
        assert "is ON though it was ordered OFF" in (psb.unasked() or "")


# --- loads ----------------------------------------------------------------------------------------

LOAD_IDENTITY = "EA Elektro-Automatik GmbH, EL 9080-170 B, 1520170001, V2.10"


@pytest.fixture
def load(link: Dialogue, monkeypatch: pytest.MonkeyPatch) -> El9080_170B:
    monkeypatch.setattr("cycler_unit.drivers.scpi.ECHO_S", 0.0)
    device = El9080_170B({}, transport=link)
    with expected(
        link,
        "INP OFF",
        "SYST:LOCK ON",
        "INP OFF",
        ("INP?", "OFF"),
        ("*IDN?", LOAD_IDENTITY),
        ("SYST:LOCK:OWN?;:SYST:NOM:VOLT?;:SYST:NOM:CURR?;:SYST:NOM:POW?", "REMOTE;80.00 V;170.0 A;2400 W"),
        ("SYST:ERR?", '0,"No error"'),
        ("SYST:CONF:MODE?", "UIP"),
    ):
        device.open()
    return device


def test_a_load_carries_its_floor_and_switches_its_input(load: El9080_170B, link: Dialogue) -> None:
    with expected(
        link,
        ("VOLT?;:CURR?;:POW?;:RES?", "0.00 V;0.0 A;2400 W;940.000 OHM"),
        ("VOLT 2.50;:VOLT?", "2.50 V"),
        ("CURR 5.0;:CURR?", "5.0 A"),
        "INP ON",
        ("INP?", "ON"),
    ):
        load.apply(DISCHARGE)
    with expected(link, ("MEAS:ARR?", "3.61 V, 5.0 A, 18 W")):
        measured = load.read()
    assert (measured.voltage_v, measured.current_a, measured.power_w) == (3.61, -5.0, -18.0)
    with expected(link, "INP OFF", ("INP?;:SYST:LOCK:OWN?", "OFF;REMOTE")):
        load.make_safe()


def test_a_loads_protections_are_its_own_three(load: El9080_170B, link: Dialogue) -> None:
    with expected(
        link,
        ("VOLT:PROT 4.30;:CURR:PROT 6.0;:VOLT:PROT?;:CURR:PROT?", "4.30 V;6.0 A"),
        ("POW:PROT 30;:POW:PROT?", "30 W"),
        ("VOLT:PROT?;:CURR:PROT?;:POW:PROT?", "4.30 V;6.0 A;30 W"),
    ):
        held = load.protect(
            Protections(
                voltage_max_v=4.3, charge_current_max_a=1.0, discharge_current_max_a=6.0, power_max_w=30.0
            )
        )
    assert held == Protections(
        voltage_max_v=4.3, charge_current_max_a=1.0, discharge_current_max_a=6.0, power_max_w=30.0
    )


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (CHARGE, "cannot charge"),
        (Target("cv", "charge", voltage_v=4.2, charge_current_max_a=1.0), "cannot charge"),
        (Target("cc", current_a=-1.0), "voltage floor"),
    ],
)
def test_a_load_refuses_what_it_cannot_do(
    load: El9080_170B, link: Dialogue, target: Target, why: str
) -> None:
    with expected(link), pytest.raises(DeviceRefused, match=why):
        load.apply(target)


# --- two outputs ----------------------------------------------------------------------------------


def test_the_second_output_ends_every_command_with_its_number(link: Dialogue) -> None:
    second = Ps2384_05B({"channel_no": 2}, transport=link)
    ratings = "SYST:LOCK:OWN? (@2);:SYST:NOM:VOLT? (@2);:SYST:NOM:CURR? (@2);:SYST:NOM:POW? (@2)"
    with expected(
        link,
        "OUTP OFF (@2)",
        "SYST:LOCK ON (@2)",
        "OUTP OFF (@2)",
        ("OUTP? (@2)", "OFF"),
        ("*IDN?", "EA Elektro-Automatik, PS 2384-05 B, 2810290001, V4.01"),
        (ratings, "REMOTE;84.00 V;5.00 A;160.0 W"),
        ("SYST:ERR? (@2)", '0,"No error"'),
    ):
        assert second.open().serial_number == "2810290001/2"
    with expected(
        link,
        ("VOLT? (@2);:CURR? (@2);:POW? (@2)", "0.00 V;0.00 A;160.0 W"),
        ("VOLT 4.20 (@2);:VOLT? (@2)", "4.20 V"),
        ("CURR 1.00 (@2);:CURR? (@2)", "1.00 A"),
        "OUTP ON (@2)",
        ("OUTP? (@2)", "ON"),
    ):
        second.apply(Target("cc", current_a=1.0, voltage_max_v=4.2))
    with expected(link, ("MEAS:ARR? (@2)", "3.70 V, 1.00 A, 3.7 W")):
        assert second.read().current_a == 1.0


def test_an_output_that_the_model_does_not_have_is_refused(link: Dialogue) -> None:
    with pytest.raises(DeviceRefused, match="has no output 3"):
        Ps2384_05B({"channel_no": 3}, transport=link).open()
