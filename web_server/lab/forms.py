"""What people type to compose a station."""

from __future__ import annotations

from typing import Any

from django import forms

from web_server.lab import outputs, roles
from web_server.lab.models import Device, Station, StationDevice, Unit
from web_server.lib import inputs

NOT_USED = ""
# EUCAR levels (safety.md rule 21).
HAZARDS = (
    "0: no effect",
    "1: passive protection acts",
    "2: defect, damage",
    "3: minor leakage or venting",
    "4: major leakage or venting",
    "5: rupture",
    "6: fire or flame",
    "7: explosion",
)
# What an output takes on events: name of the field, its words.
VALUES = (
    ("minimum", "at least"),
    ("maximum", "at most"),
    ("safe", "Down"),
    ("on_trip", "on trip"),
    ("on_finish", "on finish"),
)
LIMITS = {
    "voltage_min_v": ("Voltage at least", "V"),
    "voltage_max_v": ("Voltage at most", "V"),
    "current_min_a": ("Largest discharge", "A"),
    "current_max_a": ("Largest charge", "A"),
    "power_abs_max_w": ("Power at most", "W"),
    "temperature_min_c": ("Temperature at least", "°C"),
    "temperature_max_c": ("Temperature at most", "°C"),
    "store_min_v": ("Common store at least", "V"),
    "store_max_v": ("Common store at most", "V"),
    "isolator_max_v": ("Isolator closes below a difference of", "V"),
}


class RoleSelect(forms.Select):
    """Roles: what does not fit is shown disabled, with the reason."""

    def __init__(self, reasons: dict[str, str], *args: Any, **kwargs: Any) -> None:
        self.reasons = reasons
        super().__init__(*args, **kwargs)

    def create_option(self, name: str, value: Any, label: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return one option; a role that does not fit is disabled and says why."""
        reason = self.reasons.get(str(value), "")
        option = super().create_option(
            name, value, f"{label} ({reason})" if reason else label, *args, **kwargs
        )
        if reason:
            option["attrs"]["disabled"] = True
        return dict(option)


class StationForm(inputs.Styled):
    """A station's name, the role of each device, the names of its measures, its own limits."""

    name = inputs.text("Name", required=True)
    location = inputs.text("Place")
    barcode = inputs.text("Barcode")
    tags = inputs.words("Tags")
    last_defence = inputs.text(
        "Last line of defence",
        length=250,
        hint="What works with every computer off: fuse, emergency stop, gas alarm.",
    )
    description = inputs.lines("Description", rows=2)
    sensing = forms.TypedChoiceField(
        label="Wiring", choices=[(4, "four wires"), (2, "two wires")], coerce=int
    )
    loop_period_s = inputs.number("Control loop every", "s", hint="0.01 to 10; usual is 0.1.")
    quadrants = forms.ChoiceField(
        label="Current may",
        required=False, choices=[("both", "charge and discharge"), ("charge", "only charge"),
                                      ("discharge", "only discharge")],
    )  # fmt: skip
    zone = forms.ChoiceField(label="Zone", required=False, help_text="Its interlocks stop this station.")
    max_energy_wh = inputs.number("Largest battery", "Wh", hint="What holder, room and people can bear.")
    max_hazard_level = forms.TypedChoiceField(
        label="Highest hazard level (EUCAR)", required=False, coerce=int, empty_value=None,
        choices=[("", "not limited"), *enumerate(HAZARDS)],
    )  # fmt: skip
    leak_a = inputs.number(
        "Measured leak at rest", "A", hint="What the station draws from a resting battery."
    )
    dead_man = inputs.text(
        "Dead-man output", length=60, hint="Name of the output that opens when it is not refreshed for 5 s."
    )
    unguarded_max_wh = inputs.number(
        "Without own guard at most",
        "Wh",
        hint="Usual is 5; larger needs a device that bounds itself, or a dead man.",
    )
    store = inputs.text(
        "Common store", length=60, hint="Same text for all channels on one regenerative store."
    )

    def __init__(self, unit: Unit, *args: Any, **kwargs: Any) -> None:
        self.unit = unit
        self.devices = list(
            unit.devices.select_related("model", "station", "zone").order_by("model__label", "serial_number")
        )
        super().__init__(*args, **kwargs)
        self.fields["zone"].choices = [
            ("", "none"),
            *((str(zone.uuid), zone.name) for zone in unit.zones.all()),
        ]  # type: ignore[attr-defined]
        for device in self.devices:
            fitting = roles.fitting(device.model)
            self.fields[f"role-{device.uuid}"] = forms.ChoiceField(
                label=str(device),
                choices=[(NOT_USED, "not used"), *((role, label) for role, label, _ in fitting)],
                required=False,
                widget=RoleSelect({role: reason for role, _, reason in fitting}),
            )
            self.fields[f"all-{device.uuid}"] = forms.BooleanField(
                label="All under these names", required=False
            )
            for control in device.model.controls:
                self._add_output(device, control)
            for measure in _to_name(device):
                field = inputs.text(f"{measure['name']} of {device}", length=60)
                self.fields[_measure_field(device, measure["name"])] = field
        for name, (label, unit_of) in LIMITS.items():
            self.fields[f"limit-{name}"] = inputs.number(label, unit_of)
        for field in self.fields.values():
            inputs.dress(field)

    def _add_output(self, device: Device, control: dict[str, Any]) -> None:
        """Add the fields of one control: the output's name, and what it takes on events."""
        name = _output_field(device, control["name"])
        self.fields[name] = inputs.text(f"{control['label']} of {device}", length=60)
        for part, words in VALUES:
            field: forms.Field
            if control.get("switch"):
                choices = [("", _unless(control, part)), (0, "off"), (1, "on")]
                field = forms.TypedChoiceField(
                    label=words, choices=choices, coerce=float, empty_value=None, required=False
                )
            else:
                field = inputs.number(words, "")
                usual = control.get("safe")
                if part == "safe" and usual is not None:
                    field.widget.attrs["placeholder"] = f"{usual:g}"
            self.fields[f"{name}-{part}"] = field

    def clean(self) -> dict[str, Any]:
        """Check the names that were typed where they were typed; a name needs its device's role."""
        typed = super().clean() or self.cleaned_data
        for device in self.devices:
            fields = [_measure_field(device, measure["name"]) for measure in _to_name(device)]
            fields += [_output_field(device, control["name"]) for control in device.model.controls]
            named = [field for field in fields if typed.get(field)]
            for field in named:
                for error in outputs.name_error(field, typed[field]):
                    self.add_error(field, error["message"])
            # A device that is taken out of its station leaves names behind, as they were.
            anew = set(named) & set(self.changed_data)
            if anew and not typed.get(f"role-{device.uuid}"):
                self.add_error(
                    f"role-{device.uuid}", "Names are typed below: choose its role, or clear them."
                )
        return typed

    def _controls(self, device: Device) -> list[dict[str, Any]]:
        """Return the controls of a device with their bound fields."""
        rows = []
        for control in device.model.controls:
            name = _output_field(device, control["name"])
            parts = VALUES[2:] if control.get("switch") else VALUES
            fields = [{"words": words, "field": self[f"{name}-{part}"]} for part, words in parts]
            unit = "" if control.get("unit") == "bool" else control.get("unit", "")
            low, high = (None, None) if control.get("switch") else outputs.bounds(control)
            rows.append(
                {"label": control["label"], "unit": unit, "low": low, "high": high, "name": self[name],
                 "parts": fields}
            )  # fmt: skip
        return rows

    def _outputs(self, used: list[Device]) -> list[dict[str, Any]]:
        """Return the outputs that were named, as the service takes them."""
        typed, found = self.cleaned_data, []
        for device in used:
            for control in device.model.controls:
                field = _output_field(device, control["name"])
                if not typed.get(field):
                    continue
                entry = {"name": typed[field], "device": str(device.uuid), "control": control["name"]}
                values = {part: typed.get(f"{field}-{part}") for part, _ in VALUES}
                found.append({**entry, **{part: each for part, each in values.items() if each is not None}})
        return found

    def rows(self, station: Station | None) -> list[dict[str, Any]]:
        """Return the devices with their bound fields; those that another station has come last."""
        rows = [
            {
                "device": device,
                "role": self[f"role-{device.uuid}"],
                "all": self[f"all-{device.uuid}"],
                "taken": device.station if device.station_id and device.station != station else None,
                "zone": device.zone,
                "controls": self._controls(device),
                "measures": [
                    {
                        "name": measure["name"],
                        "unit": measure.get("unit", ""),
                        "field": self[_measure_field(device, measure["name"])],
                    }
                    for measure in _to_name(device)
                ],
            }
            for device in self.devices
        ]
        return sorted(rows, key=lambda row: bool(row["taken"] or row["zone"]))

    def limits(self) -> list[forms.BoundField]:
        """Return the bound fields of the station's own limits."""
        return [self[f"limit-{name}"] for name in LIMITS]

    def body(self, station: Station | None) -> dict[str, Any]:
        """Return what the service takes."""
        typed = self.cleaned_data
        used = [device for device in self.devices if typed.get(f"role-{device.uuid}")]
        body = {name: typed[name] for name in (*_PLAIN, "leak_a", "max_energy_wh", "max_hazard_level")}
        body["quadrants"] = body["quadrants"] or Station.Quadrants.BOTH
        limits = {name: typed[f"limit-{name}"] for name in LIMITS if typed[f"limit-{name}"] is not None}
        return {
            **body,
            "tags": inputs.split(typed["tags"]),
            "loop_period_s": 0.1 if typed["loop_period_s"] is None else typed["loop_period_s"],
            "unguarded_max_wh": 5.0 if typed["unguarded_max_wh"] is None else typed["unguarded_max_wh"],
            "zone": typed["zone"] or None,
            "outputs": self._outputs(used),
            "limits": {**limits, **({"store": typed["store"]} if typed["store"] else {})},
            "devices": [{"device": device, "role": typed[f"role-{device.uuid}"]} for device in used],
            "measures": [
                {"device": device, "measure": measure["name"], "name": name}
                for device in used
                for measure in _to_name(device)
                if (name := self._name_of(device, measure["name"]))
            ],
        }

    def _name_of(self, device: Device, measure: str) -> str:
        """Return the name that was typed for a measure; its own when all of them are wanted."""
        typed = str(self.cleaned_data.get(_measure_field(device, measure)) or "")
        return typed or (measure if self.cleaned_data.get(f"all-{device.uuid}") else "")


def _unless(control: dict[str, Any], part: str) -> str:
    """Return what a switch does on an event for which nothing is chosen."""
    usual = control.get("safe") if part == "safe" else None
    return "leave it" if usual is None else f"as usual: {'on' if usual else 'off'}"


# Columns of a station that the form takes as they are typed.
_PLAIN = ("name", "location", "barcode", "last_defence", "description", "sensing", "quadrants", "dead_man")


# What every sample has of its power device anyway.
_ALWAYS = frozenset({"voltage_v", "current_a", "power_w"})


def _to_name(device: Device) -> list[dict[str, Any]]:
    """Return the measures that may be recorded beside voltage, current and power."""
    always = _ALWAYS if device.model.role == StationDevice.Role.POWER else frozenset()
    return [measure for measure in device.model.measures if measure["name"] not in always]


def _measure_field(device: Device, measure: str) -> str:
    return f"measure-{device.uuid}-{measure}"


def _output_field(device: Device, control: str) -> str:
    return f"output-{device.uuid}-{control}"


_AMOUNTS = ("loop_period_s", "leak_a", "unguarded_max_wh", "max_energy_wh", "max_hazard_level")


def typed_of(station: Station) -> dict[str, Any]:
    """Return a station as the form's initial entries."""
    first = {name: getattr(station, name) for name in (*_PLAIN, *_AMOUNTS)}
    first |= {"tags": ", ".join(station.tags), "store": station.limits.get("store", "")}
    first["zone"] = str(station.zone.uuid) if station.zone else ""
    first |= {f"limit-{name}": amount for name, amount in station.limits.items() if name in LIMITS}
    for output in station.outputs:
        field = f"output-{output['device']}-{output['control']}"
        first[field] = output["name"]
        first |= {f"{field}-{part}": inputs.typed(output.get(part)) for part, _ in VALUES}
    first |= {f"role-{use.device.uuid}": use.role for use in station.devices.select_related("device")}
    for row in station.measures.select_related("device"):
        first[_measure_field(row.device, row.measure)] = row.name
    return first
