"""The console: raw messages on a bus, typed by a person, and a live look at a CAN bus (wire.md).

A write is refused on a bus of which any device runs, in a test or in somebody's hands; a query must
then be a pure question. On CAN, node 0, message types 0x8 to 0xF and wrong lengths are refused always,
unless a manager forces them on an idle bus.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cycler_unit.buses.protocol import Buses, Frame, bus_key
from cycler_unit.clock import iso
from cycler_unit.commands import Answer
from cycler_unit.console_rules import acts, dangerous
from cycler_unit.contract import Refusal
from cycler_unit.devices import Devices
from cycler_unit.drivers.errors import DriverError
from cycler_unit.live_ear import LiveEar
from wire.messages import CanListen, CanSend, Message, ScpiMessage

logger = logging.getLogger("cycler_unit.console")

# People at once; each listens or waits for an answer on a thread of its own.
AT_ONCE = 4
# The longest that one console command may take: its reply is waited for.
LONGEST_S = 25.0
MOST_FRAMES = 2000
LONGEST_TEXT = 4000
# A detection holds the buses; a person waits so long for its end, then is told.
SCAN_WAIT_S = 2.0
# While a device of the bus runs, an answer is awaited for so long: inside the permit of its output (rule 8).
RUNS_S = 0.25
# Longer answers do not fit into one message of the broker with everything around them.
REPLY_FRAMES = 1000

ID_MAX, PAYLOAD_MAX = 0x7FF, 8
Running = Callable[[], dict[str, str]]
"""Which buses have a device that runs: bus key → who runs there."""


class Console:
    """Does console commands, each on a thread of its own."""

    def __init__(self, devices: Devices, buses: Buses, running: Running) -> None:
        self._devices, self._buses, self._running = devices, buses, running
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="console")
        self._ears: dict[tuple[str, int, int], LiveEar] = {}
        self._lock = threading.Lock()

    def stop(self) -> None:
        """End all listeners."""
        with self._lock:
            ears = list(self._ears.values())
        for ear in ears:
            ear.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def do(self, kind: str, args: Message, answer: Answer) -> None:
        """Check what can be checked at once, then act in the background and answer."""
        match args:
            case ScpiMessage():
                link = self._text_link(args)
                act = self._write if kind == "scpi.write" else self._query
                self._later(lambda: act(link, args), answer)
            case CanSend():
                link = self._can_link(args.link)
                payload = self._frame(args)
                self._later(lambda: self._send(link, args, payload), answer)
            case CanListen():
                link = self._can_link(args.link)
                self._later(lambda: self._listen(link, args), answer)
            case _:
                raise Refusal(f"the console does not do {kind!r}")

    def _later(self, act: Callable[[], dict[str, Any]], answer: Answer) -> None:
        def work() -> None:
            try:
                result = act()
            except Refusal as refusal:
                answer("refused", None, refusal.text)
            except DriverError as error:
                answer("failed", None, str(error))
            except Exception as error:
                logger.exception("event=console_failed")
                answer("failed", None, f"internal error: {type(error).__name__}: {error}")
            else:
                answer("done", result, None)

        self._pool.submit(work)

    def _link(self, name: str) -> dict[str, Any]:
        link = self._devices.bus_named(name)
        if link is None:
            raise Refusal(f"this unit has no link {name!r}")
        return link

    def _refuse_running(self, link: dict[str, Any], what: str) -> None:
        who = self._running().get(bus_key(link))
        if who is not None:
            raise Refusal(f"{what} is refused on this bus while {who} runs there")

    # --- text -----------------------------------------------------------------------------------

    def _text_link(self, args: ScpiMessage) -> dict[str, Any]:
        link = self._link(args.link)
        if link.get("kind") not in ("visa", "serial"):
            raise Refusal(f"{args.link} is a bus of kind {link.get('kind')!r}: it carries no text messages")
        if not args.text.strip() or len(args.text) > LONGEST_TEXT:
            raise Refusal(f"type a message of 1 to {LONGEST_TEXT} characters")
        if not args.text.isprintable() or not args.text.isascii():
            raise Refusal("a message is one line of plain ASCII; its end is added by the link")
        if not 0.0 < args.timeout_s <= LONGEST_S:
            raise Refusal(f"timeout_s is {args.timeout_s:g}; allowed are up to {LONGEST_S:g} s")
        return link

    def _query(self, link: dict[str, Any], args: ScpiMessage) -> dict[str, Any]:
        began = time.monotonic()
        with self._devices.opening(link, SCAN_WAIT_S) as may:
            self._refuse_scan(may)
            # Here, not before: a test may have begun while a detection was waited for.
            if (why := acts(args.text)) is not None:
                self._refuse_running(link, f"{args.text!r} is no pure question ({why}) and")
            # A device that runs is read by its control loop, which waits while this is asked.
            runs = bus_key(link) in self._running()
            lines = self._buses.query(
                link, args.text, min(args.timeout_s, RUNS_S) if runs else args.timeout_s
            )
        return {"lines": lines, "answered_s": round(time.monotonic() - began, 4)}

    def _write(self, link: dict[str, Any], args: ScpiMessage) -> dict[str, Any]:
        with self._devices.opening(link, SCAN_WAIT_S) as may:
            self._refuse_scan(may)
            self._refuse_running(link, "scpi.write")
            self._buses.write(link, args.text)
        return {"sent": args.text}

    @staticmethod
    def _refuse_scan(may: bool) -> None:
        if not may:
            raise Refusal("a detection is going on; try again when it has ended")

    # --- CAN ------------------------------------------------------------------------------------

    def _can_link(self, name: str) -> dict[str, Any]:
        link = self._link(name)
        if link.get("kind") != "can":
            raise Refusal(f"{name} is a bus of kind {link.get('kind')!r}, not a CAN bus")
        return {key: value for key, value in link.items() if key not in ("node", "unit")}

    @staticmethod
    def _frame(args: CanSend) -> bytes:
        try:
            payload = bytes.fromhex(args.payload)
        except ValueError:
            raise Refusal(f"payload {args.payload!r} is no hex: two digits a byte, e.g. 08 00") from None
        if not 0 <= args.id <= ID_MAX or len(payload) > PAYLOAD_MAX:
            raise Refusal(f"a frame has an id from 0 to 0x{ID_MAX:X} and at most {PAYLOAD_MAX} bytes")
        if not 0.0 <= args.listen_s <= LONGEST_S:
            raise Refusal(f"listen_s is {args.listen_s:g}; allowed are up to {LONGEST_S:g} s")
        why = dangerous(args.id, payload)
        if why is not None and not args.force:
            raise Refusal(f"{why}; with force it is sent all the same, on a bus that is idle")
        return payload

    def _send(self, link: dict[str, Any], args: CanSend, payload: bytes) -> dict[str, Any]:
        with self._devices.opening(link, SCAN_WAIT_S) as may:
            self._refuse_scan(may)
            self._refuse_running(link, "can.send")
            at_s = time.time()
            heard = self._buses.send(link, args.id, payload, args.listen_s)
        sent = Frame(at_s=at_s, id=args.id, payload=payload.hex(), ours=True)
        return {"sent": shown(sent), "frames": [shown(frame) for frame in heard[:REPLY_FRAMES]]}

    def _listen(self, link: dict[str, Any], args: CanListen) -> dict[str, Any]:
        if not 0.0 < args.seconds <= LONGEST_S:
            raise Refusal(f"seconds is {args.seconds:g}; allowed are up to {LONGEST_S:g}")
        if not 0 < args.most <= MOST_FRAMES:
            raise Refusal(f"most is {args.most}; allowed are 1 to {MOST_FRAMES}")
        ear = self._ear(link, args)
        frames, lost, after = ear.take(args.after, args.seconds, min(args.most, REPLY_FRAMES))
        return {"frames": [{"n": n, **shown(frame)} for n, frame in frames], "next": after, "lost": lost}

    def _ear(self, link: dict[str, Any], args: CanListen) -> LiveEar:
        key = (bus_key(link), args.id & args.mask, args.mask)
        with self._lock:
            self._ears = {each: ear for each, ear in self._ears.items() if ear.is_alive()}
            if key not in self._ears:
                self._ears[key] = LiveEar(self._buses, link, args.id, args.mask)
                self._ears[key].start()
            return self._ears[key]


def shown(frame: Frame) -> dict[str, Any]:
    """Return a frame as the site gets it: raw always, decoded where the DBC knows it."""
    from cycler_unit import dbc  # on use, as python-can

    payload = bytes.fromhex(frame.payload)
    return {
        "at": iso(frame.at_s),
        "id": frame.id,
        "node": frame.id >> 4,
        "message": frame.id & 0xF,
        "payload": frame.payload,
        "ours": frame.ours,
        "decoded": dbc.decode(frame.id, payload, ours=frame.ours),
    }
