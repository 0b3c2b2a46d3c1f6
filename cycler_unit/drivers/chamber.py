"""Climate chambers by Modbus TCP: set point, temperature, on and off, alarm word, door.

The register map is a setting of the catalogue row (``registers.py``), so another maker's chamber is a row:

| entry of ``map`` | needed | control or measure |
|---|---|---|
| ``actual`` | yes | ``temperature_c`` |
| ``set_point`` | yes | ``set_point_c``, within ``set_point_min_c`` and ``set_point_max_c`` |
| ``run`` | yes | ``run``: conditioning on or off |
| ``alarm`` | no | ``alarm_mask``, and ``alarm_free`` (1 = none) for interlocks; ``alarm_words`` names bits |
| ``door`` | no | ``door_closed`` (1 = closed) |

Down stops conditioning first; the set point then goes to ``set_point_safe_c``, so that a chamber switched
on at its panel does not go on to where a test left it.
"""

from __future__ import annotations

from typing import Any

from cycler_unit.buses.modbus import ModbusLink
from cycler_unit.drivers.base import Identity
from cycler_unit.drivers.knobs import Knob, KnobDevice
from cycler_unit.drivers.registers import Register, parse


class ModbusDevice(KnobDevice):
    """What the Modbus families share: the link, and an identity that only the link can give."""

    maker = ""
    model = ""

    def __init__(self, link: dict[str, Any], *, name: str = "") -> None:
        super().__init__(link, name=name)
        self.modbus = ModbusLink(link, self.ring)

    def close(self) -> None:
        """Leave the bus; the device keeps what it was set to."""
        self.modbus.close()

    def who(self) -> Identity:
        """Return the identity: Modbus devices have none of their own, so the address is the serial number."""
        serial = self.link.get("serial_number") or f"{self.modbus.host}:{self.modbus.port}/{self.modbus.unit}"
        model = str(self.link.get("model_text") or self.model)
        return Identity(self.maker, model, str(serial), "")

    def knob(self, register: Register, **more: Any) -> Knob:
        """Return the control that one register is; it reads back as it is written."""
        return Knob(
            write=lambda value: register.write(self.modbus, value),
            look=lambda: register.read(self.modbus),
            **more,
        )


class ClimateChamber(ModbusDevice):
    """One chamber."""

    kind = "chamber"
    model = "climate chamber"

    def connect(self) -> None:
        """Read the map, join the bus."""
        settings = self.link
        self.map = parse(settings.get("map", {}), "register map", ("actual", "set_point", "run"))
        set_point = self.map["set_point"]
        # Half a step of a scaled integer; a float comes back rounded to its 24 bits.
        step = abs(set_point.scale) / 2 if set_point.format != "float32" else 0.001
        self.modbus.open()
        self._knobs = {
            "run": self.knob(self.map["run"], switch=True, safe=0.0),
            "set_point_c": self.knob(
                set_point,
                minimum=float(settings.get("set_point_min_c", -40.0)),
                maximum=float(settings.get("set_point_max_c", 180.0)),
                step=step,
                safe=float(settings.get("set_point_safe_c", 23.0)),
            ),
        }

    def identify(self) -> Identity:
        """Read everything once: a map that does not fit is refused by the device's own answer."""
        self.values()
        return self.who()

    def values(self) -> dict[str, float | None]:
        """Read temperature, set point, state, alarm and door."""
        found = {
            "temperature_c": self.map["actual"].read(self.modbus),
            "set_point_c": self.map["set_point"].read(self.modbus),
            "run": self.map["run"].read(self.modbus),
        }
        if "alarm" in self.map:
            mask = self.map["alarm"].read(self.modbus)
            found |= {"alarm_mask": mask, "alarm_free": None if mask is None else float(not mask)}
        if "door" in self.map:
            found["door_closed"] = self.map["door"].read(self.modbus)
        return found

    def alarms(self) -> list[str]:
        """Return the chamber's alarms in words, empty without any."""
        words = {int(bit): str(text) for bit, text in self.link.get("alarm_words", {}).items()}
        with self._lock:
            mask = self.map["alarm"].read(self.modbus) if "alarm" in self.map else 0.0
        return [words.get(bit, f"alarm bit {bit}") for bit in range(16) if int(mask or 0) >> bit & 1]
