"""The EPC, a regenerative DC/DC cycler on a CAN bus (device sheet 1).

**What it ends by itself.** An EPC knows one end for each command and switches itself off when it is
there: MODE becomes IDLE. Our steps are not sequenced by that. A target is a list of commands, each bounded
in the device, and ``read()`` sends the next one when the device says that it has ended the last:

| target | commands, in order |
|---|---|
| CC, charge | CC set point until the ceiling; CV ceiling until 0 A |
| CC, discharge | CC set point until the floor; CV floor until 0 A |
| CV, charge | CC compliance until the voltage; CV voltage until 0 A |
| CV, discharge | CC -compliance until the voltage; CV voltage until 0 A |
| CV, both | CC towards the voltage; CV voltage for 24 days |
| CP, charge | CC current bound until the power is there; CP until the ceiling; CV ceiling until 0 A |
| CP, discharge | CP until the floor, or until it needs the current bound; CC -current bound until the floor; CV floor until 0 A |
| 0 A, 0 W | CC 0 mA until the ceiling; for a discharge CC 0 mA for 24 days |

Commands whose end is there already are left out. The CV that follows a current is entered only when the
voltage was seen within ``NEAR_MV`` of its end under that current, else the current is sent once more: an
EPC's CV has no bound of its own on the current but the configured one. An IDLE more than ``FAR_MV`` from that
end is nobody's end but another host's command: an error. After the last command has ended
(nothing flows) it is sent again when the voltage has moved back, at most once a second; until then the
output is off and the readings say so. A reading that meets such an end is taken after the next command.

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
    CV,
    ELEC,
    ERROR,
    INFO,
    LS_CURR,
    LS_PWR,
    LS_VOLT,
    MODE,
    OFF,
    STATUS,
    TEMP,
    TEMP_LIM,
    TIME,
    SetPoint,
)
from cycler_unit.drivers.epc_heartbeat import Heartbeat
from cycler_unit.drivers.epc_limits import CURRENT_ROOM_MA, MARK, EpcLimits
from cycler_unit.drivers.epc_phases import charges, first, phases
from cycler_unit.drivers.epc_port import EpcPort
from cycler_unit.drivers.epc_readings import EpcReadings
from cycler_unit.drivers.errors import DeviceFault, DeviceRefused, DriverError

logger = logging.getLogger("cycler_unit.epc")

# Below, the ids of cell monitors; above, an INFO frame cannot name the node (device sheet 1.1).
NODES = range(0x13, 0x40)
HEARTBEAT_S = 2.0
# MODE is asked with readings, this often: an end can come and go without any notification.
MODE_S = 0.05
# A voltage this young tells on which side of a set point the cell is.
FRESH_S = 0.25
NEAR_MV = 50
# An IDLE so far from the command's end is not that end, but somebody else's command (rule 13): no cell that a
# cycler of 15 A holds moves so far between two readings, except by the ohmic step before the first one.
FAR_MV = 250
# Two steps of the voltage converter, rounded up; and how soon an ended hold may be sent again.
MOVED_MV, AGAIN_S = 3, 1.0
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
        self.port = EpcPort(link, self.node, self._heard)
        self.limits = EpcLimits(self.port, str(link.get("limit_byte_order", "big")))
        self._readings = EpcReadings(self.port)
        self.heartbeat = Heartbeat(self.port, float(link.get("heartbeat_s", HEARTBEAT_S)))
        self._lock = threading.RLock()
        self._mode = OFF
        self._suspect = self._on = False
        self._error: str | None = None
        """The error state that was seen while the output was on, in words."""
        self._told: str | None = None
        """What a STATUS said was wrong since the output went on."""
        self._steps: list[SetPoint] = []
        self._place = 0
        self._near = self._repeated = self._ended = False
        self._left_mv: int | None = None
        """How far the running command was from its end when last seen under its current."""
        self._off_s = self._again_s = self._widened_s = self._asked_mode_s = 0.0
        self._expecting = 0

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
        if message == STATUS and len(payload) == 4 and self._on:
            # The flag of an error goes with its cause, which goes with the output: a round later it is gone.
            self._told = frames.errors(payload) or self._told
        if message != MODE or len(payload) != 8:
            return
        now = frames.set_point(payload)
        if now.mode == frames.IDLE and not self._expecting:
            self._suspect = True
        if now.mode == ERROR and self._on and self._error is None:
            # Kept, because the device clears it by itself. A MODE that answers a request comes before the
            # STATUS of the same round, any other one after it.
            self._error = self._told or ""
        self._mode = now

    # --- opening and closing ----------------------------------------------------------------------

    def open(self) -> Identity:
        """Connect.

        1. IDLE, whatever the device is doing (rule 6: off goes before everything); INFO with it, and
        nothing else before both are answered. 2. Periodic frames and heartbeat off. 3. Limits,
        measurements, mode and errors are asked. 4. The mark. Raises ``DeviceLost``, ``DeviceRefused``.
        """
        with self._lock:
            self._forget()
            self.port.open()
            self._off()
            info = self._readings.info = frames.info(self.port.ask(INFO)[INFO])
            if info.node != self.node:
                raise DeviceRefused(f"{self.label} calls itself node 0x{info.node:02X}")
            self._set_up()
            return info.identity

    def _forget(self) -> None:
        self.limits.forget()
        self.heartbeat.armed = True
        self._steps, self._on, self._suspect, self._readings.cell = [], False, False, None

    def _set_up(self) -> None:
        self.heartbeat.disarm()
        self.limits.ask()
        with self._expected():
            self.port.ask(ELEC, TEMP, MODE, STATUS)
        self._mark()
        self._suspect = False

    def _mark(self) -> None:
        """Set the mark; a device in an error of its limits takes it later."""
        with contextlib.suppress(DeviceRefused):
            if self._flags() is None:
                self.limits.write(TEMP_LIM, MARK)

    def close(self) -> None:
        """Give wide limits back when the output is off, and disconnect; safe twice; never raises."""
        with self._lock, contextlib.suppress(DriverError):
            if not self._on and self.limits.narrow:
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
        self._on, self._steps, self._error, self._told = False, [], None, None
        self._off_s = time.monotonic()
        # In ERROR the device refuses IDLE and says so: it is off as well.
        self._command(OFF, lambda echo: not echo.on)

    def _command(self, wanted: SetPoint, fits: Any = None) -> None:
        fits = fits or (lambda echo: echo == wanted)
        with self._expected():
            self.port.command(MODE, wanted.encode(), lambda echo: fits(frames.set_point(echo)), wanted.words)

    @contextlib.contextmanager
    def _expected(self) -> Any:
        """Let MODE frames that come now be answers, which make nobody suspicious."""
        self._expecting += 1
        try:
            yield
        finally:
            self._expecting -= 1

    def output_is_on(self) -> bool:
        """Ask whether the output is on."""
        with self._lock, self._expected():
            return bool(frames.set_point(self.port.ask(MODE)[MODE]).on)

    # --- readings ---------------------------------------------------------------------------------

    def read(self) -> Measured:
        """Read voltages and current by one request, temperatures once a second.

        Renews the heartbeat and sends the next command of the set point when the device has ended the
        last. Raises ``DeviceFault`` for an error state while on, and once for a reboot.
        """
        with self._lock:
            self.heartbeat.renew()
            measured = self._measure()
            self._look_for_reboot()
            for _ in range(MOST_ENDS):
                if not self._on or not self._follow():
                    break
                measured = self._measure(mode=True)
            self._widen()
            return measured

    def _measure(self, *, mode: bool = False) -> Measured:
        began_s, began_ns = time.monotonic(), time.time_ns()
        wanted = [ELEC]
        if self._on and (mode or began_s - self._asked_mode_s >= MODE_S):
            self._asked_mode_s = began_s
            wanted.append(MODE)
        if self._readings.wants_temperatures:
            wanted.append(TEMP)
        # Where MODE is not asked an IDLE is not expected: it is a boot notification, or an end.
        with self._expected() if MODE in wanted else contextlib.nullcontext():
            answers = self.port.ask(*wanted)
        measured = self._readings.take(answers, began_s, began_ns)
        self._see_nearness()
        return measured

    def _see_nearness(self) -> None:
        """Remember that the running command's own end was near, seen under its current."""
        cell = self._readings.cell
        if cell is None or not self._on or not self._mode.on or not self._steps:
            return
        if abs(cell.ma) > CURRENT_ROOM_MA // 2:
            step = self._steps[self._place]
            if step.limit == frames.VOLTAGE:
                self._left_mv = abs(cell.mv - step.limit_ref)
                self._near |= self._left_mv <= NEAR_MV

    # --- the device's own ends --------------------------------------------------------------------

    def _follow(self) -> bool:
        """Look at MODE while on; True when a command was sent because the last one had ended."""
        self._refuse_error()
        if self._mode == self._steps[self._place]:
            self._ended = False
            return False
        if self._mode.mode != frames.IDLE:
            raise DeviceFault(f"{self.label} holds {self._mode.words}, which nobody asked for")
        if not self._ended:
            self._ended = True
            self._refuse_reboot()
        return self._go_on()

    def _refuse_error(self) -> None:
        if self._error is None:
            return
        self._error = self._error or self._told
        if not self._error:
            # It is off already, so there is time to ask.
            with contextlib.suppress(DriverError):
                self._error = self.fault()
        raise DeviceFault(f"{self.label} went to ERROR: {self._error or 'no flag is set any more'}")

    def _go_on(self) -> bool:
        step = self._steps[self._place]
        if step.limit == TIME:
            raise DeviceFault(f"{self.label} ended {step.words} by itself")
        if self._place == len(self._steps) - 1:
            return self._hold_again(step)
        if not self._near and self._left_mv is not None and self._left_mv > FAR_MV:
            raise DeviceFault(
                f"{self.label} went to IDLE {self._left_mv} mV before the end of {step.words}: nobody asked for that"
            )
        if self._near or self._repeated:
            return self._next(self._place + 1)
        self._repeated = True
        self._send(step)
        return True

    def _next(self, place: int) -> bool:
        step = self._steps[place]
        if step.mode == CV and not self._below(step.ref, 0):
            # A CV from the wrong side would begin with current the other way: wait until it relaxed.
            return False
        self._place, self._near, self._repeated, self._left_mv = place, False, False, None
        self._again_s = time.monotonic()
        self._send(step)
        return True

    def _hold_again(self, step: SetPoint) -> bool:
        now_s = time.monotonic()
        if now_s - self._again_s < AGAIN_S or not self._below(step.ref, MOVED_MV):
            return False
        self._again_s = now_s
        self._send(step)
        return True

    def _below(self, ref_mv: int, by_mv: int) -> bool:
        """Tell whether the cell is on the side of a voltage from which the target's current flows."""
        cell_mv = self._cell_mv()
        return cell_mv <= ref_mv - by_mv if charges(self._steps) else cell_mv >= ref_mv + by_mv

    def _cell_mv(self) -> int:
        cell = self._readings.cell
        if cell is None or time.monotonic() - cell.at_s > FRESH_S:
            self._measure()
            cell = self._readings.cell
        assert cell is not None
        return cell.mv

    def _send(self, step: SetPoint) -> None:
        self._ended = False
        self._command(step)

    # --- reboots ----------------------------------------------------------------------------------

    def _look_for_reboot(self) -> None:
        if self._suspect and self.limits.marked:
            self._suspect = False
            self._refuse_reboot()

    def _refuse_reboot(self) -> None:
        """Raise ``DeviceFault`` when the mark is gone; the device is set up anew first."""
        held = frames.limits(TEMP_LIM, self.port.ask(TEMP_LIM)[TEMP_LIM])
        if held == self.limits.held.get(TEMP_LIM):
            return
        was_on, self._on, self._steps = self._on, False, []
        self._off_s, self.heartbeat.armed = time.monotonic(), True
        self._set_up()
        doing = "while its output was on" if was_on else "with its output off"
        raise DeviceFault(f"{self.label} rebooted {doing}: its limits are those of a fresh start")

    # --- set points -------------------------------------------------------------------------------

    def apply(self, target: Target) -> None:
        """Hold ``target``; see the module for the commands.

        1. Errors of its own refuse it. 2. Protections, mark and heartbeat before the output goes on.
        3. The command, confirmed by its echo. Raises the errors of drivers; then switch off by ``make_safe()``.
        """
        if target.mode == "off":
            self.make_safe()
            return
        with self._lock:
            cell_mv = self._cell_mv()
            steps = phases(target, cell_mv / 1000.0)
            if not self._on:
                self._prepare()
            self.heartbeat.renew()
            self._steps, self._place, self._on = steps, self._begin(steps, cell_mv), True
            self._near = self._repeated = self._ended = False
            self._left_mv = None
            self._again_s = time.monotonic()
            self._refuse_error()
            self._send(steps[self._place])

    def _begin(self, steps: list[SetPoint], cell_mv: int) -> int:
        """Return the command to begin with: what the device does already, if its current suits the target."""
        cell = self._readings.cell
        if self._on and self._mode in steps and cell is not None:
            bound_ma = abs(steps[0].ref) + CURRENT_ROOM_MA
            if self._mode.mode != CV or abs(cell.ma) <= bound_ma:
                return steps.index(self._mode)
        place = first(steps, cell_mv, charges(steps))
        wrong = place > 0 and steps[place].mode == CV and self._wrong_side(steps, place, cell_mv)
        return place - 1 if wrong else place

    @staticmethod
    def _wrong_side(steps: list[SetPoint], place: int, cell_mv: int) -> bool:
        """Tell whether a CV would begin with current the other way: its current goes first then."""
        ref = steps[place].ref
        return steps[place].limit != TIME and (cell_mv > ref if charges(steps) else cell_mv < ref)

    def _prepare(self) -> None:
        until_s = time.monotonic() + CLEARS_S
        while (flags := self._flags()) is not None and time.monotonic() < until_s:
            time.sleep(0.01)
        if flags is not None or self._mode.mode == ERROR:
            raise DeviceFault(f"{self.label} reports: {flags or 'ERROR without a flag'}")
        self.limits.restore()
        self.heartbeat.arm()

    # --- the device's own state -------------------------------------------------------------------

    def _flags(self) -> str | None:
        with self._expected():
            return frames.errors(self.port.ask(STATUS, MODE)[STATUS])

    def fault(self) -> str | None:
        """Return the device's own errors in words, or None."""
        with self._lock:
            flags = self._flags()
            if flags is None and self._mode.mode == ERROR:
                # Devices.md 1.8: the ambient check overwrites the flag of body and anode.
                return "ERROR without a flag: a temperature sensor out of limits"
            return flags

    def unasked(self) -> str | None:
        """Read mode, set point, limits and mark back; return what nobody asked for, or None.

        An IDLE that the device came to by its own end is no difference: the next reading follows it.
        """
        with self._lock:
            with self._expected():
                answers = self.port.ask(MODE, TEMP_LIM, LS_VOLT, LS_CURR, LS_PWR)
            wanted = self._steps[self._place] if self._on else OFF
            held = frames.set_point(answers.pop(MODE))
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
        if self._on or not self.limits.narrow or now_s - max(self._off_s, self._widened_s) < WIDEN_S:
            return
        self._widened_s = now_s
        # Refused while an error flag is up: then it is tried again.
        with contextlib.suppress(DeviceRefused):
            if self._flags() is None:
                self.limits.widen()


def node_of(link: dict[str, Any]) -> int:
    """Return a link's node; raise ``DeviceRefused`` outside 0x13 to 0x3F."""
    try:
        node = int(str(link["node"]), 0)
    except (KeyError, ValueError) as error:
        raise DeviceRefused(f"an EPC's link needs a node, 0x13 to 0x3F: {error}") from None
    if node not in NODES:
        raise DeviceRefused(f"an EPC's node is 0x13 to 0x3F, not 0x{node:02X}")
    return node
