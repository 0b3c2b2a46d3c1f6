"""The cell monitor (BMS "plak") on CAN: it only transmits (design: devices.md section 2)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from wire.catalogue import Kind, KindMeasure

# A snapshot comes once a second (nobody says so: devices.md 2.1); two may be lost.
PERIOD_S, MAX_AGE_S = 1.0, 3.5
# What a word is by what its name begins with: suffix of the measure, unit, step, accuracy, sentinels.
# 0 is a cell that is not there; a snapshot of nothing but zeros is missing as a whole.
_OF: dict[str, tuple[str, str, float, float, tuple[float, ...]]] = {
    "vcell": ("v", "V", 0.001, 0.005, (0.0,)),
    "vstack": ("v", "V", 0.001, 0.060, (0.0,)),
    "temp": ("c", "°C", 0.1, 1.0, ()),
    "pres": ("mbar", "mbar", 1.0, 10.0, (0.0,)),
}
# The 19 words of the hardware there is.
USUAL = (
    *(f"vcell{n}" for n in range(1, 13)), "vstack", *(f"temp{n}" for n in range(1, 5)), "pres1", "pres2",
)  # fmt: skip
# A word that is sent and not used.
UNUSED = "-"


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


def _measures(words: Sequence[str]) -> tuple[KindMeasure, ...]:
    """Return the measures of a word list; raise ``ValueError`` naming a word that is none."""
    found = []
    for word in words:
        if word == UNUSED:
            continue
        own = next((each for begin, each in _OF.items() if word.startswith(begin)), None)
        if own is None:
            raise ValueError(f"{word!r} begins with none of {', '.join(_OF)}, {UNUSED}")
        suffix, unit, step, accuracy, sentinels = own
        found.append(_measure(f"{word}_{suffix}", unit, step, accuracy, sentinels))
    # -1 communication error, 0 nothing, else the mask of its error frame.
    return (*found, _measure("status", "code", 1.0, 0.5))


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
    measures=_measures(USUAL),
    settings={"timeout_s": 30.0, "period_s": PERIOD_S},
)

ROWS: tuple[Kind, ...] = (BMS_PLAK,)


def with_words(words: Sequence[str]) -> Kind:
    """Return the row of a monitor that sends other words, with the measures of these; raise ``ValueError``."""
    if tuple(words) == USUAL:
        return BMS_PLAK
    cells, temperatures = (sum(word.startswith(begin) for word in words) for begin in ("vcell", "temp"))
    own = hashlib.sha256(" ".join(words).encode()).hexdigest()[:8]
    return msgspec.structs.replace(
        BMS_PLAK,
        key=f"{BMS_PLAK.key}-{own}",
        label=f"BMS plak cell monitor (CAN), {cells} cells, {temperatures} temperatures",
        measures=_measures(words),
        settings={**BMS_PLAK.settings, "words": list(words)},
    )
