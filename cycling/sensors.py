"""Which of a station's measures watch the cell itself, by the names that the station gives them."""

from __future__ import annotations

import re
from collections.abc import Iterable

TEMPERATURE = "temperature_c"
# The air around the cell; without it the temperature at the start stands for it (safety.md rule 16).
AMBIENT = "ambient_c"
# The high side that the channels of a regenerative cycler share (safety.md rule 14).
STORE = "hs_voltage_v"
# Outputs that set the temperature around the cell.
CHAMBERS = ("temperature_c", "chamber_c")

_CELL_VOLTAGE = re.compile(r"(?:^|.*_)v?cell.*_v", re.IGNORECASE)
# temp1_c of a BMS, temperature_2_c, cell_temp_c; a heat sink or a gas bottle is named otherwise.
_CELL_TEMPERATURE = re.compile(r"temp(?:erature)?_?\d+_c|.*cell.*temp.*_c", re.IGNORECASE)


def cell_voltages(names: Iterable[str]) -> list[str]:
    """Return the measures that are voltages of single cells: ``vcell1_v``, ``cell_3_v``."""
    return [name for name in names if _CELL_VOLTAGE.fullmatch(name)]


def cell_temperatures(names: Iterable[str]) -> list[str]:
    """Return the measures that are temperatures of the battery: ``temperature_c``, ``temp1_c``."""
    return [name for name in names if name == TEMPERATURE or _CELL_TEMPERATURE.fullmatch(name)]
