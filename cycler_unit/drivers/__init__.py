"""Drivers of devices: facts about each device on top of ``base``; found by path or entry point."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import Any

from cycler_unit.drivers.errors import DriverError

# Other packages add drivers here: ``"their-kind" = "their_package.module:Class"``.
GROUP = "cellyard.drivers"


class DriverMissing(DriverError):
    """A driver or the vendor library it needs is not installed: this device only, do not retry."""


def load(driver: str) -> type[Any]:
    """Import and return a driver's class.

    ``driver`` is ``module:Class``, or the name of an entry point of the group ``cellyard.drivers``.
    Raises ``DriverMissing`` with one sentence; other drivers are not touched.
    """
    try:
        loaded = _import(driver) if ":" in driver else _entry_point(driver)
    except (ImportError, AttributeError) as error:
        raise DriverMissing(f"the driver {driver!r} cannot be loaded: {error}") from error
    if not isinstance(loaded, type):
        raise DriverMissing(f"the driver {driver!r} is not a class")
    return loaded


def _import(path: str) -> object:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _entry_point(name: str) -> object:
    for point in entry_points(group=GROUP, name=name):
        return point.load()
    raise ImportError(f"no entry point of that name in the group {GROUP}")
