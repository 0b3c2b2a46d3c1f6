"""A simulated EPC down to its bits: mailbox, state machine, limits, locks, timing (device sheet 1).

Time is in ms since the device's start. The firmware works in rounds of 10 ms; within one (sheet 1.7):
.0 measurements, error flags, ends; .1 the mailbox and its answers; .2 periodic frames and STATUS;
.3 ends again; .4 the MODE notification. What the power stage does between rounds comes by ``watch``.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from cycler_unit.simulators import epc_reports as reports
from cycler_unit.simulators.epc_errors import Errors
from cycler_unit.simulators.epc_rules import (
    BOOT,
    CC,
    COMM,
    CP,
    CV,
    ERROR,
    HARD,
    IDLE,
    INT,
    LENGTHS,
    LIMIT_NAMES,
    REPORTS,
    TIME,
    Point,
    acceptable_limits,
    ended,
    parse_limits,
    refusal,
    report_limits,
)

ROUND_MS = 10.0
MAILBOX_MS, STATUS_MS, ENDS_MS, NOTICE_MS = 0.1, 0.2, 0.3, 0.4
FIFO = 3
# Sheet 1.3: how often it measures temperatures; voltages and current are measured each round.
WARMTH_MS = 1000.0
# As long as the signed field goes.
FOREVER_MS = 2_147_483_647
# Sheet 1.8: what the STATUS of a locked device says, by what locked it.
BAD_FRAME = (INT | COMM, 1)

Sent = tuple[float, int, bytes]


class Plant(Protocol):
    """What the machine measures and moves; all numbers as its converters show them."""

    def electrical(self) -> tuple[int, int, int]:
        """Return low-side mV and mA, and high-side mV."""
        ...

    def temperatures(self) -> tuple[int, int, int]:
        """Return body, anode and ambient in 0.1 °C; 0 for a sensor that is not there."""
        ...

    def drive(self, point: Point | None) -> None:
        """Let the power stage hold a set point, or switch it off."""
        ...


class EpcMachine:
    """One EPC on a bus. ``handle`` takes a frame, ``tick`` returns what was sent until then."""

    def __init__(
        self,
        plant: Plant,
        *,
        node: int,
        firmware: int = 1,
        revision: int = 0,
        connector: int = 1,
        sensors: tuple[int, int, int] = (2, 1, 1),
        serial_number: int = 1,
        heartbeat_step: int = 2,
        limit_byte_order: str = "big",
    ) -> None:
        """Store who it is; ``sensors`` are anode, body, ambient; ``heartbeat_step`` counts per round."""
        self.plant, self.node = plant, node
        self.heartbeat_step, self.limit_byte_order = heartbeat_step, limit_byte_order
        self._info = reports.info(
            node=node,
            firmware=firmware,
            revision=revision,
            connector=connector,
            sensors=sensors,
            serial_number=serial_number,
        )
        self.errors = Errors()
        self.refuses = False
        self.clamp_ma: int | None = None
        self.misread_mv: int | None = None
        """What it tells the host as the cell's voltage, None for what it measures."""
        self.boots = -1
        self.boot(0.0)

    # --- start and end ----------------------------------------------------------------------------

    def boot(self, now_ms: float) -> None:
        """Start anew at ``now_ms``: IDLE, everything as after power-on."""
        self.boots += 1
        self.locked = False
        self.point = Point()
        self.limits = dict(BOOT)
        self.errors.clear()
        self.heartbeat: reports.Period = (0, 10)
        self.periods: dict[int, reports.Period] = {0xC: (0, 10), 0xD: (0, 10)}
        self._warmth = (0, 0, 0)
        self._warmed_ms = float("-inf")
        self._told_flags = 0
        self._told_point: Point | None = None
        self._counter = 0
        self._charging = True
        self._applied_ms = now_ms
        self._round_ms = now_ms
        self._start_ms = now_ms
        self._mailbox: deque[tuple[float, int, bytes]] = deque()
        self._out: list[Sent] = []
        self.plant.drive(None)

    def _lock(self, at_ms: float, flags: int, value: int) -> None:
        """End as the firmware does: off, one last STATUS, silence until the power is cycled."""
        self.locked = True
        self.plant.drive(None)
        self.errors.set(flags, value)
        self._send(at_ms, 0xB, self.errors.status)

    def lock(self, now_ms: float) -> None:
        """Fail inside (a fault of the bench): the same end."""
        self._lock(now_ms, INT, 0)

    # --- frames in --------------------------------------------------------------------------------

    def hears(self, frame_id: int) -> bool:
        """Tell whether the receive filter lets an id through: its own node, and the MODE of node 0."""
        return frame_id >> 4 == self.node or frame_id == 0x000

    def handle(self, frame_id: int, payload: bytes, now_ms: float) -> None:
        """Put a frame into the mailbox; the fourth of a round is lost."""
        if self.hears(frame_id) and not self.locked and len(self._mailbox) < FIFO:
            self._mailbox.append((now_ms, frame_id & 0xF, payload))

    # --- rounds -----------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Tell whether every round matters now."""
        enabled = self.heartbeat[0] or any(on for on, _ in self.periods.values())
        resting = self.point.mode == IDLE and self.point == self._told_point
        return bool(self._mailbox or enabled or self.errors.flags or not resting)

    @property
    def due_ms(self) -> float:
        """Return when the next round is over."""
        return self._round_ms + NOTICE_MS

    def tick(self, now_ms: float) -> list[Sent]:
        """Live on until ``now_ms``; return what was sent, in order, as (ms, id, payload)."""
        while self._round_ms + NOTICE_MS <= now_ms:
            left = int((now_ms - NOTICE_MS - self._round_ms) / ROUND_MS)
            if left > 1 and not self.busy:
                # Nothing can happen in a round without frames and flags but the counting.
                self._round_ms += (left - 1) * ROUND_MS
                self._counter += (left - 1) * self.heartbeat_step
            self._round()
            self._round_ms += ROUND_MS
        sent, self._out = self._out, []
        return sent

    @property
    def dormant(self) -> bool:
        """Tell whether only a frame or a reboot can change anything: off, and given up on its host."""
        gave_up = bool(self.errors.flags & COMM) and self.point.mode == ERROR
        return self.locked or (gave_up and not self._mailbox)

    def sleep(self, now_ms: float) -> None:
        """Let the time until ``now_ms`` pass without living its rounds."""
        rounds = int((now_ms - NOTICE_MS - self._round_ms) / ROUND_MS)
        if rounds > 0:
            self._round_ms += rounds * ROUND_MS
            self._counter += rounds * self.heartbeat_step

    def _round(self) -> None:
        at_ms = self._round_ms
        if self.locked:
            return
        if at_ms - self._warmed_ms >= WARMTH_MS:
            self._warmth, self._warmed_ms = self.plant.temperatures(), at_ms
        self.errors.judge(self.plant.electrical(), self._warmth, self.limits)
        self._settle_mode()
        self._watch_now(at_ms)
        self._counter += self.heartbeat_step
        if self.heartbeat[0] and self._counter >= self.heartbeat[1] and not self.errors.flags & COMM:
            self.errors.lift(COMM, self._counter)
            self._settle_mode()
        self._read_mailbox(at_ms + MAILBOX_MS)
        if self.locked:
            return
        self._settle_mode()
        self._tell(at_ms + STATUS_MS)
        if self._applied_ms == at_ms + MAILBOX_MS:
            self._watch_now(at_ms + ENDS_MS)
        if self.point != self._told_point:
            self._told_point = self.point
            self._send(at_ms + NOTICE_MS, 0x0, self.point.encode())

    def _send(self, at_ms: float, message: int, payload: bytes) -> None:
        self._out.append((round(at_ms, 1), self.node << 4 | message, payload))

    def _settle_mode(self) -> None:
        """ERROR while anything is wrong, IDLE by itself when nothing is any more; the step is lost."""
        wrong = self.errors.any
        if wrong and self.point.mode != ERROR:
            self.point = Point(mode=ERROR)
            self.plant.drive(None)
        elif not wrong and self.point.mode == ERROR:
            self.point = Point()

    # --- ends -------------------------------------------------------------------------------------

    def _watch_now(self, at_ms: float) -> None:
        if self.point.mode in (IDLE, ERROR):
            return
        mv, ma, _ = self.plant.electrical()
        self.watch(mv, ma, at_ms)

    def watch(self, mv: int, ma: int, at_ms: float) -> bool:
        """End the running mode when its limit is reached; True when it did."""
        point, ran_ms = self.point, at_ms - self._applied_ms
        if point.mode in (IDLE, ERROR) or not ended(point, self._charging, mv, ma, ran_ms):
            return False
        self.point = Point()
        self.plant.drive(None)
        return True

    # --- the mailbox ------------------------------------------------------------------------------

    def _read_mailbox(self, at_ms: float) -> None:
        batch = [each for each in self._mailbox if each[0] <= at_ms]
        for each in batch:
            self._mailbox.remove(each)
        poisoned = False
        for _, message, payload in batch:
            if message not in LENGTHS or (message in (0x0, 0x1, 0x7) and len(payload) != LENGTHS[message]):
                self._lock(at_ms, *BAD_FRAME)
            elif message == 0x0:
                poisoned = not self._mode(payload, at_ms, poisoned) or poisoned
            elif message == 0x1:
                self._request(payload[0], at_ms)
            elif message == 0x7:
                self._periodic(payload, at_ms)
            elif len(payload) == LENGTHS[message]:
                self._set_limits(message, payload, at_ms)
            if self.locked:
                return

    def _accepted(self) -> None:
        """Any accepted frame ends a communication error and starts the counter anew."""
        if self.errors.flags & COMM:
            self.errors.flags &= ~COMM
            self._counter = 0
            self._settle_mode()

    def _mode(self, payload: bytes, at_ms: float, poisoned: bool) -> bool:
        """Take or refuse a set point; either way the answer is what the device now holds."""
        wanted = Point.decode(payload)
        if wanted.mode == IDLE and wanted.on and not self.errors.electrical:
            self._send(at_ms, 0x0, payload)
            self._lock(at_ms, INT, 0)
            return True
        taken = not poisoned and not self.refuses_point(wanted)
        if taken:
            self._accepted()
            self._apply(self._clamped(wanted), at_ms)
        if not self.locked:
            self._send(at_ms, 0x0, self.point.encode())
        return taken

    def refuses_point(self, wanted: Point) -> bool:
        """Tell whether a set point is refused; off is never refused by a fault of the bench."""
        if self.refuses and wanted.on:
            return True
        return self.errors.refusing or refusal(wanted, self.limits)

    def _clamped(self, wanted: Point) -> Point:
        most = self.clamp_ma
        if most is None or wanted.mode != CC:
            return wanted
        return wanted._replace(ref=min(max(wanted.ref, -most), most))

    def _apply(self, wanted: Point, at_ms: float) -> None:
        wanted = Point() if wanted.mode == IDLE else wanted
        if wanted == self.point:
            return  # a repeated command does not start the time anew
        mv, _, hs_mv = self.plant.electrical()
        if wanted.on and wanted.mode in (CV, CC, CP) and mv > hs_mv:
            self._lock(at_ms, INT, 0)
            return
        self.point = wanted
        self._applied_ms = at_ms
        self._charging = wanted.ref >= mv if wanted.mode == CV else wanted.ref >= 0
        self.plant.drive(wanted if wanted.on and wanted.mode in (CV, CC, CP) else None)

    @property
    def applied_ms(self) -> float:
        """Return when the running mode was applied."""
        return self._applied_ms

    def order_by_hand(self, now_ms: float, **changed: int) -> bytes:
        """Let another host order a change, as one more command in the mailbox; return its payload.

        Switched on without a mode it asks for a constant current of ``ref``; switched off it sends IDLE.
        """
        wanted = self.point._replace(**changed)
        if wanted.on and wanted.mode not in (CV, CC, CP):
            wanted = Point(1, CC, TIME, changed.get("ref", 100), FOREVER_MS)
        payload = (wanted if wanted.on else Point()).encode()
        if len(self._mailbox) == FIFO:
            self._mailbox.pop()  # this one is not to be lost
        self._mailbox.append((now_ms, 0x0, payload))
        return payload

    def _request(self, wanted: int, at_ms: float) -> None:
        if wanted == 5:
            self._accepted()
            self._counter = 0
            return
        if wanted not in REPORTS:
            return
        self._accepted()
        message = REPORTS[wanted]
        self._send(at_ms, message, self._report(message))

    def _report(self, message: int) -> bytes:
        if message == 0x0:
            return self.point.encode()
        if message == 0xA:
            return self._info
        if message == 0xB:
            return self.errors.status
        if message in LIMIT_NAMES:
            return report_limits(message, self.limits[message])
        values = self.plant.electrical() if message == 0xC else self._warmth
        if message == 0xC and self.misread_mv is not None:
            values = (self.misread_mv, *values[1:])
        return reports.measured(message, values)

    def _periodic(self, payload: bytes, at_ms: float) -> None:
        pairs = reports.parse_periodic(payload)
        if all(period >= 10 for on, period in pairs if on):
            self._accepted()
            self.heartbeat = pairs[0]
            self.periods = {0xC: pairs[1], 0xD: pairs[2]}
        echo = reports.periodic(self.heartbeat, self.periods[0xC], self.periods[0xD])
        self._send(at_ms, 0x7, echo)

    def _set_limits(self, message: int, payload: bytes, at_ms: float) -> None:
        low, high = parse_limits(message, payload, self.limit_byte_order)
        taken = not self.errors.refusing and not self.refuses
        if taken and acceptable_limits(message, low, high, HARD[message]):
            self._accepted()
            self.limits[message] = (low, high)
        self._send(at_ms, message, report_limits(message, self.limits[message]))

    # --- spontaneous frames -----------------------------------------------------------------------

    def _tell(self, at_ms: float) -> None:
        count = round((self._round_ms - self._start_ms) / ROUND_MS)
        for message, (on, period) in self.periods.items():
            if on and count % period == 0:
                self._send(at_ms, message, self._report(message))
        if self.errors.flags != self._told_flags:
            self._told_flags = self.errors.flags
            self._send(at_ms, 0xB, self.errors.status)
