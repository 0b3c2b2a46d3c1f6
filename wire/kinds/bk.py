"""The bench multimeters of BK Precision (design: devices.md section 6).

A meter reads one function at a time, so that each model has a row for voltage and one for current; a scan
finds the first, a link that names ``model`` opens the other.
"""

from __future__ import annotations

from typing import Any, Literal

from wire.catalogue import Kind, KindControl, KindMeasure

OVERLOAD = 9.9e37
# At 10 mains periods a reading takes 0.2 s, and two exchanges with 50 ms between them as long again.
MAX_AGE_S = 1.0
# Set on the front panel; the factory's is 9600. 50 ms between commands, 300 ms after opening.
BK_LINK: dict[str, Any] = {
    "terminator": "\n",
    "timeout_s": 1.0,
    "spacing_s": 0.05,
    "open_wait_s": 0.3,
    "baud_rate": 38400,
    "parity": "none",
}


def _row(
    model: str,
    driver: str,
    function: Literal["voltage", "current"],
    *,
    span: float,
    resolution: float,
    accuracy: float,
    accuracy_rel: float,
) -> Kind:
    """Return one function of one model; resolution and accuracy are those of the 20 V or 2 A range."""
    is_voltage = function == "voltage"
    unit = "V" if is_voltage else "A"
    name = f"range_{unit.lower()}"
    return Kind(
        key=f"bk-{model.lower()}" + ("" if is_voltage else "-current"),
        label=f"BK Precision {model}" + ("" if is_voltage else " (current)"),
        maker="BK Precision",
        model=model,
        type="Bk",
        family="bk",
        driver=f"cycler_unit.drivers.bk:{driver}",
        role="meter",
        link="visa",
        link_settings=BK_LINK,
        identity=rf"(^|, ){model}(\s+Multimeter|,)" if is_voltage else "",
        settings={"function": function},
        voltage_min_v=-span if is_voltage else None,
        voltage_max_v=span if is_voltage else None,
        current_min_a=None if is_voltage else -span,
        current_max_a=None if is_voltage else span,
        measures=(
            KindMeasure(
                name=f"{function}_{unit.lower()}",
                unit=unit,
                resolution=resolution,
                accuracy=accuracy,
                accuracy_rel=accuracy_rel,
                sentinels=(OVERLOAD,),
                max_age_s=MAX_AGE_S,
            ),
        ),
        controls=(
            KindControl(
                name="nplc",
                label="Integration time (0.1, 1 or 10)",
                unit="mains periods",
                minimum=0.1,
                maximum=10.0,
            ),
            KindControl(name=name, label="Range (0: automatic)", unit=unit, minimum=0.0, maximum=span),
        ),
    )


ROWS: tuple[Kind, ...] = (
    _row("2831E", "Bk2831E", "voltage", span=1000.0, resolution=0.001, accuracy=0.003, accuracy_rel=0.0003),
    _row("5491B", "Bk5491B", "voltage", span=1000.0, resolution=0.001, accuracy=0.003, accuracy_rel=0.0002),
    _row("2831E", "Bk2831E", "current", span=20.0, resolution=0.0001, accuracy=0.0008, accuracy_rel=0.003),
    _row("5491B", "Bk5491B", "current", span=20.0, resolution=0.0001, accuracy=0.0005, accuracy_rel=0.002),
)
