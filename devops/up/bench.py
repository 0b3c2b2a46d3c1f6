"""The settings files of the simulated unit: ``bench.yaml`` and ``unit.yaml`` in the state folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from devops.secret_files import write_private

from . import ports
from .settings import Settings

HOST = "127.0.0.1"
MODEL = "ea-psb-10010-05-sim"
HARDWARE_ID = "bench"
SERIAL_NUMBERS = ("2538170001", "2538170002")
# Small high-power cells (api.md): 0.5 A is a normal current for them, and a cycle takes seconds.
CELL = {"chemistry": "NMC", "capacity_ah": 0.05, "r0_ohm": 0.2, "soc": 0.5}
# The port on which the real supplies take SCPI; the control port lies beside.
SCPI_PORT = 5025
CONTROL_PORT = 5099


class BadBench(Exception):
    """The bench's file cannot be used; the text names it and the key."""


def bench(state_dir: Path) -> dict[str, Any]:
    """Return the simulated bench of ``bench.yaml``, which is written on first use and then yours to change.

    Raises:
        BadBench: the file was changed into something that cannot be used.
        ports.Busy: a port of the file is in use.
    """
    path = state_dir / "bench.yaml"
    if not path.exists():
        path.write_text(_comment + yaml.safe_dump(_first_bench(), sort_keys=False), encoding="utf-8")
    settings, used = _read(path)
    for port in used:
        ports.require(HOST, port, f"the port in {path}")
    return settings


_comment = "# The simulated supplies of `make up`; written once, yours to change (stop and start to apply).\n"


def _read(path: Path) -> tuple[dict[str, Any], list[int]]:
    """Return the bench and the ports it uses."""
    try:
        settings: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        return settings, [
            int(settings["control_port"]),
            *(int(supply["port"]) for supply in settings["supplies"]),
        ]
    except yaml.YAMLError as error:
        raise BadBench(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except KeyError as error:
        raise BadBench(f"{path}: {error.args[0]} is missing") from None
    except (TypeError, ValueError) as error:
        raise BadBench(f"{path}: {error}; remove the file to have it written anew") from None


def _first_bench() -> dict[str, Any]:
    supplies: list[dict[str, Any]] = []
    port = SCPI_PORT
    for number, serial_number in enumerate(SERIAL_NUMBERS, start=1):
        port = ports.first_free(HOST, port)
        name = f"supply{number}"
        supplies.append(
            {"name": name, "model": MODEL, "serial_number": serial_number, "port": port, "cell": dict(CELL)}
        )
        port += 1
    return {"host": HOST, "control_port": ports.first_free(HOST, CONTROL_PORT), "supplies": supplies}


def write_unit(settings: Settings, bench: dict[str, Any], mqtt: dict[str, Any], token_file: Path) -> Path:
    """Write ``unit.yaml`` for the unit that drives ``bench`` (mode 0600); return its path."""
    unit: dict[str, Any] = {
        "name": "bench",
        "hardware_id": HARDWARE_ID,
        "state_dir": str(settings.state_dir / "unit"),
        "mqtt": mqtt,
        "links": [
            {"name": supply["name"], "kind": "visa", "resource": f"TCPIP::{HOST}::{supply['port']}::SOCKET"}
            for supply in bench["supplies"]
        ],
    }
    if token_file.exists():
        unit["token_file"] = str(token_file)
    path = settings.state_dir / "unit.yaml"
    write_private(path, "# Written at every start of `make up`.\n" + yaml.safe_dump(unit, sort_keys=False))
    return path
