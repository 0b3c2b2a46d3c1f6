"""The electronic load that RS PRO and others sell, made by Korad (design: devices.md section 5)."""

from __future__ import annotations

from wire.catalogue import Kind, KindMeasure, Off

# One exchange for each value over USB: two of them and one repeat fit well.
MAX_AGE_S = 0.5


def _measure(name: str, unit: str, step: float, accuracy: float) -> KindMeasure:
    """Return a measure; maker's data: 0.05 % of reading and 0.025 % (V), 0.05 % (A), 0.1 % (W) of range."""
    return KindMeasure(
        name=name, unit=unit, resolution=step, accuracy=accuracy, accuracy_rel=0.0005,
        sentinels=(9.9e37,), max_age_s=MAX_AGE_S,
    )  # fmt: skip


KEL103 = Kind(
    key="rs-pro-kel103",
    label="RS PRO / Korad KEL103 load",
    maker="RS PRO",
    model="KEL103",
    type="Load",
    family="kel103",
    driver="cycler_unit.drivers.kel103:Kel103",
    role="power",
    link="visa",
    link_settings={"terminator": "\n", "timeout_s": 0.5, "baud_rate": 115200, "parity": "none"},
    # The name in front differs by who sells it: RND 320-KEL103, RS-KEL103.
    identity=r"KEL-?103\b",
    voltage_min_v=0.0,
    voltage_max_v=120.0,
    current_min_a=-30.0,
    current_max_a=0.0,
    power_min_w=-300.0,
    power_max_w=0.0,
    measures=(
        _measure("voltage_v", "V", 0.001, 0.03),
        _measure("current_a", "A", 0.001, 0.015),
        _measure("power_w", "W", 0.01, 0.3),
    ),
    off=Off(
        command=":INP 0",
        i_off_a=0.03,
        t_off_s=0.5,
        stays_connected="input capacitors and sense leads stay on the cell: no relay opens",
        after_power_on="input off, panel unlocked",
        high_cutoff="none needed: it cannot charge",
        low_cutoff="none in CC, CP and CR: left alone it goes on discharging",
        guards_charge=True,
        guards_discharge=False,
    ),
)

ROWS: tuple[Kind, ...] = (KEL103,)
