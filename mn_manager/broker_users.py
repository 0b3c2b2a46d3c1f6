"""A user at the broker for every approved unit, with the password that the unit made.

``CELLYARD_MQTT_USERS``: ``static`` (default: whoever runs the broker keeps its users; the connection's
own user is acknowledged) or ``mosquitto`` (its dynamic security plugin, asked over the broker itself).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from typing import Any, Protocol

from mn_manager.settings import BadSetting
from mqtt_link import Link

logger = logging.getLogger("mn_manager.broker_users")

CONTROL = "$CONTROL/dynamic-security/v1"


class BrokerUsers(Protocol):
    """Something that can make a broker user."""

    def ensure(self, unit: str, password: str | None, *, replace: bool) -> None:
        """Let ``unit`` connect with ``password``; an existing user's changes only with ``replace``."""


class Static:
    """Users are kept by hand; nothing is to be done."""

    def ensure(self, unit: str, password: str | None, *, replace: bool) -> None:
        """Do nothing."""


class Mosquitto:
    """Users by Mosquitto's dynamic security plugin: one client and one role per unit.

    The manager's own user needs the plugin's ``dynsec-topic-manage`` role.
    """

    def __init__(self, link: Link, prefix: str) -> None:
        self.link = link
        self.prefix = prefix

    def ensure(self, unit: str, password: str | None, *, replace: bool) -> None:
        """Ask the plugin for role and user; what exists already is refused by it and stays."""
        if not password:
            return
        role = f"unit-{unit}"
        wanted: list[dict[str, Any]] = [
            {"command": "createRole", "rolename": role, "acls": self._rules(unit)},
            {
                "command": "createClient",
                "username": unit,
                "password": password,
                "roles": [{"rolename": role}],
            },
        ]
        if replace:
            wanted.append({"command": "setClientPassword", "username": unit, "password": password})
        if not self.link.publish(CONTROL, json.dumps({"commands": wanted}).encode()):
            logger.warning("event=broker_user_not_made unit=%s reason='no connection'", unit)

    def _rules(self, unit: str) -> list[dict[str, Any]]:
        """A unit speaks and listens below its own topic only (wire.md)."""
        own = f"{self.prefix}/units/{unit}/#"
        kinds = ("publishClientSend", "publishClientReceive", "subscribePattern")
        return [{"acltype": kind, "topic": own, "allow": True} for kind in kinds]


def choose(link: Link, prefix: str, environ: Mapping[str, str] = os.environ) -> BrokerUsers:
    """Return what ``CELLYARD_MQTT_USERS`` names; raises `BadSetting`."""
    chosen = environ.get("CELLYARD_MQTT_USERS", "static")
    if chosen == "mosquitto":
        return Mosquitto(link, prefix)
    if chosen != "static":
        raise BadSetting(f"CELLYARD_MQTT_USERS is {chosen!r}; use static or mosquitto")
    return Static()
