"""Simulated supplies of a test: the shipped program on free ports, with its control port."""

from __future__ import annotations

import json
import socket
import sys
import zlib
from pathlib import Path
from typing import Any

import yaml

from .process import Process
from .waiting import free_port

MODEL = "ea-psb-10010-05-sim"
# The small high-power cell of the demo bench (api.md): 0.5 A is a normal current for it.
CELL = {"chemistry": "NMC", "capacity_ah": 0.05, "r0_ohm": 0.2, "soc": 0.5}


def supply(name: str = "psb1", cell: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return one supply's entry of bench.yaml on a free port."""
    number = 2538170000 + zlib.crc32(name.encode()) % 10_000
    entry = {"name": name, "model": MODEL, "serial_number": str(number), "port": free_port()}
    return entry | {"cell": CELL | (cell or {})} | more


class Simulators:
    """The simulator program with these supplies, and with devices that share circuits."""

    def __init__(
        self,
        folder: Path,
        supplies: list[dict[str, Any]],
        seed: int = 1,
        *,
        devices: list[dict[str, Any]] | None = None,
        circuits: list[dict[str, Any]] | None = None,
    ) -> None:
        self.supplies = supplies
        self.devices = devices or []
        self.control_port = free_port()
        self.file = folder / "bench.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "host": "127.0.0.1",
            "control_port": self.control_port,
            "seed": seed,
            "supplies": supplies,
            "devices": self.devices,
            "circuits": circuits or [],
        }
        self.file.write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "cycler_unit.simulators", "--config", str(self.file)]
        self.process = Process("simulators", command, folder / "simulators.log")

    def start(self) -> Simulators:
        """Start and wait until every supply is ready."""
        self.process.start().says("ready all")
        return self

    def links(self) -> list[dict[str, Any]]:
        """Return the ``links`` of unit.yaml that reach these supplies."""
        return [
            {"name": each["name"], "kind": "visa", "resource": f"TCPIP::127.0.0.1::{each['port']}::SOCKET"}
            for each in self.supplies
        ]

    @property
    def count(self) -> int:
        """Return how many devices a unit finds: a CAEN board has a device per channel."""
        return len(self.supplies) + sum(
            int(each.get("channels", 6)) if each["model"].startswith("caen") else 1 for each in self.devices
        )

    def links_of_devices(self) -> list[dict[str, Any]]:
        """Return the links of unit.yaml that reach all running devices; those of one bus are one link."""
        if not self.devices:
            return []
        own = {each["name"] for each in self.devices}
        links: list[dict[str, Any]] = []
        for described in self.ask(query="devices")["devices"]:
            if described["name"] not in own:
                continue
            for number, link in enumerate(described["links"]):
                named = {"name": _link_name(described["name"], number, link, links), **link}
                places = [{key: part for key, part in each.items() if key != "name"} for each in links]
                if {key: part for key, part in named.items() if key != "name"} not in places:
                    links.append(named)
        return links

    def links_of(self, device: str) -> list[dict[str, Any]]:
        """Return the links of unit.yaml that reach one running device."""
        described = self.ask(query="devices")["devices"]
        return next(each["links"] for each in described if each["name"] == device)

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one line to the control port and return its answer, e.g. ``device=..., query='truth'``."""
        with socket.create_connection(("127.0.0.1", self.control_port), timeout=20) as line:
            line.sendall(json.dumps(request).encode() + b"\n")
            answer: dict[str, Any] = json.loads(line.makefile().readline())
        return answer

    def stop(self) -> None:
        """End the program."""
        self.process.stop()


def _link_name(device: str, number: int, link: dict[str, Any], links: list[dict[str, Any]]) -> str:
    """Name a device's link after it; a CAN bus, on which there may be many, has a name of its own."""
    if link["kind"] == "can":
        device, number = "CAN", sum(each["kind"] == "can" for each in links)
    return f"{device} {number}" if number else device
