"""Who hears of an alarm, and whether it reached them (safety.md rule 19)."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from web_server.experiments.models import Alarm
from web_server.lib.entity import Entity
from web_server.notices import sealing


class Target(Entity):
    """One address that alarms go to. The lowest ``place`` hears first; the next after 15 minutes."""

    class Way(models.TextChoices):
        """How it is reached."""

        MAIL = "mail", "Mail"
        WEBHOOK = "webhook", "Webhook"

    name = models.CharField(max_length=100, unique=True)
    way = models.CharField(max_length=8, choices=Way.choices)
    # The address, encrypted: it holds a password or a secret path. No page, no API and no log shows it again.
    sealed = models.TextField(editable=False)
    # What people see of it: where it goes, without what is secret.
    shown = models.CharField(max_length=250, editable=False)
    place = models.PositiveSmallIntegerField(default=1)
    active = models.BooleanField(default=True)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["place", "name"]
        constraints = [
            models.CheckConstraint(condition=models.Q(place__gte=1), name="notice_place_is_from_1"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def address(self) -> str:
        """Return the address as `apprise` takes it; raises ``sealing.Unreadable`` under another key."""
        return sealing.unseal(self.sealed)

    @address.setter
    def address(self, url: str) -> None:
        self.sealed = sealing.seal(url)


class Escalation(models.Model):
    """How far an alarm has been told: ``round`` of them, the next one at ``next_at``."""

    alarm = models.OneToOneField(Alarm, on_delete=models.CASCADE, related_name="escalation")
    round = models.PositiveIntegerField(default=0)
    # Null: nobody is told any more.
    next_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            # The manager's question, every second: whose next round is due?
            models.Index(fields=["next_at"], name="escalation_by_next"),
        ]

    def __str__(self) -> str:
        return f"{self.alarm_id}: round {self.round}"


class Delivery(Entity):
    """One message to one target: what it says, and what came of it. Without an alarm it is a test."""

    class State(models.TextChoices):
        """``due``: to be sent at ``next_try_at``; ``failed`` is given up."""

        DUE = "due"
        SENDING = "sending"
        SENT = "sent"
        FAILED = "failed"

    alarm = models.ForeignKey(
        Alarm, null=True, blank=True, on_delete=models.CASCADE, related_name="deliveries"
    )
    target = models.ForeignKey(
        Target, null=True, blank=True, on_delete=models.SET_NULL, related_name="deliveries"
    )
    # Stay when the target goes.
    target_name = models.CharField(max_length=100)
    target_shown = models.CharField(max_length=250, blank=True)
    # Which message about this alarm it is, from 1; 0 for a test.
    round = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State.choices, default=State.DUE)
    attempts = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(default=timezone.now)
    # The manager that sends it now, taken by conditional UPDATE.
    manager = models.CharField(max_length=64, blank=True)
    taken_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    # What went wrong last, in words.
    outcome = models.CharField(max_length=500, blank=True)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["alarm", "target", "round"], name="delivery_is_made_once"),
            models.CheckConstraint(
                condition=models.Q(state__in=["due", "sending", "sent", "failed"]),
                name="delivery_state_is_known",
            ),
        ]
        indexes = [
            # The manager's question, every second: what is to be sent?
            models.Index(fields=["state", "next_try_at"], name="delivery_by_due"),
        ]

    def __str__(self) -> str:
        return f"{self.target_name}: {self.state}"
