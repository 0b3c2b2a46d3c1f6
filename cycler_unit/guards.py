"""What a station asks beside the readings' own limits: faults, changes nobody asked for, agreement, store.

Rule 13 (the device's own error every second, what it holds every 2 s), rule 4 running, rule 14 (the
voltage of a common regenerative store is a limit of each of its channels).
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from cycler_unit import latches
from cycler_unit.readings import Taken
from cycler_unit.sense import Sense
from wire.limits import device_limits

if TYPE_CHECKING:
    from cycler_unit.station import Station

# A device's own error state is asked this often while a test runs (rule 13).
FAULT_S = 1.0
# Mode, output, set points and boot count are read back this often while the output may be on (rule 13 B).
UNASKED_S = 2.0
# Both wait so long for readings that decide about a trip: on a serial line each of their messages takes 50 ms.
YIELDS_S = 0.5
# Readings in a row beyond the store's limits that make a trip (rule 1).
IN_A_ROW = 3
# A store whose voltage nobody measured for this long is unknown: the readings of rule 5.
STORE_AGE_S = 0.5
STORE = "hs_voltage_v"
# A device beside the current path that is silent for longer than this, with the test still running, is told:
# by then a limit or an output that needs it has ended the test (rules 5 and 13).
SILENT_S = 10.0


class Stores:
    """The voltages of regenerative stores that several channels share, by the store's name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, dict[str, tuple[float, float]]] = {}

    def put(self, store: str, station: str, voltage_v: float, at_s: float) -> None:
        """Take what a channel measures of its store."""
        with self._lock:
            self._seen.setdefault(store, {})[station] = (voltage_v, at_s)

    def get(self, store: str, now_s: float, age_s: float) -> list[float]:
        """Return what the channels measured of a store in the last ``age_s``."""
        with self._lock:
            return [value for value, at_s in self._seen.get(store, {}).values() if now_s - at_s <= age_s]


class Guards:
    """One station's guards; used by its thread only."""

    def __init__(self, station: Station) -> None:
        self._station = station
        configure, parts = station.kept.configure, station.parts
        others = {
            each.device: (each.name or each.device, parts.kinds[each.device])
            for each in configure.devices
            if each.role in ("meter", "bms") or (each.role == "power" and len(parts.places) > 1)
        }
        slowest_s = max((each.period_s for each in parts.instruments.values()), default=station.period_s)
        self.sense = Sense(station.power.kind, others, sensing=configure.sensing, slowest_s=slowest_s)
        self._fault_due_s = self._unasked_due_s = 0.0
        limits = configure.limits
        own = device_limits(station.power.kind, "")
        self._store_min_v = _number(limits.get("store_min_v"), own.store_voltage_min_v)
        self._store_max_v = _number(limits.get("store_max_v"), own.store_voltage_max_v)
        self._store = str(limits.get("store") or "")
        """The name of the store that this channel shares; empty: its own envelope judges what it measures."""
        self._store_over = 0
        self._silent: dict[str, float] = {}
        """Since when devices beside the current path are silent; infinity: it was told."""

    def faults(self) -> None:
        """Ask for the device's own error state: while current may flow every second."""
        now_s = time.monotonic()
        station = self._station
        if now_s < self._fault_due_s or not station.busy or self._yields(now_s, self._fault_due_s):
            return
        if station.parts.isolated and not station.power.output_on:
            return  # nothing at its terminals may be an error of its own: asked again with the cell
        self._fault_due_s = now_s + FAULT_S
        fault = self._station.power.device.fault()
        if fault is not None:
            self._station.fail("device_fault", f"the device reports an error: {fault}")

    def take(self, taken: Taken) -> None:
        """Look at a reading that was judged and acted on."""
        self._store_of(taken)
        self._beside()
        station = self._station
        if not station.busy:
            self.sense.forget()
            return
        said = self.sense.add(taken)
        if said is not None and (station.power.output_on or station.conductor.run is not None):
            self.sense.forget()
            station.trip("sense", said, quantity="voltage_v" if "voltages" in said else "current_a")
            return
        self._unasked()

    def _unasked(self) -> None:
        """Read back what the device holds (rule 13): a difference nobody asked for is an error."""
        now_s, power = time.monotonic(), self._station.power
        if not power.output_on:
            self._unasked_due_s = now_s + UNASKED_S
            return
        if now_s < self._unasked_due_s or self._yields(now_s, self._unasked_due_s):
            return
        self._unasked_due_s = now_s + UNASKED_S
        said = power.device.unasked()
        if said is not None:
            self._station.fail("unasked", f"the device does what nobody asked for: {said}")

    def _beside(self) -> None:
        """Warn once of a device that does not answer and that nothing in the running test needs."""
        station, now_s = self._station, time.monotonic()
        run = station.conductor.run if station.busy else None
        if run is None:
            self._silent.clear()
            return
        for key, each in station.parts.instruments.items():
            if each.why_not is None:
                self._silent.pop(key, None)
            elif now_s - self._silent.setdefault(key, now_s) > SILENT_S:
                self._silent[key] = float("inf")
                text = (
                    f"{run.start.name}: {each.device.name} does not answer ({each.why_not}); no limit and no output "
                    "of the test needed it so far, so the test goes on without it"
                )
                latches.warn(station, "device_silent", text, run.id)

    def _yields(self, now_s: float, due_s: float) -> bool:
        """Say whether a question waits for the readings that rule 1 asks for: off comes before all else."""
        run = self._station.conductor.run
        return run is not None and now_s - due_s < YIELDS_S and run.interpreter.violating

    # --- the common store (rule 14) -----------------------------------------------------------------

    def _store_of(self, taken: Taken) -> None:
        if not self._store:
            return
        station, now_s = self._station, time.monotonic()
        own_v = taken.extended.get(STORE)
        if own_v is not None:
            station.hub.stores.put(self._store, station.id, own_v, now_s)
        if not station.power.output_on:
            self._store_over = 0
            return
        if self._store_min_v is None and self._store_max_v is None:
            return
        found = station.hub.stores.get(self._store, now_s, max(STORE_AGE_S, 3.0 * station.period_s))
        why = self._outside(found)
        self._store_over = self._store_over + 1 if why else 0
        if why and self._store_over >= IN_A_ROW:
            self._store_over = 0
            station.trip("store", f"{why} ({self._store})", quantity=STORE)

    def _outside(self, found: list[float]) -> str | None:
        if not found:
            return "the voltage of the regenerative store is missing; its limit needs it"
        if self._store_max_v is not None and max(found) > self._store_max_v:
            return f"the regenerative store is at {max(found):.2f} V, above {self._store_max_v:g} V"
        if self._store_min_v is not None and min(found) < self._store_min_v:
            return f"the regenerative store is at {min(found):.2f} V, below {self._store_min_v:g} V"
        return None


def _number(given: Any, otherwise: float | None) -> float | None:
    return float(given) if isinstance(given, int | float) else otherwise
