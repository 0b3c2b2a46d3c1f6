"""From the outbox to the units: taken once, published again every 2 s until answered."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from django.db import connection

from mn_manager.leases import Leases
from mqtt_link import Link
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.lab.models import Unit
from wire import codec, messages, topics

logger = logging.getLogger("mn_manager.dispatch")

# How often the outbox is asked while somebody is active, and else (architecture.md, command path).
ASK_ACTIVE_S, ASK_IDLE_S = 0.01, 0.1
# Somebody who sent a command is likely to send the next one within this.
ACTIVE_S = 30.0


class Dispatch:
    """Sends commands of owned units that are connected now; the others wait or expire."""

    def __init__(self, link: Link, prefix: str, leases: Leases) -> None:
        self.link = link
        self.prefix = prefix
        self.leases = leases
        self.published = 0
        self._active_until_s = 0.0
        self._online: list[int] = []

    @property
    def period_s(self) -> float:
        """How long to wait before asking the outbox again."""
        return ASK_ACTIVE_S if time.monotonic() < self._active_until_s else ASK_IDLE_S

    def look_around(self) -> None:
        """Read which of our units are connected, so that asking the outbox is one query."""
        keys = self.leases.keys()
        self._online = list(
            Unit.objects.filter(pk__in=keys, online=True).exclude(connection="").values_list("pk", flat=True)
        )

    def send_new(self) -> None:
        """Take what is new in the outbox and publish it, stops first."""
        if not self._online or not self.leases.trusted or not self.link.connected:
            return
        if not self._anything_new():
            return
        taken = commands.claim(self._online, self.leases.manager)
        if taken:
            self._active_until_s = time.monotonic() + ACTIVE_S
        self._publish(taken)

    def _anything_new(self) -> bool:
        """Ask a hundred times a second at a tenth of the price of building and reading a queryset."""
        places = ", ".join(["%s"] * len(self._online))
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT 1 FROM {Command._meta.db_table} WHERE status = %s AND unit_id IN ({places}) LIMIT 1",
                [Command.Status.QUEUED.value, *self._online],
            )
            return cursor.fetchone() is not None

    def send_again(self, units: Iterable[int] | None = None, older_than_s: float = 2.0) -> None:
        """Publish again what has no answer yet; ``older_than_s`` 0 when a unit has just connected."""
        keys = self._online if units is None else list(units)
        if not keys or not self.leases.trusted or not self.link.connected:
            return
        unanswered = commands.unanswered(keys, older_than_s)
        self._publish([command for command in unanswered if commands.mark_sent(command)])

    def _publish(self, taken: Iterable[Command]) -> None:
        for command in taken:
            try:
                payload = codec.encode(_message(command))
            except codec.TooLarge as error:
                commands.close(command.uuid, "failed", reason=str(error))
                continue
            topic = topics.unit(self.prefix, str(command.unit.uuid), "commands")
            # Never retained: a command must not act when somebody subscribes later (safety.md rule 11).
            if self.link.publish(topic, payload, qos=1, retain=False):
                self.published += 1
                logger.debug(
                    "event=command_sent unit=%s command=%s kind=%s sends=%s",
                    command.unit.uuid,
                    command.uuid,
                    command.kind,
                    command.sends,
                )


def _message(command: Command) -> messages.Command:
    return messages.Command(
        id=str(command.uuid),
        connection=command.unit.connection,
        kind=command.kind,  # type: ignore[arg-type]
        args=msgspec.Raw(command.args_text.encode()),
        issued_at=_iso(command.created_at),
        expires_at=_iso(command.expires_at) if command.expires_at else None,
        issued_by=command.issued_by_name,
    )


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
