"""What people type to make a zone: interlocks among its devices' measures, outputs among their controls."""

from __future__ import annotations

from typing import Any

from django import forms

from web_server.lab import outputs
from web_server.lab.models import Device, Unit, Zone
from web_server.lab.panel import words
from web_server.lib import inputs

_SWITCH = [("", "leave it"), (0, "off"), (1, "on")]


class ZoneForm(inputs.Styled):
    """A zone's name, its interlocks, and the outputs that act when one opens."""

    name = inputs.text("Name", required=True)
    description = inputs.lines("Description", rows=2)
    max_age_s = inputs.number(
        "An interlock counts as open when it was not read for", "s", hint="0.5 to 60; usual is 2."
    )

    def __init__(self, unit: Unit, zone: Zone | None, *args: Any, **kwargs: Any) -> None:
        self.unit, self.zone = unit, zone
        free = unit.devices.filter(station=None).select_related("model", "zone")
        self.devices = [
            device
            for device in free.order_by("model__label", "serial_number")
            if device.model.role != "power" and (device.zone_id is None or device.zone == zone)
        ]
        super().__init__(*args, **kwargs)
        for device in self.devices:
            for measure in _inputs(device):
                self._add_interlock(device, measure)
            for control in device.model.controls:
                self._add_output(device, control)
        for field in self.fields.values():
            inputs.dress(field)

    def _add_interlock(self, device: Device, measure: str) -> None:
        name = _lock(device, measure)
        self.fields[name] = inputs.text(f"{measure} of {device}", length=60)
        self.fields[f"{name}-ok"] = forms.TypedChoiceField(
            label="is well when",
            choices=[(1, "1: closed, on"), (0, "0: open, off")],
            coerce=int,
            required=False,
        )

    def _add_output(self, device: Device, control: dict[str, Any]) -> None:
        name = _act(device, str(control["name"]))
        self.fields[name] = inputs.text(f"{control['label']} of {device}", length=60)
        for part, said in (("on_trip", "when one opens"), ("normal", "otherwise")):
            if control.get("switch"):
                self.fields[f"{name}-{part}"] = forms.TypedChoiceField(
                    label=said, choices=_SWITCH, coerce=float, empty_value=None, required=False
                )
            else:
                self.fields[f"{name}-{part}"] = inputs.number(said)
        self.fields[f"{name}-lost"] = forms.BooleanField(
            label="also when an alarm cannot reach the server", required=False
        )

    def clean(self) -> dict[str, Any]:
        """Check names where they were typed; an output says what it does when an interlock opens."""
        typed = super().clean() or self.cleaned_data
        for device in self.devices:
            locks = [_lock(device, measure) for measure in _inputs(device)]
            acts = [_act(device, str(control["name"])) for control in device.model.controls]
            for name in (each for each in (*locks, *acts) if typed.get(each)):
                for error in outputs.name_error(name, typed[name]):
                    self.add_error(name, error["message"])
            for name in acts:
                given = f"{name}-on_trip"
                if typed.get(name) and typed.get(given) is None and given not in self.errors:
                    self.add_error(given, "Say what it does when an interlock opens.")
        return typed

    def rows(self) -> list[dict[str, Any]]:
        """Return the devices with their bound fields: first those that can guard a zone by themselves."""
        rows = self._rows()
        for row in rows:
            row["open"] = any(output["name"].value() for output in row["outputs"])
        useful = [row for row in rows if row["interlocks"] or row["outputs"]]
        return sorted(useful, key=lambda row: not row["interlocks"])

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "device": device,
                "interlocks": [
                    {
                        "label": words(measure),
                        "name": self[_lock(device, measure)],
                        "ok": self[f"{_lock(device, measure)}-ok"],
                    }
                    for measure in _inputs(device)
                ],
                "outputs": [
                    {"label": control["label"], "name": self[name], "on_trip": self[f"{name}-on_trip"],
                     "normal": self[f"{name}-normal"], "lost": self[f"{name}-lost"]}
                    for control in device.model.controls
                    for name in (_act(device, control["name"]),)
                ],
            }
            for device in self.devices
        ]  # fmt: skip

    def body(self) -> dict[str, Any]:
        """Return what the service takes."""
        typed = self.cleaned_data
        interlocks, outputs = [], []
        for device in self.devices:
            for measure in _inputs(device):
                field = _lock(device, measure)
                if typed.get(field):
                    entry = {"name": typed[field], "device": str(device.uuid), "measure": measure}
                    interlocks.append({**entry, "ok": 0 if str(typed[f"{field}-ok"]) == "0" else 1})
            for control in device.model.controls:
                field = _act(device, control["name"])
                if typed.get(field):
                    outputs.append(self._output(device, control["name"], field))
        return {
            "name": typed["name"],
            "description": typed["description"],
            "max_age_s": 2.0 if typed["max_age_s"] is None else typed["max_age_s"],
            "interlocks": interlocks,
            "outputs": outputs,
        }

    def _output(self, device: Device, control: str, field: str) -> dict[str, Any]:
        typed = self.cleaned_data
        entry = {"name": typed[field], "device": str(device.uuid), "control": control}
        values = {part: typed.get(f"{field}-{part}") for part in ("on_trip", "normal")}
        entry |= {part: value for part, value in values.items() if value is not None}
        return {**entry, "on_server_lost": bool(typed.get(f"{field}-lost"))}


def _inputs(device: Device) -> list[str]:
    """Return its boolean measures that are no read-back of one of its own controls."""
    own = {control.get("measure") for control in device.model.controls}
    return [
        str(measure["name"])
        for measure in device.model.measures
        if measure.get("unit") == "bool" and measure["name"] not in own
    ]


def _lock(device: Device, measure: str) -> str:
    return f"lock-{device.uuid}-{measure}"


def _act(device: Device, control: str) -> str:
    return f"act-{device.uuid}-{control}"


def typed_of(zone: Zone) -> dict[str, Any]:
    """Return a zone as the form's initial entries."""
    first: dict[str, Any] = {name: getattr(zone, name) for name in ("name", "description", "max_age_s")}
    for lock in zone.interlocks:
        field = f"lock-{lock['device']}-{lock['measure']}"
        first |= {field: lock["name"], f"{field}-ok": int(lock.get("ok", 1))}
    for output in zone.outputs:
        field = f"act-{output['device']}-{output['control']}"
        first |= {field: output["name"], f"{field}-on_trip": inputs.typed(output["on_trip"])}
        first |= {f"{field}-normal": inputs.typed(output.get("normal"))}
        first |= {f"{field}-lost": output.get("on_server_lost")}
    return first
