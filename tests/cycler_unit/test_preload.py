"""The parent loads what the owners of this unit's links need, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.stack.process import ROOT

TCP = {"kind": "visa", "resource": "TCPIP::127.0.0.1::5025::SOCKET"}
CAN = {"kind": "can", "interface": "virtual", "channel": "1"}
MODBUS = {"kind": "modbus", "host": "127.0.0.1"}
LOADED = """
import sys
from cycler_unit.config import parse
from cycler_unit.owner import parent, preload
preload.load(parse({settings!r}, {{}}))
print(*sorted({{"pyvisa", "pyvisa_py", "can", "numpy"}} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("settings", "loaded"),
    [
        ({"links": [TCP]}, ["pyvisa", "pyvisa_py"]),
        ({"links": [], "discover": ["serial"]}, ["pyvisa", "pyvisa_py"]),
        ({"links": [CAN]}, ["can"]),
        ({"links": [CAN, TCP]}, ["can", "pyvisa", "pyvisa_py"]),
        ({"links": [MODBUS]}, []),
        ({}, []),
    ],
)
def test_only_what_the_links_need_is_loaded(settings: dict[str, Any], loaded: list[str]) -> None:
    text = LOADED.format(settings={"state_dir": "/nowhere", **settings})
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == loaded
