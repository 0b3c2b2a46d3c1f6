"""Everything dies at once, as by a power cut, and is started again in an unlucky order."""

from __future__ import annotations

from tests.faults import whole
from tests.faults.bench import Bench
from tests.stack.waiting import until


def test_after_a_power_cut_the_output_is_off_and_a_person_decides(bench: Bench) -> None:
    lab = bench.lab
    experiment = bench.run(8)
    for process in (lab.unit, lab.manager, lab.web):
        process.kill()
    lab.broker.kill()
    if lab.own_database is not None and lab.own_database.process is not None:
        lab.own_database.process.kill()
    # The supply has no timeout of its own: it goes on until its unit is back.
    assert bench.flows()
    for process in (lab.web, lab.unit, lab.manager):
        process.start()
    until(lambda: not bench.flows(), 20, "off is the first thing that the unit sends")
    if lab.own_database is not None:
        lab.own_database.start()
    lab.broker.start()
    lab.wait_for_site()
    bench.lab.experiment_is(experiment, "paused", timeout_s=60)
    # The test's pause came with the unit's record, the station's state comes with its next heartbeat.
    bench.lab.station_is(bench.station, "tripped", "paused")
    bench.acknowledge()
    resumed = bench.api.post(f"experiments/{experiment}/resume/?wait=30")
    assert resumed["command"]["status"] == "done", resumed["command"]
    until(bench.flows, 20, "current flows again")
    whole.ended(bench.api, experiment, "finished")
    assert whole.statuses(bench.api, experiment)[-3:] == ["paused", "running", "finished"]
    bench.no_traceback(lab.unit, lab.manager)
