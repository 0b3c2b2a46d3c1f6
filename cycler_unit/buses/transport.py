"""What a text driver needs of a link; implemented by the buses and by the tests' scripted dialogue."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """A link that carries lines. All methods raise ``DeviceLost`` when it does not answer."""

    def open(self) -> None:
        """Connect and throw away what an earlier user left unread."""

    def close(self) -> None:
        """Disconnect; safe twice; never raises."""

    def write(self, message: str) -> None:
        """Send one message; the terminator is added here."""

    def query(self, message: str) -> str:
        """Send one message and return its answer without the terminator."""

    def read(self) -> str:
        """Return the next line of an answer that has several, without the terminator."""
