"""What people type to file an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from django import forms

from web_server.lib import inputs
from web_server.profiles.forms import DefinitionField

# The profile that is written on this very page.
WRITTEN_HERE = "new"
ANY_STATION = "any"


def once() -> forms.UUIDField:
    """Return the hidden number of one filing: sent twice it files once."""
    # Some browsers fill in what a page held before it was loaded again.
    hidden = forms.HiddenInput(attrs={"autocomplete": "off"})
    return forms.UUIDField(required=False, initial=uuid4, widget=hidden)


def anew(form: forms.Form) -> None:
    """Let a form that was refused be sent as a new request: what it carried may belong to another filing."""
    form.data = form.data.copy()
    form.data["request_id"] = str(uuid4())


def request_id(typed: Mapping[str, Any]) -> UUID | None:
    """Return the number that a button sends; None where it sends none."""
    try:
        return UUID(typed.get("request_id", ""))
    except ValueError:
        return None


def _resume_policy() -> forms.ChoiceField:
    words = {"hold": "Hold: paused until somebody looks", "resume": "Resume by itself, when that is safe"}
    return forms.ChoiceField(label="After a crash or power cut", choices=[*words.items()], required=False)


def _contact_policy() -> forms.ChoiceField:
    words = {"continue": "Go on alone", "finish_step": "Finish the step, then off", "off": "Switch off"}
    return forms.ChoiceField(label="Without the server", choices=[*words.items()], required=False)


class FilingForm(inputs.Styled):
    """Battery, station, profile, and what may be said besides."""

    request_id = once()
    battery = forms.CharField(label="Battery", error_messages={"required": "Choose a battery."})
    station = forms.CharField(label="Station", error_messages={"required": "Choose a station."})
    profile = forms.CharField(label="Profile", error_messages={"required": "Choose a profile."})
    load = forms.BooleanField(label="I have put the battery in", required=False)

    profile_name = inputs.text("Name of the new profile")
    definition = DefinitionField(label="New profile", required=False)

    name = inputs.text("Name", hint="Left empty: battery and profile.")
    description = inputs.lines("Description", rows=2)
    project = inputs.text("Project")
    tags = inputs.words("Tags")
    priority = inputs.number("Priority", whole=True, hint="Higher goes first; usual is 0.")
    initial_soc_percent = inputs.number(
        "Charge at the start", "%", hint="Needed by profiles that end on the state of charge."
    )
    resume_policy = _resume_policy()
    contact_policy = _contact_policy()
    off_after_s = inputs.number("Without it for", "s", hint="Then it finishes or switches off.")
    temperature_waiver = inputs.text(
        "Runs without a sensor at the cell, because",
        length=500,
        hint="Only above 20 Wh, only by a manager; stays with the experiment.",
    )
    rest_voltage_confirmed = forms.BooleanField(
        label="The rest voltage is right, though it differs from the last recorded one", required=False
    )
    record_every_s = inputs.number("Record every", "s", hint="Left empty: as the profile says.")
    polarity = forms.ChoiceField(
        label="Polarity",
        choices=[("", "–"), ("positive", "positive"), ("negative", "negative")],
        required=False,
    )
    volume_ml = inputs.number("Electrolyte volume", "mL")
    electrolyte_soc_percent = inputs.number("Electrolyte's charge", "%")
    flow_min_ml_min = inputs.number("Flow at least", "mL/min")
    flow_max_ml_min = inputs.number("Flow at most", "mL/min")

    def clean(self) -> dict[str, Any]:
        """Ask for the new profile only where it is chosen."""
        typed = super().clean() or {}
        if typed.get("profile") == WRITTEN_HERE:
            if not typed.get("definition") and "definition" not in self.errors:
                self.add_error("definition", "Write the profile, or choose one that is there.")
            if not typed.get("profile_name"):
                self.add_error("profile_name", "Give the new profile a name.")
        else:
            self.errors.pop("definition", None)
        return typed

    def body(self) -> dict[str, Any]:
        """Return what the service takes, but battery, station and profile."""
        typed = self.cleaned_data
        words = ("description", "project", "load", "rest_voltage_confirmed", "request_id")
        body = {name: typed[name] for name in words}
        for name in ("priority", "initial_soc_percent"):
            if typed[name] is not None:
                body[name] = typed[name]
        for name in ("resume_policy", "contact_policy", "temperature_waiver"):
            if typed[name]:
                body[name] = typed[name]
        if typed["off_after_s"] is not None:
            body["off_after_s"] = typed["off_after_s"]
        if typed["record_every_s"] is not None:
            body["record"] = {"every_s": typed["record_every_s"]}
        electrolyte = {
            name: typed[name]
            for name in ("volume_ml", "flow_min_ml_min", "flow_max_ml_min")
            if typed[name] is not None
        }
        electrolyte |= {"polarity": typed["polarity"]} if typed["polarity"] else {}
        if typed["electrolyte_soc_percent"] is not None:
            electrolyte["initial_soc_percent"] = typed["electrolyte_soc_percent"]
        return {
            **body,
            "tags": inputs.split(typed["tags"]),
            **({"electrolyte": electrolyte} if electrolyte else {}),
        }


# How the form groups what is not one of the three choices.
DETAILS = (
    "name",
    "project",
    "tags",
    "priority",
    "initial_soc_percent",
    "record_every_s",
    "resume_policy",
    "contact_policy",
    "off_after_s",
    "temperature_waiver",
)
ELECTROLYTE = ("polarity", "volume_ml", "electrolyte_soc_percent", "flow_min_ml_min", "flow_max_ml_min")


class BatchForm(inputs.Styled):
    """One profile on many batteries."""

    request_id = once()
    profile = forms.CharField(label="Profile", error_messages={"required": "Choose a profile."})
    name_template = inputs.text(
        "Names", required=True, length=250, hint="{battery} {profile} {station} {n} {date} are filled in."
    )
    stagger_s = inputs.number("Between two starts", "s", hint="0: all as soon as they can.")
    project = inputs.text("Project")
    tags = inputs.words("Tags")
    priority = inputs.number("Priority", whole=True, hint="Higher goes first; usual is 0.")
    resume_policy = _resume_policy()
    contact_policy = _contact_policy()
    off_after_s = inputs.number("Without it for", "s", hint="Then it finishes or switches off.")
    rest_voltage_confirmed = forms.BooleanField(
        label="The rest voltages are right, though some differ from the last recorded ones", required=False
    )
    temperature_waiver = inputs.text(
        "Run without a sensor at the cell, because",
        length=500,
        hint="Only above 20 Wh, only by a manager; stays with each experiment.",
    )

    def body(self) -> dict[str, Any]:
        """Return what the service takes, but batteries and profile."""
        typed = self.cleaned_data
        body = {name: typed[name] for name in ("name_template", "project", "rest_voltage_confirmed")}
        body |= {"stagger_s": typed["stagger_s"] or 0.0, "tags": inputs.split(typed["tags"])}
        body["request_id"] = typed["request_id"]
        if typed["priority"] is not None:
            body["priority"] = typed["priority"]
        if typed["off_after_s"] is not None:
            body["off_after_s"] = typed["off_after_s"]
        for name in ("resume_policy", "contact_policy", "temperature_waiver"):
            if typed[name]:
                body[name] = typed[name]
        return body


BATCH_DETAILS = (
    "name_template",
    "stagger_s",
    "project",
    "tags",
    "priority",
    "resume_policy",
    "contact_policy",
    "off_after_s",
    "temperature_waiver",
)
