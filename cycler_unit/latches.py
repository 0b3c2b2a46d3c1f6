"""What a station tells: alarms, latched on its disk first (safety.md rules 5, 7, 19), events, heartbeats."""

from __future__ import annotations

import logging
import time
import uuid
from typing import TYPE_CHECKING, Any, Literal

from cycler_unit.clock import iso
from cycler_unit.spool import Entry
from cycler_unit.stations import Latch
from wire.messages import StationBeat, StationReading

if TYPE_CHECKING:
    from cycler_unit.station import Station

logger = logging.getLogger("cycler_unit.station")

# A disk that did not take a latch is tried again this often.
AGAIN_S = 1.0

AlarmClass = Literal["unsafe", "trip", "error", "hold"]


def alarm(
    station: Station, code: str, text: str, grade: AlarmClass, experiment: str | None = None, **detail: Any
) -> str:
    """Latch a station on its disk, then raise an alarm; returns the alarm's UUID."""
    latch = Latch(alarm=str(uuid.uuid4()), code=code, text=text, at=iso(time.time()))
    station.kept.latches.append(latch)
    save(station)
    detail = {"id": latch.alarm, "code": code, "class": grade, "station": station.id, **detail}
    if experiment is not None:
        detail["experiment"] = experiment
    logger.error("event=alarm station=%s experiment=%s code=%s text='%s'", station.id, experiment, code, text)
    event(station, "alarm", text, detail, experiment)
    station.black_box.ask(text, alarm=latch.alarm, experiment=experiment)
    station.hub.zones.alarm_raised()
    return latch.alarm


def warn(station: Station, code: str, text: str, experiment: str | None = None) -> None:
    """Raise a warning: a person is told, nothing is switched and nothing is latched."""
    logger.warning("event=warning station=%s experiment=%s code=%s text='%s'", station.id, experiment, code, text)  # fmt: skip
    detail = {"id": str(uuid.uuid4()), "code": code, "class": "warning", "station": station.id}
    event(station, "alarm", text, detail, experiment)


def carry_over(station: Station) -> None:
    """Let a station that the running unit did not have keep latches and battery of its file (rule 7).

    A file that cannot be read latches it: nobody knows whether it was tripped, or what lies in it.
    """
    folder, kept = station.hub.folder, station.kept
    found = folder.read(station.id)
    if found is not None:
        kept.latches = [*found.latches, *kept.latches]
        kept.battery = kept.battery or found.battery
        return
    why = folder.unreadable.get(station.id)
    if why is None:
        return
    folder.set_aside(station.id)
    text = (
        f"{kept.configure.name}: what the unit kept of this station cannot be read ({why}); whether it was "
        "tripped, and why, is lost: look at the battery and the station before you acknowledge"
    )
    alarm(station, "record_lost", text, "trip")


def release(station: Station, alarm: str) -> bool:
    """Release the latch of ``alarm``; False when it was not latched."""
    left = [each for each in station.kept.latches if each.alarm != alarm]
    released = len(left) < len(station.kept.latches)
    station.kept.latches = left
    save(station)
    return released


def save(station: Station) -> None:
    """Keep a station on its disk."""
    try:
        station.hub.folder.save(station.kept)
        station.unsaved_since_s = None
    except OSError as error:
        # The latch in memory holds; it is written as soon as the disk takes it.
        station.unsaved_since_s = time.monotonic()
        logger.error("event=station_not_saved station=%s reason='%s'", station.id, error)


def save_again(station: Station) -> None:
    """Keep what a full disk did not take, once it does."""
    since_s = station.unsaved_since_s
    if since_s is not None and time.monotonic() - since_s >= AGAIN_S and not station.busy:
        save(station)


def beat(station: Station) -> StationBeat:
    """Return a station's part of a heartbeat; called from another thread."""
    taken, run = station.taken, station.conductor.run
    reading = StationReading(
        voltage_v=taken.voltage_v, current_a=taken.current_a, temperature_c=taken.temperature_c
    ) if taken else None  # fmt: skip
    held = station.kept.latches
    waits = held[0].text if held else station.zone_open or station.conductor.detail
    return StationBeat(
        station=station.id,
        version=station.kept.configure.version,
        state=station.state,
        experiment=station.conductor.experiment,
        step=(run.interpreter.step or None) if run else None,
        reading=reading,
        age_of_last_reading_s=round(time.monotonic() - taken.taken_s, 3) if taken else None,
        alarm=held[0].alarm if held else None,
        remaining_s=run.remaining_s if run else None,
        detail=station.unsafe or waits,
        battery=station.watch.id,
        lease=station.by_hand.shown,
        outputs=station.outputs.shown,
    )


def event(
    station: Station,
    kind: str,
    text: str,
    detail: dict[str, Any] | None = None,
    experiment: str | None = None,
) -> None:
    """Put an event into the spool, at once."""
    found = {
        "at": iso(time.time()), "kind": kind, "text": text, "station": station.id, "experiment": experiment,
        "detail": detail or {},
    }  # fmt: skip
    station.hub.spool.put(Entry(experiment=experiment, events=[found]), force=True)
