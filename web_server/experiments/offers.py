"""What may be chosen on the page New experiment: what fits first, what does not with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cycling.steps import End, Profile, Rest
from web_server.cells.models import Battery
from web_server.experiments import hazards
from web_server.experiments.contract import draw_up
from web_server.lab.models import Station
from web_server.profiles.listing import offered
from web_server.profiles.services import definition_of

# Reasons shown of one that does not fit.
REASONS_SHOWN = 2
# Without a sensor at the cell a manager may still waive it, further down on the same page.
WAIVER_TO_COME = "to come"
# Stands for "nothing yet": asks whether battery and station agree at all.
_REST = Profile(name="rest", steps=[Rest(end=[End(quantity="time_s", op="above", value=1.0)])])


@dataclass
class Offer:
    """One thing to choose; ``why_not`` empty means that it may be chosen."""

    item: Any
    about: str = ""
    note: str = ""
    why_not: list[str] = field(default_factory=list)


def batteries(station: Station | None) -> list[Offer]:
    """Return the batteries in use, those loaded in ``station`` first."""
    rows = Battery.objects.filter(retired_at=None).select_related(
        "station", "lithium", "lead_acid", "redox_stack", "active_experiment"
    )
    offers = [Offer(row, about=_battery(row), note=_where(row)) for row in rows]
    return sorted(offers, key=lambda offer: not (station and offer.item.station_id == station.pk))


def _battery(row: Battery) -> str:
    return ", ".join(str(part) for part in (row.get_technology_display(), row.detail) if part)


def _where(row: Battery) -> str:
    if row.quarantined:
        return "in quarantine: no station starts it before an inspection"
    if getattr(row, "active_experiment", None):
        return f"busy with {row.active_experiment.name}; yours waits"
    return f"in {row.station.name}" if row.station else "not in a station"


def stations(battery: Battery | None) -> list[Offer]:
    """Return the stations in use; the one that holds ``battery`` first, those that cannot bear it last."""
    rows = Station.objects.filter(retired_at=None).select_related("unit", "battery", "active_experiment")
    rows = rows.prefetch_related("devices__device__model", "measures")
    offers = []
    for row in rows:
        about = ", ".join(part for part in (row.location, f"unit {row.unit.name}") if part)
        offer = Offer(row, about=about, note=_state(row, battery))
        if battery is not None:
            offer.why_not = _reasons(draw_up(battery, row, _REST, temperature_waiver=WAIVER_TO_COME).errors)
        offers.append(offer)
    home = battery.station_id if battery else None
    return sorted(offers, key=lambda offer: (bool(offer.why_not), offer.item.pk != home))


def _state(row: Station, battery: Battery | None) -> str:
    held = row.loaded_battery
    parts = [f"{row.state}"]
    if held is not None and battery is not None and held.pk != battery.pk:
        parts.append(f"holds {held.name}, which must come out first")
    elif held is not None:
        parts.append(f"holds {held.name}")
    else:
        parts.append("empty")
    if not hazards.has_cell_sensor(row):
        parts.append("no sensor at the cell")
    return ", ".join(parts)


def profiles(battery: Battery | None, station: Station | None) -> list[Offer]:
    """Return the profiles in use; those inside the common limits of both first."""
    offers = []
    for row in offered():
        version = row.newest[0]
        offer = Offer(row, about=row.description[:120], note=f"version {version.number}")
        if battery is not None or station is not None:
            contract = draw_up(battery, station, definition_of(version), temperature_waiver=WAIVER_TO_COME)
            offer.why_not = _reasons(contract.errors)
        offers.append(offer)
    return sorted(offers, key=lambda offer: bool(offer.why_not))


def _reasons(errors: list[dict[str, Any]]) -> list[str]:
    said = [
        (f"Step {error['step']}: " if error.get("step") else "") + str(error["message"])
        for error in errors[:REASONS_SHOWN]
    ]
    more = len(errors) - REASONS_SHOWN
    return [*said, f"and {more} more"] if more > 0 else said
