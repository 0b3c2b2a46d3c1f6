"""Logging of every server process: one event a line, as text or JSON, with levels per logger."""

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
    """``CELLYARD_LOG`` names no known level."""


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


class Text(logging.Formatter):
    """``12:00:01.123 INFO mn_manager.ingest stored 40 rows experiment=… unit=…``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line (a traceback, if any, follows it)."""
        at = datetime.fromtimestamp(record.created, tz=UTC).strftime("%H:%M:%S.%f")[:-3]
        extras = "".join(f" {key}={entry}" for key, entry in _extras(record).items())
        line = f"{at} {record.levelname} {record.name} {record.getMessage()}{extras}"
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class Json(logging.Formatter):
    """One JSON object a line, for machines."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one JSON object."""
        line = {
            "at": datetime.fromtimestamp(record.created, tz=UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "text": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def config(setting: str, form: str) -> dict[str, Any]:
    """Return Django's ``LOGGING`` for ``CELLYARD_LOG`` and ``CELLYARD_LOG_FORMAT``."""
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
