"""Break a simulated device on purpose and ask what is really true: one JSON object per line.

| line | effect |
|---|---|
| ``{"query": "devices"}`` | names, models and resources |
| ``{"device": D, "query": "truth"}`` | real charge, state of charge, voltage, current, output |
| ``{"device": D, "query": "history"}`` | every set point and switching, with the charge moved until then |
| ``{"device": D, "query": "exchanges"}`` | the last messages with time, direction and text |
| ``{"device": D, "fault": F, ...}`` | break it; see below |
| ``{"device": D, "clear": true}`` | all of it repaired, the first cell back |
| ``{"circuit": C, ...}`` | ``query: truth``, faults of the cell, ``clear`` of a shared circuit |
| ``{"forward_s": S, "step_s": T}`` | let S seconds pass for all, nobody asking (``forward.py``); answers how far each circuit went |

Faults of any device on a link, and of the cell in its circuit:

| fault | effect |
|---|---|
| ``drop_link``, ``how``, ``for_s`` | pull the cable: ``close`` (default) ends the connections, ``silent`` goes deaf; ``for_s`` mends it by itself; the output stays as it is |
| ``wrong_cell``, fields of the bench file's ``cell`` | another cell in the holder; ``"absent": true``: none |
| ``capacity_x10`` | the cell takes ten times as much charge as its label says |
| ``capacitor``, ``voltage_v``, ``farad`` | an empty holder with a charged capacitor |
| ``reversed`` | the cell is in the holder the wrong way round |
| ``leak``, ``current_a`` | something draws current from the cell |
| ``isolator``, ``open`` | somebody opens the circuit |

Faults of a supply or load (other families: their own module):

| fault | effect |
|---|---|
| ``freeze`` | readings stay what they are now |
| ``drift``, ``rate_v_s``, ``offset_v`` | the voltage reading (not the cell) leaves the truth |
| ``noise``, ``voltage_v``, ``current_a`` | readings scatter by so much (one standard deviation) |
| ``stuck_on``, ``answers`` | the output does not open; ``OUTP?`` says ``answers`` after an off |
| ``sense_open``, ``share`` | the device sees (and regulates) only this share of the voltage, 0 by default |
| ``sensor_off`` | readings are 9.9E37 |
| ``refuse`` | set points are refused with an error in the queue |
| ``clamp``, ``current_a`` | current set points above, present and future, are clamped silently |
| ``alarm``, ``name`` | the device's own alarm: output off |
| ``local`` | a person takes control at the front panel |
| ``panel_change``, set points, ``output`` | somebody turns set points or the output at the front panel |
| ``reboot`` | mains lost and back at once: output off, defaults |
| ``misread``, ``voltage_v`` | EPC: it tells the host this cell voltage, and itself sees the truth |
| ``mains_lost``, ``for_s`` | output off and links dead; back with defaults after ``for_s``, or by ``clear`` |

Every line is answered by ``{"ok": true, ...}`` or ``{"ok": false, "error": "..."}``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from cycler_unit.simulators.bench import BenchError
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Asked, Refused, SimulatedDevice, UtcClock
from cycler_unit.simulators.forward import forward
from cycler_unit.simulators.links import Lines

# A day passes in strides of this, s.
STRIDE_S = 10.0


class Control:
    """Answer control lines for the devices of one simulator process."""

    def __init__(
        self,
        devices: Mapping[str, SimulatedDevice],
        circuits: Mapping[str, Circuit] | None = None,
        clock: UtcClock | None = None,
    ) -> None:
        self.devices, self.circuits, self.clock = devices, circuits or {}, clock

    def answer(self, line: str) -> str:
        """Execute one control line and return its answer as JSON."""
        try:
            asked = _object(line)
            return json.dumps({"ok": True, **self._execute(asked)})
        except (Refused, BenchError, ValueError, TypeError, KeyError) as error:
            return json.dumps({"ok": False, "error": str(error)})

    def _execute(self, asked: Asked) -> dict[str, Any]:
        if asked.get("query") == "devices":
            return {"devices": [describe(device) for device in self.devices.values()]}
        if "forward_s" in asked and self.clock is not None:
            seconds, step_s = float(asked["forward_s"]), float(asked.get("step_s", STRIDE_S))
            return {"circuits": forward(self.clock, self.devices, self.circuits, seconds, step_s)}
        broken = self._find(asked)
        if "query" in asked:
            return self._query(broken, str(asked["query"]))
        if asked.get("clear") or asked.get("fault") == "clear":
            broken.mend()
            return {}
        if not broken.fault(str(asked.get("fault")), asked):
            raise Refused(f"no fault {asked.get('fault')!r} for {broken.name}")
        return {"fault": asked["fault"]}

    def _find(self, asked: Asked) -> SimulatedDevice | Circuit:
        if "circuit" in asked and "device" not in asked:
            circuit = self.circuits.get(str(asked["circuit"]))
            if circuit is None:
                raise Refused(
                    f"no circuit {asked['circuit']!r}; there are {', '.join(self.circuits) or 'none'}"
                )
            return circuit
        device = self.devices.get(str(asked.get("device")))
        if device is None:
            raise Refused(f"no device {asked.get('device')!r}; there are {', '.join(self.devices)}")
        return device

    def _query(self, device: SimulatedDevice | Circuit, what: str) -> dict[str, Any]:
        if what == "truth":
            return device.truth()
        if what == "history" and hasattr(device, "history"):
            return {"history": device.history()}
        if what == "exchanges" and not isinstance(device, Circuit):
            return {"exchanges": list(device.exchanges)}
        raise Refused(f"no query {what!r} for {device.name}; there are truth, history, exchanges, devices")


def _object(line: str) -> Asked:
    """Parse a control line; raise ``Refused``."""
    try:
        asked = json.loads(line)
    except ValueError as error:
        raise Refused(f"a control line is one JSON object: {error}") from None
    if not isinstance(asked, dict):
        raise Refused("a control line is one JSON object")
    return asked


def describe(device: SimulatedDevice) -> dict[str, Any]:
    """Return name, model and how the unit reaches a device."""
    links = device.links()
    return {
        "name": device.name,
        "model": device.model,
        "serial_number": getattr(device, "serial_number", ""),
        "resources": [link["resource"] for link in links if "resource" in link],
        "links": links,
    }


class ControlConnection(asyncio.Protocol):
    """One client of the control port."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._lines = Lines()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            if self._transport is not None and line.strip():
                self._transport.write(self._control.answer(line).encode() + b"\n")
