"""One station: a thread that reads its devices, keeps them safe and lets the conductor run tests.

The order in every round: read, judge, act, and only then record (architecture.md, measurement path).
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from typing import Any, Literal

from cycler_unit import devices
from cycler_unit.clock import iso
from cycler_unit.conductor import Conductor
from cycler_unit.contract import Refusal
from cycler_unit.drivers.base import Measured, PowerDevice
from cycler_unit.drivers.errors import DeviceLost, DriverError
from cycler_unit.hub import Hub
from cycler_unit.mail import Ask, Mailbox
from cycler_unit.power import OffResult, Power
from cycler_unit.readings import Composer, Taken
from cycler_unit.spool import Entry, StoredRun
from cycler_unit.stations import Kept, Latch
from wire import kinds
from wire.catalogue import Kind
from wire.messages import StationBeat, StationConfigure, StationDevice, StationReading

logger = logging.getLogger("cycler_unit.station")

# A device that was lost is opened again at once and then this often (safety.md rule 6).
REOPEN_S = 1.0
# A device's own error state is asked this often while a test runs (rule 13).
FAULT_S = 1.0
# A round that comes earlier than the period, because a step's time is up, comes no earlier than this.
SHORTEST_S = 0.002

AlarmClass = Literal["unsafe", "trip", "error", "hold"]


class BadStation(Exception):
    """A station cannot be built from its configuration; the text says why."""


class Station(threading.Thread):
    """The owner of one power device and of the test that runs on it."""

    def __init__(self, kept: Kept, hub: Hub, pending: StoredRun | None = None) -> None:
        super().__init__(name=f"station-{kept.configure.name}", daemon=True)
        self.kept = kept
        self.hub = hub
        self.mail = Mailbox()
        self.unsafe: str | None = None
        """Why this station is not confirmed off, None when it is."""
        self.taken: Taken | None = None
        self.overruns = 0
        self.rounds = 0
        self._stopping = False
        self._due_s = 0.0
        self._fault_due_s = 0.0
        self._off_failed = False
        self._said = ""
        self._shown: tuple[Any, ...] = ()
        self._build(kept.configure)
        self.conductor = Conductor(self)
        self.conductor.pending = pending

    # --- what it is made of ---------------------------------------------------------------------

    def _build(self, configure: StationConfigure) -> None:
        self.kinds = {each.device: _kind(each) for each in configure.devices}
        power = [each for each in configure.devices if each.role == "power"]
        if len(power) != 1:
            raise BadStation(f"a station needs one power device, this one has {len(power)}")
        self.power_device = power[0]
        self.period_s = self.hub.config.loop_period_s or configure.loop_period_s
        self.power = self._make_power(self.hub.devices.link_of(self.power_device))
        self.others: dict[str, PowerDevice] = {
            each.device: self._make(each, self.hub.devices.link_of(each))
            for each in configure.devices
            if each.role != "power"
        }
        self._others_open: set[str] = set()
        self._others_due_s = 0.0
        self.composer = Composer(configure, self.power_device.device, self.kinds, self.period_s)
        self.hub.devices.hold(self.link)
        # Until its device is opened and switched off, nobody knows what it does (rule 10).
        self.unsafe = "its device was not reached since the unit started"

    def _make_power(self, link: dict[str, Any]) -> Power:
        self.link = link
        device = self.power_device
        return Power(self._make(device, link), self.kinds[device.device], device.serial_number)

    def _make(self, device: StationDevice, link: dict[str, Any]) -> PowerDevice:
        try:
            return devices.make(self.kinds[device.device], link, device.name)
        except DriverError as error:
            raise BadStation(str(error)) from None

    @property
    def id(self) -> str:
        """Return the station's UUID."""
        return self.kept.configure.station

    @property
    def latched(self) -> bool:
        """Say whether a person has to acknowledge before anything may start (rule 7)."""
        return bool(self.kept.latches)

    # --- the thread -----------------------------------------------------------------------------

    def run(self) -> None:
        """Serve requests and read, until stopped; the device is off afterwards."""
        self._due_s = time.monotonic()
        while not self._stopping:
            self._serve()
            if time.monotonic() >= self._due_s:
                self.round()
                self._next_due()
            self._show()
            self.mail.wait(self._due_s - time.monotonic())
        self._leave()

    def stop(self) -> None:
        """Switch off, keep the test's checkpoint and end the thread; waits for it."""
        self._stopping = True
        self.mail.wake()
        if self.is_alive():
            self.join(10.0)

    def _leave(self) -> None:
        self.conductor.suspend()
        if self.power.is_open:
            self.switch_off()
        self.close()

    def close(self) -> None:
        """Disconnect all devices."""
        self.power.close()
        for device in self.others.values():
            device.close()
        self.hub.devices.release(self.link)

    def _next_due(self) -> None:
        now = time.monotonic()
        busy = self.conductor.run is not None
        period_s = self.period_s if busy else self.hub.config.idle_period_s
        if self.unsafe is not None and not busy:
            period_s = min(period_s, REOPEN_S)
        if busy and self.conductor.run is not None:
            # A step that ends by time is read when its time is up, not up to a period later.
            due_in_s = self.conductor.run.interpreter.due_in_s
            if due_in_s is not None and 0.0 < due_in_s < period_s:
                period_s = max(due_in_s, SHORTEST_S)
                self._due_s = now
        self._due_s += period_s
        if self._due_s < now:
            self.overruns += busy
            self._due_s = now

    def soon(self) -> None:
        """Let the next round begin at once."""
        self._due_s = time.monotonic()

    def _serve(self) -> None:
        while (ask := self.mail.take()) is not None:
            try:
                self.conductor.serve(ask)
            except Refusal as refusal:
                ask.reply("refused", None, refusal.text)
            except Exception as error:
                logger.exception("event=request_failed station=%s request=%s", self.id, ask.do)
                self._bug(error)
                ask.reply("failed", None, f"internal error: {error}")

    def round(self) -> None:
        """Read once and do what follows from it."""
        self.rounds += 1
        try:
            self._round()
        except DeviceLost as error:
            self.lose(str(error))
        except DriverError as error:
            self.fail("device_error", str(error))
        except Exception as error:
            # The one broad except of this thread: a fault of the program is a fault of the station.
            logger.exception("event=round_failed station=%s", self.id)
            self._bug(error)

    def _bug(self, error: Exception) -> None:
        try:
            self.fail("internal_error", f"the unit's program failed: {type(error).__name__}: {error}")
        except Exception:
            logger.exception("event=off_failed station=%s", self.id)
            self.unsafe = f"the unit's program failed while switching off: {error}"

    def _round(self) -> None:
        if not self.power.is_open and not self._reopen():
            return
        if self.unsafe is not None:
            self.switch_off()
            if not self.power.is_open:
                return
        self._refuse_fault()
        self.conductor.take(self.read())

    def read(self) -> Taken:
        """Read all devices once; raises the errors of drivers for the power device only."""
        measured: dict[str, Measured | None] = {self.power_device.device: self.power.read()}
        if self.others:
            measured |= self._read_others()
        self.taken = self.composer.compose(measured)
        return self.taken

    def _read_others(self) -> dict[str, Measured | None]:
        may_open = time.monotonic() >= self._others_due_s
        found: dict[str, Measured | None] = {}
        for key, device in self.others.items():
            found[key] = None
            try:
                if key not in self._others_open:
                    if not may_open:
                        continue
                    self._others_due_s = time.monotonic() + REOPEN_S
                    device.open()
                    self._others_open.add(key)
                found[key] = device.read()
            except DriverError as error:
                # Its measures are missing now, which every limit on them counts as a violation.
                logger.warning(
                    "event=device_lost station=%s device=%s reason='%s'", self.id, device.name, error
                )
                self._others_open.discard(key)
                device.close()
        return found

    def _refuse_fault(self) -> None:
        """Ask for the device's own error state: while a test runs every second, else with each read."""
        now = time.monotonic()
        if now < self._fault_due_s or self.conductor.run is None:
            return
        self._fault_due_s = now + FAULT_S
        fault = self.power.device.fault()
        if fault is not None:
            self.fail("device_fault", f"the device reports an error: {fault}")

    # --- off, lost, found -----------------------------------------------------------------------

    def _reopen(self) -> bool:
        """Open the device, off first; True when it is there and confirmed off."""
        link = self.hub.devices.link_of(self.power_device)
        if link != self.link:
            # The device turned up elsewhere: another serial port's name after it was plugged in again.
            self.hub.devices.release(self.link)
            last, on = self.power.last, self.power.output_on
            self.power = self._make_power(link)
            self.power.last, self.power.output_on = last, on
        self.hub.devices.hold(self.link)
        try:
            identity = self.power.open()
        except DriverError as error:
            if self._said != str(error):
                self._said = str(error)
                logger.warning("event=device_unreached station=%s reason='%s'", self.id, error)
                self.unsafe = f"{error}; {self.power.may_be_on()}"
            return False
        self._said = ""
        self.hub.devices.seen(self.link, self.power.kind, identity)
        self.hub.devices_changed()
        return True

    def switch_off(self) -> OffResult | None:
        """Switch off and confirm (rule 6); not confirmed makes the station unsafe. None: device lost."""
        try:
            result = self.power.off()
        except DeviceLost as error:
            self.lose(str(error))
            return None
        if result.confirmed:
            self._confirmed_off()
        else:
            self.unsafe = f"{result.text}; {self.power.may_be_on()}"
            if not self._off_failed:
                self._off_failed = True
                text = f"{self.kept.configure.name}: not confirmed off: {self.unsafe}"
                self.alarm("off_failed", text, "unsafe")
        return result

    def _confirmed_off(self) -> None:
        if self.unsafe is None:
            return
        logger.info("event=confirmed_off station=%s", self.id)
        if self._off_failed or self.rounds > 1:
            self.event("device", "the device answers and is confirmed off", {"was": self.unsafe})
        self.unsafe = None
        self._off_failed = False

    def lose(self, why: str) -> None:
        """Take a lost device: it is not off; the link is opened again at once, then the test ends."""
        self.unsafe = f"{why}; {self.power.may_be_on()}"
        self.power.close()
        logger.error("event=device_lost station=%s reason='%s'", self.id, self.unsafe)
        self.hub.devices.missed(self.link, why)
        self.hub.changed()
        # Reaching it comes before telling anybody; if it fails, the next rounds go on trying.
        self._reach_again()
        if self.conductor.run is not None:
            self.conductor.fail("device_lost", f"device lost: {why}")
        else:
            self.event("device", f"device lost: {self.unsafe or why}", {"lost": True})
        self.hub.devices_changed()
        self.soon()

    def _reach_again(self) -> None:
        if not self._reopen():
            return
        try:
            if self.power.off().confirmed:
                self.unsafe = None
        except DeviceLost:
            self.power.close()

    def fail(self, code: str, text: str) -> None:
        """Take an error of the device or of the program: off first, then the test ends with it."""
        self.switch_off()
        if self.conductor.run is not None:
            self.conductor.fail(code, text)
        elif code != "device_error" or self._said != text:
            self._said = text
            logger.error("event=station_error station=%s code=%s reason='%s'", self.id, code, text)
            self.event("device", text, {"code": code})

    # --- telling --------------------------------------------------------------------------------

    def alarm(
        self, code: str, text: str, grade: AlarmClass, experiment: str | None = None, **detail: Any
    ) -> str:
        """Latch the station on its disk, then raise an alarm; returns the alarm's UUID."""
        latch = Latch(alarm=str(uuid.uuid4()), code=code, text=text, at=iso(time.time()))
        self.kept.latches.append(latch)
        self.save()
        detail = {"id": latch.alarm, "code": code, "class": grade, "station": self.id, **detail}
        if experiment is not None:
            detail["experiment"] = experiment
        logger.error(
            "event=alarm station=%s experiment=%s code=%s text='%s'", self.id, experiment, code, text
        )
        self.event("alarm", text, detail, experiment)
        return latch.alarm

    def acknowledge(self, alarm: str) -> bool:
        """Release the latch of ``alarm``; False when it was not latched. Raises :class:`Refusal`."""
        if self.unsafe is not None:
            raise Refusal(f"the station is not confirmed off: {self.unsafe}", 6)
        # What the device remembers of the past is acknowledged with it; what lasts it will say again.
        with contextlib.suppress(DriverError):
            self.power.device.fault()
        left = [each for each in self.kept.latches if each.alarm != alarm]
        released = len(left) < len(self.kept.latches)
        self.kept.latches = left
        self.save()
        return released

    def save(self) -> None:
        """Keep configuration and latches on the disk."""
        try:
            self.hub.folder.save(self.kept)
        except OSError as error:
            # The latch in memory holds; a restart finds the test unfinished and holds it too.
            logger.error("event=station_not_saved station=%s reason='%s'", self.id, error)

    def event(
        self, kind: str, text: str, detail: dict[str, Any] | None = None, experiment: str | None = None
    ) -> None:
        """Put an event into the spool, at once."""
        event = {"at": iso(time.time()), "kind": kind, "text": text, "station": self.id, "experiment": experiment, "detail": detail or {}}  # fmt: skip
        self.hub.spool.put(Entry(experiment=experiment, events=[event]), force=True)

    def _show(self) -> None:
        # The first reading counts as a change: nobody should look at an empty tile until the next heartbeat.
        shown = (self.state, self.unsafe, self.conductor.shown, len(self.kept.latches), self.taken is None)
        if shown != self._shown:
            self._shown = shown
            self.hub.changed()

    @property
    def state(self) -> Literal["idle", "running", "paused", "tripped", "unsafe"]:
        """Return the state that the site shows: the worst first."""
        if self.unsafe is not None:
            return "unsafe"
        if self.latched:
            return "tripped"
        return self.conductor.state

    def beat(self) -> StationBeat:
        """Return this station's part of a heartbeat; called from another thread."""
        taken, run = self.taken, self.conductor.run
        reading = StationReading(
            voltage_v=taken.voltage_v, current_a=taken.current_a, temperature_c=taken.temperature_c
        ) if taken else None  # fmt: skip
        latches = self.kept.latches
        return StationBeat(
            station=self.id,
            version=self.kept.configure.version,
            state=self.state,
            experiment=self.conductor.experiment,
            step=(run.interpreter.step or None) if run else None,
            reading=reading,
            age_of_last_reading_s=round(time.monotonic() - taken.taken_s, 3) if taken else None,
            alarm=latches[0].alarm if latches else None,
            remaining_s=run.remaining_s if run else None,
            detail=self.unsafe or (latches[0].text if latches else self.conductor.detail),
        )


def _kind(device: StationDevice) -> Kind:
    try:
        return kinds.get(device.model)
    except KeyError as error:
        raise BadStation(str(error.args[0])) from None


__all__ = ["Ask", "BadStation", "Station"]
