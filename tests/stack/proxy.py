"""A TCP proxy that a test can cut and mend: a network between two parts of the stack."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from .waiting import free_port


class Proxy:
    """Forward ``port`` of the loopback to ``target_port``.

    ``cut()`` ends all connections and refuses new ones; ``freeze()`` keeps them open but lets
    nothing through, as a pulled cable does; ``mend()`` ends both.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="proxy")

    def start(self) -> Proxy:
        """Listen."""
        self._thread.start()
        self._run(self._listen())
        return self

    def cut(self) -> None:
        """End every connection and refuse new ones."""
        self._run(self._close())

    def freeze(self) -> None:
        """Hold every byte back, leaving the connections open."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def mend(self) -> None:
        """Let bytes and connections through again."""
        self._run(self._listen())

    def stop(self) -> None:
        """End; safe twice."""
        if self._thread.is_alive():
            self._run(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)

    def _run(self, coroutine: object) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(5)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._writers -= {writer, back}

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while block := await source.read(65536):
                await self._flowing.wait()
                sink.write(block)
                await sink.drain()
        with suppress(OSError, RuntimeError):
            sink.close()
