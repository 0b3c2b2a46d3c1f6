"""The flow meter on an Arduino Uno (design: devices.md section 7)."""

from __future__ import annotations

from wire.catalogue import Kind, KindMeasure

# One pulse a second is 40 mL/min: the finest step that the counting gives.
STEP_ML_MIN = 40.0
# The value never returns to zero when the flow stops: pulses of a running pump never come evenly this long.
FROZEN_S = 20.0


def _flow(name: str) -> KindMeasure:
    """Return one sensor: 0.05 to 10 L/min within 3 % as turbines of this size are sold."""
    return KindMeasure(
        name=name, unit="mL/min", resolution=STEP_ML_MIN, accuracy=STEP_ML_MIN, accuracy_rel=0.03,
        max_age_s=3.0, frozen_s=FROZEN_S, period_s=1.0,
    )  # fmt: skip


ARDUINO_FLOW_METER = Kind(
    key="arduino-flow-meter",
    label="Arduino flow meter, two sensors",
    maker="Arduino",
    model="FLOWmeter",
    type="Flow",
    family="flow",
    driver="cycler_unit.drivers.flow:FlowMeter",
    role="flow",
    link="visa",
    # It answers within some 10 ms. A timeout of 0.5 s asks it several times while an Uno starts; 2 s would miss three
    # readings at the first lost line.
    link_settings={
        "terminator": "\n", "timeout_s": 0.5, "open_wait_s": 2.0, "baud_rate": 19200, "parity": "none",
    },
    identity=r"FLOWmeter\b",
    probe=":IDN*?",
    measures=(_flow("flow_main_ml_min"), _flow("flow_aux_ml_min")),
)  # fmt: skip

ROWS: tuple[Kind, ...] = (ARDUINO_FLOW_METER,)
