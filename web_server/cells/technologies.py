"""The fields that each technology of battery has of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Model

from web_server.cells.models import Battery, LeadAcid, Lithium, RedoxStack
from web_server.lib import fields

MODELS: dict[str, type[Model]] = {
    Battery.Technology.LITHIUM: Lithium,
    Battery.Technology.LEAD_ACID: LeadAcid,
    Battery.Technology.REDOX_STACK: RedoxStack,
}
_TEXTS = ("electrode_composition", "bipolar_type", "membrane_type", "electrolyte_type")
FIELDS: dict[str, tuple[str, ...]] = {
    Battery.Technology.LITHIUM: ("capacity_ah", "chemistry"),
    Battery.Technology.LEAD_ACID: ("capacity_ah", "chemistry"),
    Battery.Technology.REDOX_STACK: ("electrode_size_cm2", *_TEXTS),
}
CHEMISTRIES: dict[str, list[str]] = {
    Battery.Technology.LITHIUM: Lithium.Chemistry.values,
    Battery.Technology.LEAD_ACID: LeadAcid.Chemistry.values,
}


def problems(body: Mapping[str, Any]) -> list[fields.Error]:
    """Return every error of the technology and of its own part in ``body``."""
    technology = body.get("technology")
    if technology not in MODELS:
        known = ", ".join(MODELS)
        if technology is None:
            return [fields.error("technology", f"Give one: {known}.")]
        return [fields.error("technology", f"Unknown technology {technology!r}; use one of {known}.")]
    errors = [
        fields.error(other, f"A {technology} battery has no part {other!r}.")
        for other in MODELS
        if other != technology and body.get(other)
    ]
    part = body.get(technology)
    if not isinstance(part, Mapping):
        needed = ", ".join(FIELDS[technology])
        return [*errors, fields.error(technology, f"Give {technology} with {needed}.")]
    own = _redox(part) if technology == Battery.Technology.REDOX_STACK else _cell(technology, part)
    own += fields.unknown(part, FIELDS[technology], technology)
    return errors + [{**error, "field": f"{technology}.{error['field']}"} for error in own]


def _positive(part: Mapping[str, Any], field: str) -> list[fields.Error]:
    if part.get(field) is None:
        return [fields.error(field, f"Give {field}.")]
    return fields.numbers(part, [field]) or (
        [] if part[field] > 0 else [fields.error(field, f"{field} must be above 0; got {part[field]:g}.")]
    )


def _cell(technology: str, part: Mapping[str, Any]) -> list[fields.Error]:
    errors = _positive(part, "capacity_ah")
    if part.get("chemistry") not in CHEMISTRIES[technology]:
        known = ", ".join(CHEMISTRIES[technology])
        errors.append(
            fields.error("chemistry", f"Unknown chemistry {part.get('chemistry')!r}; use one of {known}.")
        )
    return errors


def _redox(part: Mapping[str, Any]) -> list[fields.Error]:
    return _positive(part, "electrode_size_cm2") + fields.texts(part, dict.fromkeys(_TEXTS, 100))


def save_part(battery: Battery, part: Mapping[str, Any]) -> None:
    """Write the technology's own row of ``battery``; rows of other technologies go."""
    for technology, model in MODELS.items():
        if technology != battery.technology:
            model._default_manager.filter(battery=battery).delete()
    MODELS[battery.technology]._default_manager.update_or_create(battery=battery, defaults=dict(part))
    # The reverse one-to-one is cached on the instance; the old row must not answer any more.
    for technology in MODELS:
        battery._state.fields_cache.pop(technology, None)
