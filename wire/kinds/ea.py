"""Supplies and loads of EA Elektro-Automatik (design: devices.md section 4)."""

from __future__ import annotations

from wire.catalogue import Kind, KindMeasure, Off

# A reading this old is missing; the supplies answer at once, so three control periods of 0.1 s would do,
# but one repeated exchange after a lost packet must not trip a station.
EA_MAX_AGE_S = 0.5
# What a meter without a range says instead of a number (devices.md section 6); no EA supply should.
OVERLOAD = 9.9e37

# Answered text ends in LF both ways; 50 ms between messages on USB and serial only (devices.md 4.2).
EA_LINK = {"terminator": "\n", "timeout_s": 1.0, "spacing_s": 0.05, "baud_rate": 115200, "parity": "none"}


def _off(*, i_off_a: float, stays_connected: str, low_cutoff: str) -> Off:
    """Return what off means for the family: no relay opens, and no communication timeout exists."""
    return Off(
        command="OUTP OFF",
        i_off_a=i_off_a,
        t_off_s=0.5,
        stays_connected=stays_connected,
        after_power_on="output off, remote control released",
        high_cutoff="VOLT set point while charging; OVP switches the output off",
        low_cutoff=low_cutoff,
    )


def _electrical(
    *,
    step_v: float,
    step_a: float,
    step_w: float,
    span_v: float,
    span_a: float,
    span_w: float,
    frozen_s: float | None,
) -> tuple[KindMeasure, ...]:
    """Return voltage, current and power; accuracy is a share of the nominal value (series data sheets)."""
    return (
        _measure("voltage_v", "V", step_v, 0.0005 * span_v, frozen_s),
        _measure("current_a", "A", step_a, 0.001 * span_a, None),
        _measure("power_w", "W", step_w, 0.003 * span_w, None),
    )


def _measure(name: str, unit: str, step: float, accuracy: float, frozen_s: float | None) -> KindMeasure:
    return KindMeasure(
        name=name,
        unit=unit,
        resolution=step,
        accuracy=accuracy,
        sentinels=(OVERLOAD,),
        max_age_s=EA_MAX_AGE_S,
        frozen_s=frozen_s,
    )


EA_PSB_10060_60 = Kind(
    key="ea-psb-10060-60",
    label="EA PSB 10060-60",
    maker="EA Elektro-Automatik",
    model="PSB 10060-60",
    type="BiSource",
    family="ea",
    driver="cycler_unit.drivers.ea_models:Psb10060_60",
    role="power",
    link="visa",
    link_settings=EA_LINK,
    identity=r"^EA[ -].*,\s*PSB 10060-60\s*,",
    voltage_min_v=0.0,
    voltage_max_v=60.0,
    current_min_a=-60.0,
    current_max_a=60.0,
    power_min_w=-1500.0,
    power_max_w=1500.0,
    # No frozen_s: a resting cell read at 10 mV gives the same text for hours.
    measures=_electrical(
        step_v=0.01, step_a=0.01, step_w=1.0, span_v=60, span_a=60, span_w=1500, frozen_s=None
    ),
    off=_off(
        i_off_a=0.12,
        stays_connected="output capacitors and sense leads stay on the cell: no relay opens",
        low_cutoff="VOLT set point while discharging",
    ),
)

# No such member is sold: the smallest PSB 10000 is far too coarse for the small cells that the
# simulated bench holds. It speaks the family's bytes, with the accuracy shares of its data sheet.
EA_PSB_SIMULATED = Kind(
    key="ea-psb-10010-05-sim",
    label="EA PSB 10010-05 (simulated)",
    maker="EA Elektro-Automatik",
    model="PSB 10010-05 SIM",
    type="BiSource",
    family="ea",
    driver="cycler_unit.drivers.ea_models:Psb10010_05Sim",
    role="power",
    link="visa",
    link_settings=EA_LINK,
    identity=r"^EA[ -].*,\s*PSB 10010-05 SIM\s*,",
    voltage_min_v=0.0,
    voltage_max_v=10.0,
    current_min_a=-5.0,
    current_max_a=5.0,
    power_min_w=-50.0,
    power_max_w=50.0,
    # Its noise is larger than its resolution, so that equal readings for 3 s mean a frozen converter.
    measures=_electrical(
        step_v=0.0001, step_a=0.0001, step_w=0.001, span_v=10, span_a=5, span_w=50, frozen_s=3.0
    ),
    off=_off(
        i_off_a=0.01,
        stays_connected="output capacitors and sense leads stay on the cell: no relay opens",
        low_cutoff="VOLT set point while discharging",
    ),
)

EA_PS_2084_05_B = Kind(
    key="ea-ps-2084-05-b",
    label="EA PS 2084-05 B (2020 on, SCPI)",
    maker="EA Elektro-Automatik",
    model="PS 2084-05 B",
    type="Source",
    family="ea",
    driver="cycler_unit.drivers.ea_models:Ps2084_05B",
    role="power",
    link="visa",
    link_settings={**EA_LINK, "baud_rate": 9600, "parity": "odd"},
    identity=r"^EA[ -].*,\s*PS 2084-05 B\s*,",
    voltage_min_v=0.0,
    voltage_max_v=84.0,
    current_min_a=0.0,
    current_max_a=5.0,
    power_min_w=0.0,
    power_max_w=160.0,
    measures=_electrical(
        step_v=0.01, step_a=0.01, step_w=0.1, span_v=84, span_a=5, span_w=160, frozen_s=None
    ),
    off=_off(
        i_off_a=0.02,
        stays_connected="output stage and its bleeder stay on the cell: a series diode is advised",
        low_cutoff="none: it cannot discharge",
    ),
)

ROWS: tuple[Kind, ...] = (EA_PSB_10060_60, EA_PSB_SIMULATED, EA_PS_2084_05_B)
