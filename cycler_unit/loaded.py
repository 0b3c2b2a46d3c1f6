"""What a station does about its loaded battery: take it, keep it over a restart, act on what the watch finds."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from cycler_unit.contract import Refusal
from cycler_unit.drivers.errors import DriverError
from cycler_unit.latches import AlarmClass
from cycler_unit.mail import Ask
from cycler_unit.readings import Taken
from cycling import reasons

if TYPE_CHECKING:
    from cycler_unit.station import Station

logger = logging.getLogger("cycler_unit.station")


def load(station: Station, ask: Ask) -> None:
    """Take the battery that is loaded, or its ejection; on the disk before it is answered."""
    station.watch.load(ask.args)
    wanted = ask.args if ask.args.battery is not None else None
    if wanted != station.kept.battery:
        station.kept.battery = wanted
        station.save()
    station.hub.changed()
    ask.reply("done", {"battery": station.watch.id}, None)


def watch_again(station: Station) -> None:
    """Watch the battery that was loaded before the restart."""
    if station.kept.battery is None:
        return
    try:
        station.watch.load(station.kept.battery)
    except Refusal as refusal:
        # The manager sees that the unit watches none, and sends it again.
        logger.error("event=battery_unreadable station=%s reason='%s'", station.id, refusal.text)


def look(station: Station, taken: Taken | None) -> None:
    """Let the watch look when it is due: alarm, and the isolator open (rule 17)."""
    found = station.watch.look(
        taken,
        output_on=station.power.output_on,
        now_s=time.monotonic(),
        isolated=taken is not None and taken.isolated,
    )
    if found is None:
        return
    grade: AlarmClass = "trip" if found.code == "draining" else "error"
    if grade == "trip" and (station.conductor.state == "running" or station.by_hand.lease is not None):
        # A rest of a running test, or a person who would switch on next: that ends now.
        station.trip(found.code, found.text, **found.left)
    else:
        hurt = {"quarantine": True} if reasons.quarantines(found.code, found.left.get("quantity")) else {}
        station.alarm(
            found.code, found.text, grade, station.conductor.experiment,
            battery=station.watch.id, **found.left, **hurt,
        )  # fmt: skip
    if found.code == "draining" and station.parts.isolator is not None and not station.power.output_on:
        try:
            station.outputs.isolate()
        except DriverError as error:
            logger.error("event=not_isolated station=%s reason='%s'", station.id, error)
