"""The manager's part in the tests of a real web server: writes what a manager would, when told to.

``python -m tests.web_server.stream_lab`` migrates the database of the environment, builds the
laboratory, prints one JSON line, then obeys lines on its input: ``samples <first> <count>`` stores
samples; ``answer`` waits for the next queued command and closes it; each prints when it was committed.
With the argument ``serve`` it plays manager and unit by itself until the input ends: starts what is
queued, obeys commands, measures.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

import django


def tell(**said: object) -> None:
    """Print one JSON line at once."""
    print(json.dumps(said), flush=True)


# What an experiment is after its unit has done as asked.
AFTER = {
    "experiment.start": "running",
    "experiment.pause": "paused",
    "experiment.resume": "running",
    "experiment.stop": "stopped",
}
# What a unit says to what people do by hand.
BY_HAND: dict[str, dict[str, Any]] = {
    "device.lease": {"until_s": 10},
    "device.read": {"values": {"voltage_v": 3.71, "current_a": 0.0}, "held": {}, "output_on": False},
    "device.set": {"held": {}},
    "device.off": {"off": True},
    "scpi.query": {"lines": ["EA Elektro-Automatik, PSB 10060-60, sn-1, V1.0"], "answered_s": 0.01},
}


def serve(lab: Any, until: threading.Event) -> None:
    """Play manager and unit: start what is queued, obey, measure once per round."""
    from web_server.commands import services as commands
    from web_server.experiments import services as experiments
    from web_server.experiments.models import Experiment, Status
    from web_server.lab.models import Station

    while not until.wait(0.05):
        for station in Station.objects.filter(state="idle"):
            experiments.start_next(station)
        for command in commands.claim([lab.unit.pk], "test"):
            if command.kind in BY_HAND:
                commands.close(command.uuid, "done", BY_HAND[command.kind])
                continue
            experiment = Experiment.objects.get(pk=command.experiment_id)
            to = AFTER[command.kind]
            ends = {"last_seq": experiment.sample_count} if to == "stopped" else {}
            reason = {"code": "stopped", "text": command.args.get("reason", "")} if ends else None
            commands.close(command.uuid, "done")
            experiments.set_status(experiment, to, reason, **ends)
        for experiment in Experiment.objects.filter(status=Status.RUNNING):
            lab.measure(experiment, experiment.sample_count + 1, 1)


def main() -> None:
    """Build, then obey until the input ends."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "web_server.settings")
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from tests.web_server.api_lab import build
    from web_server.accounts.services import issue_token
    from web_server.commands import services as commands
    from web_server.commands.models import Command

    lab = build()
    if "serve" in sys.argv:
        ended = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), ended.set())).start()
        someone = lab.manager
        someone.set_password("seen by nobody else")
        someone.username = "admin"
        someone.save()
        lab.demo_cell_in_the_last_station()
        tell(served=True)
        serve(lab, ended)
        return
    experiment = lab.running()
    ids = {"experiment": experiment.uuid, "station": lab.stations[0].uuid, "unit": lab.unit.uuid}
    tell(token=issue_token(lab.operator)[1], **{name: str(uuid) for name, uuid in ids.items()})
    for line in sys.stdin:
        order, *numbers = line.split()
        if order == "samples":
            lab.measure(experiment, int(numbers[0]), int(numbers[1]))
        elif order == "answer":
            while not (taken := commands.claim([lab.unit.pk], "test")):
                time.sleep(0.002)
            commands.close(taken[0].uuid, Command.Status.DONE, {"voltage_v": 3.7})
        tell(at=time.time())


if __name__ == "__main__":
    main()
