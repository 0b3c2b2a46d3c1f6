"""People, tokens and the audit trail in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from web_server.accounts import audit, services
from web_server.accounts.models import AuditEntry, Person, Token
from web_server.lib.admin import ShownAdmin, acted

# Roles take the place of Django's groups; two ways to give rights would contradict each other.
admin.site.unregister(Group)


@admin.register(Person)
class PersonAdmin(UserAdmin):
    """People: the role decides; Django's own flags follow it."""

    list_display = ("username", "first_name", "last_name", "email", "role", "is_active", "last_login")
    list_filter = ("role", "is_active")
    search_fields = ("username", "first_name", "last_name", "email")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("What they may do", {"fields": ("role", "is_active")}),
        ("When", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "role", "usable_password", "password1", "password2")}),)
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm, change: bool) -> None:
        """Save and write the audit entry in one transaction."""
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            act = "person.admin" if change else "person.add"
            audit.record(request.user, act, obj, changed=form.changed_data, role=obj.role)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: an account is switched off, so that its traces keep their name."""
        return False


@admin.register(Token)
class TokenAdmin(ShownAdmin):
    """Tokens; their secrets are nowhere."""

    list_display = (
        "beginning",
        "person",
        "name",
        "scope",
        "created_at",
        "expires_at",
        "revoked_at",
        "last_used_at",
    )
    list_filter = ("scope", "person")
    search_fields = ("name", "beginning", "person__username")
    list_select_related = ("person",)
    actions = ("revoke",)

    @admin.action(description="Revoke")
    def revoke(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        """End the chosen tokens."""
        acted(self, request, queryset, services.revoke_token)


@admin.register(AuditEntry)
class AuditEntryAdmin(ShownAdmin):
    """Who did what, when, from where."""

    list_display = ("at", "person_name", "act", "item_type", "item_name", "way", "address")
    list_filter = ("way", "item_type", "act")
    search_fields = ("person_name", "act", "item_name", "address")
    date_hierarchy = "at"
