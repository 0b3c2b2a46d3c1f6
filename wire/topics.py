"""Topic names (design: wire.md). ``prefix`` is ``cellyard/v1`` unless configured."""

from __future__ import annotations

PREFIX = "cellyard/v1"
ENROL_ASKS = "{prefix}/enrol/+/ask"

UNIT_TOPICS = ("presence", "heartbeat", "devices", "commands", "replies", "samples", "events", "acks")


def enrol_ask(prefix: str, hardware_id: str) -> str:
    """Return the topic on which a unit asks to be registered."""
    return f"{prefix}/enrol/{hardware_id}/ask"


def enrol_answer(prefix: str, hardware_id: str) -> str:
    """Return the topic on which the manager answers a registration."""
    return f"{prefix}/enrol/{hardware_id}/answer"


def unit(prefix: str, unit_id: str, leaf: str) -> str:
    """Return the topic ``leaf`` (one of ``UNIT_TOPICS``) of a unit."""
    if leaf not in UNIT_TOPICS:
        raise ValueError(f"unknown unit topic {leaf!r}; one of {', '.join(UNIT_TOPICS)}")
    return f"{prefix}/units/{unit_id}/{leaf}"
