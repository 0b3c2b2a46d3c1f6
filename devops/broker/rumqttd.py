"""The configuration of the embedded broker, which is rumqttd as packaged by ``iotcore``."""

from __future__ import annotations

import json
from pathlib import Path

from devops.secret_files import kept_secret, write_private

# The manager, the simulated unit, and units that ask to be registered (wire.md, Registration).
USERS = ("manager", "bench", "enrol")

# The limit on a payload is 1 MiB (wire.md); rumqttd counts the topic and header too, so they get room.
MAX_PACKET_BYTES = 1024 * 1024 + 4096

# One message of 1 MiB must fit into a segment many times over: a segment is dropped whole.
SEGMENT_BYTES = 64 * 1024 * 1024

TEMPLATE = """\
# Written at every start of the embedded broker; a change made here does not last.
id = 0

[router]
id = 0
max_connections = 200
max_outgoing_packet_count = 200
max_segment_size = {segment}
max_segment_count = 4

[v4.1]
name = "v4-1"
listen = "{host}:{port}"
next_connection_delay_ms = 1

[v4.1.connections]
connection_timeout_ms = 10000
max_payload_size = {packet}
max_inflight_count = 100
dynamic_filters = true

[v4.1.connections.auth]
{users}
"""


def passwords(state_dir: Path) -> dict[str, str]:
    """Return the password of each of ``USERS``, made on first use, kept with mode 0600."""
    return {user: kept_secret(state_dir / "secrets" / f"mqtt-{user}") for user in USERS}


def write_config(state_dir: Path, host: str, port: int) -> Path:
    """Write rumqttd's TOML below ``state_dir`` (mode 0600: it holds the passwords); return its path."""
    # A JSON string is a valid basic string of TOML, with the same escapes.
    users = "\n".join(f"{user} = {json.dumps(word)}" for user, word in passwords(state_dir).items())
    path = state_dir / "broker" / "rumqttd.toml"
    text = TEMPLATE.format(segment=SEGMENT_BYTES, packet=MAX_PACKET_BYTES, host=host, port=port, users=users)
    write_private(path, text)
    return path
