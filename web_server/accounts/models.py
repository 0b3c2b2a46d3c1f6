"""People with their roles, their tokens, and the audit trail."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from django.utils import timezone

from web_server.accounts.roles import Role, at_least
from web_server.lib.entity import Entity


class People(UserManager["Person"]):
    """Makes people; whom `createsuperuser` makes is an administrator."""

    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **more: Any
    ) -> Person:
        """Return a new administrator."""
        more.setdefault("role", Role.ADMINISTRATOR)
        return super().create_superuser(username, email, password, **more)


class Person(AbstractUser):
    """Somebody who may log in; ``role`` says what they may do."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.VIEWER)
    # Chosen columns, filters and the like, per page: remembered per person (ui.md, Tables).
    preferences = models.JSONField(default=dict, blank=True)

    # Set by token authentication for one request: a token never gives more than its scope.
    token_scope: str | None = None

    objects = People()

    class Meta:
        verbose_name_plural = "people"
        constraints = [
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="person_role_is_known"),
        ]

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Keep Django's own flags in step with the role: managers may enter the admin."""
        self.is_staff = at_least(self.role, Role.MANAGER)
        self.is_superuser = self.role == Role.ADMINISTRATOR
        fields = kwargs.get("update_fields")
        if fields is not None and "role" in fields:
            kwargs["update_fields"] = {*fields, "is_staff", "is_superuser"}
        super().save(*args, **kwargs)

    @property
    def effective_role(self) -> str:
        """The lower of the person's role and the scope of the token in use."""
        if self.token_scope and at_least(self.role, self.token_scope):
            return self.token_scope
        return self.role

    def may(self, role: str) -> bool:
        """Return whether this person may do what ``role`` may (for templates and views)."""
        return self.is_active and at_least(self.effective_role, role)

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        """Let managers read everything in the admin and change the lab; administrators all."""
        app, _, act = perm.partition(".")
        if self.is_active and self.role == Role.MANAGER and (app == "lab" or act.startswith("view_")):
            return True
        return super().has_perm(perm, obj)

    def has_module_perms(self, app_label: str) -> bool:
        """Show every app to managers."""
        return (self.is_active and self.role == Role.MANAGER) or super().has_module_perms(app_label)


class Token(Entity):
    """A secret with which a program acts for a person. Only its SHA-256 is kept.

    The secret has 256 random bits, so a plain hash suffices (no slow hash: it is read per request).
    """

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100, blank=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    # The first characters, so that people can tell their tokens apart.
    beginning = models.CharField(max_length=8, editable=False)
    scope = models.CharField(max_length=16, choices=Role.choices, default=Role.OPERATOR)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=models.Q(scope__in=Role.values), name="token_scope_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.beginning}… of {self.person}"

    @staticmethod
    def digest_of(secret: str) -> str:
        """Return what is kept of ``secret``."""
        return hashlib.sha256(secret.encode()).hexdigest()

    @property
    def is_valid(self) -> bool:
        """Whether it still opens the door."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())


class AuditEntry(models.Model):
    """One change: who, when, what, from where. Written by `accounts.audit.record`, never changed."""

    at = models.DateTimeField(default=timezone.now)
    person = models.ForeignKey(Person, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    # Stays readable when the person's account is gone; "Cellyard" when nobody asked.
    person_name = models.CharField(max_length=150)
    act = models.CharField(max_length=60)
    item_type = models.CharField(max_length=40)
    item_uuid = models.UUIDField(null=True, blank=True)
    item_name = models.CharField(max_length=250, blank=True)
    detail = models.JSONField(default=dict, blank=True)
    way = models.CharField(max_length=20)
    address = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name_plural = "audit trail"
        ordering = ["-id"]
        indexes = [
            # The history of one item on its page.
            models.Index(fields=["item_type", "item_uuid"], name="audit_by_item"),
            # The trail by day in the admin.
            models.Index(fields=["at"], name="audit_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.person_name}: {self.act} {self.item_name}"
