"""How long a command takes: API call, outbox, broker, unit, device, and all the way back.

The command is ``experiment.skip_step``: the unit reads its device, writes the next step's set points,
confirms each by its echo and reads again before it answers, so the whole way is measured. ``pause``
(output off, read back off, measured off) is shown beside it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cycler_unit.buses.local import LocalBuses
from cycler_unit.drivers.base import PowerDevice, Target
from mqtt_link import Link
from tests.stack.cellyard import Cellyard
from tests.stack.simulated import MODEL, Simulators, supply
from tests.stack.waiting import until
from wire import kinds

from .figures import Figure, spread

GOAL_S = 0.040
TIMES = 100
PAUSES = 8
# The manager looks at the outbox less often when nobody sent a command for 30 s.
IDLING_S, IDLINGS = 31.0, 4
STEPS = [
    {"kind": "cc", "current_a": amperes, "end": [{"quantity": "time_s", "value": 600}]}
    for amperes in (0.02, -0.02)
]
PROFILE: dict[str, Any] = {
    "record": {"every_s": 0.1},
    "steps": [{"kind": "group", "count": 500, "steps": STEPS}],
}


def experiment(lab: Cellyard, station: str) -> str:
    """Start the experiment that the commands are for; return its id."""
    battery = lab.battery(station=station)
    profile = lab.profile(PROFILE["steps"], "bench", record=PROFILE["record"])
    filed = lab.file(battery["id"], profile["id"], station)
    lab.experiment_is(filed["id"], "running")
    return str(filed["id"])


def active(lab: Cellyard, run: str, times: int = TIMES) -> list[Figure]:
    """Send one command after the other, with the short pauses of a person between them."""
    waits = random.Random(1)
    took_s, parts = [], []
    for _ in range(times):
        seconds, command = ask(lab, run, "skip-step")
        took_s.append(seconds)
        parts.append(command)
        time.sleep(waits.uniform(0.05, 0.15))
    return [
        *spread("command while active", took_s, GOAL_S, "skip_step: to the device and back"),
        *_parts(parts),
    ]


def _parts(commands: list[dict[str, Any]]) -> list[Figure]:
    """Return how long the command lay in the outbox, and how long manager, broker and unit took."""
    outbox = [_seconds(each["issued_at"], each["sent_at"]) for each in commands]
    answer = [_seconds(each["sent_at"], each["closed_at"]) for each in commands]
    return [spread("  of it in the outbox", outbox)[0], spread("  of it until the unit's answer", answer)[0]]


def _seconds(start: str, end: str) -> float:
    from datetime import datetime

    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def pauses(lab: Cellyard, run: str) -> list[Figure]:
    """Pause and resume some times; resuming takes the seconds of the wiring check."""
    took_s = []
    for _ in range(PAUSES):
        took_s.append(ask(lab, run, "pause")[0])
        lab.experiment_is(run, "paused")
        ask(lab, run, "resume")
        lab.experiment_is(run, "running")
    return spread("pause while active", took_s, None, "to output off, confirmed")


def after_idling(lab: Cellyard, run: str) -> list[Figure]:
    """Send single commands, each after nobody sent one for half a minute."""
    took_s = []
    for _ in range(IDLINGS):
        time.sleep(IDLING_S)
        took_s.append(ask(lab, run, "skip-step")[0])
    return spread("command, first after idling", took_s, None, f"after {IDLING_S:g} s without one")


def ask(lab: Cellyard, run: str, act: str) -> tuple[float, dict[str, Any]]:
    """Send one command and wait for its end; return the seconds it took, and the command."""
    began_s = time.perf_counter()
    answer = lab.api.post(f"experiments/{run}/{act}/?wait=20")
    seconds = time.perf_counter() - began_s
    assert answer["command"]["status"] == "done", answer["command"]
    return seconds, answer["command"]


# --- what is on the way, by itself --------------------------------------------------------------------


def bare(lab: Cellyard, folder: Path) -> list[Figure]:
    """Measure device, broker and web server each by itself, beside the running lab."""
    simulators = Simulators(folder / "beside", [supply("psb9")])
    simulators.start()
    device = LocalBuses().device(kinds.get(MODEL), simulators.links()[0], "psb9")
    try:
        device.open()
        exchange = Exchange(device)
        exchange()
        device_s = timed(exchange)
    finally:
        device.make_safe()
        device.close()
        simulators.stop()
    return [
        *spread("bare device exchange", device_s, None, "read, set points with echoes, read"),
        *spread("bare broker round trip", broker_trips(lab), None, "QoS 1, to itself"),
        *spread("bare web request", timed(lambda: lab.api.get("me/")), None, "GET me/ with a token"),
    ]


class Exchange:
    """What skipping a step asks of the device, as its driver says it."""

    def __init__(self, device: PowerDevice) -> None:
        self.device = device
        self.sign = 1.0

    def __call__(self) -> None:
        """Read, turn the current round, read."""
        self.sign = -self.sign
        charges = self.sign > 0
        target = Target(
            mode="cc",
            direction="charge" if charges else "discharge",
            current_a=0.02 * self.sign,
            voltage_max_v=4.2,
            voltage_min_v=2.5,
            charge_current_max_a=0.02 if charges else 0.0,
            discharge_current_max_a=0.0 if charges else 0.02,
        )
        self.device.read()
        self.device.apply(target)
        self.device.read()


def broker_trips(lab: Cellyard, times: int = TIMES) -> list[float]:
    """Return the seconds from publishing to hearing it on the same connection."""
    link = Link(lab.broker.url("manager"), "bench-round-trip")
    heard = threading.Event()
    topic = "cellyard/v1/bench-round-trip"
    link.subscribe(topic, lambda _topic, _payload: heard.set())
    link.start()

    def trip() -> None:
        heard.clear()
        link.publish(topic, b"x" * 300)
        assert heard.wait(5)

    try:
        assert link.wait(10)
        until(lambda: link.publish(topic, b"") and heard.wait(0.2), 10, "the subscription is granted")
        return timed(trip, times)
    finally:
        link.stop()


def timed(do: Callable[[], object], times: int = TIMES) -> list[float]:
    """Return how long each of some repetitions took."""
    seconds = []
    for _ in range(times):
        began_s = time.perf_counter()
        do()
        seconds.append(time.perf_counter() - began_s)
    return seconds
