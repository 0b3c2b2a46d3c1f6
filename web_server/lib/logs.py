"""Logging of every server process: one event a line, as text or JSON, with levels per logger.

The same form as the units' (``cycler_unit.logs`` says why there are two).
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# What every record has; whatever else it carries came with ``extra=`` and belongs on the line.
_STANDARD = set(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "request",
    "color_message",
}


class BadLogSetting(ValueError):
    """``CELLYARD_LOG`` names no known level, or ``CELLYARD_LOG_FORMAT`` no known form."""


def parse_levels(setting: str) -> tuple[str, dict[str, str]]:
    """Return the root level and the levels by logger of e.g. ``INFO,mn_manager=DEBUG``.

    Raises:
        BadLogSetting: a level is not one of ``LEVELS``.
    """
    root, named = "INFO", {}
    for part in filter(None, (piece.strip() for piece in setting.split(","))):
        name, _, level = part.rpartition("=")
        level = level.strip().upper()
        if level not in LEVELS:
            raise BadLogSetting(f"CELLYARD_LOG: {part!r} names no level; use one of {', '.join(LEVELS)}")
        if name:
            named[name.strip()] = level
        else:
            root = level
    return root, named


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: entry for key, entry in vars(record).items() if key not in _STANDARD}


def _stamp(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, tz=UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _one_line(text: str) -> str:
    # What a stranger sent must not be able to forge a second log line.
    return text.replace("\r", "\\r").replace("\n", "\\n")


class Text(logging.Formatter):
    """``2026-01-02T03:04:05.678Z INFO mn_manager.ingest stored 40 rows experiment=…``, as units write."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line (a traceback, if any, follows it)."""
        extras = "".join(f" {key}={entry}" for key, entry in _extras(record).items())
        line = f"{_stamp(record)} {record.levelname} {record.name} {_one_line(record.getMessage() + extras)}"
        if record.exc_info:
            line += "\n    " + self.formatException(record.exc_info).replace("\n", "\n    ")
        return line


class Json(logging.Formatter):
    """One JSON object a line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one JSON object."""
        line = {
            "at": _stamp(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def config(setting: str, form: str) -> dict[str, Any]:
    """Return Django's ``LOGGING`` for ``CELLYARD_LOG`` and ``CELLYARD_LOG_FORMAT``.

    Raises:
        BadLogSetting: one of them is not allowed.
    """
    if form not in ("text", "json"):
        raise BadLogSetting(f"CELLYARD_LOG_FORMAT is {form!r}; use one of text, json")
    root, named = parse_levels(setting)
    loggers: dict[str, dict[str, Any]] = {name: {"level": level} for name, level in named.items()}
    # Django's own handlers would print every line a second time.
    for name in ("django", "django.server", "django.request"):
        loggers.setdefault(name, {}).update({"handlers": [], "propagate": True})
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"()": "web_server.lib.logs.Text"},
            "json": {"()": "web_server.lib.logs.Json"},
        },
        "handlers": {"stream": {"class": "logging.StreamHandler", "formatter": form}},
        "root": {"level": root, "handlers": ["stream"]},
        "loggers": loggers,
    }
