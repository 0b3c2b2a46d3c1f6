"""The base of all admin pages: what services own is shown, what people describe may be changed.

A status, a limit or a composition changed behind the services' back would leave no contract, no
event and no reason, so the admin changes descriptions only and offers the services as actions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.db import models, transaction
from django.forms import ModelForm
from django.http import HttpRequest

from web_server.accounts import audit
from web_server.lib.errors import ServiceError


class ShownAdmin(admin.ModelAdmin):
    """Everything readable, only ``editable`` writable; no adding, no deleting; changes are audited."""

    editable: tuple[str, ...] = ()
    list_per_page = 50
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return all fields but the editable ones."""
        return [name for name in self.get_fields(request, obj) if name not in self.editable]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return all fields in the order of the model."""
        return [field.name for field in self.opts.concrete_fields]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: rows are made by the services."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: things are retired, never deleted."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow where something is editable."""
        return bool(self.editable) and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm, change: bool) -> None:
        """Save and write the audit entry in one transaction."""
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            audit.record(request.user, f"{self.opts.model_name}.admin", obj, changed=form.changed_data)


def acted(
    modeladmin: admin.ModelAdmin,
    request: HttpRequest,
    rows: Iterable[models.Model],
    act: Callable[[Any, Any], Any],
) -> None:
    """Call a service for each row and tell the person what came of it."""
    done = 0
    for row in rows:
        try:
            act(request.user, row)
        except ServiceError as error:
            modeladmin.message_user(request, f"{row}: {error}", messages.ERROR)
        else:
            done += 1
    if done:
        modeladmin.message_user(request, f"Done for {done}.", messages.SUCCESS)
