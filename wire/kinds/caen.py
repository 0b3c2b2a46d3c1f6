"""High voltage boards of CAEN (design: devices.md section 8); each channel is a device."""

from __future__ import annotations

from wire.catalogue import Kind, KindControl, KindMeasure

# The board's own values are a second old; three of these.
MAX_AGE_S = 3.0
PERIOD_S = 1.0
MICRO = 1e-6


def _measure(name: str, unit: str, step: float, accuracy: float, accuracy_rel: float = 0.0) -> KindMeasure:
    # No frozen_s: a channel at rest or switched off reads the same for hours.
    return KindMeasure(
        name=name, unit=unit, resolution=step, accuracy=accuracy, accuracy_rel=accuracy_rel,
        max_age_s=MAX_AGE_S, period_s=PERIOD_S,
    )  # fmt: skip


def _ramp(name: str, label: str, unit: str, minimum: float, maximum: float, step: float) -> KindControl:
    """Return a control that Down leaves alone: how fast or how far, not whether."""
    return KindControl(
        name=name, label=label, unit=unit, minimum=minimum, maximum=maximum, step=step, order=3
    )


V6533 = Kind(
    key="caen-v6533",
    label="CAEN V6533, one channel: 4 kV, 3 mA",
    maker="CAEN",
    model="V6533",
    type="Hv",
    family="caen",
    driver="cycler_unit.drivers.caen:CaenChannel",
    role="auxiliary",
    link="caen",
    link_settings={"slot": 0},
    identity=r"^CAEN,\s*V6533",
    probe="",
    voltage_min_v=0.0,
    voltage_max_v=4000.0,
    current_min_a=0.0,
    current_max_a=3.1e-3,
    measures=(
        # Assumed for a board of this class, with 0.02 % of the range; a calibration certificate wins.
        _measure("vmon_v", "V", 0.1, 0.8, 0.0002),
        _measure("imon_a", "A", 0.005 * MICRO, 0.6 * MICRO, 0.02),
        _measure("vset_v", "V", 0.1, 0.1),
        _measure("power", "bool", 1.0, 0.0),
        _measure("board_temperature_c", "°C", 1.0, 2.0),
        _measure("status_mask", "mask", 1.0, 0.0),
    ),
    controls=(
        KindControl(
            name="pdwn", label="Ramp down at power off", unit="bool", minimum=0.0, maximum=1.0, step=1.0,
            switch=True, safe=1.0, order=0,
        ),
        KindControl(
            name="vset_v", label="Voltage", unit="V", minimum=0.0, maximum=4000.0, step=0.1, safe=0.0,
            measure="vset_v", order=1,
        ),
        KindControl(
            name="power", label="High voltage on", unit="bool", minimum=0.0, maximum=1.0, step=1.0,
            switch=True, safe=0.0, measure="power", order=2,
        ),
        _ramp("iset_a", "Current limit", "A", 0.0, 3.1e-3, 0.05 * MICRO),
        _ramp("trip_s", "Trip after over current (1000 = never)", "s", 0.0, 1000.0, 0.1),
        _ramp("svmax_v", "Software ceiling", "V", 0.0, 4000.0, 0.1),
        _ramp("rup_v_s", "Ramp up", "V/s", 1.0, 500.0, 1.0),
        _ramp("rdwn_v_s", "Ramp down", "V/s", 1.0, 500.0, 1.0),
        KindControl(
            name="imon_range", label="Current meter: low range", unit="bool", minimum=0.0, maximum=1.0,
            step=1.0, switch=True, order=3,
        ),
    ),
    settings={
        "voltage_max_v": 4000.0,
        "current_max_a": 3.1e-3,
        "imon_range": 0.0,
        "iset_a": 50 * MICRO,
        "trip_s": 0.2,
        "rup_v_s": 10.0,
        "rdwn_v_s": 100.0,
        "current_steady_max_a": 2 * MICRO,
        "current_change_max_a": 2 * MICRO,
    },
)  # fmt: skip

ROWS: tuple[Kind, ...] = (V6533,)
