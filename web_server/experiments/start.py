"""What goes to the unit: everything it needs to run an experiment alone."""

from __future__ import annotations

from typing import Any

import msgspec

from cycling import envelope
from cycling.steps import Profile, Record
from web_server.experiments.contract import Contract, battery_limits
from web_server.experiments.models import Experiment
from web_server.lab.models import Station
from web_server.profiles.services import definition_of
from wire import messages

# wire.messages.MAX_START_BYTES is for the arguments; the command around them needs far less than
# what is left of the broker's 1 MiB.


def definition(experiment: Experiment) -> Profile:
    """Return the profile as this experiment runs it: with its own recording rule, if it has one."""
    profile = definition_of(experiment.profile_version)
    if experiment.record is not None:
        profile.record = msgspec.convert(experiment.record, Record)
    return profile


def arguments(experiment: Experiment, station: Station, contract: Contract) -> messages.ExperimentStart:
    """Return the arguments of ``experiment.start``."""
    battery = experiment.battery
    return messages.ExperimentStart(
        experiment=str(experiment.uuid),
        name=experiment.name,
        station=str(station.uuid),
        station_version=station.version,
        battery=messages.BatteryRef(
            battery=str(battery.uuid),
            name=battery.name,
            technology=battery.technology,
            cells_in_series=battery.cells_in_series,
            capacity_ah=battery.capacity_ah,
            last_rest_voltage_v=battery.last_rest_voltage_v,
            rest_voltage_confirmed=experiment.rest_voltage_confirmed,
            resistance_ohm=battery.resistance_ohm,
            energy_wh=envelope.energy_wh(battery_limits(battery)),
        ),
        profile=msgspec.to_builtins(definition(experiment)),
        capacity_ah=contract.capacity_ah,
        envelope=contract.text,
        envelope_sha256=contract.sha256,
        initial_soc_percent=experiment.initial_soc_percent,
        contact_policy=experiment.contact_policy,  # type: ignore[arg-type]
        off_after_s=experiment.off_after_s,
        resume_policy=experiment.resume_policy,  # type: ignore[arg-type]
        resume_within_s=experiment.resume_within_s,
        pulse="record" if battery.resistance_ohm is None else "check",
    )


def too_large(args: messages.ExperimentStart) -> dict[str, Any] | None:
    """Return the error of a message that the broker would not carry, with its size."""
    size = len(msgspec.json.encode(args))
    if size <= messages.MAX_START_BYTES:
        return None
    return {
        "field": "profile",
        "message": f"The experiment is {size:,} bytes for its unit; at most {messages.MAX_START_BYTES:,} fit. "
        "Use groups for what repeats, or shorter drive tables.",
    }
