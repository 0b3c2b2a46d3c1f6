"""System: is Cellyard itself well."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from web_server.accounts.models import AuditEntry
from web_server.lab import health, listing
from web_server.page import page


def system(request: HttpRequest) -> HttpResponse:
    """Show how each part is, and the last changes."""
    person: Any = request.user
    found = health.findings()
    return page(
        request,
        "lab/system.html",
        "system",
        findings=found,
        unwell=[row for row in found if row.state != "well"],
        managers=listing.managers(),
        version=health.version(),
        place=health.place() if person.may("manager") else "",
        trail=AuditEntry.objects.all()[:50] if person.may("manager") else [],
    )
