"""Profiles in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from web_server.lib.admin import ShownAdmin, acted
from web_server.profiles import services
from web_server.profiles.models import Profile, ProfileVersion


@admin.register(Profile)
class ProfileAdmin(ShownAdmin):
    """Profiles; steps are changed on their page, which checks them."""

    editable = ("project", "tags", "owner")
    list_display = ("name", "version", "project", "owner", "updated_at", "retired_at")
    list_filter = ("project", "owner")
    search_fields = ("name", "description", "project")
    list_select_related = ("owner",)
    actions = ("retire",)

    @admin.action(description="Retire")
    def retire(self, request: HttpRequest, queryset: QuerySet[Profile]) -> None:
        """Retire the chosen profiles."""
        acted(self, request, queryset, services.retire)


@admin.register(ProfileVersion)
class ProfileVersionAdmin(ShownAdmin):
    """Every version, whole."""

    list_display = ("profile", "number", "made_at", "made_by")
    list_filter = ("made_at",)
    search_fields = ("profile__name", "body")
    list_select_related = ("profile", "made_by")
