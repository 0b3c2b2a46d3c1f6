"""``/healthz`` and ``/metrics`` on a port of their own."""

from __future__ import annotations

import logging
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mn_manager.loop import Manager

logger = logging.getLogger("mn_manager.http")

# Longer than the longest transaction a busy SQLite makes us wait for (20 s).
STUCK_S = 30.0


def serve(manager: Manager, host: str, port: int) -> ThreadingHTTPServer:
    """Answer on a thread of its own until ``shutdown()``; port 0 takes a free one. Raises OSError."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer one of the two addresses."""
            pages = {"/healthz": health, "/metrics": metrics}
            page = pages.get(self.path.partition("?")[0])
            status, text = page(manager) if page else (404, "not found\n")
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log questions for debugging only."""
            logger.debug("event=asked line=%r", format % args)

    server = ThreadingHTTPServer((host, port), Handler)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server


def health(manager: Manager) -> tuple[int, str]:
    """Return 200 while the loop turns, whatever is away; 503 when it is stuck."""
    age_s = time.monotonic() - manager.turned_s
    if age_s > STUCK_S:
        return 503, f"stuck for {age_s:.0f} s\n"
    return 200, "ok\n"


def metrics(manager: Manager) -> tuple[int, str]:
    """Return all counters in Prometheus' text form."""
    lines = [
        _gauge("database_up", "Whether the database answered last time.", int(manager.database_up)),
        _gauge("broker_up", "Whether the broker is connected.", int(manager.link.connected)),
        _gauge("units", "Units that this manager serves.", len(manager.leases.units)),
        _gauge("inbox_messages", "Messages that wait for the loop.", len(manager.inbox)),
        "# HELP cellyard_manager_total What the manager did.\n# TYPE cellyard_manager_total counter\n",
        *_labelled("cellyard_manager_total", "what", manager.counters.counts),
        _line("cellyard_manager_total", "what", "commands_published", manager.dispatch.published),
        "# HELP cellyard_manager_dropped_total Messages dropped.\n# TYPE cellyard_manager_dropped_total counter\n",
        *_labelled("cellyard_manager_dropped_total", "why", manager.counters.dropped),
    ]
    return 200, "".join(lines)


def _gauge(name: str, text: str, value: float) -> str:
    full = f"cellyard_manager_{name}"
    return f"# HELP {full} {text}\n# TYPE {full} gauge\n{full} {value}\n"


def _labelled(name: str, label: str, counts: dict[str, int]) -> list[str]:
    return [_line(name, label, key, count) for key, count in sorted(counts.copy().items())]


def _line(name: str, label: str, key: str, count: int) -> str:
    return f'{name}{{{label}="{re.sub(r"[^a-z_]", "_", key)}"}} {count}\n'
