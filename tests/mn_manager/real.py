"""A real manager process with a database and a broker of its own, and a unit that a test plays."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from django.db import connections

from mqtt_link import Link
from tests.stack.process import ROOT, Process
from wire import codec, messages, topics

PREFIX = "cellyard/v1"


class Database:
    """A database beside the tests' own, which the manager's process opens by itself."""

    def __init__(self, folder: Path, *, migrated: bool = True) -> None:
        self.folder = folder
        base = os.environ.get("CELLYARD_DATABASE_URL", "")
        if base.startswith("mysql"):
            self.url = base.rpartition("/")[0] + f"/manager_{uuid.uuid4().hex[:8]}"
            self._mysql(f"CREATE DATABASE {self.url.rpartition('/')[2]} CHARACTER SET utf8mb4")
        else:
            self.url = f"sqlite:///{folder / 'site.sqlite3'}"
        if migrated:
            self.migrate()

    @property
    def env(self) -> dict[str, str]:
        return {
            "CELLYARD_STATE_DIR": str(self.folder),
            "CELLYARD_SECRET_KEY": "only for tests, " * 4,
            "CELLYARD_DATABASE_URL": self.url,
        }

    def migrate(self) -> None:
        kept = {key: text for key, text in os.environ.items() if not key.startswith("CELLYARD_")}
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(command, cwd=ROOT, env=kept | self.env, check=True, capture_output=True)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Let models and services of this process work on it."""
        kept = connections["default"]
        settings = {**kept.settings_dict, **dj_database_url.parse(self.url)}
        settings["OPTIONS"] = kept.settings_dict["OPTIONS"]
        settings["TEST"] = kept.settings_dict["TEST"]
        connections["default"] = type(kept)(settings, "default")
        try:
            yield
        finally:
            connections["default"].close()
            connections["default"] = kept

    def drop(self) -> None:
        if self.url.startswith("mysql"):
            self._mysql(f"DROP DATABASE {self.url.rpartition('/')[2]}")

    def _mysql(self, statement: str) -> None:
        import MySQLdb

        parts = urlsplit(self.url)
        assert parts.hostname is not None
        password = (parts.password or "").replace("%20", " ")
        with MySQLdb.connect(
            host=parts.hostname, port=parts.port, user=parts.username, password=password
        ) as server:
            server.cursor().execute(statement)


def manager(folder: Path, database: Database, broker_url: str, name: str = "", **env: str) -> Process:
    """Return a manager process, not yet started."""
    settings = database.env | {"CELLYARD_MQTT_URL": broker_url, "CELLYARD_MANAGER_NAME": name, **env}
    log = folder / f"manager{name}.log"
    return Process(f"manager {name}", [sys.executable, "-m", "mn_manager"], log, settings)


class PlayedUnit:
    """A unit as the broker sees one: registers, keeps what is not acknowledged, repeats it."""

    def __init__(self, url: str, hardware_id: str = "hw-1", token: str | None = None) -> None:
        self.hardware_id = hardware_id
        self.token = token
        self.id = ""
        self.connection = str(uuid.uuid4())
        self.spool = str(uuid.uuid4())
        self.answers: list[messages.RegisterAnswer] = []
        self.contacts: list[messages.Ack] = []
        self.rejected: list[messages.RejectedSamples] = []
        self.commands: list[messages.Command] = []
        self.waiting: dict[int, messages.SampleBatch] = {}
        self.events: dict[int, messages.Event] = {}
        self._lock = threading.Lock()
        self.link = Link(url, f"unit-{hardware_id}")
        self.link.subscribe(topics.enrol_answer(PREFIX, hardware_id), self._answered)
        self.link.start()
        assert self.link.wait(20)

    def ask(self, kind: str) -> None:
        question = messages.RegisterAsk(
            kind=kind,  # type: ignore[arg-type]
            hardware_id=self.hardware_id,
            hostname="played",
            token=self.token,
        )
        self.link.publish(topics.enrol_ask(PREFIX, self.hardware_id), codec.encode(question))

    def _answered(self, _: str, payload: bytes) -> None:
        answer = codec.decode(payload, messages.RegisterAnswer)
        if answer.kind == "ack" and answer.unit and not self.id:
            self.id = answer.unit
            self.link.subscribe(self.topic("acks"), self._acked)
            self.link.subscribe(self.topic("commands"), self._commanded)
        self.answers.append(answer)

    def topic(self, leaf: str) -> str:
        return topics.unit(PREFIX, self.id, leaf)

    def say(self, leaf: str, message: messages.Message, retain: bool = False) -> None:
        self.link.publish(self.topic(leaf), codec.encode(message), retain=retain)

    def appear(self) -> None:
        now = datetime.now(UTC).isoformat()
        here = messages.Presence(
            online=True, connection=self.connection, boot_id="boot", version="0.1.0", since=now
        )
        self.say("presence", here, retain=True)

    def beat(self, *stations: messages.StationBeat) -> None:
        told = messages.Heartbeat(
            sent_at=datetime.now(UTC).isoformat(),
            uptime_s=1.0,
            load=0.1,
            disk_free_bytes=10**9,
            spool_batches=len(self.waiting) + len(self.events),
            rejected_batches=0,
            stations=list(stations),
            connection=self.connection,
        )
        self.say("heartbeat", told)

    def repeat(self) -> None:
        """Say again what has no acknowledgement, as a unit does every 10 s and on every connect."""
        with self._lock:
            batches, told = list(self.waiting.values()), dict(self.events)
        for batch in batches:
            self.say("samples", batch)
        if told:
            first = min(told)
            ordered = [told[seq] for seq in range(first, first + len(told))]
            self.say("events", messages.EventBatch(spool=self.spool, first_seq=first, events=ordered))

    def measure(self, batch: messages.SampleBatch) -> None:
        with self._lock:
            self.waiting[batch.first_seq] = batch

    def happen(self, seq: int, event: messages.Event) -> None:
        with self._lock:
            self.events[seq] = event

    def _acked(self, _: str, payload: bytes) -> None:
        ack = codec.decode(payload, messages.Ack)
        with self._lock:
            for stored in ack.samples:
                self.waiting.pop(stored.first_seq, None)
            for refused in ack.rejected:
                self.rejected.append(refused)
                self.waiting.pop(refused.first_seq, None)
            if ack.events and ack.events.spool == self.spool:
                for seq in [seq for seq in self.events if seq <= ack.events.through]:
                    del self.events[seq]
        if ack.heard_sent_at is not None:
            self.contacts.append(ack)

    def _commanded(self, _: str, payload: bytes) -> None:
        self.commands.append(codec.decode(payload, messages.Command))

    def reply(self, command: messages.Command, outcome: str = "done", **more: Any) -> None:
        self.say("replies", messages.Reply(command=command.id, outcome=outcome, **more))  # type: ignore[arg-type]

    def stop(self) -> None:
        self.link.stop()
