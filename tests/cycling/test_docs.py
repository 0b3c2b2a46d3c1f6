"""Every example of docs/profiles.md loads, checks and can be run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cycling import quantities, reasons, steps
from cycling.check import check, load
from cycling.interpreter import Interpreter
from cycling.text import LIMITS, MODES, parse, write
from tests.cycling.invented import envelope

PAGE = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text()
JSON = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
TEXT = re.findall(r"^```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("example", JSON, ids=[" ".join(e.split())[:40] for e in JSON])
def test_an_example_loads_checks_and_can_be_run(example: str) -> None:
    data: dict[str, Any] = json.loads(example)
    if "kind" in data:
        data = {"name": "example", "steps": [data]}
    profile, problems = load(data)
    assert problems == []
    assert profile is not None
    measures = ("temperature_c", "flow_main")
    limits = envelope(profile.safety, measures=measures)
    checked = check(profile, limits, 5.0, measures=measures, outputs=("chamber_c",))
    assert [str(problem) for problem in checked.errors] == []
    Interpreter(profile, limits, 5.0)


@pytest.mark.parametrize("example", TEXT)
def test_a_text_example_is_read_and_written(example: str) -> None:
    profile, problems = parse(example, "example")
    assert problems == []
    assert profile is not None
    assert check(profile, envelope(), 5.0).errors == []
    assert parse(write(profile), "example")[0] is not None


def test_the_page_names_every_kind_quantity_mode_limit_and_code() -> None:
    kinds = [kind.__struct_config__.tag for kind in steps.AnyStep.__args__]  # type: ignore[attr-defined]
    codes = [value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)]
    for word in (*kinds, *quantities.KNOWN, *LIMITS, *MODES, *codes):
        assert word in PAGE, word


def test_there_are_examples_of_every_kind_that_runs() -> None:
    for kind in ("rest", "cc", "cv", "cccv", "cp", "cr", "drive", "wait_for", "group", "note"):
        assert any(f'"kind": "{kind}"' in example for example in JSON), kind
