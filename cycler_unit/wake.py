"""What happens before current may flow: the check at rest, the device's protections, the record.

Before the first step, before a resume, after a restart (safety.md rules 3, 4 and 10).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from cycler_unit import contract, take_up
from cycler_unit.contract import Refusal
from cycler_unit.drivers.errors import DeviceLost, DriverError
from cycler_unit.left_alone import LeftAlone
from cycler_unit.mail import Reply
from cycler_unit.pulse import PulseCheck, ways
from cycler_unit.readings import Taken
from cycler_unit.run import Run, status_event
from cycler_unit.spool import Entry
from cycler_unit.wiring import Expected, WiringCheck
from cycling import reasons, rules_station
from cycling.envelope import DeviceLimits, StationLimits
from cycling.reading import EndReason
from wire.limits import device_limits, station_limits
from wire.messages import ExperimentStart

if TYPE_CHECKING:
    from cycler_unit.conductor import Conductor

# The record of a new test must be on the disk before anything moves; a disk slower than this is broken.
BEGIN_WAIT_S = 5.0
# A meter or monitor that has not measured since the cell was connected is waited for this long.
SEEN_S = 5.0
# The rules by which a start is refused with an alarm, and what the alarm is called.
CODES = {2: "contract", 3: "protection", 4: "wiring", 13: "device_fault"}


class Wake:
    """Let a test begin or go on, or say why not."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._station = conductor.station
        self.check: WiringCheck | None = None
        self._asked: Reply | None = None
        self._then: Literal["begin", "resume"] = "begin"
        self._person = ""
        self.alone = LeftAlone(self._station)
        self._rested = False
        self._connected_s = 0.0
        self._pulse: PulseCheck | None = None
        self._wants_pulse = True

    @property
    def detail(self) -> str | None:
        """Return what is being checked, None for nothing."""
        if self.check is None:
            return None
        return (
            "checking the battery by small pulses"
            if self._pulse is not None
            else "checking the wiring at rest"
        )

    def station_limits(self) -> StationLimits:
        """Return the station as the envelope and the rules of its battery see it."""
        outputs = tuple(sorted(self._station.outputs.names))
        return msgspec.structs.replace(station_limits(self._station.kept.configure), outputs=outputs)

    def limits(self) -> list[DeviceLimits]:
        """Return the station's devices as the envelope sees them."""
        station = self._station
        path = [station.kinds[place.device.device] for place in station.parts.places]
        return [
            device_limits(station.kinds[each.device], each.name or each.device, each.role, path)
            for each in station.kept.configure.devices
        ]

    def refuse_fault(self) -> None:
        """Raise :class:`Refusal` when the device reports an error of its own (rule 13).

        Behind an open isolator it is asked later, when it sees the cell: an EPC without one is in error.
        """
        if self._station.parts.isolated:
            return
        try:
            fault = self._station.power.device.fault()
        except DriverError as error:
            raise Refusal(f"the device does not answer: {error}") from None
        if fault is not None:
            raise Refusal(f"the device reports an error: {fault}", 13)

    def refuse_safely(self, start: ExperimentStart, refusal: Refusal, reply: Reply | None) -> None:
        """Refuse by a safety rule: the experiment is an error, the station latched (architecture.md)."""
        code = CODES.get(refusal.rule or 0, "refused")
        if refusal.rule == 13 and refusal.reason is not None:
            code = refusal.reason.code  # what ended the check says it better: device_lost, limit, interlock
        station = self._station
        text = f"{start.name}: {refusal.text}"
        alarm = station.alarm(code, text, "trip", start.experiment, **_left(refusal, start))
        reason = EndReason(code=code, text=refusal.text)
        event = status_event(station.id, start.experiment, "error", reason, alarm=alarm)
        station.hub.spool.put(Entry(experiment=start.experiment, events=[event]), force=True)
        station.hub.spool.refuse_forever(start.experiment, station.id)
        if reply is not None:
            reply("refused", {"code": code, "rule": refusal.rule, "alarm": alarm}, refusal.text)

    def begin(
        self,
        then: Literal["begin", "resume"],
        expected: Expected | None,
        reply: Reply | None,
        person: str = "",
        *,
        pulse: bool = True,
    ) -> None:
        """Begin the check with the output off; each reading from now on adds to it.

        ``pulse``: let small pulses follow, if the experiment asks for them (rule 4 B).
        """
        assert self._conductor.run is not None
        self._pulse, self._wants_pulse, self._rested = None, pulse, False
        station, config = self._station, self._station.hub.config
        self._then, self._asked, self._person = then, reply, person
        limits = self.limits()
        keys = [each.device for each in station.kept.configure.devices]
        accuracies = {
            key: each.voltage_accuracy_v
            for key, each in zip(keys, limits, strict=True)
            if each.measures != "none"
        }
        accuracies[""] = accuracies.pop(station.power_device.device, 0.0)
        self.check = WiringCheck(
            envelope=self._conductor.run.contract.envelope,
            cells=self._conductor.run.start.battery.cells_in_series,
            expected=expected,
            steady_s=config.wiring_check_s,
            timeout_s=config.wiring_timeout_s,
            accuracies_v=accuracies,
        )
        station.switch_off()
        # At rest the battery must be seen: behind an open isolator there is nothing to check.
        try:
            station.outputs.connect()
            self._connected_s = time.monotonic()
        except DeviceLost as error:
            station.lose(str(error))
            return
        except DriverError as error:
            station.fail("isolator", str(error))
            return
        try:
            self.alone.begin()
        except Refusal as refusal:
            self._refuse(self._conductor.run, refusal, self.forget())
            return
        station.soon()

    def cancel(self, why: str) -> None:
        """Give the check up; whoever waits for it is told ``why``."""
        asked = self.forget()
        if asked is not None:
            asked("failed", None, why)

    def forget(self) -> Reply | None:
        """Give the check up; return who waits for its outcome."""
        asked, self._asked, self.check, self._pulse = self._asked, None, None, None
        self._rested = False
        return asked

    def add(self, taken: Taken) -> None:
        """Add a reading with the output off; decided, the test begins, goes on or is refused."""
        run, check = self._conductor.run, self.check
        assert check is not None
        assert run is not None
        try:
            if not self._look(run, check, taken) or self.check is not check:
                return  # not decided, or a lost device has ended the test in between
            pulse, asked = self._pulse, self.forget()
            if self._then == "begin":
                self._start(run, check, pulse)
            else:
                self._resume(run, pulse)
        except Refusal as refusal:
            self._refuse(run, refusal, self.forget())
            return
        if asked is not None:
            found = {"state": "running", "rest_voltage_v": check.rest_voltage_v, **_shown(pulse)}
            asked("done", found, None)
        # In this very round: a pause that came before the next one would find the test still paused,
        # be answered as done, and then be undone by the resume before it.
        self._conductor.control(run, self._station.read())

    def awaits(self, taken: Taken) -> bool:
        """Say whether a test that is taken up again waits for a monitor's first word, with the output off."""
        off = not self._station.power.output_on
        return self.check is not None and not self._rested and off and self.check.awaits(taken)

    def _look(self, run: Run, check: WiringCheck, taken: Taken) -> bool:
        """Do what is next: 1. the dead-man output; 2. the check at rest; 3. protections; 4. the pulses.

        Returns whether all of it is right; raises :class:`Refusal`.
        """
        if self._station.zone_why is not None:
            return False  # the zone's watch has not read its interlocks yet; an open one ends the check
        if not self.alone.ready():
            return False  # behind an open contact there is nothing to check
        if not self._rested:
            if not self._seen_since():
                return False  # a slow meter still shows what it saw before the isolator closed
            verdict = check.add(taken)
            if verdict is None:
                return False
            if verdict:
                raise Refusal(verdict, 4)
            self._rested = True
        if self._pulse is None:
            self.refuse_fault()
            self.alone.protect(run.contract.envelope)
            if not self._wants_pulse or run.start.pulse == "skip":
                return True
            self._pulse = self._pulses(run, check)
        return self._pulse.add(taken)

    def _seen_since(self) -> bool:
        """Say whether every meter and monitor has measured since the cell was connected; late ones are judged."""
        if time.monotonic() - self._connected_s > SEEN_S:
            return True
        others = [
            each for each in self._station.parts.instruments.values() if each.kind.role in ("meter", "bms")
        ]
        return all(each.latest is None or each.latest.began_s >= self._connected_s for each in others)

    def _pulses(self, run: Run, check: WiringCheck) -> PulseCheck:
        assert check.rest_voltage_v is not None
        limits = run.contract.envelope
        bare = rules_station.bare_ways(
            self.station_limits(), self.limits(), contract.battery_limits(run.start, limits)
        )
        return PulseCheck(
            self._station,
            limits,
            run.start.battery,
            # The first time nothing is known; in a test that goes on, its own first answer is.
            None if run.start.pulse == "record" and run.phase == "checking" else run.pulse_ohm,
            check.rest_voltage_v,
            ways(limits, bare),
        )

    def _refuse(self, run: Run, refusal: Refusal, asked: Reply | None) -> None:
        if run.phase == "checking":
            self._conductor.run = None
            self.refuse_safely(run.start, refusal, asked)
            return
        if asked is None:
            take_up.hold(self._conductor, run, f"not resumed after the restart: {refusal.text}")
            return
        # The test stays paused: a person looks at it, acknowledges and resumes or stops it.
        code = "wiring" if refusal.rule == 4 else "protection" if refusal.rule == 3 else "hold"
        alarm = self._station.alarm(
            code, f"not resumed: {refusal.text}", "trip", run.id, **_left(refusal, run.start)
        )
        asked("refused", {"code": code, "rule": refusal.rule, "alarm": alarm}, refusal.text)

    def _start(self, run: Run, check: WiringCheck, pulse: PulseCheck | None) -> None:
        """Put the test on the disk, then let it run.

        1. its record, waited for; 2. the status event; 3. the first round.
        """
        spool, start = self._station.hub.spool, run.start
        run.phase = "active"
        spool.begin(run.id, start.station, msgspec.json.encode(start), run.columns)
        _count(run, pulse)
        event = run.status(
            "running",
            f"started on {self._station.kept.configure.name}",
            rest_voltage_v=check.rest_voltage_v,
            **_shown(pulse),
        )
        spool.put(Entry(experiment=run.id, events=[event]), force=True)
        if not spool.commit(BEGIN_WAIT_S):
            run.phase = "checking"
            raise Refusal(f"the unit's disk does not take the record: {spool.failing or 'too slow'}")

    def _resume(self, run: Run, pulse: PulseCheck | None) -> None:
        _count(run, pulse)
        run.interpreter.resume()
        run.paused_at_s = None
        text = f"resumed by {self._person or 'the unit'}"
        self._conductor.tell(run, "running", text, person=self._person, **_shown(pulse))


def _left(refusal: Refusal, start: ExperimentStart) -> dict[str, Any]:
    """Return the limit that a pulse left, and whether the battery needs an inspection (rule 7)."""
    reason = refusal.reason
    if reason is None:
        return {}
    found = {"quantity": reason.quantity, "limit": reason.limit, "measured": reason.measured}
    hurt = {"quarantine": True} if reasons.quarantines(reason.code, reason.quantity) else {}
    return {**found, "battery": start.battery.battery, **hurt}


def _count(run: Run, pulse: PulseCheck | None) -> None:
    """Let the charge of the pulses count (rule 15) and their resistance be this test's record."""
    if pulse is None:
        return
    run.interpreter.count_too(pulse.total)
    run.pulse_ohm = run.pulse_ohm or pulse.resistance_ohm
    # A step's own current may be too small for its device to show the drop.
    run.resistance_ohm = run.resistance_ohm or pulse.resistance_ohm


def _shown(pulse: PulseCheck | None) -> dict[str, Any]:
    """Return what the pulses found, for the reply and the status event."""
    if pulse is None:
        return {}
    answers = [
        {"way": each.way, "current_a": round(each.current_a, 6), "ohm": round(each.ohm, 6)}
        for each in pulse.answers
    ]
    ohm = pulse.resistance_ohm
    found: dict[str, Any] = {"pulses": answers, "resistance_ohm": None if ohm is None else round(ohm, 6)}
    return {**found, "pulses_left_out": pulse.skipped} if pulse.skipped else found
