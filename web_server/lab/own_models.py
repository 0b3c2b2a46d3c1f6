"""Device models that people add: a known family's driver with the limits of another member."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from django.db import IntegrityError, transaction
from django.utils.text import slugify

from web_server.accounts import audit
from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.lab.catalogue import kind_of, row
from web_server.lab.models import DeviceModel
from web_server.lab.station_message import OWN
from web_server.lib import fields
from web_server.lib.errors import Refused
from web_server.lib.lookup import find
from web_server.lib.transactions import atomic
from wire.catalogue import Kind

LIMITS = (
    "voltage_min_v",
    "voltage_max_v",
    "current_min_a",
    "current_max_a",
    "power_min_w",
    "power_max_w",
)
_TEXTS = {"label": 100, "maker": 100, "model": 100, "identity": 250}
# What may be said of a measure; its name and unit are the family's.
_OF_MEASURE = ("resolution", "accuracy", "accuracy_rel", "max_age_s", "frozen_s", "period_s")


@atomic
def add_model(by: Person | None, **body: Any) -> DeviceModel:
    """Add a model of a known family; detection uses it from its next scan on.

    ``body``: ``base`` (the model of the catalogue whose driver it uses), ``label, maker, model,
    identity`` (a regular expression; empty = "maker, model,"), the limits, ``link_settings`` and
    ``measures {name: {resolution, accuracy, ...}}``; what is left out is as the base has it.

    Raises:
        NotAllowed: the role is too low.
        Refused: a limit outside the base's own, or a field that is wrong.
    """
    require(by, Role.MANAGER, "add a device model")
    base = find(DeviceModel, body.get("base"), "base")
    known = {"base", *_TEXTS, *LIMITS, "link_settings", "measures"}
    errors = [*fields.unknown(body, known, "device model"), *fields.texts(body, _TEXTS)]
    errors += [_needed(name) for name in ("label", "maker", "model") if not str(body.get(name) or "").strip()]
    errors += _limits(base, body) + _measures(base, body.get("measures")) + _links(base, body)
    errors += _identity(body.get("identity") or "")
    if errors:
        raise Refused(errors)
    kind = _kind(base, body)
    try:
        with transaction.atomic():
            added = DeviceModel.objects.create(key=kind.key, **row(kind), source=OWN)
    except IntegrityError:
        raise Refused.one(f"The catalogue has {kind.label} of {kind.maker} already.", "label") from None
    audit.record(by, "device_model.add", added, base=base.key)
    return added


@atomic
def remove_model(by: Person | None, model: DeviceModel) -> None:
    """Remove a model that people added and that no device is of.

    Raises:
        NotAllowed: the role is too low.
        Refused: it belongs to the catalogue, or a device is of this model.
    """
    require(by, Role.MANAGER, "remove a device model")
    if model.source != OWN:
        raise Refused.one(f"{model.label} belongs to the catalogue.", "source")
    device = model.devices.first()
    if device:
        raise Refused.one(f"{device} is of this model.", "devices")
    audit.record(by, "device_model.remove", model)
    model.delete()


def _needed(name: str) -> fields.Error:
    return fields.error(name, f"Give it a {name}.")


def _limits(base: DeviceModel, body: Mapping[str, Any]) -> list[fields.Error]:
    """The driver was written for the base: nothing may be wider than it."""
    errors = fields.numbers(body, LIMITS)
    if errors:
        return errors
    for name in LIMITS:
        given, own = body.get(name), getattr(base, name)
        if given is None or own is None:
            continue
        if given < own if "_min_" in name else given > own:
            side = "below" if "_min_" in name else "above"
            text = f"{name} {given:g} is {side} {base.label}'s {own:g}, for which the driver was written."
            errors.append(fields.error(name, text))
    whole = {name: body.get(name) if body.get(name) is not None else getattr(base, name) for name in LIMITS}
    for quantity in ("voltage_{}_v", "current_{}_a", "power_{}_w"):
        errors += fields.in_order(whole, quantity.format("min"), quantity.format("max"))
    return errors


def _measures(base: DeviceModel, given: Any) -> list[fields.Error]:
    if given is None:
        return []
    if not isinstance(given, Mapping) or not all(isinstance(entry, Mapping) for entry in given.values()):
        return [fields.error("measures", "measures is an object of {resolution, accuracy, ...} by name.")]
    errors = []
    for name, entry in given.items():
        if name not in base.measure_names:
            errors.append(fields.error("measures", f"The driver of {base.label} does not measure {name!r}."))
        for part, amount in entry.items():
            fine = isinstance(amount, int | float) and not isinstance(amount, bool)
            if part not in _OF_MEASURE:
                errors.append(fields.error("measures", f"{name} has no field {part!r}."))
            elif amount is not None and not (fine and math.isfinite(amount) and amount >= 0):
                errors.append(fields.error("measures", f"{name}: {part} must be a number, not negative."))
    return errors


def _links(base: DeviceModel, body: Mapping[str, Any]) -> list[fields.Error]:
    given = body.get("link_settings")
    if given is None:
        return []
    if not isinstance(given, Mapping):
        return [fields.error("link_settings", "link_settings is an object.")]
    return [
        fields.error("link_settings", f"{base.label} has no link setting {name!r}.")
        for name in given
        if name not in base.link_settings
    ] + [
        fields.error("link_settings", f"{name} must be like {own!r}, not {given[name]!r}.")
        for name, own in base.link_settings.items()
        if name in given and not _alike(own, given[name])
    ]


def _alike(own: Any, given: Any) -> bool:
    """Whether a link setting is of the same sort as the base's."""
    if isinstance(own, bool) or isinstance(given, bool):
        return isinstance(own, bool) and isinstance(given, bool)
    if isinstance(own, int | float):
        return isinstance(given, int | float) and math.isfinite(given)
    return isinstance(given, type(own))


def _identity(pattern: str) -> list[fields.Error]:
    try:
        re.compile(pattern)
    except re.error as error:
        return [fields.error("identity", f"This is no regular expression: {error}.")]
    return []


def _kind(base: DeviceModel, body: Mapping[str, Any]) -> Kind:
    """Return the base's row with what was typed over it."""
    label, maker, model = (str(body[name]).strip() for name in ("label", "maker", "model"))
    told = body.get("measures") or {}
    plain = kind_of(base)
    measures = tuple(
        msgspec.structs.replace(entry, **{k: v for k, v in told.get(entry.name, {}).items() if v is not None})
        for entry in plain.measures
    )
    changed = {name: float(body[name]) for name in LIMITS if body.get(name) is not None}
    return msgspec.structs.replace(
        plain,
        key=f"own-{slugify(f'{maker} {model}')[:80]}",
        label=label,
        maker=maker,
        model=model,
        identity=body.get("identity") or rf"{re.escape(model)}\s*(,|$)",
        link_settings={**plain.link_settings, **(body.get("link_settings") or {})},
        measures=measures,
        **changed,
    )
