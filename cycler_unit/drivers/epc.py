"""The EPC, a regenerative DC/DC cycler on a CAN bus (device sheet 1).

**What it ends by itself.** Each command has one end, at which the device switches itself off. Our steps are
not sequenced by that: a target is a list of commands (``epc_phases``), each bounded in the device, and
``read()`` sends the next one (``epc_run``) when the device has ended the last. A reading that meets such an
end is taken after the next command. An IDLE that is no end of its own (``epc_state``), and any other set
point that nobody here asked for, is an error.

**Left alone** the cell stays inside: each command carries its voltage; the configured voltage and current
limits switch off beyond the trip limits (``protect``); and the heartbeat, armed before the output goes on
and renewed by ``read`` and ``apply`` only, never by a thread, lets the device go to ERROR (output off)
when the loop is dead.

**Rebooted?** The device holds a temperature limit of 65.9 °C instead of 66.0: a mark that a start removes.
Every unexpected IDLE, the boot notification among them, makes the next reading look for it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Any

from cycler_unit.drivers import epc_frames as frames
from cycler_unit.drivers.base import Exchange, Identity, Measured, PowerDevice, Protections, Target
from cycler_unit.drivers.epc_frames import (
    ELEC,
    ERROR,
    IDLE,
    INFO,
    LS_CURR,
    LS_PWR,
    LS_VOLT,
    MODE,
    OFF,
    STATUS,
    TEMP,
    TEMP_LIM,
    SetPoint,
)
from cycler_unit.drivers.epc_heartbeat import Heartbeat
from cycler_unit.drivers.epc_limits import MARK, EpcLimits
from cycler_unit.drivers.epc_phases import phases
from cycler_unit.drivers.epc_port import EpcPort, node_of
from cycler_unit.drivers.epc_readings import Cell, EpcReadings
from cycler_unit.drivers.epc_run import EpcRun, begin
from cycler_unit.drivers.epc_state import EpcState
from cycler_unit.drivers.errors import DeviceFault, DeviceRefused, DriverError

logger = logging.getLogger("cycler_unit.epc")

HEARTBEAT_S = 2.0
# MODE is asked with readings, this often: an end can come and go without any notification.
MODE_S = 0.05
# A voltage this young tells on which side of a set point the cell is.
FRESH_S = 0.25
# Ends that follow each other within one reading: every command of a target and one repetition.
MOST_ENDS = 5
# An isolator has just closed: the error of a missing cell goes with the next of its measurements.
CLEARS_S = 0.2
# Narrow voltage limits would keep the device in ERROR without its cell: wide again when off for so long.
WIDEN_S = 2.0


class Epc(PowerDevice):
    """One EPC. Link: the bus's keys and ``node``; options ``limit_byte_order``, ``heartbeat_s``."""

    kind = "epc"

    def __init__(self, link: dict[str, Any], *, name: str = "") -> None:
        super().__init__(link, name=name)
        self.node = node_of(link)
        self.state = EpcState()
        self.port = EpcPort(link, self.node, self._heard, self.state.sent)
        self.limits = EpcLimits(self.port, str(link.get("limit_byte_order", "big")))
        self.heartbeat = Heartbeat(self.port, float(link.get("heartbeat_s", HEARTBEAT_S)))
        self._readings = EpcReadings(self.port)
        self._lock = threading.RLock()
        self._run: EpcRun | None = None
        self._ended = False
        """An IDLE was looked at: the last command has ended, and no other was sent yet."""
        self._off_s = self._widened_s = self._asked_mode_s = 0.0

    @property
    def label(self) -> str:
        """Return how messages call this device."""
        return f"{self.name or 'EPC'} (node 0x{self.node:02X})"

    @staticmethod
    def identity_of(payload: bytes) -> Identity:
        """Return the identity that an INFO frame tells."""
        return frames.info(payload).identity

    def exchanges(self) -> list[Exchange]:
        """Return the last frames, oldest first."""
        return self.port.exchanges()

    def _heard(self, message: int, payload: bytes) -> None:
        """Take note of a frame, on the bus's thread; what follows from it is done by the next reading."""
        self.heartbeat.heard(message, payload)
        self.state.heard(message, payload)

    # --- opening and closing ----------------------------------------------------------------------

    def open(self) -> Identity:
        """Connect.

        1. IDLE, whatever the device is doing (rule 6: off goes before everything); INFO with it, and
        nothing else before both are answered. 2. Periodic frames and heartbeat off. 3. Limits,
        measurements, mode and errors are asked. 4. The mark. Raises ``DeviceLost``, ``DeviceRefused``.
        """
        with self._lock:
            self.limits.forget()
            self.heartbeat.armed = True
            self.state.suspect, self._readings.cell = False, None
            self.port.open()
            self._off()
            info = self._readings.info = frames.info(self.port.ask(INFO)[INFO])
            if info.node != self.node:
                raise DeviceRefused(f"{self.label} calls itself node 0x{info.node:02X}")
            self._set_up()
            return info.identity

    def _set_up(self) -> None:
        self.heartbeat.disarm()
        self.limits.ask()
        with self.state.expecting():
            self.port.ask(ELEC, TEMP, MODE, STATUS)
        self._mark()
        self.state.suspect = False

    def _mark(self) -> None:
        """Set the mark; a device in an error of its limits takes it later."""
        with contextlib.suppress(DeviceRefused):
            if self._flags() is None:
                self.limits.write(TEMP_LIM, MARK)

    def close(self) -> None:
        """Give wide limits back when the output is off, and disconnect; safe twice; never raises."""
        with self._lock, contextlib.suppress(DriverError):
            if not self.state.on and self.limits.narrow:
                self.limits.let_go()
        self.limits.forget()
        self.port.close()

    # --- output -----------------------------------------------------------------------------------

    def make_safe(self) -> None:
        """Switch the output off by IDLE and see its echo; then let the heartbeat rest."""
        with self._lock:
            self._off()
            with contextlib.suppress(DeviceRefused):
                self.heartbeat.disarm()

    def _off(self) -> None:
        self._run, self._off_s = None, time.monotonic()
        # In ERROR the device refuses IDLE and says so: it is off as well.
        self._command(OFF, lambda echo: not echo.on)

    def _command(self, wanted: SetPoint, fits: Any = None) -> None:
        fits = fits or (lambda echo: echo == wanted)
        self._ended = False
        with self.state.commanding(wanted):
            self.port.command(MODE, wanted.encode(), lambda echo: fits(frames.set_point(echo)), wanted.words)

    def output_is_on(self) -> bool:
        """Ask whether the output is on."""
        with self._lock:
            return bool(self._ask_mode().on)

    def _ask_mode(self) -> SetPoint:
        with self.state.expecting():
            return frames.set_point(self.port.ask(MODE)[MODE])

    # --- readings ---------------------------------------------------------------------------------

    def read(self) -> Measured:
        """Read voltages and current by one request, temperatures once a second.

        Renews the heartbeat and sends the next command of the set point when the device has ended the
        last. Raises ``DeviceFault`` for an error state while on, for what nobody asked for, and once for a
        reboot.
        """
        with self._lock:
            self.heartbeat.renew()
            measured = self._measure()
            self._look_for_reboot()
            self._refuse_others()
            for _ in range(MOST_ENDS):
                if self._run is None or not self._follow(self._run):
                    break
                measured = self._measure(mode=True)
            self._widen()
            return measured

    def _measure(self, *, mode: bool = False) -> Measured:
        began_s, began_ns = time.monotonic(), time.time_ns()
        wanted = [ELEC]
        if self.state.on and (mode or began_s - self._asked_mode_s >= MODE_S):
            self._asked_mode_s = began_s
            wanted.append(MODE)
        if self._readings.wants_temperatures:
            wanted.append(TEMP)
        # Where MODE is not asked an IDLE is not expected: it is a boot notification, or an end.
        with self.state.expecting() if MODE in wanted else contextlib.nullcontext():
            answers = self.port.ask(*wanted)
        measured = self._readings.take(answers, began_s, began_ns)
        if self._run is not None and self._readings.cell is not None and self.state.mode.on:
            self._run.see(self._readings.cell)
        return measured

    def _cell(self) -> Cell:
        """Return the cell as it was seen lately, measured anew where that is too long ago."""
        cell = self._readings.cell
        if cell is None or time.monotonic() - cell.at_s > FRESH_S:
            self._measure()
            cell = self._readings.cell
        assert cell is not None
        return cell

    # --- what the device came to ------------------------------------------------------------------

    def _follow(self, run: EpcRun) -> bool:
        """Look at MODE while on; True when a command was sent because the last one had ended."""
        self._refuse_error()
        if self.state.mode == run.step:
            self._ended = False
            return False
        if self.state.mode.mode != IDLE:
            raise DeviceFault(f"{self.label} holds {self.state.mode.words}, which nobody asked for")
        self._refuse_strange_end(run)
        try:
            step = run.after_end(self._cell().mv, time.monotonic())
        except DeviceFault as fault:
            raise DeviceFault(f"{self.label} {fault}") from None
        if step is not None:
            self._command(step)
        return step is not None

    def _refuse_error(self) -> None:
        error = self.state.error
        if error is None:
            return
        error = error or self.state.told
        if not error:
            # It is off already, so there is time to ask.
            with contextlib.suppress(DriverError):
                error = self.fault()
        self.state.error = error or ""
        raise DeviceFault(f"{self.label} went to ERROR: {error or 'no flag is set any more'}")

    def _refuse_strange_end(self, run: EpcRun) -> None:
        """Raise ``DeviceFault`` for an IDLE of a reboot or of another host."""
        if not self._ended:
            self._ended = True
            self._refuse_reboot()
            # A round later all frames of a command of another host are there to be counted.
            self.port.ask(ELEC)
        if self.state.ended_by_another:
            raise DeviceFault(
                f"{self.label} was sent to IDLE by another host in {run.step.words}: nobody asked for that here"
            )

    def _refuse_others(self) -> None:
        """Raise ``DeviceFault`` for a heartbeat or set point that another host gave, if the device took it."""
        if self.state.on and self.heartbeat.changed is not None:
            changed = self.heartbeat.changed
            raise DeviceFault(f"{self.label} had its heartbeat changed to {changed}, which nobody asked for")
        foreign = self.state.foreign
        if foreign is None:
            return
        held = self._ask_mode()
        if held == self.state.wanted:
            self.state.foreign = None
            return
        self._refuse_error()
        words = held.words if held.on else f"{held.words} after another host's {foreign.words}"
        raise DeviceFault(f"{self.label} holds {words}, which nobody asked for")

    # --- reboots ----------------------------------------------------------------------------------

    def _look_for_reboot(self) -> None:
        if self.state.suspect and self.limits.marked:
            self.state.suspect = False
            self._refuse_reboot()

    def _refuse_reboot(self) -> None:
        """Raise ``DeviceFault`` when the mark is gone; the device is set up anew first."""
        held = frames.limits(TEMP_LIM, self.port.ask(TEMP_LIM)[TEMP_LIM])
        if held == self.limits.held.get(TEMP_LIM):
            return
        was_on, self._run = self.state.on, None
        self.state.order(OFF)
        self._off_s, self.heartbeat.armed = time.monotonic(), True
        self._set_up()
        doing = "while its output was on" if was_on else "with its output off"
        raise DeviceFault(f"{self.label} rebooted {doing}: its limits are those of a fresh start")

    # --- set points -------------------------------------------------------------------------------

    def apply(self, target: Target) -> None:
        """Hold ``target``; see ``epc_phases`` for the commands.

        1. Errors of its own refuse it, and what another host ordered. 2. Protections, mark and heartbeat before the output goes on.
        3. The command, confirmed by its echo. Raises the errors of drivers; then switch off by ``make_safe()``.
        """
        if target.mode == "off":
            self.make_safe()
            return
        with self._lock:
            cell = self._cell()
            steps = phases(target, cell.mv / 1000.0)
            held = self.state.mode if self.state.on else None
            if held is None:
                self._prepare()
            self.heartbeat.renew()
            self._refuse_error()
            self._refuse_others()
            if self._run is not None and self.state.mode.mode == IDLE:
                # An end of its own may be followed by another set point; an off by somebody else may not.
                self._refuse_strange_end(self._run)
            self._run = begin(steps, self._readings.cell or cell, held, time.monotonic())
            self._command(self._run.step)

    def _prepare(self) -> None:
        until_s = time.monotonic() + CLEARS_S
        while (flags := self._flags()) is not None and time.monotonic() < until_s:
            time.sleep(0.01)
        if flags is not None or self.state.mode.mode == ERROR:
            raise DeviceFault(f"{self.label} reports: {flags or 'ERROR without a flag'}")
        self.limits.restore()
        self.heartbeat.arm()

    # --- the device's own state -------------------------------------------------------------------

    def _flags(self) -> str | None:
        with self.state.expecting():
            return frames.errors(self.port.ask(STATUS, MODE)[STATUS])

    def fault(self) -> str | None:
        """Return the device's own errors in words, or None."""
        with self._lock:
            flags = self._flags()
            if flags is None and self.state.mode.mode == ERROR:
                # Devices.md 1.8: the ambient check overwrites the flag of body and anode.
                return "ERROR without a flag: a temperature sensor out of limits"
            return flags

    def unasked(self) -> str | None:
        """Read mode, set point, limits and mark back; return what nobody asked for, or None.

        An IDLE that the device came to by its own end is no difference: the next reading follows it.
        """
        with self._lock:
            with self.state.expecting():
                answers = self.port.ask(MODE, TEMP_LIM, LS_VOLT, LS_CURR, LS_PWR)
            wanted, held = self.state.wanted, frames.set_point(answers.pop(MODE))
            if held not in (wanted, OFF):
                return f"{self.label} holds {held.words} instead of {wanted.words}"
            differing = self.limits.differing(answers)
            return None if differing is None else f"{self.label} {differing}"

    # --- protections ------------------------------------------------------------------------------

    def protect(self, protections: Protections) -> Protections:
        """Write limits of voltage, current and power, rounded outwards, and return what the device holds.

        None is the device's own hard limit, which nothing goes beyond. Current limits leave room for what
        the converter shows at 0 A. Raises ``DeviceRefused``: an error flag refuses limits too.
        """
        with self._lock:
            return self.limits.protect(protections)

    def _widen(self) -> None:
        """Give the device its whole voltage range back while it is off: another cell may be put in."""
        now_s = time.monotonic()
        if self.state.on or not self.limits.narrow or now_s - max(self._off_s, self._widened_s) < WIDEN_S:
            return
        self._widened_s = now_s
        # Refused while an error flag is up: then it is tried again.
        with contextlib.suppress(DeviceRefused):
            if self._flags() is None:
                self.limits.widen()
