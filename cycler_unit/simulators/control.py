"""Break a simulated device on purpose and ask what is really true: one JSON object per line.

| line | effect |
|---|---|
| ``{"query": "devices"}`` | names, models and resources |
| ``{"device": D, "query": "truth"}`` | real charge, state of charge, voltage, current, output |
| ``{"device": D, "query": "history"}`` | every set point and switching, with the charge moved until then |
| ``{"device": D, "query": "exchanges"}`` | the last messages with time, direction and text |
| ``{"device": D, "fault": "drop_link", "how": "close"}`` | pull the cable: ``close`` (default) ends the connections, ``silent`` goes deaf; ``for_s`` mends it by itself; the output stays as it is |
| ``{"device": D, "fault": "freeze"}`` | readings stay what they are now |
| ``{"device": D, "fault": "drift", "rate_v_s": 0.05, "offset_v": 0}`` | the voltage reading (not the cell) leaves the truth |
| ``{"device": D, "fault": "stuck_on", "answers": "OFF"}`` | the output does not open; ``OUTP?`` says ``answers`` after an off |
| ``{"device": D, "fault": "wrong_cell", "soc": 0.1, "chemistry": "LFP"}`` | another cell in the holder (fields of the bench file's ``cell``); ``"absent": true``: none |
| ``{"device": D, "fault": "alarm", "name": "OT"}`` | the device's own alarm: output off |
| ``{"device": D, "fault": "local"}`` | a person takes control at the front panel |
| ``{"device": D, "fault": "clamp", "current_a": 0.5}`` | current set points above, present and future, are clamped silently |
| ``{"device": D, "fault": "reboot"}`` | mains lost and back: output off, defaults |
| ``{"device": D, "clear": true}`` | all of it repaired, the first cell back |

Every line is answered by ``{"ok": true, ...}`` or ``{"ok": false, "error": "..."}``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from cycler_unit.simulators.bench import BenchError, CellSpec
from cycler_unit.simulators.links import Drop, Lines

if TYPE_CHECKING:
    from cycler_unit.simulators.program import Device

Asked = dict[str, Any]
# A drift slow enough to pass several control periods on its way over a limit.
DRIFT_V_S = 0.05


class Refused(Exception):
    """The control line is wrong; the text says how."""


class Control:
    """Answer control lines for the devices of one simulator process."""

    def __init__(self, devices: dict[str, Device]) -> None:
        self.devices = devices
        self._faults: dict[str, Callable[[Device, Asked], None]] = {
            "drop_link": _drop_link,
            "freeze": _freeze,
            "drift": _drift,
            "stuck_on": _stuck_on,
            "wrong_cell": _wrong_cell,
            "alarm": _alarm,
            "local": lambda device, asked: device.instrument.take_local(),
            "clamp": _clamp,
            "reboot": lambda device, asked: device.instrument.reboot(),
        }

    def answer(self, line: str) -> str:
        """Execute one control line and return its answer as JSON."""
        try:
            asked = json.loads(line)
            if not isinstance(asked, dict):
                raise Refused("a control line is one JSON object")
            return json.dumps({"ok": True, **self._execute(asked)})
        except (Refused, BenchError, ValueError, TypeError, KeyError) as error:
            return json.dumps({"ok": False, "error": str(error)})

    def _execute(self, asked: Asked) -> dict[str, Any]:
        if asked.get("query") == "devices":
            return {"devices": [device.describe() for device in self.devices.values()]}
        device = self.devices.get(str(asked.get("device")))
        if device is None:
            raise Refused(f"no device {asked.get('device')!r}; there are {', '.join(self.devices)}")
        if "query" in asked:
            return self._query(device, str(asked["query"]))
        if asked.get("clear") or asked.get("fault") == "clear":
            device.mend()
            return {}
        fault = self._faults.get(str(asked.get("fault")))
        if fault is None:
            raise Refused(f"no fault {asked.get('fault')!r}; there are {', '.join(self._faults)}")
        fault(device, asked)
        return {"fault": asked["fault"]}

    def _query(self, device: Device, what: str) -> dict[str, Any]:
        regulator = device.instrument.regulator
        if what == "truth":
            return regulator.truth()
        if what == "history":
            regulator.advance()
            return {"history": list(regulator.history)}
        if what == "exchanges":
            return {"exchanges": list(device.exchanges)}
        raise Refused(f"no query {what!r}; there are truth, history, exchanges, devices")


def _drop_link(device: Device, asked: Asked) -> None:
    how = asked.get("how", "close")
    if how not in ("close", "silent"):
        raise Refused("how is close or silent")
    way: Drop = how
    for port in device.ports:
        port.drop(way)
    if asked.get("for_s") is not None:
        asyncio.get_running_loop().call_later(float(asked["for_s"]), device.mend_links)


def _freeze(device: Device, asked: Asked) -> None:
    regulator = device.instrument.regulator
    regulator.faults.frozen = regulator.measure()


def _drift(device: Device, asked: Asked) -> None:
    regulator = device.instrument.regulator
    regulator.advance()
    faults = regulator.faults
    faults.drift_offset_v = float(asked.get("offset_v", 0.0))
    faults.drift_v_s = float(asked.get("rate_v_s", 0.0 if "offset_v" in asked else DRIFT_V_S))
    faults.drift_since_s = regulator.now_s()


def _stuck_on(device: Device, asked: Asked) -> None:
    answers = str(asked.get("answers", "OFF")).upper()
    if answers not in ("ON", "OFF"):
        raise Refused("answers is ON or OFF")
    faults = device.instrument.regulator.faults
    faults.stuck_on, faults.stuck_answer = True, answers


def _wrong_cell(device: Device, asked: Asked) -> None:
    if asked.get("absent"):
        device.instrument.regulator.swap(None)
        return
    usual = device.spec.cell or CellSpec()
    given = {key: value for key, value in asked.items() if key in CellSpec.__struct_fields__}
    # Told nothing else: the same type of cell, far from where the first one was.
    given = given or {"soc": 0.1 if usual.soc > 0.4 else 0.9}
    merged = {**msgspec.structs.asdict(usual), **given}
    device.instrument.regulator.swap(msgspec.convert(merged, CellSpec).build())


def _alarm(device: Device, asked: Asked) -> None:
    name = str(asked.get("name", "OT"))
    if name not in device.instrument.alarm_names():
        raise Refused(f"no alarm {name!r}; there are {', '.join(device.instrument.alarm_names())}")
    device.instrument.trip(name)


def _clamp(device: Device, asked: Asked) -> None:
    regulator = device.instrument.regulator
    regulator.advance()
    most_a = float(asked.get("current_a", 0.5))
    regulator.faults.clamp_a = most_a
    regulator.points.source_a = min(regulator.points.source_a, most_a)
    regulator.points.sink_a = min(regulator.points.sink_a, most_a)


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
