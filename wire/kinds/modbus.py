"""Climate chambers and couplers of inputs and outputs by Modbus TCP.

Their register maps are settings: another maker's chamber is another row, without code
(``cycler_unit/drivers/registers.py`` says how a register is written down). Addresses count from 0.
"""

from __future__ import annotations

from typing import Any

from wire.catalogue import Kind, KindControl, KindMeasure

MODBUS_LINK = {"port": 502, "unit": 1, "timeout_s": 1.0}
# A chamber moves by a degree in a minute: asked every 2 s it may be silent for three of these periods.
CHAMBER_MAX_AGE_S = 6.0
CHAMBER_PERIOD_S = 2.0
# Interlocks are asked twice a second; older than this is as bad as open (safety.md rule 18).
INPUT_MAX_AGE_S = 1.5
INPUT_PERIOD_S = 0.5


def _chamber_measure(
    name: str, unit: str, step: float, accuracy: float, *sentinels: float, frozen_s: float | None = None
) -> KindMeasure:
    return KindMeasure(
        name=name, unit=unit, resolution=step, accuracy=accuracy, sentinels=sentinels,
        max_age_s=CHAMBER_MAX_AGE_S, period_s=CHAMBER_PERIOD_S, frozen_s=frozen_s,
    )  # fmt: skip


def _chamber(
    key: str, label: str, model: str, *, low_c: float, high_c: float, step_c: float,
    frozen_s: float | None, settings: dict[str, Any],
) -> Kind:  # fmt: skip
    """Return a row of the chamber family; ``settings`` carries its ``map``."""
    return Kind(
        key=key,
        label=label,
        maker="Generic",
        model=model,
        type="Chamber",
        family="chamber",
        driver="cycler_unit.drivers.chamber:ClimateChamber",
        role="auxiliary",
        link="modbus",
        link_settings=MODBUS_LINK,
        probe="",
        measures=(
            # Uniformity in space is the makers' usual 0.5 K; the sensor's own error is smaller.
            _chamber_measure("temperature_c", "°C", step_c, 0.5, frozen_s=frozen_s),
            _chamber_measure("set_point_c", "°C", step_c, step_c),
            _chamber_measure("run", "bool", 1.0, 0.0),
            _chamber_measure("alarm_mask", "mask", 1.0, 0.0),
            _chamber_measure("alarm_free", "bool", 1.0, 0.0),
            _chamber_measure("door_closed", "bool", 1.0, 0.0),
        ),
        controls=(
            KindControl(
                name="run", label="Conditioning", unit="bool", minimum=0.0, maximum=1.0, step=1.0,
                switch=True, safe=0.0, measure="run", order=0,
            ),
            KindControl(
                name="set_point_c", label="Temperature set point", unit="°C", minimum=low_c, maximum=high_c,
                step=step_c, safe=23.0, measure="set_point_c", order=1,
            ),
        ),
        settings={
            "model_text": model,
            "set_point_min_c": low_c,
            "set_point_max_c": high_c,
            "set_point_safe_c": 23.0,
            **settings,
        },
    )  # fmt: skip


CHAMBER_ALARMS = {
    "0": "over temperature",
    "1": "sensor broken",
    "2": "compressor pressure",
    "3": "water level",
}

CHAMBER_INT16 = _chamber(
    "chamber-modbus-int16",
    "Climate chamber, Modbus TCP, whole numbers of 0.1 °C",
    "chamber int16",
    low_c=-40.0,
    high_c=180.0,
    step_c=0.1,
    # Its display resolves 0.1 °C and a settled chamber shows the same for hours: no frozen_s.
    frozen_s=None,
    settings={
        "map": {
            # 32767 is a broken sensor, as most controllers of this kind say it.
            "actual": {
                "table": "input", "address": 0, "format": "int16", "scale": 0.1, "missing": [32767, -32768],
            },
            "set_point": {"table": "holding", "address": 0, "format": "int16", "scale": 0.1},
            "run": {"table": "coil", "address": 0},
            "alarm": {"table": "input", "address": 1, "format": "uint16"},
            "door": {"table": "discrete", "address": 0},
        },
        "alarm_words": CHAMBER_ALARMS,
    },
)  # fmt: skip

CHAMBER_FLOAT32 = _chamber(
    "chamber-modbus-float32",
    "Climate chamber, Modbus TCP, floating point",
    "chamber float32",
    low_c=-20.0,
    high_c=100.0,
    step_c=0.01,
    # Its converter's noise is larger than a step: the same number for a minute is a dead controller.
    frozen_s=60.0,
    settings={
        "map": {
            "actual": {
                "table": "holding", "address": 4096, "format": "float32", "word_order": "low_first",
            },
            "set_point": {
                "table": "holding", "address": 4352, "format": "float32", "word_order": "low_first",
            },
            "run": {"table": "holding", "address": 4608, "format": "uint16", "on_word": 1, "off_word": 0},
            "alarm": {"table": "holding", "address": 4609, "format": "uint16"},
            # Its switch is closed while the door is open.
            "door": {"table": "discrete", "address": 16, "invert": True},
        },
        "alarm_words": CHAMBER_ALARMS,
    },
)  # fmt: skip


def _input(name: str, unit: str = "bool", frozen_s: float | None = None) -> KindMeasure:
    return KindMeasure(
        name=name, unit=unit, resolution=1.0, accuracy=0.0,
        max_age_s=INPUT_MAX_AGE_S, period_s=INPUT_PERIOD_S, frozen_s=frozen_s,
    )  # fmt: skip


def _output(name: str, label: str, order: int) -> KindControl:
    return KindControl(
        name=name, label=label, unit="bool", minimum=0.0, maximum=1.0, step=1.0,
        switch=True, safe=0.0, measure=name, order=order,
    )  # fmt: skip


# Contacts as interlocks are wired: closed while all is well, so that a cut wire reads as open.
INPUTS = ("door_closed", "smoke_free", "gas_free", "mains_ok", "estop_released")
# What interrupts current first.
OUTPUTS = ("dead_man", "isolator", "exhaust", "siren")

IO_COUPLER = Kind(
    key="modbus-io-coupler",
    label="Modbus TCP coupler: interlock inputs, isolator, exhaust, siren, dead-man output",
    maker="Generic",
    model="I/O coupler",
    type="Input",
    family="io",
    driver="cycler_unit.drivers.coupler:IoCoupler",
    role="auxiliary",
    link="modbus",
    link_settings=MODBUS_LINK,
    probe="",
    measures=(
        *(_input(name) for name in INPUTS),
        *(_input(name) for name in OUTPUTS),
        # Moves ten times a second by itself.
        _input("life_count", "1", frozen_s=3.0),
        _input("watchdog_status", "1"),
    ),
    controls=(
        _output("dead_man", "Dead-man output: opens 5 s after its last refresh", 0),
        _output("isolator", "Isolator: 1 = cell connected", 1),
        _output("exhaust", "Exhaust fan", 2),
        _output("siren", "Siren", 3),
    ),
    settings={
        "inputs": {name: {"table": "discrete", "address": n} for n, name in enumerate(INPUTS)},
        "outputs": {name: {"table": "coil", "address": n} for n, name in enumerate(OUTPUTS)},
        "life": {"table": "input", "address": 0, "format": "uint16"},
        "life_s": 3.0,
        # Laid out as in the couplers of WAGO's 750 series; theirs opens all outputs at once.
        "watchdog": {
            "time": {"table": "holding", "address": 0x1000, "format": "uint16", "scale": 0.1},
            "trigger": {"table": "holding", "address": 0x1003, "format": "uint16"},
            "status": {"table": "holding", "address": 0x1006, "format": "uint16"},
            "restart": {"table": "holding", "address": 0x1007, "format": "uint16"},
            "stop": {"table": "holding", "address": 0x1008, "format": "uint16", "on_word": 0xAA55},
            "running": 1,
            "time_s": 5.0,
            "output": "dead_man",
        },
    },
)

ROWS: tuple[Kind, ...] = (CHAMBER_INT16, CHAMBER_FLOAT32, IO_COUPLER)
