"""Commands to the unit itself: its log, how often idle devices are recorded, its restart."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from cycler_unit import logs
from cycler_unit.commands import Answer
from cycler_unit.contract import Refusal
from cycler_unit.hub import Hub
from cycler_unit.idle_readings import IdleReadings, Periods
from wire.messages import UnitLog, UnitReadings, UnitRestart

logger = logging.getLogger("cycler_unit.dispatch")

# The reply to a restart gets this long to reach the broker.
RESTART_S = 0.5


class ThisUnit:
    """``running`` names the buses of which a device runs, and who runs there."""

    def __init__(
        self, hub: Hub, running: Callable[[], dict[str, str]], periods: Periods, readings: IdleReadings
    ) -> None:
        self._hub, self._running, self._periods, self._readings = hub, running, periods, readings

    def log(self, args: UnitLog, answer: Answer) -> None:
        """Set a level, if one is named, and return the last lines; raises :class:`Refusal`."""
        if args.level is not None:
            try:
                logs.set_levels(args.level)
            except logs.BadLogSetting as error:
                raise Refusal(str(error)) from None
        answer("done", {"lines": logs.recent.last(args.lines), "levels": logs.levels()}, None)

    def keep_periods(self, args: UnitReadings, answer: Answer) -> None:
        """Take how often devices are recorded; raises :class:`Refusal` for what makes no sense."""
        for each in args.periods:
            if each.every_s is not None and not 0.5 <= each.every_s <= 86400.0:
                raise Refusal(f"a period is 0.5 to 86400 s, not {each.every_s:g}")
        try:
            self._periods.take(args.periods)
        except OSError as error:
            answer("failed", None, f"the periods cannot be kept: {error}")
            return
        self._readings.look_anew()
        answer("done", {"periods": len(args.periods)}, None)

    def restart(self, args: UnitRestart, answer: Answer) -> None:
        """Start the unit again; raises :class:`Refusal` while anything runs, unless forced."""
        running = sorted(set(self._running().values()))
        if running and not args.force:
            raise Refusal(f"{', '.join(running)} runs; force it, and what runs is switched off first")
        logger.warning("event=restart_asked by=%s force=%s", args.person, args.force)
        answer("done", {"restarting": True}, None)
        timer = threading.Timer(RESTART_S, self._hub.restart)
        timer.daemon = True
        timer.start()
