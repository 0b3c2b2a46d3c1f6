"""Become known to the site: discover, offer, request, ack (wire.md, registration)."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec

from cycler_unit import disk
from mqtt_link import Link
from wire import codec, topics
from wire.messages import RegisterAnswer, RegisterAsk

logger = logging.getLogger("cycler_unit.enrol")

# wire.md: a pending unit asks again every 10 s; an unanswered question is repeated sooner.
PENDING_S, UNANSWERED_S = 10.0, 2.0


class Identity(msgspec.Struct, kw_only=True):
    """Who this unit is; kept 0600 because of the password."""

    hardware_id: str
    password: str
    unit: str | None = None


class IdentityFile:
    """The identity on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, hardware_id: str) -> Identity:
        """Return the identity, made at the first start; a setting ``hardware_id`` wins over the file."""
        known = disk.read(self.path, Identity)
        if known is None or (hardware_id and known.hardware_id != hardware_id):
            known = Identity(hardware_id=hardware_id or uuid.uuid4().hex, password=secrets.token_urlsafe(32))
            self.save(known)
        return known

    def save(self, identity: Identity) -> None:
        """Write the identity, readable by its owner only."""
        disk.write(self.path, msgspec.json.encode(identity), mode=0o600)


class Enrolment:
    """The unit's side of the handshake over one link; its thread ends with the acknowledgement."""

    def __init__(
        self, link: Link, prefix: str, identity: Identity, version: str, token: str | None, name: str = ""
    ) -> None:
        self._link = link
        self._ask_topic = topics.enrol_ask(prefix, identity.hardware_id)
        self._answer_topic = topics.enrol_answer(prefix, identity.hardware_id)
        self._identity = identity
        self._version = version
        self._token = token
        self._name = name
        self._answers: list[RegisterAnswer] = []
        self._wake = threading.Event()
        self._said = ""

    def run(self, stopping: Callable[[], bool]) -> str | None:
        """Ask until acknowledged; returns the unit's UUID, None when ``stopping()`` says so."""
        self._link.subscribe(self._answer_topic, self._answer)
        self._link.on_connect(self._wake.set)
        kind, wait_s, due = "discover", UNANSWERED_S, 0.0
        try:
            while not stopping():
                if self._link.connected and time.monotonic() >= due:
                    self._ask(kind)
                    due = time.monotonic() + wait_s
                self._wake.wait(0.2 if self._link.connected else 1.0)
                self._wake.clear()
                while self._answers:
                    answer = self._answers.pop(0)
                    self._say(answer)
                    if answer.kind == "ack" and answer.unit:
                        return answer.unit
                    if answer.kind == "offer" and kind == "discover":
                        kind, wait_s, due = "request", UNANSWERED_S, 0.0
                    elif answer.kind in ("pending", "refused"):
                        kind, wait_s = "discover", PENDING_S
                        due = time.monotonic() + wait_s
            return None
        finally:
            self._link.unsubscribe(self._answer_topic)

    def _ask(self, kind: str) -> None:
        secret = kind == "request"
        ask = RegisterAsk(
            kind="request" if secret else "discover",
            hardware_id=self._identity.hardware_id,
            hostname=self._name or socket.gethostname(),
            ip=own_address(self._link.address.host, self._link.address.port),
            user=self._link.address.user or "",
            version=self._version,
            token=self._token if secret else None,
            password=self._identity.password if secret else None,
        )
        self._link.publish(self._ask_topic, codec.encode(ask))

    def _answer(self, _topic: str, payload: bytes) -> None:
        try:
            self._answers.append(codec.decode(payload, RegisterAnswer))
        except codec.Malformed as error:
            logger.warning("event=message_dropped topic=%s reason='%s'", self._answer_topic, error.reason)
            return
        self._wake.set()

    def _say(self, answer: RegisterAnswer) -> None:
        text = f"{answer.kind} {answer.reason or ''}".strip()
        if text != self._said:
            self._said = text
            level = logging.WARNING if answer.kind in ("pending", "refused") else logging.INFO
            logger.log(level, "event=registration answer=%s unit=%s", text, answer.unit)


def own_address(host: str, port: int) -> str:
    """Return the address with which this computer reaches ``host``; nothing is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, port))
            return str(probe.getsockname()[0])
    except OSError:
        return ""
