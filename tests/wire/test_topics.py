"""Topic names as the design writes them."""

from __future__ import annotations

import pytest

from wire import topics


def test_topics_of_a_unit_lie_below_its_own_branch() -> None:
    assert topics.unit("cellyard/v1", "u", "samples") == "cellyard/v1/units/u/samples"
    with pytest.raises(ValueError, match="unknown unit topic"):
        topics.unit("cellyard/v1", "u", "secrets")


def test_registration_has_one_branch_per_hardware() -> None:
    assert topics.enrol_ask("p", "hw") == "p/enrol/hw/ask"
    assert topics.enrol_answer("p", "hw") == "p/enrol/hw/answer"
