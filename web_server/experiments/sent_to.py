"""Which unit an experiment belongs to, as far as messages from units are believed."""

from __future__ import annotations

from web_server.commands.models import Command
from web_server.experiments.models import Experiment
from web_server.lab.models import Unit


def ran_on(experiment: Experiment, unit: Unit) -> bool:
    """Return whether ``unit`` may speak for ``experiment``.

    Its station is the unit's; or the experiment was sent there once, and the station was moved to
    another unit while samples were still on the way.
    """
    if experiment.station is not None and experiment.station.unit_id == unit.pk:
        return True
    return Command.objects.filter(experiment=experiment, unit=unit, kind="experiment.start").exists()
