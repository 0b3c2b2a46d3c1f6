"""The processes of one machine: what each is started with, and what it is allowed to know."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from devops.broker import passwords

from .settings import ROOT, Settings

# Marks every process of a supervisor, so that what a killed one left behind is recognised.
MARK = "CELLYARD_UP"
# Only the site and the manager may know the database and the site's secrets (architecture.md).
SERVER_ONLY = ("CELLYARD_DATABASE_URL", "CELLYARD_SECRET_KEY", "CELLYARD_ADMIN_PASSWORD")
# Only the manager and the unit know the broker.
BROKER_ONLY = ("CELLYARD_MQTT_URL",)


@dataclass(frozen=True)
class Program:
    """One process. Those with a higher ``rank`` start earlier and end later."""

    name: str
    arguments: tuple[str, ...]
    rank: int
    # How long it may take to end by itself.
    patience_s: float
    env: dict[str, str] = field(default_factory=dict, repr=False)


def environment(settings: Settings, without: tuple[str, ...] = (), **more: str) -> dict[str, str]:
    """Return the environment of a process, with the settings spelt out and without what it must not know."""
    hidden = {name + suffix for name in without for suffix in ("", "_FILE")}
    return {
        **{name: text for name, text in os.environ.items() if name not in hidden},
        "CELLYARD_STATE_DIR": str(settings.state_dir),
        "CELLYARD_BIND": settings.bind,
        "CELLYARD_WEB_PORT": str(settings.web_port),
        "PYTHONUNBUFFERED": "1",
        MARK: str(settings.state_dir),
        **more,
    }


def broker_url(settings: Settings, user: str) -> str:
    """Return the broker's address for one of its users; an outside broker's address is used as given."""
    if settings.mqtt_url:
        return settings.mqtt_url
    return f"mqtt://{user}:{quote(passwords(settings.state_dir)[user])}@{settings.host}:{settings.mqtt_port}"


def early(settings: Settings, simulated: Path) -> list[Program]:
    """Return what can start before the database is ready: the embedded broker and the simulators."""
    python = sys.executable
    nothing = environment(settings, without=SERVER_ONLY + BROKER_ONLY)
    listen = ("--host", settings.bind, "--port", str(settings.mqtt_port))
    broker = (python, "-m", "devops.broker", "--state-dir", str(settings.state_dir), *listen)
    simulators = (python, "-m", "cycler_unit.simulators", "--config", str(simulated))
    programs = [Program("simulators", simulators, 40, 3, nothing)]
    return programs if settings.mqtt_url else [Program("broker", broker, 50, 3, nothing), *programs]


def late(settings: Settings, unit_file: Path) -> list[Program]:
    """Return what needs the database or the unit's file."""
    python = sys.executable
    manager = environment(settings, CELLYARD_MQTT_URL=broker_url(settings, "manager"))
    web = environment(settings, without=BROKER_ONLY)
    unit = environment(settings, without=SERVER_ONLY + BROKER_ONLY)
    gunicorn = (python, "-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py"))
    return [
        Program("manager", (python, "-m", "mn_manager"), 30, 10, manager),
        Program("web", gunicorn, 20, 6, web),
        # It switches its outputs off and says goodbye first.
        Program("unit", (python, "-m", "cycler_unit", "--config", str(unit_file)), 10, 10, unit),
    ]
