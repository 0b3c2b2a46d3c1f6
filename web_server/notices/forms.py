"""What people type about who hears of alarms."""

from __future__ import annotations

from typing import Any

from django import forms

from web_server.lib import inputs


class TargetForm(inputs.Styled):
    """A name, a place in the row, an address."""

    name = inputs.text("Name", required=True, hint="Who or what it is: night shift.")
    place = inputs.number("Place", whole=True, hint="1 hears first.")
    address = forms.CharField(
        label="Address",
        required=False,
        help_text="It may hold a password and is never shown again.",
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocapitalize": "off"}),
    )
    active = forms.BooleanField(label="In use", required=False, initial=True)

    def body(self) -> dict[str, Any]:
        """Return what the service takes; an address that was not typed stays."""
        typed = self.cleaned_data
        body = {"name": typed["name"], "active": typed["active"]}
        if typed["place"] is not None:
            body["place"] = typed["place"]
        if typed["address"].strip():
            body["address"] = typed["address"]
        return body
