"""Print the catalogue as ``docs/devices.md``: ``python -m wire.kinds.table > docs/devices.md``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wire.catalogue import Kind, KindControl, KindMeasure, Off
from wire.kinds import KINDS

HEAD = """# Devices

<!-- Written by `python -m wire.kinds.table`; change the catalogue (`wire/kinds/`), not this page. -->

What the catalogue says of every device model. Operators read the same on the catalogue page (Units → Catalogue), a model each.

## Off

Off is never only ordered: it is read back, and the current must be below *off current* within *within*
(safety rule 6). *Stays connected* is what remains on the cell then; where nothing opens, only an isolator does.
"""

LEFT_ALONE = """
## Left alone

What each device does when no further byte arrives: the computer is off, the cable is cut. *Keeps a charge* and
*ends a discharge* tell whether its own set points and protections keep the cell inside the trip limits. Where
one says **no** and there is no communication timeout, that direction needs a dead-man output on the station,
and is refused above the station's `unguarded_max_wh` without one (safety rule 3).
"""

ALL = """
## All models

*Link* is what a link of unit.yaml has by itself; a key given there wins. Serial lines have 8 data bits and 1 stop
bit. Accuracy is absolute, plus a share of the reading. *Too old* is the age at which a reading counts as missing;
*frozen* is how long equal readings may come; *missing* are numbers that a device answers instead of none.
"""


def page(kinds: Sequence[Kind] = KINDS) -> str:
    """Return the whole page as Markdown."""
    power = [(kind, kind.off) for kind in kinds if kind.off is not None]
    return "".join([HEAD, "\n", _off(power), LEFT_ALONE, "\n", _left_alone(power), ALL, *map(_model, kinds)])


def _off(power: Iterable[tuple[Kind, Off]]) -> str:
    return _table(
        ("model", "off command", "off current", "within", "stays connected when off", "after power-on"),
        (
            (
                kind.label, f"`{off.command}`", f"{off.i_off_a:g} A", f"{off.t_off_s:g} s",
                off.stays_connected, off.after_power_on,
            )
            for kind, off in power
        ),
    )  # fmt: skip


def _left_alone(power: Iterable[tuple[Kind, Off]]) -> str:
    return _table(
        (
            "model", "communication timeout", "own high cut-off", "own low cut-off", "keeps a charge",
            "ends a discharge",
        ),
        (
            (
                kind.label, _seconds(off.communication_timeout_s), off.high_cutoff, off.low_cutoff,
                _yes(off.guards_charge), _yes(off.guards_discharge),
            )
            for kind, off in power
        ),
    )  # fmt: skip


def _model(kind: Kind) -> str:
    facts = [f"`{kind.key}`", kind.type, f"link {kind.link}", *_limits(kind)]
    text = f"\n### {kind.label}\n\n{' · '.join(facts)}\n"
    if kind.link_settings:
        text += (
            f"\nLink: {', '.join(f'{key} {_setting(each)}' for key, each in kind.link_settings.items())}\n"
        )
    if kind.measures:
        columns = ("measure", "unit", "resolution", "accuracy", "too old", "frozen", "missing")
        text += "\n" + _table(columns, map(_measure, kind.measures))
    if kind.controls:
        columns = ("control", "label", "unit", "from", "to", "safe value", "read back as")
        text += "\n" + _table(columns, map(_control, kind.controls))
    return text


def _setting(value: object) -> str:
    """Return a link setting as unit.yaml has it; the ends of lines by their names."""
    return {"\n": "LF", "\r\n": "CR LF"}.get(value, value) if isinstance(value, str) else f"{value:g}"


def _limits(kind: Kind) -> Iterable[str]:
    for low, high, unit in (
        (kind.voltage_min_v, kind.voltage_max_v, "V"),
        (kind.current_min_a, kind.current_max_a, "A"),
        (kind.power_min_w, kind.power_max_w, "W"),
    ):
        if high is not None:
            yield f"{low or 0.0:g} to {high:g} {unit}"


def _measure(measure: KindMeasure) -> Sequence[str]:
    share = f" + {measure.accuracy_rel * 100:g} %" if measure.accuracy_rel else ""
    return (
        f"`{measure.name}`", measure.unit, f"{measure.resolution:g}", f"{measure.accuracy:g}{share}",
        _seconds(measure.max_age_s), _seconds(measure.frozen_s),
        ", ".join(f"{each:g}" for each in measure.sentinels),
    )  # fmt: skip


def _control(control: KindControl) -> Sequence[str]:
    return (
        f"`{control.name}`", control.label, control.unit, _number(control.minimum), _number(control.maximum),
        "stays" if control.safe is None else f"{control.safe:g}",
        f"`{control.measure}`" if control.measure else "",
    )  # fmt: skip


def _seconds(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds:g} s"


def _number(number: float | None) -> str:
    return "" if number is None else f"{number:g}"


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "**no**"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    print(page(), end="")
