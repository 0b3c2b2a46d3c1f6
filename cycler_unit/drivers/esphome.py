"""ESPHome node: relays and sensors by name over its REST interface (devices.md 9.1).

Which relays and sensors a node has is its owner's choice; the link (or the catalogue row) names them:

```yaml
relays: {pump_out: relay_1, pump_in: relay_2, valve_out: relay_3, valve_in: relay_4}
sensors: {temperature_c: internal_temperature, humidity_pct: internal_humidity}
```

The left side is the name here, the right side the node's. Down switches the relays off in the order
given: pumps before the valves behind them. A sensor without a value (``null``, ``NaN``) is missing, and one in
another unit than its name here says (°F for ``..._c``) is refused.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from cycler_unit.buses.http import quoted
from cycler_unit.drivers.base import Identity
from cycler_unit.drivers.errors import DeviceLost, DeviceRefused
from cycler_unit.drivers.knobs import Knob, number
from cycler_unit.drivers.web import WebDevice

# The end of a name here -> the unit in which the node must state the value.
UNITS = {"_c": "°C", "_pct": "%", "_v": "V", "_a": "A", "_w": "W", "_ppm": "ppm"}
# ``26.3 °C``
STATE = re.compile(r"^\s*[-+0-9.eE]+\s*(?P<unit>\S+)\s*$")


class EsphomeNode(WebDevice):
    """One node; each relay and each sensor is one exchange, so a reading takes as many."""

    kind = "esphome-node"
    maker, model = "ESPHome", "node"

    def __init__(self, link: dict[str, Any], *, name: str = "") -> None:
        super().__init__(link, name=name)
        self.relays = link.get("relays", {})
        self.sensors = link.get("sensors", {})

    def connect(self) -> None:
        """Open the link; every relay of the link is one switch."""
        for given in (self.relays, self.sensors):
            if not isinstance(given, dict) or not all(isinstance(each, str) for each in given.values()):
                raise DeviceRefused(f"{self.label}: relays and sensors of the link must be names, name: name")
        self.http.open()
        self._knobs = {
            own: Knob(write=partial(self._switch, theirs), look=partial(self._is_on, theirs), switch=True, safe=0.0)
            for own, theirs in self.relays.items()
        }  # fmt: skip

    def identify(self) -> Identity:
        """Ask for every name once: the node answers 404 for one that it does not have."""
        self.values()
        return self.who()

    def values(self) -> dict[str, float | None]:
        """Read all sensors and relays; not truncated."""
        found: dict[str, float | None] = {}
        for own, theirs in self.sensors.items():
            found[own] = self._value(own, theirs)
        for own, theirs in self.relays.items():
            found[own] = self._is_on(theirs)
        return found

    def _value(self, own: str, theirs: str) -> float | None:
        answer = self.http.get(f"/sensor/{quoted(theirs)}").json()
        wanted = next((unit for end, unit in UNITS.items() if own.endswith(end)), "")
        stated = STATE.match(str(answer.get("state", "")))
        if wanted and stated and stated["unit"] != wanted:
            raise DeviceRefused(f"{self.label} states {theirs} in {stated['unit']}, {own} is in {wanted}")
        return number(answer.get("value"))

    def _switch(self, theirs: str, value: float) -> None:
        self.http.post(f"/switch/{quoted(theirs)}/{'turn_on' if value else 'turn_off'}")

    def _is_on(self, theirs: str) -> float:
        answer = self.http.get(f"/switch/{quoted(theirs)}").json()
        is_on = answer.get("value")
        if not isinstance(is_on, bool):
            raise DeviceLost(f"{self.label} does not say whether {theirs} is on: {str(answer)[:80]}")
        return 1.0 if is_on else 0.0
