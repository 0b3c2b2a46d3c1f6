"""The CO2 analyser SBA-5 (design: devices.md section 9.4)."""

from __future__ import annotations

from wire.catalogue import Kind, KindControl, KindMeasure

SBA5 = Kind(
    key="pp-sba-5",
    label="PP Systems SBA-5 CO2 analyser",
    maker="PP Systems",
    model="SBA-5",
    type="Gas",
    family="sba5",
    driver="cycler_unit.drivers.sba5:Sba5",
    role="auxiliary",
    link="visa",
    link_settings={"terminator": "\r\n", "timeout_s": 2.0, "baud_rate": 19200, "parity": "none"},
    # It answers no question about itself: unit.yaml names it.
    probe="",
    measures=(
        # 1 % of the reading within its range, as the maker states; whole ppm are printed. It measures every 1.6 s.
        KindMeasure(
            name="co2_ppm", unit="ppm", resolution=1.0, accuracy=5.0, accuracy_rel=0.01,
            sentinels=(-255.0,), max_age_s=10.0, period_s=2.0,
        ),
    ),
    controls=(
        KindControl(name="pump", label="Pump", unit="bool", minimum=0.0, maximum=1.0, step=1.0, switch=True),
    ),
)  # fmt: skip

ROWS: tuple[Kind, ...] = (SBA5,)
