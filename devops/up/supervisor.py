"""Start the processes, watch them, start again what dies: circus with an order and our own short log."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import shlex
import signal
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from circus.arbiter import Arbiter
from circus.exc import ConflictError
from circus.watcher import Watcher
from tornado.ioloop import IOLoop

from .logs import Prefixed, say
from .processes import Program

# How soon a death is noticed. Together with a process's own start this stays under 2 s.
CHECK_EVERY_S = 0.25
# The system's limit on a socket's path is 107 bytes on Linux, 103 elsewhere; our names need some.
SOCKET_PATH_BYTES = 80


class Supervisor(Arbiter):  # type: ignore[misc]
    """Runs programs until told to stop; names each in ``run_dir/NAME.pid``.

    ``before_start`` are called before every start of the program they are named after,
    ``before_stop`` once, while everything still runs.
    """

    def __init__(
        self,
        run_dir: Path,
        before_start: dict[str, Callable[[], None]],
        before_stop: Callable[[], None],
    ) -> None:
        self.run_dir = run_dir
        self.before_start = before_start
        self.before_stop = before_stop
        self._spawned: set[str] = set()
        self._ending = False
        # It says in log lines what we say in sentences.
        logging.getLogger("circus").setLevel(logging.CRITICAL)
        # circus's default is an open TCP port that anybody on the machine could give orders to.
        folder = (
            run_dir if len(str(run_dir)) < SOCKET_PATH_BYTES else Path(tempfile.mkdtemp(prefix="cellyard-"))
        )
        super().__init__(
            [],
            f"ipc://{folder}/circus.sock",
            f"ipc://{folder}/circus-events.sock",
            check_delay=CHECK_EVERY_S,
            proc_name="cellyard-up",
        )

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Begin ``work`` in the loop and return when everything has ended (SIGINT, SIGTERM)."""
        loop: IOLoop = self.loop
        # circus's own handlers lose a signal that comes while it looks after its processes.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.asyncio_loop.add_signal_handler(number, self.quit)  # type: ignore[attr-defined]
        loop.add_callback(work)
        self.start()

    def quit(self) -> None:
        """Begin to end everything; safe twice."""
        if not self._ending:
            self._ending = True
            self.loop.add_callback(self._end)

    async def _end(self) -> None:
        while True:
            try:
                await self.stop()
            except ConflictError:
                # It is just starting something again, which takes some milliseconds.
                await asyncio.sleep(0.02)
            else:
                return

    @property
    def ending(self) -> bool:
        """Whether the end was asked for."""
        return self._ending

    async def launch(self, programs: list[Program]) -> None:
        """Start programs; nothing is started once the end was asked for."""
        for program in programs:
            if self._ending:
                return
            stream = {"stream": Prefixed(program.name)}
            watcher = self.add_watcher(
                program.name,
                shlex.quote(program.arguments[0]),
                args=list(program.arguments[1:]),
                env=program.env,
                priority=program.rank,
                graceful_timeout=program.patience_s,
                stop_signal=signal.SIGTERM,
                singleton=True,
                # What cannot be started now may be startable in a second.
                max_retry=-1,
                stdout_stream=dict(stream),
                stderr_stream=dict(stream),
                hooks={
                    "before_spawn": (self._before_spawn, True),
                    "after_spawn": (self._after_spawn, True),
                    "before_reap": (self._before_reap, True),
                    "after_reap": (self._after_reap, True),
                },
            )
            await self.start_watcher(watcher)

    async def _stop_watchers(self, close_output_streams: bool = False, watcher_iter_func: Any = None) -> None:
        """Stop by rank, the lowest first: the unit says goodbye through a broker that still runs."""
        self.ctrl.caller.stop()  # nothing is started again from here on
        self.before_stop()
        for _rank, group in itertools.groupby(
            self.iter_watchers(reverse=False), key=lambda each: each.priority
        ):
            endings = [watcher._stop(close_output_streams) for watcher in group]
            for ending in endings:
                await ending

    def _before_spawn(self, watcher: Watcher, **_more: Any) -> bool:
        self.before_start.get(watcher.name, lambda: None)()
        return True

    def _after_spawn(self, watcher: Watcher, pid: int, **_more: Any) -> bool:
        (self.run_dir / f"{watcher.name}.pid").write_text(f"{pid}\n")
        if watcher.name in self._spawned:
            say("up", f"{watcher.name} was started again (pid {pid})")
        self._spawned.add(watcher.name)
        return True

    def _before_reap(self, watcher: Watcher, process_pid: int, **_more: Any) -> bool:
        """Take the last output of a process that ended, and listen to it no more.

        circus closes its pipes now but forgets them only at their end, which does not come while a child
        of it holds the other side. The next process may get the same file numbers, and circus would lose it.
        """
        process = watcher.processes[process_pid]
        redirector = watcher.stream_redirector
        for name, pipe in redirector.get_process_pipes(process):
            os.set_blocking(pipe.fileno(), False)
            with contextlib.suppress(BlockingIOError):
                while data := os.read(pipe.fileno(), redirector.buffer):
                    redirector.redirect[name]({"data": data})
        redirector.remove_redirections(process)
        return True

    def _after_reap(self, watcher: Watcher, exit_code: int, **_more: Any) -> bool:
        (self.run_dir / f"{watcher.name}.pid").unlink(missing_ok=True)
        if not self._ending:
            say("up", f"{watcher.name} ended by itself ({in_words(exit_code)})")
        return True


def in_words(exit_code: int) -> str:
    """Say how a process ended; negative codes are signals."""
    if exit_code < 0:
        return f"signal {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
