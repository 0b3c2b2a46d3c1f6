"""Two managers share the work; one dies in the middle of it."""

from __future__ import annotations

import sys

from tests.faults import whole
from tests.faults.bench import Bench
from tests.stack.process import Process
from tests.stack.waiting import until


def test_a_second_manager_takes_over_what_a_killed_one_leaves(bench: Bench) -> None:
    second = Process(
        "manager 2", [sys.executable, "-m", "mn_manager"], bench.lab.folder / "manager2.log", bench.lab.env
    )
    experiment = bench.run(26)
    second.start()
    try:
        second.says("event=broker_connected")
        whole.grows(bench.api, experiment, 5)
        assert "event=unit_taken" not in second.output(), "one unit has one manager"
        bench.lab.manager.kill()
        # Its lease of 15 s lapses; nobody helps.
        second.says("event=unit_taken", 30)
        whole.grows(bench.api, experiment, 5)
        assert bench.api.get("units/")["results"][0]["online"]
        # Back again it finds its unit in good hands.
        bench.lab.manager.start()
        until(lambda: bench.lab.manager.output().count("event=started") == 2, 20, "it runs again")
        paused = bench.api.post(f"experiments/{experiment}/pause/?wait=10")
        assert paused["command"]["status"] == "done", paused["command"]
        bench.lab.experiment_is(experiment, "paused")
        bench.api.post(f"experiments/{experiment}/resume/?wait=20")
        ended = whole.ended(bench.api, experiment, "finished")
        told = whole.statuses(bench.api, experiment)
        assert told == ["queued", "starting", "running", "paused", "running", "finished"]
        commands = bench.api.all("commands/", experiment=experiment)
        assert sorted(each["kind"] for each in commands) == [
            "experiment.pause",
            "experiment.resume",
            "experiment.start",
        ]
        assert ended["end_reason"]["code"] == "completed"
        bench.no_traceback(second, bench.lab.manager, bench.lab.unit, bench.lab.web)
    finally:
        second.stop()
