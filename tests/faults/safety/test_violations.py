"""Each violation on each power device, and the whole chain of rule 5 after it.

Off on the wire, measured off or ``unsafe``; latched; event and alarm with the cause in words; the other
station untouched; nothing lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.faults.safety.marks import Row, rows
from tests.faults.safety.rigs import CELL, CURRENT_A, RIGS, WAYS, Way
from tests.faults.safety.unit import SafetyLab, cc
from tests.stack.waiting import until

TEXT_RIGS = ("psb", "ps+kel103", "ps+el", "ps2384", "kel103", "el", "psb60")
ALL_RIGS = tuple(RIGS)


@dataclass(frozen=True)
class Violation:
    """One way to go wrong. ``not_on``: rigs that cannot have it, each with the reason."""

    name: str
    fault: str
    words: str
    """What the alarm's text must say, as a regular expression."""
    way: Way | None = None
    """The direction in which it matters; None: the rig's first one."""
    options: dict[str, Any] = field(default_factory=dict)
    own_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Options by rig, where its device names things otherwise."""
    at: str = ""
    """Which device is broken; by default the one that acts. ``cell``: what is in the holder."""
    steps: int = 1
    """Two steps: the second set point is what meets the fault."""
    unreached: bool = False
    """No byte arrives: it is ``unsafe`` until the link is mended, and the first thing sent then is off."""
    unmeasured: tuple[str, ...] = ()
    """Rigs whose current cannot be measured any more: off on the wire, and ``unsafe`` until mended."""
    not_on: dict[str, str] = field(default_factory=dict)
    usual: tuple[str, ...] = ()
    """Rigs on which ``make test`` runs it."""

    def way_of(self, rig: str) -> Way | None:
        """Return the direction to test on a rig, None when it cannot go there."""
        if self.way is None:
            return WAYS[rig][0]
        return self.way if self.way in WAYS[rig] else None


UNSEEN = "its catalogue row gives no time after which equal readings are a frozen converter"
NO_SENSOR = "no temperature sensor on the cell (rule 16 says so at filing)"
NO_MONITOR = "no cell monitor on its station"
ALONE = "one device with one voltage: nothing to compare it with"

# An EPC refuses what lies outside its configured limits, whoever orders it: another host's 1.8 A lie inside.
VIOLATIONS = [
    Violation("over-voltage", "drift", "voltage|OVP|LS_V|low-side", "charge", {"offset_v": 0.8},
              usual=("psb", "epc", "ps2384")),
    Violation("under-voltage", "drift", "voltage|LS_V|low-side", "discharge", {"offset_v": -1.6},
              usual=("psb", "kel103", "ps+el")),
    Violation("over-current", "panel_change", "current|OCP|CURR|A |ordered|asked", None, {"source_a": 4.0},
              own_options={"kel103": {"sink_a": 4.0}, "el": {"sink_a": 4.0}, "epc": {"current_a": 1.8}}, usual=("psb",)),
    Violation("too-much-sunk", "panel_change", "current|OCP|CURR|A |ordered|asked", "discharge", {"sink_a": 4.0},
              own_options={"epc": {"current_a": -1.8}}, usual=("ps+kel103", "ps+el")),
    Violation("too-hot", "wrong_cell", "temperature|°C", None, {**CELL, "temperature_c": 70.0}, at="cell",
              not_on=dict.fromkeys(TEXT_RIGS, NO_SENSOR), usual=("epc",)),
    Violation("too-cold", "wrong_cell", "temperature|°C", "discharge", {**CELL, "temperature_c": -20.0}, at="cell",
              not_on=dict.fromkeys(TEXT_RIGS, NO_SENSOR)),
    Violation("frozen-converter", "freeze", "missing|frozen|no new|identical", None, unmeasured=("psb", "epc"),
              not_on=dict.fromkeys(("ps+kel103", "ps+el", "ps2384", "kel103", "el", "psb60"), UNSEEN), usual=("psb", "epc")),
    Violation("no-reading", "sensor_off", "missing", None, unmeasured=TEXT_RIGS, usual=("ps+el", "kel103", "epc")),
    Violation("silent-monitor", "silent", "missing", None, at="bms",
              not_on=dict.fromkeys(TEXT_RIGS, NO_MONITOR), usual=("epc",)),
    Violation("cell-too-high", "drift", "vcell1|cell", None, {"cell": "vcell1", "offset_v": 0.9}, at="bms",
              not_on=dict.fromkeys(TEXT_RIGS, NO_MONITOR)),
    Violation("link-cut", "drop_link", "lost|answer|connection|link", None, unreached=True, usual=("psb", "kel103")),
    Violation("link-silent", "drop_link", "lost|answer|connection|link", None, {"how": "silent"}, unreached=True,
              usual=("ps+el", "epc")),
    Violation("sense-open", "sense_open", "voltage|sense|disagree|LS_V", None, {"share": 0.3},
              usual=("ps+kel103", "epc")),
    Violation("voltages-disagree", "drift", "disagree|differ|allowed|sense", None, {"offset_v": 0.25}, at="other",
              not_on={"psb": ALONE, "psb60": ALONE, "ps2384": ALONE, "kel103": ALONE, "el": ALONE,
                      "epc": "its cell monitor has its own limits"},
              usual=("ps+el",)),
    Violation("refused", "refuse", "refus|echo|reads back|is .* though|hold", None, steps=2,
              usual=("ps2384", "epc")),
    Violation("clamped", "clamp", "CURR|current|echo|reads back|ordered|refus|hold", None, {"current_a": 0.5}, steps=2,
              usual=("psb", "kel103", "epc")),
    Violation("rebooted", "reboot", "reboot|restart|remote|off by itself|output|input|panel|IDLE", None,
              usual=("ps+el", "epc")),
    Violation("switched-at-the-panel", "panel_change", "output|input|ordered|asked|IDLE|ended", None, {"output": False},
              usual=("ps2384", "kel103", "epc")),
    Violation("mains-lost-and-back", "mains_lost", "lost|answer|remote|reboot|connection|panel|output", None,
              {"for_s": 2.0}, usual=("ps+kel103",)),
    Violation("interlock-open", "input_open", "door", None, {"input": "door_closed"}, at="door",
              usual=("psb", "epc")),
]  # fmt: skip


def table() -> list[Row]:
    """Return every violation on every rig that can have it."""
    return rows(
        (rig, each, f"{rig}-{each.name}", rig in each.usual)
        for rig in ALL_RIGS
        for each in VIOLATIONS
        if rig not in each.not_on and each.way_of(rig) is not None
    )


def test_no_combination_is_left_out_without_a_reason() -> None:
    for each in VIOLATIONS:
        assert set(each.not_on) <= set(ALL_RIGS)
        assert all(each.not_on.values())
        run = [rig for rig in ALL_RIGS if rig not in each.not_on and each.way_of(rig) is not None]
        assert run, each.name


def target_of(lab: SafetyLab, violation: Violation, way: Way) -> str:
    """Return the device that is to be broken."""
    acting = lab.rig.acts[way]
    if violation.at == "other":
        return next(name for name in lab.rig.power() if name != acting)
    return violation.at or acting


def break_it(lab: SafetyLab, violation: Violation, way: Way) -> tuple[float, str]:
    """Break what the violation is about; return since when (simulator) and what to mend."""
    options = violation.own_options.get(lab.rig.name, violation.options)
    if violation.at == "cell":
        at_s: float = lab.cell()["at_s"]
        lab.simulators.ask(circuit="cell", fault=violation.fault, **options)
        return at_s, ""
    device = target_of(lab, violation, way)
    return lab.break_(device, violation.fault, **options), device


def off_first(lab: SafetyLab, device: str, since_s: float, *, strict: bool) -> None:
    """Wait for the off on a device's wire; nothing but questions before it (``strict``), nothing on after."""

    def sent() -> list[str] | None:
        found = lab.sent(device, since_s)
        return found if any(lab.rig.is_off(device, each) for each in found) else None

    found = until(sent, 20, f"an off on the wire of {device}; {lab.unit.process.output()[-2500:]}") or []
    place = next(place for place, each in enumerate(found) if lab.rig.is_off(device, each))
    before = [each for each in found[:place] if not lab.rig.asks(each)]
    assert not (strict and before), f"sent before off: {before}"
    later = [each for each in found[place:] if re.search(r"(OUTP|INP) (ON|1)", each)]
    assert not later, f"switched on again: {later}"


def the_chain(lab: SafetyLab, experiment: str, words: str) -> dict[str, Any]:
    """Check latch, alarm, status, black box, neighbour and samples; return the alarm."""
    until(lambda: lab.state() == "tripped", 40, f"latched; {lab.unit.process.output()[-2500:]}")
    assert lab.is_off()
    detail = lab.ended(experiment)
    assert detail["status"] == "error", detail
    until(lambda: lab.alarms(experiment), 20, "the alarm")
    alarm = lab.alarms(experiment)[0]
    said = f"{alarm['text']} {detail['end_reason']['text']}"
    assert re.search(words, said), said
    assert alarm["detail"]["code"] == detail["end_reason"]["code"]
    assert alarm["detail"]["station"] == lab.station.station
    until(lambda: lab.black_box(experiment), 20, "the black box")
    refused = lab.ask_start(lab.message(cc(CURRENT_A[lab.rig.ways[0]])))
    assert refused.outcome == "refused", refused
    lab.neighbour_goes_on()
    lab.complete(experiment)
    return alarm


@pytest.mark.parametrize(("lab", "violation"), table(), indirect=["lab"])
def test_a_violation_goes_the_whole_way(lab: SafetyLab, violation: Violation) -> None:
    way = violation.way_of(lab.rig.name)
    assert way is not None
    current_a = CURRENT_A[way]
    steps = [cc(current_a)] if violation.steps == 1 else [cc(current_a, 3.0), cc(0.8 * current_a)]
    started = lab.run(way, *steps)
    since_s, broken = break_it(lab, violation, way)
    acting = lab.rig.acts[way]
    if violation.unreached:
        until(lambda: lab.state() == "unsafe", 40, "not confirmed off, and it says so")
        assert "may still be on" in (lab.beat().detail or "") or lab.is_off(), lab.beat()
        since_s = lab.cell()["at_s"]
        lab.ask(broken, clear=True)
    lab.goes_off()
    # A set point that is refused or clamped is itself sent before the off.
    off_first(lab, acting, since_s, strict=violation.steps == 1 and not violation.unreached)
    if lab.rig.name in violation.unmeasured:
        until(lambda: lab.state() == "unsafe", 40, "an off that is not measured is not confirmed")
        lab.ask(broken, clear=True)
    the_chain(lab, started.experiment, violation.words)


@pytest.mark.parametrize(
    ("lab", "way"),
    rows((rig, way, f"{rig}-{way}", rig in ("psb", "kel103", "epc")) for rig, ways in WAYS.items() for way in ways),
    indirect=["lab"],
)  # fmt: skip
def test_a_stuck_output_is_unsafe_and_never_shown_as_off(lab: SafetyLab, way: Way) -> None:
    started = lab.run(way)
    acting = lab.rig.acts[way]
    lab.break_(acting, "stuck_on")
    before = len(lab.alarms())
    lab.stop_test(started)
    until(lambda: lab.state() == "unsafe", 40, "unsafe")
    until(
        lambda: "off_failed" in [each["detail"]["code"] for each in lab.alarms()[before:]], 20, "off_failed"
    )
    # A station with a dead-man output has one more switch: nobody refreshes it any more.
    if lab.rig.dead_man:
        until(lambda: not lab.cell()["connected"], 15, "the dead-man output opens")
        # A device that says it is off, and carries no current any more, is off (rule 6).
        assert lab.state() in ("unsafe", "tripped")
    else:
        assert lab.truth(acting)["output"]
        assert lab.state() == "unsafe"
    lab.neighbour_goes_on()
    lab.ask(acting, clear=True)
    until(lambda: lab.state() == "tripped", 40, "confirmed off once it lets go")
    lab.complete(started.experiment)


@pytest.mark.parametrize(
    ("lab", "way"),
    rows((rig, way, f"{rig}-{way}", rig in ("psb", "ps+kel103")) for rig, ways in WAYS.items() for way in ways),
    indirect=["lab"],
)  # fmt: skip
def test_noise_inside_the_devices_accuracy_trips_nothing(lab: SafetyLab, way: Way) -> None:
    started = lab.run(way)
    lab.break_(lab.rig.acts[way], "noise", voltage_v=0.004, current_a=0.004)
    stored = len(lab.manager.seqs(started.experiment))
    until(lambda: len(lab.manager.seqs(started.experiment)) > stored + 40, 40, "four seconds of samples")
    assert lab.state() == "running"
    assert not lab.alarms(started.experiment)
    lab.flows(way)
