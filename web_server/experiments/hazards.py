"""What a station must be able to bear of a battery: its energy, its hazard, its temperature unseen.

safety.md rules 16 and 21. Each refusal says which of the two to change.
"""

from __future__ import annotations

from typing import Any

from cycling import envelope, sensors
from cycling.envelope import BLIND_MAX_WH, BatteryLimits
from web_server.cells.models import Battery
from web_server.lab import composition
from web_server.lab.models import Station
from web_server.lib import fields


def problems(battery: Battery, limits: BatteryLimits, station: Station, waiver: str) -> list[dict[str, Any]]:
    """Return why this battery may not be tested in this station; ``waiver`` is a manager's reason or empty."""
    energy_wh = envelope.energy_wh(limits)
    return [
        *_energy(battery, energy_wh, station),
        *_hazard(battery, station),
        *_temperature(battery, limits, energy_wh, station, waiver),
    ]


def by_hand(battery: Battery, limits: BatteryLimits, station: Station) -> list[dict[str, Any]]:
    """Return why a person may not drive this battery in this station by hand: nobody waives anything there."""
    energy_wh = envelope.energy_wh(limits)
    blind = [
        fields.error(
            "connected",
            f"{station.name} has no sensor at the cell, which {battery.name} needs by hand (more than {BLIND_MAX_WH:g} Wh, "
            "or nobody knows): bind one as temperature_c, or file an experiment that a manager waives it for.",
        )
        for _ in _temperature(battery, limits, energy_wh, station, "")
    ]
    return [*_energy(battery, energy_wh, station), *_hazard(battery, station), *blind]


def warnings(limits: BatteryLimits, station: Station, waiver: str) -> list[dict[str, Any]]:
    """Name a station without a sensor at the cell (safety.md rule 16)."""
    if has_cell_sensor(station):
        return []
    waived = f" A manager waived it: {waiver}" if waiver else ""
    text = f"{station.name} has no sensor at the cell: nobody watches the battery's temperature.{waived}"
    return [fields.error("temperature_c", text)]


def has_cell_sensor(station: Station) -> bool:
    """Return whether the station measures the battery's own temperature."""
    return bool(sensors.cell_temperatures(composition.limits_of_station(station).measures))


def _energy(battery: Battery, energy_wh: float | None, station: Station) -> list[dict[str, Any]]:
    most = station.max_energy_wh
    if most is None:
        return []
    if energy_wh is None:
        return [
            fields.error(
                "battery.energy_wh",
                f"{station.name} takes at most {most:g} Wh and nobody knows what {battery.name} holds: "
                "give the battery's energy_wh or capacity.",
            )
        ]
    if energy_wh <= most:
        return []
    return [
        fields.error(
            "battery.energy_wh",
            f"{battery.name} holds {energy_wh:g} Wh; {station.name} takes at most {most:g} Wh "
            "(max_energy_wh): choose a station that may hold more.",
        )
    ]


def _hazard(battery: Battery, station: Station) -> list[dict[str, Any]]:
    most = station.max_hazard_level
    if most is None:
        return []
    if battery.hazard_level is None:
        return [
            fields.error(
                "battery.hazard_level",
                f"{station.name} takes hazard levels up to {most}: give {battery.name}'s hazard_level "
                "(EUCAR, 0 to 7).",
            )
        ]
    if battery.hazard_level <= most:
        return []
    return [
        fields.error(
            "battery.hazard_level",
            f"{battery.name} has hazard level {battery.hazard_level}; {station.name} takes at most {most} "
            "(max_hazard_level): choose a station that may hold more.",
        )
    ]


def _temperature(
    battery: Battery, limits: BatteryLimits, energy_wh: float | None, station: Station, waiver: str
) -> list[dict[str, Any]]:
    if waiver or not envelope.needs_temperature_waiver(limits, composition.limits_of_station(station)):
        return []
    holds = "an unknown energy" if energy_wh is None else f"{energy_wh:g} Wh"
    return [
        fields.error(
            "temperature_waiver",
            f"{station.name} has no sensor at the cell and {battery.name} holds {holds} (at most "
            f"{BLIND_MAX_WH:g} Wh without one): bind a sensor as temperature_c, or let a manager waive "
            "it with a reason.",
        )
    ]
