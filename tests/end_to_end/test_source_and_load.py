"""A source and a load as one bidirectional channel: cycles by the API, never both on (safety rule 14)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.kit import compose, truth
from tests.end_to_end.steps import run
from tests.stack.api import Problem
from tests.stack.cellyard import Cellyard
from tests.stack.waiting import free_port

CELL = {"chemistry": "NMC", "capacity_ah": 0.05, "r0_ohm": 0.2, "soc": 0.5}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cellyard]:
    """A supply and a load of different makers on one cell."""
    devices = [
        {"name": "source", "model": "ea-ps-2084-05-b", "circuit": "holder", "port": free_port()},
        {"name": "load", "model": "rs-pro-kel103", "circuit": "holder", "port": free_port()},
    ]
    circuits = [{"name": "holder", "cell": CELL}]
    with Cellyard(tmp_path_factory.mktemp("lab"), devices=devices, circuits=circuits) as running:
        yield running


@pytest.fixture(scope="module")
def bench(lab: Cellyard) -> dict[str, str]:
    """One station of both, with a battery in it."""
    station = compose(lab, "pair", {"ea-ps-2084-05-b": "power", "rs-pro-kel103": "power"})
    battery = lab.battery("B", station["id"])
    return {"station1": station["id"], "battery1": battery["id"]}


def test_it_cycles_up_and_down_and_counts_both_ways(lab: Cellyard, bench: dict[str, Any]) -> None:
    cycle = {
        "kind": "group", "count": 2, "is_cycle": True,
        "steps": [
            {"kind": "cc", "current_a": 0.3, "end": [{"quantity": "time_s", "value": 3}]},
            {"kind": "cc", "current_a": -0.3, "end": [{"quantity": "time_s", "value": 3}]},
        ],
    }  # fmt: skip
    experiment = run(lab, bench, [cycle])
    lab.experiment_is(experiment, "finished")
    columns = lab.complete(experiment)
    assert max(columns["current_a"]) == pytest.approx(0.3, abs=0.03)
    assert min(columns["current_a"]) == pytest.approx(-0.3, abs=0.03)
    assert sorted(set(columns["cycle"])) == [1, 2]
    assert columns["charge_in_ah"][-1] == pytest.approx(2 * 0.3 * 3 / 3600, rel=0.1)
    assert columns["charge_out_ah"][-1] == pytest.approx(2 * 0.3 * 3 / 3600, rel=0.1)
    assert not truth(lab, "source")["output"]
    assert not truth(lab, "load")["output"]


def test_source_and_load_were_never_on_together(lab: Cellyard, bench: dict[str, Any]) -> None:
    switched: list[tuple[float, str, bool]] = []
    for name, on, off in (("source", "OUTP ON", "OUTP OFF"), ("load", ":INP 1", ":INP 0")):
        for each in lab.simulators.ask(device=name, query="exchanges")["exchanges"]:
            text = each["text"].upper()
            if each["to"] == "device" and text.startswith(
                (on, off, "OUTP 1", "OUTP 0", ":INP ON", ":INP OFF")
            ):
                switched.append((each["at_s"], name, text.endswith(("1", "ON"))))
    assert any(is_on for _, _, is_on in switched)
    on: dict[str, bool] = {"source": False, "load": False}
    for _, name, is_on in sorted(switched):
        on[name] = is_on
        assert not all(on.values()), sorted(switched)


def test_two_sources_are_no_channel(lab: Cellyard, bench: dict[str, Any]) -> None:
    station = lab.api.get(f"stations/{bench['station1']}/")
    first = station["devices"][0]["device"]
    with pytest.raises(Problem) as refused:
        lab.api.post(
            "stations/", name="other", unit=station["unit"], devices=[{"device": first, "role": "power"}]
        )
    assert "used by pair already" in str(refused.value.body)
