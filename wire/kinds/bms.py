"""The cell monitor (BMS "plak") on CAN: it only transmits (design: devices.md section 2)."""

from __future__ import annotations

from wire.catalogue import Kind, KindMeasure

CELLS, TEMPERATURES, PRESSURES = 12, 4, 2
# A snapshot comes once a second (nobody says so: devices.md 2.1); two may be lost.
PERIOD_S, MAX_AGE_S = 1.0, 3.5


def _measure(
    name: str, unit: str, step: float, accuracy: float, sentinels: tuple[float, ...] = ()
) -> KindMeasure:
    return KindMeasure(
        name=name,
        unit=unit,
        resolution=step,
        accuracy=accuracy,
        max_age_s=MAX_AGE_S,
        period_s=PERIOD_S,
        sentinels=sentinels,
    )


BMS_PLAK = Kind(
    key="bms-plak",
    label="BMS plak cell monitor (CAN)",
    maker="Liftec",
    model="BMS plak",
    type="Bms",
    family="bms",
    driver="cycler_unit.drivers.bms:Bms",
    role="bms",
    link="can",
    identity=r"^Liftec, BMS plak",
    probe="",
    measures=(
        # 0 is a cell that is not there; a snapshot of nothing but zeros is missing as a whole.
        *(_measure(f"vcell{n}_v", "V", 0.001, 0.005, sentinels=(0.0,)) for n in range(1, CELLS + 1)),
        _measure("vstack_v", "V", 0.001, 0.060, sentinels=(0.0,)),
        *(_measure(f"temp{n}_c", "°C", 0.1, 1.0) for n in range(1, TEMPERATURES + 1)),
        *(_measure(f"pres{n}_mbar", "mbar", 1.0, 10.0, sentinels=(0.0,)) for n in range(1, PRESSURES + 1)),
        # -1 communication error, 0 nothing, else the mask of its error frame.
        _measure("status", "code", 1.0, 0.5),
    ),
    settings={"timeout_s": 30.0, "period_s": PERIOD_S},
)

ROWS: tuple[Kind, ...] = (BMS_PLAK,)
