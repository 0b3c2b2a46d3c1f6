"""The manager's part in the tests of a real web server: writes what a manager would, when told to.

``python -m tests.web_server.stream_lab`` migrates the database of the environment, builds the
laboratory, prints one JSON line, then obeys lines on its input: ``samples <first> <count>`` stores
samples; ``answer`` waits for the next queued command and closes it. Each prints when it was committed.
"""

from __future__ import annotations

import json
import os
import sys
import time

import django


def tell(**said: object) -> None:
    """Print one JSON line at once."""
    print(json.dumps(said), flush=True)


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
