"""Where in a target's commands an EPC is, and which one follows when it has ended one; without any I/O.

The CV that follows a current is entered only when the voltage was seen within ``NEAR_MV`` of its end under
that current, else the current is sent once more: an EPC's CV has no bound of its own on the current but the
configured one. An IDLE more than ``FAR_MV`` from that end is nobody's end: an error. After the last command
has ended (nothing flows) it is sent again when the voltage has moved back, at most once a second; until
then the output is off and the readings say so.
"""

from __future__ import annotations

from collections.abc import Sequence

from cycler_unit.drivers.epc_frames import CV, TIME, VOLTAGE, SetPoint
from cycler_unit.drivers.epc_limits import CURRENT_ROOM_MA
from cycler_unit.drivers.epc_phases import charges, first
from cycler_unit.drivers.epc_readings import Cell
from cycler_unit.drivers.errors import DeviceFault

NEAR_MV = 50
# No cell that a cycler of 15 A holds moves so far between two readings, except by the ohmic step before the
# first one.
FAR_MV = 250
# Two steps of the voltage converter, rounded up; and how soon an ended hold may be sent again.
MOVED_MV, AGAIN_S = 3, 1.0


class EpcRun:
    """One target's commands. Times are monotonic seconds, voltages mV."""

    def __init__(self, steps: Sequence[SetPoint], place: int, now_s: float) -> None:
        self._steps, self._place, self._again_s = steps, place, now_s
        self._near = self._repeated = False
        self._left_mv: int | None = None
        """How far the command was from its end when last seen under its current."""

    @property
    def step(self) -> SetPoint:
        """Return the command that the device holds, or held last."""
        return self._steps[self._place]

    def see(self, cell: Cell) -> None:
        """Remember how far the command's own end is, seen under its current."""
        if abs(cell.ma) > CURRENT_ROOM_MA // 2 and self.step.limit == VOLTAGE:
            self._left_mv = abs(cell.mv - self.step.limit_ref)
            self._near |= self._left_mv <= NEAR_MV

    def after_end(self, cell_mv: int, now_s: float) -> SetPoint | None:
        """Return the command to send after an end of the device's own, None to wait.

        Raises ``DeviceFault`` for an end that cannot be its own.
        """
        if self.step.limit == TIME:
            raise DeviceFault(f"ended {self.step.words} by itself")
        if self._place == len(self._steps) - 1:
            return self._hold_again(cell_mv, now_s)
        if not self._near and self._left_mv is not None and self._left_mv > FAR_MV:
            raise DeviceFault(
                f"went to IDLE {self._left_mv} mV before the end of {self.step.words}: nobody asked for that"
            )
        if self._near or self._repeated:
            return self._next(cell_mv, now_s)
        self._repeated = True
        return self.step

    def _next(self, cell_mv: int, now_s: float) -> SetPoint | None:
        step = self._steps[self._place + 1]
        if step.mode == CV and not self._below(cell_mv, step.ref, 0):
            # A CV from the wrong side would begin with current the other way: wait until it relaxed.
            return None
        self._place, self._near, self._repeated, self._left_mv = self._place + 1, False, False, None
        self._again_s = now_s
        return step

    def _hold_again(self, cell_mv: int, now_s: float) -> SetPoint | None:
        if now_s - self._again_s < AGAIN_S or not self._below(cell_mv, self.step.ref, MOVED_MV):
            return None
        self._again_s = now_s
        return self.step

    def _below(self, cell_mv: int, ref_mv: int, by_mv: int) -> bool:
        """Tell whether the cell is on the side of a voltage from which the target's current flows."""
        return cell_mv <= ref_mv - by_mv if charges(self._steps) else cell_mv >= ref_mv + by_mv


def begin(steps: Sequence[SetPoint], cell: Cell, held: SetPoint | None, now_s: float) -> EpcRun:
    """Return a run that begins with what the device does already (``held``), if its current suits the target.

    Commands whose end is there already are left out, but no CV begins with current the other way.
    """
    bound_ma = abs(steps[0].ref) + CURRENT_ROOM_MA
    if held is not None and held in steps and (held.mode != CV or abs(cell.ma) <= bound_ma):
        return EpcRun(steps, steps.index(held), now_s)
    place = first(steps, cell.mv, charges(steps))
    wrong = place > 0 and steps[place].mode == CV and _wrong_side(steps, place, cell.mv)
    return EpcRun(steps, place - 1 if wrong else place, now_s)


def _wrong_side(steps: Sequence[SetPoint], place: int, cell_mv: int) -> bool:
    """Tell whether a CV would begin with current the other way: its current goes first then."""
    ref = steps[place].ref
    return steps[place].limit != TIME and (cell_mv > ref if charges(steps) else cell_mv < ref)
