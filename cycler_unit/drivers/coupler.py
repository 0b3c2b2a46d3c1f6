"""Couplers of digital inputs and outputs by Modbus TCP: interlock contacts, isolators, a dead-man output.

Settings of the catalogue row (or of the link); addresses as in ``registers.py``:

| setting | meaning |
|---|---|
| ``inputs`` | name -> register: contacts, 1 = closed = as it shall be (a broken wire reads open) |
| ``outputs`` | name -> coil, in the order in which Down opens them |
| ``life`` | a counter that the coupler moves by itself; standing still for ``life_s`` = inputs missing |
| ``watchdog`` | ``time`` (in s after its scale), ``trigger``, ``status``, ``restart``, ``stop``; ``running`` word, ``time_s``, ``output`` |

The dead-man output (safety.md rule 3) closes only while the coupler's own watchdog runs: each ``set(output, 1)``
triggers the watchdog; without one for ``time_s`` (5 s) the coupler opens the output by itself, with this
computer dead and the network gone. Only the trigger register keeps it running: reading does not.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from cycler_unit.drivers.base import Identity
from cycler_unit.drivers.chamber import ModbusDevice
from cycler_unit.drivers.errors import DeviceRefused
from cycler_unit.drivers.knobs import Knob
from cycler_unit.drivers.registers import Register, parse, read_bits


class Watchdog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the coupler's watchdog is, and which output it opens."""

    time: Register
    trigger: Register
    status: Register
    output: str
    restart: Register | None = None
    stop: Register | None = None
    running: int = 1
    time_s: float = 5.0


class IoCoupler(ModbusDevice):
    """One coupler."""

    kind = "io-coupler"
    model = "I/O coupler"

    def connect(self) -> None:
        """Read the maps, join the bus."""
        settings = self.link
        self.inputs = parse(settings.get("inputs", {}), "list of inputs")
        self.outputs = parse(settings.get("outputs", {}), "list of outputs")
        self.life = (
            parse({"life": settings["life"]}, "counter of life")["life"] if "life" in settings else None
        )
        self.life_s = float(settings.get("life_s", 3.0))
        self.watchdog = self._watchdog(settings.get("watchdog"))
        self._life: tuple[float, float] | None = None
        self._triggers = 0
        self.modbus.open()
        self._knobs = {
            name: self.knob(register, switch=True, safe=0.0) for name, register in self.outputs.items()
        }
        if self.watchdog is not None:
            guarded = self._knobs[self.watchdog.output]
            self._knobs[self.watchdog.output] = Knob(
                write=self._guarded(guarded), look=guarded.look, switch=True, safe=0.0
            )

    def _watchdog(self, tree: Any) -> Watchdog | None:
        if tree is None:
            return None
        try:
            found = msgspec.convert(tree, Watchdog)
        except msgspec.ValidationError as error:
            raise DeviceRefused(f"the watchdog of the device model is wrong: {error}") from None
        if found.output not in self.outputs:
            raise DeviceRefused(
                f"the watchdog of the device model guards {found.output!r}, which is no output"
            )
        return found

    def identify(self) -> Identity:
        """Read everything once: a map that does not fit is refused by the device's own answer."""
        self.values()
        return self.who()

    def prepare(self) -> None:
        """Set the watchdog's time and read it back: without it no output is a dead man's."""
        dog = self.watchdog
        if dog is None:
            return
        held = dog.time.read(self.modbus)
        if held is None or abs(held - dog.time_s) > dog.time.scale / 2:
            # A running watchdog keeps its time. Everything is open by now, so it may be stopped.
            if dog.stop is not None:
                dog.stop.write(self.modbus, 1.0)
            dog.time.write(self.modbus, dog.time_s)
            held = dog.time.read(self.modbus)
        if held is None or abs(held - dog.time_s) > dog.time.scale / 2:
            raise DeviceRefused(f"{self.label} holds its watchdog at {held} s instead of {dog.time_s:g} s")
        # Only a change counts as a sign of life, so the count goes on from where an earlier user left it.
        self._triggers = int(dog.trigger.read(self.modbus) or 0)

    # --- the dead man -----------------------------------------------------------------------------

    def _guarded(self, plain: Knob) -> Any:
        """Return how the dead-man output is written: never closed without a running watchdog."""

        def write(value: float) -> None:
            if value:
                self._trigger()
            plain.write(value)

        return write

    def _trigger(self) -> None:
        dog = self.watchdog
        assert dog is not None
        if dog.restart is not None and dog.status.read(self.modbus) != dog.running:
            dog.restart.write(self.modbus, 1.0)
        self._triggers = self._triggers % 65535 + 1
        dog.trigger.write(self.modbus, float(self._triggers))
        if dog.status.read(self.modbus) != dog.running:
            raise DeviceRefused(f"{self.label}: the watchdog does not run, so {dog.output} stays open")

    # --- readings ---------------------------------------------------------------------------------

    def values(self) -> dict[str, float | None]:
        """Read all inputs by one exchange, all outputs by another; a dead image is missing."""
        found: dict[str, float | None] = {**read_bits(self.modbus, self.inputs)}
        if self.life is not None:
            count = self.life.read(self.modbus)
            if self._stands_still(count):
                found = dict.fromkeys(found)
            found["life_count"] = count
        found |= read_bits(self.modbus, self.outputs)
        if self.watchdog is not None:
            found["watchdog_status"] = self.watchdog.status.read(self.modbus)
        return found

    def _stands_still(self, count: float | None) -> bool:
        """Tell whether the counter has not moved for ``life_s``: the inputs are a dead image."""
        if count is None:
            return True
        now_s = time.monotonic()
        if self._life is None or self._life[0] != count:
            self._life = (count, now_s)
        return now_s - self._life[1] >= self.life_s
