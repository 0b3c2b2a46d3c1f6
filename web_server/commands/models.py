"""The outbox: what people asked units to do, and what came of it."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.db import models

from web_server.experiments.models import Experiment
from web_server.lab.models import Station, Unit
from web_server.lib.entity import Entity


class Command(Entity):
    """One order to a unit. ``created_at`` is when it was issued."""

    class Status(models.TextChoices):
        """``queued``: not yet sent; ``sent``: no answer yet; the others are final."""

        QUEUED = "queued"
        SENT = "sent"
        DONE = "done"
        REFUSED = "refused"
        FAILED = "failed"
        EXPIRED = "expired"

    unit = models.ForeignKey(Unit, on_delete=models.PROTECT, related_name="commands")
    station = models.ForeignKey(
        Station, null=True, blank=True, on_delete=models.PROTECT, related_name="commands"
    )
    experiment = models.ForeignKey(
        Experiment, null=True, blank=True, on_delete=models.PROTECT, related_name="commands"
    )
    kind = models.CharField(max_length=40)
    # JSON text, sent as it is: it carries the envelope and a whole profile.
    args_text = models.TextField(default="{}")
    # Stops jump the queue and never expire.
    urgent = models.BooleanField(default=False)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.QUEUED)
    outcome = models.CharField(max_length=8, blank=True)
    result = models.JSONField(null=True, blank=True)
    # {done, of, text} of a long command, as the unit told it last.
    progress = models.JSONField(null=True, blank=True)
    reason = models.TextField(blank=True)
    issued_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    issued_by_name = models.CharField(max_length=150, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    # The manager that took it, and how often it was published.
    manager = models.CharField(max_length=64, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    sends = models.PositiveIntegerField(default=0)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=["queued", "sent", "done", "refused", "failed", "expired"]),
                name="command_status_is_known",
            ),
        ]
        indexes = [
            # The manager's question, many times a second: what is to be sent to my units?
            models.Index(fields=["status", "unit", "-urgent", "id"], name="command_outbox"),
            # The event stream: what changed since?
            models.Index(fields=["updated_at"], name="command_by_change"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} ({self.status})"

    @property
    def args(self) -> dict[str, Any]:
        """The arguments as a dict."""
        return dict(json.loads(self.args_text))

    @property
    def is_open(self) -> bool:
        """Whether an answer may still come."""
        return self.status in (self.Status.QUEUED, self.Status.SENT)
