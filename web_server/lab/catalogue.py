"""The device models in the database: seeded from `wire.kinds`, added to by units."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from web_server.lab.models import DeviceModel
from web_server.lib.transactions import atomic
from wire.catalogue import Kind
from wire.kinds import KINDS

_COLUMNS = tuple(field for field in Kind.__struct_fields__ if field != "key")


@atomic
def seed(kinds: Iterable[Kind] = KINDS) -> int:
    """Write the catalogue's rows, changed ones again; return how many there are.

    Runs after every migrate, so that a new version's devices are known at once.
    """
    count = 0
    for kind in kinds:
        DeviceModel.objects.update_or_create(key=kind.key, defaults={**row(kind), "source": "catalogue"})
        count += 1
    return count


@atomic
def learn(kinds: Iterable[dict[str, Any]]) -> list[str]:
    """Add models that a unit knows and the catalogue does not; return what was wrong with the others.

    A row of the catalogue is never overwritten by a unit: its limits belong to the site.
    """
    problems = []
    for plain in kinds:
        try:
            kind = msgspec.convert(plain, Kind)
        except msgspec.ValidationError as error:
            problems.append(f"{plain.get('key', '?')}: {error}")
            continue
        known = DeviceModel.objects.filter(key=kind.key).first()
        if known is None or known.source == "unit":
            DeviceModel.objects.update_or_create(key=kind.key, defaults={**row(kind), "source": "unit"})
    return problems


def row(kind: Kind) -> dict[str, Any]:
    """Return the columns of a kind; the JSON columns as plain lists and dicts."""
    return {
        field: msgspec.to_builtins(entry)
        if field in ("measures", "controls", "off", "settings", "link_settings")
        else entry
        for field, entry in ((field, getattr(kind, field)) for field in _COLUMNS)
    }


def kind_of(model: DeviceModel) -> Kind:
    """Return the row as the struct that the envelope is computed from."""
    columns = {field: getattr(model, field) for field in _COLUMNS}
    given = {field: entry for field, entry in columns.items() if entry is not None}
    return msgspec.convert({"key": model.key, **given}, Kind)
