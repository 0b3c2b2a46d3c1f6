"""The manager's settings, parsed once; a wrong one stops the start with its name."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqtt_link import Address, BadAddress


class BadSetting(ValueError):
    """A setting cannot be used; the text names it and says what is allowed."""


@dataclass(frozen=True)
class Settings:
    """What a manager needs to know. ``name`` is its own among all managers; empty = by host."""

    mqtt_url: str
    mqtt_ca: str | None
    prefix: str
    state_dir: Path
    name: str
    http_host: str
    http_port: int


def read(cellyard: Any, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings from Django's ``CELLYARD`` and the environment; raises `BadSetting`."""
    if not cellyard.mqtt_url:
        raise BadSetting("CELLYARD_MQTT_URL is not set; e.g. mqtt://manager:password@127.0.0.1:1883")
    try:
        Address.parse(cellyard.mqtt_url)
    except BadAddress as error:
        raise BadSetting(f"CELLYARD_MQTT_URL: {error}") from None
    if cellyard.mqtt_ca and not Path(cellyard.mqtt_ca).is_file():
        raise BadSetting(f"CELLYARD_MQTT_CA: there is no file {cellyard.mqtt_ca}")
    prefix = cellyard.mqtt_prefix.strip("/")
    if not prefix or any(sign in prefix for sign in "+#$ "):
        raise BadSetting(f"CELLYARD_MQTT_PREFIX is {prefix!r}; e.g. cellyard/v1, without + # $ and blanks")
    return Settings(
        mqtt_url=cellyard.mqtt_url,
        mqtt_ca=cellyard.mqtt_ca or None,
        prefix=prefix,
        state_dir=Path(cellyard.state_dir),
        name=environ.get("CELLYARD_MANAGER_NAME", "").strip()[:64],
        http_host=environ.get("CELLYARD_MANAGER_BIND", "127.0.0.1"),
        http_port=_port(environ.get("CELLYARD_MANAGER_PORT", "0")),
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise BadSetting(f"CELLYARD_MANAGER_PORT is {text!r}; a port from 1 to 65535, or 0 for none")
    return int(text)


def host_name() -> str:
    """Return this computer's name, short enough for a manager's."""
    return socket.gethostname()[:50] or "host"
