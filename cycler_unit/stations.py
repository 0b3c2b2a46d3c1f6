"""What a station is and whether it is latched, kept on the disk so that both survive restarts."""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path

import msgspec

from cycler_unit import disk
from wire.messages import StationBattery, StationConfigure

logger = logging.getLogger("cycler_unit.stations")


class Latch(msgspec.Struct, frozen=True, kw_only=True):
    """A trip that only a person releases (safety.md rule 7). ``alarm`` is its UUID everywhere."""

    alarm: str
    code: str
    text: str
    at: str


class Kept(msgspec.Struct, kw_only=True):
    """One station's file."""

    configure: StationConfigure
    latches: list[Latch] = []
    battery: StationBattery | None = None
    """What is loaded, watched also after a restart (safety.md rule 17)."""


class StationFolder:
    """The folder with one file per station."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unreadable: dict[str, str] = {}
        """Why a station's file could not be read, by the station's UUID: nobody knows whether it was tripped."""

    def load(self) -> list[Kept]:
        """Return all stations; a file that cannot be read is named in ``unreadable`` and left alone."""
        stations = [path.stem for path in sorted(self.folder.glob("*.json"))]
        return [kept for station in stations if (kept := self.read(station)) is not None]

    def read(self, station: str) -> Kept | None:
        """Return what was kept of a station; None: nothing, or nothing that can be read (``unreadable``)."""
        path = self.folder / f"{station}.json"
        try:
            return disk.read(path, Kept)
        except (msgspec.MsgspecError, OSError) as error:
            logger.error("event=station_unreadable file=%s reason='%s'", path, error)
            self.unreadable[station] = str(error)
            return None

    def set_aside(self, station: str) -> None:
        """Keep a copy of a file that cannot be read for whoever looks into it; it is about to be replaced."""
        path = self._path(station)
        with contextlib.suppress(OSError):
            shutil.copyfile(path, path.with_name(path.name + ".unreadable"))

    def save(self, kept: Kept) -> None:
        """Write a station, whole or not at all, before returning."""
        disk.write(self._path(kept.configure.station), msgspec.json.encode(kept))
        self.unreadable.pop(kept.configure.station, None)

    def remove(self, station: str) -> None:
        """Forget a retired station."""
        self._path(station).unlink(missing_ok=True)
        self.unreadable.pop(station, None)

    def _path(self, station: str) -> Path:
        # The name came from outside; nothing but a plain name may become a file.
        if not station or not station.replace("-", "").isalnum():
            raise ValueError(f"{station!r} is no station id")
        return self.folder / f"{station}.json"
