"""The command ``detect``: search the links, tell how far it is, answer with what was found."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from cycler_unit.clock import iso
from cycler_unit.commands import Answer
from cycler_unit.detection import name_of
from cycler_unit.free import Free
from cycler_unit.hub import Hub
from cycler_unit.manual import Manual
from cycler_unit.spool import Entry
from wire.messages import Detect

# A detection tells how far it is so often.
PROGRESS_S = 0.5


class Detecting:
    """Does detections, one after the other."""

    def __init__(self, hub: Hub, free: Free, manual: Manual, publish_devices: Callable[[], None]) -> None:
        self._hub, self._free, self._manual = hub, free, manual
        self._publish_devices = publish_devices

    def detect(self, command: str, args: Detect, answer: Answer) -> None:
        """Search the named links, or all; devices that nobody holds are closed and asked anew."""
        problems = self._hub.devices.learn(args.kinds)
        unknown = [name for name in args.links if self._hub.devices.bus_named(name) is None]
        if unknown:
            answer("refused", None, f"this unit has no link {unknown[0]!r}")
            return
        self._free.rest(self._manual.in_hand())
        report = self._hub.devices.scan(
            make_safe=False, say=Progress(self._hub, command).say, only=args.links
        )
        self._publish_devices()
        places = [
            {
                "link": name_of(each.link),
                "outcome": each.outcome,
                "found": len(each.seen),
                "reason": each.reason,
            }
            for each in self._hub.devices.last
        ]
        found = [msgspec.to_builtins(each) for each in report.devices]
        answer(
            "done",
            {"devices": len(found), "links": places, "devices_found": found, "problems": problems},
            None,
        )


class Progress:
    """Tells how far a long command is, as events, not too often."""

    def __init__(self, hub: Hub, command: str) -> None:
        self._hub, self._command = hub, command
        self._told_s = 0.0

    def say(self, done: int, of: int, text: str) -> None:
        """Put a progress event into the spool, when one is due or this is the end."""
        now = time.monotonic()
        if now - self._told_s < PROGRESS_S and done < of:
            return
        self._told_s = now
        detail = {"command": self._command, "done": done, "of": of, "text": text}
        event = {"at": iso(time.time()), "kind": "progress", "text": text, "detail": detail}
        self._hub.spool.put(Entry(events=[event]), force=True)
