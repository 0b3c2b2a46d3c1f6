"""Log set-up of the unit: one event a line, as ``key=value`` text or JSON.

The server processes log in the same form (``web_server.lib.logs``, a Django set-up). Twins on purpose: unit
and site share no code but what crosses the broker, and forty lines are no reason for a package between
them; ``tests/cycler_unit/test_logs.py`` keeps both to one form and one way to read the settings.

``CELLYARD_LOG`` is a level, or levels by logger: ``INFO,mn_manager=DEBUG,cycler_unit.link=WARNING``.
``CELLYARD_LOG_FORMAT`` is ``text`` or ``json``.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Mapping

# Lines that ``unit.log`` can return.
KEPT = 2000
# A traceback is cut at this many characters there, and an answer at this many bytes.
LONGEST, ANSWER_MAX = 4000, 400_000
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class BadLogSetting(ValueError):
    """A log setting cannot be used; the text names the setting and what is allowed."""


class TextFormatter(logging.Formatter):
    """``2026-01-02T03:04:05.678Z INFO mn_manager event=started ...``; a traceback follows indented."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_stamp(record)} {record.levelname} {record.name} {_one_line(record.getMessage())}"
        if record.exc_info:
            line += "\n    " + self.formatException(record.exc_info).replace("\n", "\n    ")
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the traceback inside."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "at": _stamp(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


class Recent(logging.Handler):
    """Keeps the last lines, for who asks from afar."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=KEPT)
        self.setFormatter(TextFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record)[:LONGEST])

    def last(self, count: int) -> list[str]:
        """Return the last lines, oldest first, as many as one answer may carry."""
        found: list[str] = []
        room = ANSWER_MAX
        for line in reversed(list(self.lines)[-max(1, min(count, KEPT)) :]):
            room -= len(line.encode())
            if room < 0:
                break
            found.append(line)
        return found[::-1]


recent = Recent()


def set_up(environ: Mapping[str, str] = os.environ) -> None:
    """Send every logger to standard error as the environment says; raises :class:`BadLogSetting`."""
    form = environ.get("CELLYARD_LOG_FORMAT", "text")
    if form not in ("text", "json"):
        raise BadLogSetting(f"CELLYARD_LOG_FORMAT={form}: allowed are text and json")
    levels = parse_levels(environ.get("CELLYARD_LOG", "INFO"))
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler, recent], level=levels.pop("", "INFO"), force=True)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def set_levels(text: str) -> None:
    """Set levels while running, as ``CELLYARD_LOG`` does; raises :class:`BadLogSetting`."""
    for name, level in parse_levels(text).items():
        logging.getLogger(name or None).setLevel(level)


def levels() -> dict[str, str]:
    """Return logger name → level of all loggers that have one of their own; ``""`` is all others'."""
    found = {"": logging.getLevelName(logging.getLogger().level)}
    for name, logger in sorted(logging.getLogger().manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET:
            found[name] = logging.getLevelName(logger.level)
    return found


def parse_levels(text: str) -> dict[str, str]:
    """Return logger name → level; the key ``""`` is the level of all others."""
    levels: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, level = part.rpartition("=")
        if level.upper() not in LEVELS:
            raise BadLogSetting(
                f"CELLYARD_LOG={text}: {level!r} is no level; allowed are {', '.join(LEVELS)}"
            )
        levels[name.strip()] = level.upper()
    return levels


def _stamp(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _one_line(text: str) -> str:
    # What a stranger sent must not be able to forge a second log line.
    return text.replace("\r", "\\r").replace("\n", "\\n")
