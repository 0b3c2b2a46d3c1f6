"""What people type to compose a station."""

from __future__ import annotations

from typing import Any

from django import forms

from web_server.lab.models import Device, Station, StationDevice, Unit
from web_server.lib import inputs

NOT_USED = ""
LIMITS = {
    "voltage_min_v": ("Voltage at least", "V"),
    "voltage_max_v": ("Voltage at most", "V"),
    "current_min_a": ("Largest discharge", "A"),
    "current_max_a": ("Largest charge", "A"),
    "power_abs_max_w": ("Power at most", "W"),
    "temperature_min_c": ("Temperature at least", "°C"),
    "temperature_max_c": ("Temperature at most", "°C"),
}


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
    outputs = inputs.words("Outputs", hint="Names of auxiliary outputs, separated with commas: pump, relay.")

    def __init__(self, unit: Unit, *args: Any, **kwargs: Any) -> None:
        self.unit = unit
        self.devices = list(
            unit.devices.select_related("model", "station").order_by("model__label", "serial_number")
        )
        super().__init__(*args, **kwargs)
        roles = [(NOT_USED, "not used"), *StationDevice.Role.choices]
        for device in self.devices:
            self.fields[f"role-{device.uuid}"] = forms.ChoiceField(
                label=str(device), choices=roles, required=False
            )
            for measure in _to_name(device):
                field = inputs.text(f"{measure['name']} of {device}", length=60)
                self.fields[_measure_field(device, measure["name"])] = field
        for name, (label, unit_of) in LIMITS.items():
            self.fields[f"limit-{name}"] = inputs.number(label, unit_of)
        for field in self.fields.values():
            inputs.dress(field)

    def rows(self, station: Station | None) -> list[dict[str, Any]]:
        """Return the devices with their bound fields; those that another station has come last."""
        rows = [
            {
                "device": device,
                "role": self[f"role-{device.uuid}"],
                "taken": device.station if device.station_id and device.station != station else None,
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
        return sorted(rows, key=lambda row: bool(row["taken"]))

    def limits(self) -> list[forms.BoundField]:
        """Return the bound fields of the station's own limits."""
        return [self[f"limit-{name}"] for name in LIMITS]

    def body(self, station: Station | None) -> dict[str, Any]:
        """Return what the service takes."""
        typed = self.cleaned_data
        used = [device for device in self.devices if typed.get(f"role-{device.uuid}")]
        kept = {output.get("name"): output for output in (station.outputs if station else [])}
        body = {
            name: typed[name]
            for name in ("name", "location", "barcode", "last_defence", "description", "sensing")
        }
        return {
            **body,
            "tags": inputs.split(typed["tags"]),
            "loop_period_s": 0.1 if typed["loop_period_s"] is None else typed["loop_period_s"],
            "outputs": [kept.get(name, {"name": name}) for name in inputs.split(typed["outputs"])],
            "limits": {name: typed[f"limit-{name}"] for name in LIMITS if typed[f"limit-{name}"] is not None},
            "devices": [{"device": device, "role": typed[f"role-{device.uuid}"]} for device in used],
            "measures": [
                {"device": device, "measure": measure["name"], "name": name}
                for device in used
                for measure in _to_name(device)
                if (name := typed.get(_measure_field(device, measure["name"])))
            ],
        }


# What every sample has of its power device anyway.
_ALWAYS = frozenset({"voltage_v", "current_a", "power_w"})


def _to_name(device: Device) -> list[dict[str, Any]]:
    """Return the measures that may be recorded beside voltage, current and power."""
    always = _ALWAYS if device.model.role == StationDevice.Role.POWER else frozenset()
    return [measure for measure in device.model.measures if measure["name"] not in always]


def _measure_field(device: Device, measure: str) -> str:
    return f"measure-{device.uuid}-{measure}"


def typed_of(station: Station) -> dict[str, Any]:
    """Return a station as the form's initial entries."""
    first = {
        name: getattr(station, name)
        for name in ("name", "location", "barcode", "last_defence", "description", "sensing", "loop_period_s")
    }
    first |= {
        "tags": ", ".join(station.tags),
        "outputs": ", ".join(output["name"] for output in station.outputs),
    }
    first |= {f"limit-{name}": amount for name, amount in station.limits.items()}
    first |= {f"role-{use.device.uuid}": use.role for use in station.devices.select_related("device")}
    for row in station.measures.select_related("device"):
        first[_measure_field(row.device, row.measure)] = row.name
    return first
