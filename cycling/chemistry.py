"""Open-circuit voltage tables of one cell against state of charge, with their published sources.

Each table is sampled once at import on a uniform grid, so that a lookup is one multiplication and
one interpolation; it rises strictly with the state of charge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log, tanh

# 201 points: half a percent of charge per interval, which resolves the knee below 5 %.
POINTS = 201
# Beyond empty and full the curve goes on this steeply (V per unit of charge), so that a cell that is
# over-discharged or over-charged leaves its limits within a fraction of a percent.
BEYOND_V = 20.0


def _nmc(soc: float) -> float:
    """NMC 811 against graphite-silicon oxide, the LG M50.

    Chen et al., J. Electrochem. Soc. 167 (2020) 080534, equations 8 and 9 (fits to the measured
    half-cell curves) with the paper's stoichiometry windows at 2.5 V and 4.2 V.
    """
    x = 0.0279 + soc * (0.9014 - 0.0279)
    y = 0.9084 + soc * (0.2661 - 0.9084)
    positive = (
        -0.8090 * y
        + 4.4875
        - 0.0428 * tanh(18.5138 * (y - 0.5542))
        - 17.7326 * tanh(15.7890 * (y - 0.3117))
        + 17.5842 * tanh(15.9308 * (y - 0.3120))
    )
    negative = (
        1.9793 * exp(-39.3631 * x)
        + 0.2482
        - 0.0909 * tanh(29.8538 * (x - 0.1234))
        - 0.04478 * tanh(14.9159 * (x - 0.2769))
        - 0.0205 * tanh(30.4444 * (x - 0.6103))
    )
    return positive - negative


def _lfp(soc: float) -> float:
    """LiFePO4 against graphite.

    Safari and Delacourt, J. Electrochem. Soc. 158 (2011) A562, equations for both electrodes; the
    window 0.014 to 0.79 of the graphite and 0.97 to 0.05 of the phosphate is ours, chosen so that
    the cell rests near 2.5 V empty and 3.4 V full as commercial cells do.
    """
    x = 0.014 + soc * (0.79 - 0.014)
    y = 0.97 + soc * (0.05 - 0.97)
    positive = (
        3.4323
        - 0.8428 * exp(-80.2493 * (1.0 - y) ** 1.3198)
        - 3.2474e-6 * exp(20.2645 * (1.0 - y) ** 3.8003)
        + 3.2482e-6 * exp(20.2646 * (1.0 - y) ** 3.7995)
    )
    negative = (
        0.6379
        + 0.5416 * exp(-305.5309 * x)
        + 0.044 * tanh(-(x - 0.1958) / 0.1088)
        - 0.1978 * tanh((x - 1.0571) / 0.0854)
        - 0.6875 * tanh((x + 0.0117) / 0.0529)
        - 0.0175 * tanh((x - 0.5692) / 0.0875)
    )
    return positive - negative


def _lead_acid(soc: float) -> float:
    """Lead-acid: acid density plus 0.845 V.

    Reddy (ed.), Linden's Handbook of Batteries, 4th ed., chapter 16: open-circuit voltage = specific
    gravity + 0.845; 1.10 empty to 1.28 full, in proportion to the charge.
    """
    return 0.845 + 1.10 + soc * (1.28 - 1.10)


def _vanadium(soc: float) -> float:
    """Vanadium redox flow cell by the Nernst equation at 25 degrees.

    Formal cell potential 1.40 V at half charge (Skyllas-Kazacos et al., J. Electrochem. Soc. 158
    (2011) R55), slope 2RT/F = 51.4 mV. The ends are cut at 0.5 % and 99.5 %.
    """
    inside = 0.005 + 0.99 * soc
    return 1.40 + 0.0514 * log(inside / (1.0 - inside))


def _rising(curve: Callable[[float], float]) -> tuple[float, ...]:
    """Sample ``curve`` on the grid; a flat or falling piece of a fit gets 1 uV per interval."""
    table: list[float] = []
    for index in range(POINTS):
        voltage_v = curve(index / (POINTS - 1))
        table.append(voltage_v if not table else max(voltage_v, table[-1] + 1e-6))
    return tuple(table)


TABLES: dict[str, tuple[float, ...]] = {
    "NMC": _rising(_nmc),
    "LFP": _rising(_lfp),
    "lead-acid": _rising(_lead_acid),
    "VRFB": _rising(_vanadium),
}


def at_rest(table: Sequence[float], soc: float) -> tuple[float, float]:
    """Return one cell's open-circuit voltage (V) at ``soc`` and its slope (V per unit of charge)."""
    if soc < 0.0:
        return table[0] + soc * BEYOND_V, BEYOND_V
    if soc > 1.0:
        return table[-1] + (soc - 1.0) * BEYOND_V, BEYOND_V
    place = soc * (POINTS - 1)
    index = min(int(place), POINTS - 2)
    rise = table[index + 1] - table[index]
    return table[index] + (place - index) * rise, rise * (POINTS - 1)
