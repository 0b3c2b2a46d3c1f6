"""What people type about a profile; the steps come as JSON from the editor, or are typed as text."""

from __future__ import annotations

import json
from typing import Any

from django import forms

from web_server.lib import inputs

# Parts that a definition may leave out; named here so that taking one out of the editor takes it out of
# the next version (what a change leaves out stays as it was).
_EMPTY: dict[str, Any] = {
    "capacity": {},
    "record": {},
    "safety": {},
    "stop": None,
    "finish": [],
    "origin": None,
}


class DefinitionField(forms.CharField):
    """The profile as JSON text; cleans to a dict."""

    widget = forms.Textarea(attrs={"rows": 16, "class": "form-control code", "spellcheck": "false"})

    def clean(self, value: Any) -> dict[str, Any]:
        """Return the parsed JSON object.

        Raises:
            ValidationError: it is no JSON object; says at which line.
        """
        typed = super().clean(value)
        try:
            parsed = json.loads(typed)
        except json.JSONDecodeError as error:
            raise forms.ValidationError(f"Line {error.lineno}: this is no JSON ({error.msg}).") from None
        except RecursionError:
            raise forms.ValidationError("Groups are nested too deep.") from None
        if not isinstance(parsed, dict):
            raise forms.ValidationError("A profile is a JSON object with “steps”.")
        return parsed


class ProfileForm(inputs.Styled):
    """A profile's name, notes and definition."""

    name = inputs.text("Name", required=True)
    project = inputs.text("Project")
    tags = inputs.words("Tags")
    description = inputs.lines("Description", rows=2)
    definition = DefinitionField(label="Definition", strip=True)

    def body(self) -> dict[str, Any]:
        """Return what the service takes."""
        typed = self.cleaned_data
        own = {key: entry for key, entry in typed["definition"].items() if key not in ("project", "tags")}
        described = {"name": typed["name"], "description": typed["description"]}
        return {
            **_EMPTY,
            **own,
            **described,
            "project": typed["project"],
            "tags": inputs.split(typed["tags"]),
        }
