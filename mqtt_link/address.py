"""The broker's address: ``mqtt://user:password@host:1883`` or ``mqtts://...``."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

# The ports that IANA registered for MQTT and MQTT over TLS.
PORTS = {"mqtt": 1883, "mqtts": 8883}


class BadAddress(ValueError):
    """The address cannot be used; the text says what is allowed and never repeats a password."""


@dataclass(frozen=True)
class Address:
    """A parsed broker URL."""

    host: str
    port: int
    tls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse ``url``; raises :class:`BadAddress`."""
        parts = urlsplit(url)
        if parts.scheme not in PORTS:
            raise BadAddress("the broker's address must begin with mqtt:// or mqtts://")
        try:
            port = parts.port or PORTS[parts.scheme]
        except ValueError:
            raise BadAddress("the broker's port must be a number from 1 to 65535") from None
        if not parts.hostname:
            raise BadAddress("the broker's address names no host, e.g. mqtt://user:password@host:1883")
        return cls(
            host=parts.hostname,
            port=port,
            tls=parts.scheme == "mqtts",
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )
