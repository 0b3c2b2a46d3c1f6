"""The settings files of the simulated unit: ``bench.yaml`` and ``unit.yaml`` in the state folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from devops.secret_files import write_private
from wire import kinds

from . import multicast, ports
from .logs import say
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
# What else there is to discover: a holder with a cell that a load and a meter share, and bench devices.
HOLDER = {"name": "holder", "ambient_c": 23.0, "cell": {"chemistry": "NMC", "capacity_ah": 2.5, "soc": 0.5}}
TEXT_DEVICES = (
    {"name": "load1", "model": "rs-pro-kel103", "circuit": "holder"},
    {"name": "meter1", "model": "bk-2831e", "circuit": "holder"},
    {"name": "flow1", "model": "arduino-flow-meter"},
)
TEXT_PORT = 5040
NETWORK_DEVICES = (
    {"name": "relays1", "model": "esp32-relay-board"},
    {"name": "chamber1", "model": "chamber-modbus-int16", "circuit": "holder"},
)
NETWORK_PORT = 5080
CAN_CELL = {"name": "cell on CAN", "cell": {"chemistry": "NMC", "capacity_ah": 2.5, "soc": 0.4}}
CAN_DEVICES = (
    {"name": "epc1", "model": "epc", "node": 0x13, "circuit": "cell on CAN"},
    {"name": "bms1", "model": "bms-plak", "unit": 1, "circuit": "cell on CAN"},
)
CAN_GROUP = "239.74.163.2"
CAN_PORT = 43113


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
    if any(_on_can(device) for device in settings.get("devices", [])) and not multicast.works(CAN_GROUP):
        say("up", "this machine has no multicast: the bench comes without its CAN devices")
        settings["devices"] = [device for device in settings["devices"] if not _on_can(device)]
    return settings


def _on_can(device: dict[str, Any]) -> bool:
    return "channel" in device


_comment = "# The simulated devices of `make up`; written once, yours to change (stop and start to apply).\n"


def _read(path: Path) -> tuple[dict[str, Any], list[int]]:
    """Return the bench and the ports it uses."""
    try:
        settings: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        return settings, [
            int(settings["control_port"]),
            *(int(supply["port"]) for supply in settings["supplies"]),
            *(int(device["port"]) for device in settings.get("devices", []) if not _on_can(device)),
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
    return {
        "host": HOST,
        "control_port": ports.first_free(HOST, CONTROL_PORT),
        "supplies": supplies,
        "circuits": [dict(HOLDER), dict(CAN_CELL)],
        "devices": [
            *_with_ports(TEXT_DEVICES, max(TEXT_PORT, port)),
            *_with_ports(NETWORK_DEVICES, NETWORK_PORT),
            *_with_can(multicast.free_port(CAN_PORT)),
        ],
    }


def _with_ports(devices: Iterable[dict[str, Any]], port: int) -> Iterator[dict[str, Any]]:
    for device in devices:
        port = ports.first_free(HOST, port)
        yield {**device, "port": port}
        port += 1


def _with_can(port: int) -> Iterator[dict[str, Any]]:
    for device in CAN_DEVICES:
        yield {**device, "interface": "udp_multicast", "channel": CAN_GROUP, "port": port}


def links(bench: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the ``links`` of unit.yaml that reach a bench's devices; one for each CAN bus."""
    found: list[dict[str, Any]] = [_socket(supply) for supply in bench["supplies"]]
    for device in bench.get("devices", []):
        link = _link(device)
        if link is not None and link not in found:
            found.append(link)
    return found


def _link(device: dict[str, Any]) -> dict[str, Any] | None:
    """Return how the unit reaches one device; None for a model that the catalogue does not know."""
    kind = next((each for each in kinds.KINDS if each.key == device["model"]), None)
    if kind is None:
        return None
    if kind.link == "can":
        bus: dict[str, Any] = {key: device[key] for key in ("interface", "channel", "port") if key in device}
        return {"name": "CAN", "kind": "can", **bus}
    if kind.link == "http":
        url = f"http://{HOST}:{device['port']}"
        return {"name": device["name"], "kind": "http", "model": device["model"], "url": url}
    if kind.link == "modbus":
        where = {"host": HOST, "port": device["port"]}
        return {"name": device["name"], "kind": "modbus", "model": device["model"], **where}
    if kind.link == "caen":
        where = {"library": "simulated", "address": f"{HOST}:{device['port']}"}
        return {"name": device["name"], "kind": "caen", **where}
    return _socket(device)


def _socket(device: dict[str, Any]) -> dict[str, Any]:
    return {"name": device["name"], "kind": "visa", "resource": f"TCPIP::{HOST}::{device['port']}::SOCKET"}


def write_unit(settings: Settings, bench: dict[str, Any], mqtt: dict[str, Any], token_file: Path) -> Path:
    """Write ``unit.yaml`` for the unit that drives ``bench`` (mode 0600); return its path."""
    unit: dict[str, Any] = {
        "name": "bench",
        "hardware_id": HARDWARE_ID,
        "state_dir": str(settings.state_dir / "unit"),
        "mqtt": mqtt,
        "links": links(bench),
    }
    if token_file.exists():
        unit["token_file"] = str(token_file)
    path = settings.state_dir / "unit.yaml"
    write_private(path, "# Written at every start of `make up`.\n" + yaml.safe_dump(unit, sort_keys=False))
    return path
