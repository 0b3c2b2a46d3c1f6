"""What people type about a battery."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from web_server.cells import technologies
from web_server.cells.models import Battery, LeadAcid, Lithium
from web_server.lib import inputs

# Sections of the form: title, hint, names of its fields.
SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "What it is",
        "",
        (
            "name",
            "technology",
            "manufacturer",
            "model",
            "serial_number",
            "barcode",
            "manufactured_on",
            "project",
            "tags",
            "description",
        ),
    ),
    (
        "Voltage",
        "Give the limits of a cell, of the whole pack, or of both: the tighter ones count.",
        (
            "cells_in_series",
            "cell_voltage_min_v",
            "cell_voltage_max_v",
            "voltage_min_v",
            "voltage_max_v",
            "voltage_abs_min_v",
            "voltage_abs_max_v",
            "cell_spread_max_v",
        ),
    ),
    ("Current", "Positive charges, negative discharges.", ("current_min_a", "current_max_a")),
    (
        "Temperature",
        "",
        (
            "temperature_min_c",
            "temperature_max_c",
            "charge_temperature_min_c",
            "charge_temperature_max_c",
            "temperature_rise_max_k",
            "temperature_slope_max_k_min",
        ),
    ),
    ("Energy and hazard", "", ("energy_wh", "hazard_level")),
)
# The fields that a technology has of its own, as the form names them.
OWN: dict[str, tuple[str, ...]] = {
    technology: tuple(f"{technology}-{name}" for name in names)
    for technology, names in technologies.FIELDS.items()
}


class BatteryForm(inputs.Styled):
    """A battery of any technology; the parts of the other two are left alone."""

    name = inputs.text("Name", required=True)
    technology = forms.ChoiceField(label="Technology", choices=Battery.Technology.choices)
    manufacturer = inputs.text("Maker")
    model = inputs.text("Model")
    serial_number = inputs.text("Serial number")
    barcode = inputs.text("Barcode")
    manufactured_on = forms.DateField(
        label="Made on", required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    project = inputs.text("Project")
    tags = inputs.words("Tags")
    description = inputs.lines("Description")

    cells_in_series = inputs.number("Cells in series", whole=True)
    cell_voltage_min_v = inputs.number("Cell at least", "V")
    cell_voltage_max_v = inputs.number("Cell at most", "V")
    voltage_min_v = inputs.number("Pack at least", "V")
    voltage_max_v = inputs.number("Pack at most", "V")
    voltage_abs_min_v = inputs.number(
        "Never below", "V", hint="Of the whole pack, absolute: one reading beyond it switches off."
    )
    voltage_abs_max_v = inputs.number("Never above", "V")
    current_min_a = inputs.number("Largest discharge", "A", required=True, hint="Negative, for example -2.")
    current_max_a = inputs.number("Largest charge", "A", required=True)
    temperature_min_c = inputs.number("At least", "°C")
    temperature_max_c = inputs.number("At most", "°C")
    charge_temperature_min_c = inputs.number("Charging at least", "°C")
    charge_temperature_max_c = inputs.number("Charging at most", "°C")
    temperature_rise_max_k = inputs.number("Warmer than the room by at most", "K", hint="Left empty: 20 K.")
    temperature_slope_max_k_min = inputs.number("Warming at most", "K/min", hint="Left empty: 1 K/min.")
    cell_spread_max_v = inputs.number(
        "Cells apart at most", "V", hint="Of a watched pack; left empty: 0.5 V."
    )
    energy_wh = inputs.number("Energy", "Wh")
    hazard_level = inputs.number("Hazard level", whole=True, hint="EUCAR, 0 to 7.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chemistries = {"lithium": Lithium.Chemistry.values, "lead_acid": LeadAcid.Chemistry.values}
        for technology, names in technologies.FIELDS.items():
            for name in names:
                self.fields[f"{technology}-{name}"] = _own(name, chemistries.get(technology, []))
        for field in self.fields.values():
            inputs.dress(field)
        self.fields["cells_in_series"].initial = 1

    def sections(self) -> list[dict[str, Any]]:
        """Return the sections with their bound fields, the technologies' own ones after the first."""
        shown = [
            {"title": title, "hint": hint, "fields": [self[name] for name in names], "when": ""}
            for title, hint, names in SECTIONS
        ]
        own = [
            {
                "title": label,
                "hint": "",
                "fields": [self[name] for name in OWN[technology]],
                "when": technology,
            }
            for technology, label in Battery.Technology.choices
        ]
        return [shown[0], *own, *shown[1:]]

    def body(self) -> dict[str, Any]:
        """Return what the service takes."""
        typed = dict(self.cleaned_data)
        technology = typed["technology"]
        own = {name.partition("-")[2]: typed[name] for name in OWN[technology]}
        body = {name: entry for name, entry in typed.items() if "-" not in name}
        # An input left empty means the usual number of cells: one.
        body["cells_in_series"] = 1 if typed["cells_in_series"] is None else typed["cells_in_series"]
        return {**body, "tags": inputs.split(typed["tags"]), technology: own}


def _own(name: str, chemistries: list[str]) -> forms.Field:
    if name == "chemistry":
        return forms.ChoiceField(
            label="Chemistry", choices=[(name, name) for name in chemistries], required=False
        )
    if name == "capacity_ah":
        return inputs.number("Capacity", "Ah")
    if name == "electrode_size_cm2":
        return inputs.number("Electrode size", "cm²")
    return inputs.text(
        {
            "bipolar_type": "Bipolar plate",
            "membrane_type": "Membrane",
            "electrolyte_type": "Electrolyte",
            "electrode_composition": "Electrode composition",
        }[name]
    )


def typed_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return a battery's body as the form's initial entries."""
    technology = body["technology"]
    own = {f"{technology}-{name}": entry for name, entry in (body.get(technology) or {}).items()}
    plain = {name: entry for name, entry in body.items() if name not in technologies.MODELS}
    return {**plain, **own, "tags": ", ".join(body.get("tags") or [])}


class BulkForm(forms.Form):
    """A table of batteries, typed or as a file, and what its lines leave out."""

    csv = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 10}), strip=False)
    file = forms.FileField(required=False)
    like = forms.CharField(required=False)

    def clean_like(self) -> Battery | None:
        """Return the battery whose fields the lines share."""
        chosen = self.cleaned_data["like"]
        try:
            return Battery.objects.get(uuid=chosen) if chosen else None
        except (Battery.DoesNotExist, ValidationError):
            raise forms.ValidationError("There is no such battery.") from None

    def clean(self) -> dict[str, Any]:
        """Take the file's text where there is a file."""
        typed = super().clean() or {}
        file = typed.get("file")
        if file is not None:
            try:
                typed["csv"] = file.read().decode("utf-8-sig")
            except UnicodeDecodeError:
                self.add_error("file", "The file is not in UTF-8: save it as “CSV UTF-8”.")
        if not (typed.get("csv") or "").strip() and not self.errors:
            self.add_error("csv", "Paste a table, or choose a file.")
        # What was in the file stands in the field, so that one can correct it here.
        self.data = self.data.copy()
        self.data["csv"] = typed.get("csv") or ""
        return typed
