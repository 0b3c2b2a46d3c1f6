"""What a station is made of: the rules, each naming the part that breaks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cycling.contract import STATION_BOUNDS
from web_server.lab import outputs, roles
from web_server.lab.models import Device, Station, Unit, Zone
from web_server.lab.station_message import (
    configuration,
    definition,
    limits_of_devices,
    limits_of_station,
)
from web_server.lib import fields

__all__ = ["LIMITS", "configuration", "definition", "limits_of_devices", "limits_of_station", "problems"]

# Columns of every sample: a measure must not take their names (temperature_c is the cell's own).
RESERVED = frozenset(
    [
        "seq",
        "time_us",
        "elapsed_s",
        "step",
        "step_count",
        "cycle",
        "mode",
        "voltage_v",
        "current_a",
        "power_w",
        "flags",
        "charge_in_ah",
        "charge_out_ah",
        "energy_in_wh",
        "energy_out_wh",
    ]
)
LIMITS = STATION_BOUNDS
# The unit reads these beside them: the common store by its name (rule 14), the isolator's own (rule 17).
FURTHER = ("store", "isolator_max_v")
# A measure under this name is the cell's own temperature: nothing else may take it (rule 16).
CELL_TEMPERATURE = "temperature_c"
_CELSIUS = ("°C", "C", "degC")


def problems(unit: Unit, body: Mapping[str, Any], station: Station | None) -> list[fields.Error]:
    """Return everything wrong with a composition; ``body`` holds `Device` rows, not their ids."""
    devices = [entry["device"] for entry in body["devices"]]
    return [
        *_unit(unit),
        *roles.problems(unit, body["devices"], station),
        *_measures(body["measures"], devices),
        *_outputs(body["outputs"], devices, body["measures"]),
        *_dead_man(body, devices),
        *_limits(body["limits"]),
        *_numbers(body),
        *_zone(unit, body.get("zone")),
    ]


def _unit(unit: Unit) -> list[fields.Error]:
    if unit.retired_at or not unit.approved:
        return [fields.error("unit", f"The unit {unit.name} is {unit.status}; approve it first.")]
    return []


def _measures(entries: list[dict[str, Any]], devices: list[Device]) -> list[fields.Error]:
    errors, seen = [], set()
    for entry in entries:
        name, device, measure = entry["name"], entry["device"], entry["measure"]
        if device not in devices:
            errors.append(fields.error("measures", f"{name}: {device} is not in this station."))
        elif measure not in device.model.measure_names:
            offered = ", ".join(device.model.measure_names) or "nothing"
            errors.append(
                fields.error("measures", f"{device} does not measure {measure!r}; it offers {offered}.")
            )
        errors += outputs.name_error("measures", name)
        if name == CELL_TEMPERATURE and device in devices and not _in_celsius(device, measure):
            errors.append(
                fields.error("measures", f"{measure} of {device} is not in °C: it is no cell temperature.")
            )
        if name in RESERVED:
            errors.append(
                fields.error("measures", f"{name} is a column of every sample; choose another name.")
            )
        if name in seen:
            errors.append(fields.error("measures", f"The name {name} is given twice."))
        seen.add(name)
    return errors


def _in_celsius(device: Device, measure: str) -> bool:
    units = {entry["name"]: entry.get("unit", "") for entry in device.model.measures}
    return units.get(measure, "°C") in _CELSIUS


def _outputs(entries: Any, devices: list[Device], measures: list[dict[str, Any]]) -> list[fields.Error]:
    errors = outputs.problems("outputs", entries, devices)
    if not errors:
        names = {entry["name"] for entry in measures} | RESERVED
        errors = [
            fields.error("outputs", f"{entry['name']} is a measure's name already; choose another.")
            for entry in entries
            # A chamber's set point is named like what it sets: steps say temperature_c.
            if entry["name"] in names and entry["name"] != CELL_TEMPERATURE
        ]
    return errors


def _dead_man(body: Mapping[str, Any], devices: list[Device]) -> list[fields.Error]:
    """The output that opens when it is not refreshed for 5 s must be a switch that is safe open."""
    wanted = body.get("dead_man") or ""
    if not isinstance(wanted, str):
        return [fields.error("dead_man", "dead_man is the name of an output.")]
    if not wanted or not isinstance(body["outputs"], list):
        return []
    entry = next((each for each in body["outputs"] if each.get("name") == wanted), None)
    if entry is None:
        return [fields.error("dead_man", f"There is no output {wanted!r} that could be the dead man.")]
    device = next((each for each in devices if str(each.uuid) == str(entry.get("device"))), None)
    control = outputs.control_of(device, entry.get("control")) if device else None
    if control is None or not control.get("switch"):
        return [fields.error("dead_man", f"{wanted} is no switch: a dead man opens a contact.")]
    return []


def _zone(unit: Unit, zone: Any) -> list[fields.Error]:
    if not isinstance(zone, Zone):
        return []
    if zone.unit_id != unit.pk:
        text = f"The zone {zone.name} is watched by {zone.unit.name}; this station is on {unit.name}."
        return [fields.error("zone", text)]
    return []


def _limits(limits: Any) -> list[fields.Error]:
    if not isinstance(limits, dict):
        return [fields.error("limits", "limits is an object of numbers.")]
    known, numbers = (*LIMITS, *FURTHER), (*LIMITS, "isolator_max_v")
    own = [*fields.unknown(limits, known, "station's limits"), *fields.numbers(limits, numbers)]
    own += fields.texts(limits, {"store": 60})
    if not own:
        for low, high in (
            ("voltage_min_v", "voltage_max_v"),
            ("current_min_a", "current_max_a"),
            ("temperature_min_c", "temperature_max_c"),
            ("store_min_v", "store_max_v"),
        ):
            own += fields.in_order(limits, low, high)
    return [{**error, "field": f"limits.{error['field']}"} for error in own]


def _numbers(body: Mapping[str, Any]) -> list[fields.Error]:
    errors = []
    if body["sensing"] not in (2, 4):
        errors.append(fields.error("sensing", "sensing is 2 (two-wire) or 4 (four-wire)."))
    errors += fields.numbers(body, ["loop_period_s"])
    if not errors and not 0.01 <= body["loop_period_s"] <= 10:
        errors.append(fields.error("loop_period_s", "loop_period_s is 0.01 to 10 s."))
    if body.get("quadrants") not in Station.Quadrants.values:
        errors.append(fields.error("quadrants", "quadrants is both, charge or discharge."))
    amounts = fields.numbers(body, ["leak_a", "unguarded_max_wh", "max_energy_wh"])
    for name in ("leak_a", "unguarded_max_wh", "max_energy_wh"):
        if not amounts and body.get(name) is not None and body[name] < 0:
            amounts.append(fields.error(name, f"{name} is not negative."))
    if not amounts and body.get("unguarded_max_wh") is None:
        amounts.append(fields.error("unguarded_max_wh", "unguarded_max_wh is a number; usual is 5 Wh."))
    return errors + amounts + _hazard(body.get("max_hazard_level"))


def _hazard(level: Any) -> list[fields.Error]:
    if level is None or (isinstance(level, int) and not isinstance(level, bool) and 0 <= level <= 7):
        return []
    return [fields.error("max_hazard_level", "max_hazard_level is a EUCAR level, 0 to 7.")]
