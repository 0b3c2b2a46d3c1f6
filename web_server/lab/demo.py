"""The first bench of `make up`: two small cells, a short profile, one experiment."""

from __future__ import annotations

from typing import Any

from web_server.accounts.models import Person
from web_server.cells import services as cells
from web_server.cells.models import Battery
from web_server.lib.transactions import atomic
from web_server.profiles import services as profiles
from web_server.profiles.models import Profile

CELLS = ("Demo cell 1", "Demo cell 2")
PROFILE = "Demo CC-CV"
EXPERIMENT = "First run"
# Small high-power cells: 0.5 A is a normal current and a cycle takes seconds. Of the simulated cell
# (0.05 Ah, 0.2 ohm, NMC) itself; its resistance is the simulator's business.
CAPACITY_AH = 0.05
# On which the demo's stations stand, whatever else the bench holds.
MODEL = "ea-psb-10010-05-sim"


def battery_body(name: str) -> dict[str, Any]:
    """Return the body of one demo cell."""
    return {
        "name": name,
        "description": "A simulated cell: 0.05 Ah, 0.2 Ω, half full when the bench was first started.",
        "manufacturer": "Cellyard",
        "model": "Simulated NMC 0.05 Ah",
        "serial_number": name.rpartition(" ")[2].zfill(4),
        "technology": "lithium",
        "lithium": {"capacity_ah": CAPACITY_AH, "chemistry": "NMC"},
        "cell_voltage_min_v": 3.0,
        "cell_voltage_max_v": 4.2,
        "voltage_abs_min_v": 2.5,
        "voltage_abs_max_v": 4.3,
        "current_min_a": -1.0,
        "current_max_a": 1.0,
        "temperature_min_c": -20.0,
        "temperature_max_c": 60.0,
        "energy_wh": 0.185,
        "hazard_level": 2,
        "project": "Demo",
        "tags": ["demo"],
    }


def profile_body() -> dict[str, Any]:
    """Return three cycles of about 40 s: charge to 3.85 V, rest, discharge, rest."""
    charge = {
        "kind": "cccv",
        "label": "charge",
        "current_a": 0.5,
        "voltage_v": 3.85,
        "end": [
            {"quantity": "current_abs_a", "op": "below", "value": 0.25},
            {"quantity": "time_s", "value": 18},
        ],
    }
    discharge = {
        "kind": "cc",
        "label": "discharge",
        "current_a": -0.5,
        "end": [{"quantity": "voltage_v", "value": 3.3}, {"quantity": "time_s", "value": 12}],
    }
    rest = {"kind": "rest", "end": [{"quantity": "time_s", "value": 4}]}
    return {
        "name": PROFILE,
        "description": "Three short cycles, about two minutes in all: watch a test run.",
        "record": {"every_s": 0.5},
        "tags": ["demo"],
        "steps": [
            {"kind": "rest", "label": "settle", "end": [{"quantity": "time_s", "value": 3}]},
            {
                "kind": "group",
                "label": "cycle",
                "count": 3,
                "is_cycle": True,
                "steps": [
                    charge,
                    {**rest, "label": "rest after charge"},
                    discharge,
                    {**rest, "label": "rest"},
                ],
            },
        ],
    }


@atomic
def make(by: Person | None) -> dict[str, Any]:
    """Record the demo's batteries and profile where they are missing; return the bench's plan."""
    batteries = [
        Battery.objects.filter(name=name).first() or cells.add(by, **battery_body(name)) for name in CELLS
    ]
    profile = Profile.objects.filter(name=PROFILE).first() or profiles.save(by, **profile_body())
    return {
        "unit": "bench",
        "stations": [
            {
                "name": f"bench {place}",
                "location": "Bench",
                "last_defence": "None needed: its cell is simulated.",
                "battery": str(battery.uuid),
                "model": MODEL,
            }
            for place, battery in enumerate(batteries, start=1)
        ],
        "experiment": {
            "name": EXPERIMENT,
            "description": "Filed by `make up`, to watch.",
            "profile": str(profile.uuid),
            "station": "bench 1",
            "tags": ["demo"],
        },
    }
