"""Deployment mistakes as Django system checks, each with an id; `prepare` and all of `manage.py` run them."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.utils import OperationalError

# Older ones lack what the migrations use (check constraints, JSON, window functions).
MARIADB_MIN = (10, 6)
MYSQL_MIN = (8, 0, 16)


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1", "[::1]") or host.startswith("127.")


@register(Tags.security)
def exposure(app_configs: Iterable[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Find settings that are fine on one's own machine only."""
    found: list[CheckMessage] = []
    own = settings.CELLYARD
    open_to_all = not _is_loopback(own.bind)
    if settings.DEBUG and open_to_all:
        found.append(
            Error(
                f"CELLYARD_DEBUG is on while the site listens on {own.bind}: errors would show the settings.",
                hint="Unset CELLYARD_DEBUG.",
                id="cellyard.E001",
            )
        )
    if own.bind in ("0.0.0.0", "::", "[::]") and all(_is_loopback(host) for host in settings.ALLOWED_HOSTS):
        found.append(
            Warning(
                f"The site listens on {own.bind} but answers only to {', '.join(sorted(settings.ALLOWED_HOSTS))}.",
                hint="Set CELLYARD_HOSTS to the names people type, separated by commas.",
                id="cellyard.W001",
            )
        )
    if open_to_all and not own.https:
        found.append(
            Warning(
                "The site is open to the network without HTTPS: passwords would travel readable.",
                hint="Put a proxy that ends TLS in front and set CELLYARD_HTTPS=true.",
                id="cellyard.W002",
            )
        )
    if own.https and not settings.CSRF_TRUSTED_ORIGINS:
        found.append(
            Warning(
                "CELLYARD_HTTPS is on without CELLYARD_ORIGINS: a proxy that changes the Host header makes every "
                "form be refused.",
                hint="Set CELLYARD_ORIGINS to e.g. https://cellyard.example.org.",
                id="cellyard.W003",
            )
        )
    return found


@register(Tags.security)
def secrets(app_configs: Iterable[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Find secrets that others can read or guess."""
    found: list[CheckMessage] = []
    for name in ("secret-key", "admin-password", "enrol-token"):
        path = Path(settings.CELLYARD.state_dir) / name
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            found.append(
                Error(f"{path} can be read by others.", hint=f"chmod 600 {path}", id="cellyard.E002")
            )
    # Django's own advice: fewer characters, or few different ones, can be guessed.
    if len(settings.SECRET_KEY) < 50 or len(set(settings.SECRET_KEY)) < 5:
        found.append(
            Error(
                "CELLYARD_SECRET_KEY is too short or too simple to sign sessions with.",
                hint="Leave it unset: one is generated into the state folder. Or give 50 random characters.",
                id="cellyard.E003",
            )
        )
    return found


@register(Tags.database)
def database(
    app_configs: Iterable[AppConfig] | None, databases: Iterable[str] | None, **_: Any
) -> list[CheckMessage]:
    """Find a database that does not keep what Cellyard relies on (runs with `check --database default`)."""
    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.vendor != "mysql":
        return []
    try:
        version, is_mariadb = connection.mysql_version, connection.mysql_is_mariadb
    except OperationalError as error:
        return [Error(f"The database does not answer: {error}", id="cellyard.E004")]
    least = MARIADB_MIN if is_mariadb else MYSQL_MIN
    name = "MariaDB" if is_mariadb else "MySQL"
    if version < least:
        wanted = ".".join(map(str, least))
        return [
            Error(
                f"This is {name} {'.'.join(map(str, version))}; {wanted} or newer is needed.",
                id="cellyard.E005",
            )
        ]
    return []
