"""The embedded MQTT broker: one machine's own, for `make up` and the tests (design: wire.md)."""

from .rumqttd import USERS, passwords, write_config

__all__ = ["USERS", "passwords", "write_config"]
