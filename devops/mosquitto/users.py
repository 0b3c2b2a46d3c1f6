"""Write the first users of Mosquitto's dynamic security plugin: ``python -m devops.mosquitto.users``.

The passwords of ``manager``, ``enrol`` and ``bench`` are read from files ``mqtt-USER`` of a folder;
a user without such a file is left out. The plugin owns the file from its first start on and adds a
user for every approved unit, asked by the manager.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import secrets
import sys
from pathlib import Path
from typing import Any

PREFIX = "cellyard/v1"
# What the plugin itself uses for new passwords (mosquitto_ctrl of 2.0).
ITERATIONS = 101

_ASK, _ANSWER, _UNITS = (f"{PREFIX}/{rest}" for rest in ("enrol/+/ask", "enrol/+/answer", "units/#"))
# What each user may send and subscribe to.
RIGHTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # It also makes the users of approved units.
    "manager": (
        (f"{PREFIX}/#", "$CONTROL/dynamic-security/v1"),
        (f"{PREFIX}/#", "$CONTROL/dynamic-security/v1/response"),
    ),
    # For units that have no user of their own yet.
    "enrol": ((_ASK,), (_ANSWER,)),
    # The simulated unit of one machine, whose name is not the unit's UUID.
    "bench": ((_ASK, _UNITS), (_ANSWER, _UNITS)),
}


def configuration(passwords: dict[str, str]) -> dict[str, Any]:
    """Return the plugin's configuration with these users of ``RIGHTS`` and nobody else."""
    return {
        # Whoever may subscribe may receive; everything else must be allowed by a role.
        "defaultACLAccess": {
            "publishClientSend": False,
            "publishClientReceive": True,
            "subscribe": False,
            "unsubscribe": True,
        },
        "clients": [_client(user, password) for user, password in passwords.items()],
        "groups": [],
        "roles": [_role(user) for user in passwords],
    }


def _client(user: str, password: str) -> dict[str, Any]:
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    return {
        "username": user,
        "password": base64.b64encode(digest).decode(),
        "salt": base64.b64encode(salt).decode(),
        "iterations": ITERATIONS,
        "roles": [{"rolename": user}],
    }


def _role(user: str) -> dict[str, Any]:
    sends, hears = RIGHTS[user]
    allowed = [("publishClientSend", topic) for topic in sends]
    # Below $CONTROL the default to receive what was subscribed to does not hold.
    allowed += [(kind, topic) for topic in hears for kind in ("subscribePattern", "publishClientReceive")]
    return {
        "rolename": user,
        "acls": [{"acltype": kind, "topic": topic, "priority": 0, "allow": True} for kind, topic in allowed],
    }


def main() -> None:
    """Print the configuration for the passwords of a folder."""
    parser = argparse.ArgumentParser(prog="python -m devops.mosquitto.users", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files mqtt-manager and so on are")
    folder = parser.parse_args().folder
    files = {user: folder / f"mqtt-{user}" for user in RIGHTS}
    passwords = {
        user: file.read_text(encoding="utf-8").strip() for user, file in files.items() if file.exists()
    }
    if "manager" not in passwords:
        sys.exit(f"{folder / 'mqtt-manager'} is missing: it holds the manager's password")
    print(json.dumps(configuration(passwords), indent=2))


if __name__ == "__main__":
    main()
