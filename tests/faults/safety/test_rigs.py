"""The tables leave out no power device of the catalogue, and no direction of one."""

from __future__ import annotations

import pytest

from tests.faults.safety.rigs import LIKE, RIGS
from wire import kinds
from wire.catalogue import Kind

POWER = [each for each in kinds.KINDS if each.off is not None]


def ways_of(kind: Kind) -> set[str]:
    """Return the directions that the catalogue gives a device."""
    low, high = kind.current_min_a or 0.0, kind.current_max_a or 0.0
    return {way for way, there in (("charge", high > 0), ("discharge", low < 0)) if there}


def acting() -> dict[str, set[str]]:
    """Return in which directions which model acts on a rig."""
    found: dict[str, set[str]] = {}
    for make in RIGS.values():
        rig = make()
        models = {each["name"]: each["model"] for each in rig.devices}
        for way, name in rig.acts.items():
            found.setdefault(models[name], set()).add(way)
    return found


@pytest.mark.parametrize("kind", POWER, ids=lambda kind: kind.key)
def test_every_power_device_is_broken_in_each_of_its_directions(kind: Kind) -> None:
    assert acting()[LIKE.get(kind.key, kind.key)] == ways_of(kind)


@pytest.mark.parametrize(("model", "other"), LIKE.items())
def test_a_device_that_another_stands_for_differs_in_its_ranges_alone(model: str, other: str) -> None:
    one, two = kinds.get(model), kinds.get(other)
    assert (one.family, one.type, one.link, one.link_settings) == (
        two.family,
        two.type,
        two.link,
        two.link_settings,
    )
    assert one.off is not None
    assert two.off is not None
    same = ("command", "t_off_s", "stays_connected", "after_power_on", "communication_timeout_s", "high_cutoff",
            "low_cutoff", "guards_charge", "guards_discharge")  # fmt: skip
    assert [getattr(one.off, each) for each in same] == [getattr(two.off, each) for each in same]
    assert [(each.name, each.sentinels, each.frozen_s) for each in one.measures] == [
        (each.name, each.sentinels, each.frozen_s) for each in two.measures
    ]
