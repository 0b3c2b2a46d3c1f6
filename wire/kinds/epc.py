"""The EPC, a regenerative DC/DC cycler on CAN (design: devices.md section 1)."""

from __future__ import annotations

from wire.catalogue import Kind, KindMeasure, Off

# Steps of its 12-bit converters (devices.md 1.3): 6 V, 33 A and 15 V over 4095.
STEP_V, STEP_A, STEP_HS_V = 6.0 / 4095, 33.0 / 4095, 15.0 / 4095
# No source states an accuracy; two steps of each converter is what its printed values can support.
EPC_MAX_AGE_S = 0.5
# Asked once a second; the driver itself drops one older than 3 s.
TEMPERATURE_MAX_AGE_S = 4.0


def _temperature(name: str, step: float, accuracy: float) -> KindMeasure:
    # An absent sensor reads 0.
    return KindMeasure(
        name=name,
        unit="°C",
        resolution=step,
        accuracy=accuracy,
        sentinels=(0.0,),
        max_age_s=TEMPERATURE_MAX_AGE_S,
        period_s=1.0,
    )


EPC = Kind(
    key="epc",
    label="EPC regenerative cycler (CAN)",
    maker="Wattrex",
    model="EPC",
    type="Epc",
    family="epc",
    driver="cycler_unit.drivers.epc:Epc",
    role="power",
    link="can",
    identity=r"^Wattrex, EPC",
    probe="",
    voltage_min_v=0.4,
    voltage_max_v=5.1,
    current_min_a=-15.5,
    current_max_a=15.5,
    # What the hardware allows; after a start it holds 50 W until the unit has written its protections.
    power_min_w=-80.0,
    power_max_w=80.0,
    # No frozen_s: its converters are coarser than a resting cell moves. The driver counts instead:
    # 50 readings in a row with all words of the frame the same are missing.
    measures=(
        KindMeasure(
            name="voltage_v", unit="V", resolution=STEP_V, accuracy=2 * STEP_V, max_age_s=EPC_MAX_AGE_S
        ),
        KindMeasure(
            name="current_a", unit="A", resolution=STEP_A, accuracy=2 * STEP_A, max_age_s=EPC_MAX_AGE_S
        ),
        KindMeasure(name="power_w", unit="W", resolution=0.1, accuracy=0.15, max_age_s=EPC_MAX_AGE_S),
        KindMeasure(
            name="hs_voltage_v",
            unit="V",
            resolution=STEP_HS_V,
            accuracy=2 * STEP_HS_V,
            max_age_s=EPC_MAX_AGE_S,
        ),
        _temperature("body_c", 0.1, 1.0),
        _temperature("anode_c", 0.1, 2.0),
        _temperature("ambient_c", 0.1, 2.0),
    ),
    off=Off(
        command="MODE IDLE (08 00 00 00 00 00 00 00)",
        # Nothing flows when it shows up to three steps of its converter.
        i_off_a=0.03,
        t_off_s=0.5,
        stays_connected="output filter and sense leads stay on the cell: no relay opens; the energy store stays connected",
        after_power_on="output off (IDLE), limits 0.4 to 5.1 V, 15.5 A, 50 W, periodic frames and heartbeat off",
        # 400 counts: 2 s where one is 5 ms, as measured; 4 s where it is 10 ms, as meant.
        communication_timeout_s=4.0,
        high_cutoff="end of each command at its voltage; configured voltage and current limits: ERROR, output off",
        low_cutoff="end of each command at its voltage; configured low voltage limit: ERROR, output off",
    ),
    settings={
        "limit_byte_order": "big",
        "heartbeat_s": 2.0,
        # Its own limits of the energy store that it shares with others (rule 14).
        "store_voltage_min_v": 5.3,
        "store_voltage_max_v": 14.1,
    },
)

ROWS: tuple[Kind, ...] = (EPC,)
