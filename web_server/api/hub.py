"""One task per web process that asks the database what its open event streams need.

Every ``PERIOD_S`` it polls once, on one connection in one thread, and hands each message to the
streams that want it. Were each stream to poll by itself, each would hold a thread and a connection
(measured; architecture.md "Web process").
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from web_server.api.feed import Cursor, Feed, Message, Wants

# Half of this is the mean wait of a sample in the database; with the unit's 0.25 s batches the mean
# from sample to browser stays under the goal of 0.5 s.
PERIOD_S = 0.2
# A client that reads slower than this many messages are made is cut off; it resumes where it was.
BACKLOG = 2000
log = logging.getLogger("web_server.api.stream")


class Stream:
    """One open event stream: what it wants, and the messages it has not sent yet."""

    def __init__(self, wants: Wants, cursor: Cursor) -> None:
        self.wants = wants
        self.cursor = cursor
        self.queue: asyncio.Queue[Message | None] = asyncio.Queue(BACKLOG)
        self.closed = False

    def offer(self, message: Message, always: bool = False) -> None:
        """Queue a message if this stream wants it; close the stream when its client is too slow."""
        if self.closed or not ((always and message.kind != "event") or self.wants.match(message)):
            return
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self.close()

    def close(self) -> None:
        """End the stream after what is queued; the client comes back with its last id."""
        self.closed = True
        if self.queue.full():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class Hub:
    """Polls for all streams of one event loop while there are any."""

    def __init__(self, feed: Callable[[], Feed] = Feed) -> None:
        self._make_feed = feed
        self._feed: Feed | None = None
        self._streams: set[Stream] = set()
        self._task: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._loop = asyncio.get_running_loop()
        self._opening = 0
        self.stopping = False
        self._previous: dict[int, Any] = {}
        self._listen_for_the_end()

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    async def open(self, wants: Wants, cursor: Cursor) -> Stream:
        """Start a stream: first what stands now and what was missed since ``cursor``, then what comes."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="event-streams")
            self._feed = self._make_feed()
        feed = self._feed
        assert feed is not None
        self._opening += 1
        try:
            first, start = await self._read(feed.begin, wants, cursor)
        finally:
            self._opening -= 1
        # One thread does all reading, and results come back in its order: whatever was polled before
        # this stream's beginning is part of it, whatever is polled after is offered below.
        stream = Stream(wants, start)
        for message in first:
            stream.offer(message, always=True)
        self._streams.add(stream)
        if self._task is None:
            self._task = self._loop.create_task(self._run())
        if self.stopping:
            stream.close()
        return stream

    def leave(self, stream: Stream) -> None:
        """Forget a stream whose client went away."""
        stream.closed = True
        self._streams.discard(stream)

    def stop(self) -> None:
        """End all streams: the process is about to stop."""
        self.stopping = True
        for stream in list(self._streams):
            stream.close()

    async def _read(self, function: Callable[..., Any], *args: Any) -> Any:
        assert self._thread is not None
        return await self._loop.run_in_executor(self._thread, function, *args)

    async def _run(self) -> None:
        assert self._feed is not None
        failing = False
        while self._streams and not self.stopping:
            began = self._loop.time()
            try:
                messages = await self._read(self._feed.poll, [s.wants for s in self._streams])
                if failing:
                    log.info("the event streams read the database again")
                failing = False
            except Exception as exc:
                # The database is away: say it once, keep the streams, go on by ourselves.
                if not failing:
                    log.error("the event streams cannot read the database: %s", exc)
                failing, messages = True, []
            for message in messages:
                for stream in list(self._streams):
                    stream.offer(message)
            await asyncio.sleep(max(0.02, PERIOD_S - (self._loop.time() - began)))
        self._task = None
        if not self._opening:
            self._rest()

    def _rest(self) -> None:
        """Give thread and connection back while nobody watches."""
        thread, feed = self._thread, self._feed
        self._thread = self._feed = None
        if thread is not None and feed is not None:
            thread.submit(feed.close)
            thread.shutdown(wait=False)

    def _listen_for_the_end(self) -> None:
        """Learn of SIGTERM and SIGINT before the server does, which then waits for open answers.

        uvicorn ends only when its connections are closed, and an event stream never closes by
        itself: without this a stop takes the whole grace time and then cuts clients off.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            previous = signal.getsignal(number)
            if not callable(previous):
                continue
            self._previous[number] = previous
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.stop)
        self._previous[number](number, frame)


_hubs: dict[int, Hub] = {}


def of_this_loop() -> Hub:
    """Return the hub of the running event loop (a server process has one loop)."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(id(loop))
    if hub is None or hub._loop is not loop:
        hub = _hubs[id(loop)] = Hub()
    return hub
