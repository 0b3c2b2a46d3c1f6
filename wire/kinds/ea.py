"""Supplies and loads of EA Elektro-Automatik (design: devices.md section 4)."""

from __future__ import annotations

import msgspec

from wire.catalogue import Kind, KindMeasure, Off

# A reading this old is missing; the supplies answer at once, so three control periods of 0.1 s would do,
# but one repeated exchange after a lost packet must not trip a station.
EA_MAX_AGE_S = 0.5
# What a meter without a range says instead of a number (devices.md section 6); no EA supply should.
OVERLOAD = 9.9e37

# Answered text ends in LF both ways; 50 ms between messages on USB and serial only (devices.md 4.2).
EA_LINK = {"terminator": "\n", "timeout_s": 1.0, "spacing_s": 0.05, "baud_rate": 115200, "parity": "none"}


def _off(
    *,
    i_off_a: float,
    stays_connected: str,
    low_cutoff: str,
    command: str = "OUTP OFF",
    after_power_on: str = "output off, remote control released",
    high_cutoff: str = "VOLT set point while charging; OVP switches the output off",
) -> Off:
    """Return what off means for the family: no relay opens, and no communication timeout exists."""
    return Off(
        command=command,
        i_off_a=i_off_a,
        t_off_s=0.5,
        stays_connected=stays_connected,
        after_power_on=after_power_on,
        high_cutoff=high_cutoff,
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


CAPACITORS = "output capacitors and sense leads stay on the cell: no relay opens"


def _psb(
    *, model: str, driver: str, span_v: float, span_a: float, span_w: float, step_v: float, step_a: float
) -> Kind:
    """Return a PSB 10000 of these ratings; 0.2 % of its current is what flows at most when it is off."""
    key = "ea-" + model.lower().replace(" ", "-")
    return Kind(
        key=key,
        label=f"EA {model}",
        maker="EA Elektro-Automatik",
        model=model,
        type="BiSource",
        family="ea",
        driver=f"cycler_unit.drivers.ea_models:{driver}",
        role="power",
        link="visa",
        link_settings=EA_LINK,
        identity=rf"^EA[ -].*,\s*{model}\s*,",
        voltage_min_v=0.0,
        voltage_max_v=span_v,
        current_min_a=-span_a,
        current_max_a=span_a,
        power_min_w=-span_w,
        power_max_w=span_w,
        # No frozen_s: a resting cell read at 10 mV gives the same text for hours.
        measures=_electrical(
            step_v=step_v,
            step_a=step_a,
            step_w=1.0,
            span_v=span_v,
            span_a=span_a,
            span_w=span_w,
            frozen_s=None,
        ),
        off=_off(
            i_off_a=0.002 * span_a,
            stays_connected=CAPACITORS,
            low_cutoff="VOLT set point while discharging",
        ),
    )


EA_PSB_10060_60 = _psb(
    model="PSB 10060-60",
    driver="Psb10060_60",
    span_v=60.0,
    span_a=60.0,
    span_w=1500.0,
    step_v=0.01,
    step_a=0.01,
)
EA_PSB_10060_120 = _psb(
    model="PSB 10060-120",
    driver="Psb10060_120",
    span_v=60.0,
    span_a=120.0,
    span_w=3000.0,
    step_v=0.01,
    step_a=0.1,
)
EA_PSB_10200_25 = _psb(
    model="PSB 10200-25",
    driver="Psb10200_25",
    span_v=200.0,
    span_a=25.0,
    span_w=1500.0,
    step_v=0.1,
    step_a=0.01,
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
        stays_connected=CAPACITORS,
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
    link_settings={**EA_LINK, "timeout_s": 0.8, "baud_rate": 9600, "parity": "odd"},
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

# SCPI as the 2384 answers it since 2020; its two outputs are two devices on one link (``channel_no``).
EA_PS_2384_05_B = msgspec.structs.replace(
    EA_PS_2084_05_B,
    key="ea-ps-2384-05-b",
    label="EA PS 2384-05 B, one of two outputs",
    model="PS 2384-05 B",
    driver="cycler_unit.drivers.ea_models:Ps2384_05B",
    identity=r"^EA[ -].*,\s*PS 2384-05 B\s*,",
    settings={"channels": 2},
)

EA_EL_9080_170_B = Kind(
    key="ea-el-9080-170-b",
    label="EA EL 9080-170 B",
    maker="EA Elektro-Automatik",
    model="EL 9080-170 B",
    type="Load",
    family="ea",
    driver="cycler_unit.drivers.ea_models:El9080_170B",
    role="power",
    link="visa",
    link_settings=EA_LINK,
    identity=r"^EA[ -].*,\s*EL 9080-170 B\s*,",
    voltage_min_v=0.0,
    voltage_max_v=80.0,
    current_min_a=-170.0,
    current_max_a=0.0,
    power_min_w=-2400.0,
    power_max_w=0.0,
    measures=(
        # Series data sheet: 0.1 %, 0.2 % and 0.5 % of nominal.
        _measure("voltage_v", "V", 0.01, 0.08, None),
        _measure("current_a", "A", 0.1, 0.34, None),
        _measure("power_w", "W", 1.0, 12.0, None),
    ),
    off=_off(
        command="INP OFF",
        after_power_on="input off, remote control released",
        i_off_a=0.35,
        stays_connected="input capacitors and sense leads stay on the cell: no relay opens",
        low_cutoff="VOLT set point: the load stops sinking there by itself",
        high_cutoff="none needed: it cannot charge; OVP switches the input off",
    ),
)

ROWS: tuple[Kind, ...] = (
    EA_PSB_10060_60,
    EA_PSB_SIMULATED,
    EA_PS_2084_05_B,
    EA_PSB_10060_120,
    EA_PSB_10200_25,
    EA_PS_2384_05_B,
    EA_EL_9080_170_B,
)
