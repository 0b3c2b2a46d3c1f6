"""Profiles: reusable lists of steps, kept as versions."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from web_server.lib.entity import Entity


class Profile(Entity):
    """A named test procedure; its steps are in its versions."""

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True)
    # Number of the newest version.
    version = models.PositiveIntegerField(default=1)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    project = models.CharField(max_length=100, blank=True)
    tags = models.JSONField(default=list, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def latest(self) -> ProfileVersion:
        """The newest version."""
        return self.versions.get(number=self.version)


class ProfileVersion(models.Model):
    """One version of a profile, whole, as the JSON text of `cycling.steps.Profile`. Never changed."""

    profile = models.ForeignKey(Profile, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    # Text, not a JSON column: MySQL rewrites the numbers of those.
    body = models.TextField()
    # The text form as it was typed, where it was; else empty.
    text = models.TextField(blank=True)
    # What the check found: {voltage_min_v, ..., duration_max_s}.
    summary = models.JSONField(default=dict, blank=True)
    made_at = models.DateTimeField(default=timezone.now)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["profile", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["profile", "number"], name="profile_version_is_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.profile} v{self.number}"

    @property
    def definition(self) -> dict[str, Any]:
        """The profile as plain dicts and lists."""
        return dict(json.loads(self.body))
