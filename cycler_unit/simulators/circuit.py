"""One cell with everything that is wired to it: the currents of all devices are summed, time passes once.

A power stage joins with ``join``; a meter or a BMS reads ``terminal_v`` and ``cell``; an isolator opens
the circuit with ``isolate``; a chamber sets ``ambient_c``. Currents are positive into the cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from cycler_unit.simulators.bench import BenchError, CellSpec
from cycler_unit.simulators.capacitor import Capacitor
from cycler_unit.simulators.device import Refused
from cycler_unit.simulators.source import Source
from cycling.cell import Cell

# Regulation is solved anew at least this often: 10 ms is a tenth of the usual control period.
STEP_S = 0.01
# Nothing flows while off, and the cell's relaxation is exact for any interval; the lumped heat is not.
OFF_STEP_S = 1.0


class Stage(Protocol):
    """A power stage on a circuit."""

    @property
    def flowing(self) -> bool:
        """Tell whether it is on, by order or because it is stuck."""
        ...

    def regulate(self, source: Source, dt_s: float) -> float:
        """Return the current in A that it lets flow for ``dt_s`` seconds of the cell."""
        ...

    def carried(self, current_a: float, dt_s: float) -> None:
        """Hear what flowed; it may switch itself off here."""
        ...

    def open_v(self) -> float:
        """Return the voltage that it shows at terminals with nothing on them, in V."""
        ...


class Hurry(Protocol):
    """Somebody who lets time pass faster than it is."""

    step_s: float
    """How long the next step of integration may be."""

    def look(self) -> None:
        """Look at the cell after a step."""
        ...

    def tell(self) -> dict[str, Any]:
        """Return how far the cell went."""
        ...


class Circuit:
    """Hold one cell (or none) and let the stages on it act together.

    ``clock`` gives seconds and only rises; ``speed`` is how many seconds of the cell pass in one.
    """

    def __init__(
        self,
        cell: Cell | None,
        *,
        clock: Callable[[], float],
        name: str = "",
        spec: CellSpec | None = None,
        speed: float = 1.0,
        ambient_c: float | None = None,
    ) -> None:
        self.name, self.speed, self.spec = name, speed, spec
        self.cell: Cell | Capacitor | None = cell
        self.reversed = False
        self.leak_a = 0.0
        self.charge_in_ah = self.charge_out_ah = 0.0
        self._clock = clock
        self._at_s = clock()
        self._stages: dict[Stage, float] = {}
        self._open: set[str] = set()
        self._first = cell
        self._factor = 1.0
        self._ambient_c = ambient_c
        self.hurry: Hurry | None = None
        """Set while a day passes in seconds."""
        self._apply_ambient()

    # --- what is wired to it ----------------------------------------------------------------------

    def join(self, stage: Stage) -> None:
        """Wire a power stage to the cell."""
        self._stages[stage] = 0.0

    def isolate(self, name: str, is_open: bool) -> None:
        """Open or close the isolator ``name`` between the cell and all devices."""
        self.advance()
        (self._open.add if is_open else self._open.discard)(name)
        self._rest_if_open()

    @property
    def connected(self) -> bool:
        """Tell whether a cell is there and every isolator closed."""
        return self.cell is not None and not self._open

    @property
    def ambient_c(self) -> float | None:
        """Return the temperature around the cell in °C, None without one."""
        return self.cell.ambient_c if self.cell is not None else self._ambient_c

    @ambient_c.setter
    def ambient_c(self, degrees: float) -> None:
        self.advance()
        self._ambient_c = degrees
        self._apply_ambient()

    def _apply_ambient(self) -> None:
        if self.cell is not None and self._ambient_c is not None:
            self.cell.ambient_c = self._ambient_c

    # --- time -------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Integrate up to the present; called before every question and every change."""
        now_s = self._clock()
        left_s = now_s - self._at_s
        self._at_s = now_s
        while left_s > 0.0:
            dt_s = min(left_s, self._pace_s())
            self._step(dt_s * self.speed)
            left_s -= dt_s
            if self.hurry is not None:
                self.hurry.look()

    def now_s(self) -> float:
        """Return the time up to which was integrated."""
        return self._at_s

    def _pace_s(self) -> float:
        if not self._busy:
            return OFF_STEP_S
        return STEP_S if self.hurry is None else self.hurry.step_s

    @property
    def _busy(self) -> bool:
        return any(stage.flowing for stage in self._stages)

    def _step(self, dt_s: float) -> None:
        cell = self.cell
        if cell is None:
            return
        connected = not self._open
        for stage in self._stages:
            flows = connected and stage.flowing
            self._stages[stage] = stage.regulate(self._seen_by(stage, cell, dt_s), dt_s) if flows else 0.0
        total_a = self._total_a()
        cell.advance_current(total_a, dt_s)
        moved_ah = total_a * dt_s / 3600.0
        self.charge_in_ah += max(moved_ah, 0.0)
        self.charge_out_ah += max(-moved_ah, 0.0)
        for stage, current_a in self._stages.items():
            if stage.flowing:
                stage.carried(current_a, dt_s)

    def _seen_by(self, stage: Stage, cell: Cell | Capacitor, dt_s: float) -> Source:
        """Return the cell as one stage sees it, with what all others let flow now."""
        at_zero_a = cell.current_for_voltage(0.0, dt_s=dt_s)
        ohm = 1.0 / (cell.current_for_voltage(1.0, dt_s=dt_s) - at_zero_a)
        rest_v = -at_zero_a * ohm
        others_a = self._total_a() - self._sign * self._stages[stage]
        return Source(self._sign * (rest_v + ohm * others_a), ohm)

    @property
    def _sign(self) -> float:
        return -1.0 if self.reversed else 1.0

    def _total_a(self) -> float:
        """Return the current into the cell in A."""
        leak_a = self.leak_a if self.connected else 0.0
        return self._sign * sum(self._stages.values()) - leak_a

    # --- answers ----------------------------------------------------------------------------------

    def current_of(self, stage: Stage) -> float:
        """Return the true current of one stage in A."""
        return self._stages[stage] if self.connected and stage.flowing else 0.0

    @property
    def current_a(self) -> float:
        """Return the true current into the cell in A."""
        return self.cell.current_a if self.cell is not None else 0.0

    def terminal_v(self) -> float:
        """Return the true voltage between the devices' terminals in V."""
        if self.cell is not None and not self._open:
            return self._sign * self.cell.at_device_v
        return next((stage.open_v() for stage in self._stages if stage.flowing), 0.0)

    def settle(self, stage: Stage) -> None:
        """Let the current of a stage that went off be zero at once."""
        self._stages[stage] = 0.0
        if self.cell is not None:
            self.cell.current_a = self._total_a()

    def _rest_if_open(self) -> None:
        if self._open and self.cell is not None:
            self._stages = dict.fromkeys(self._stages, 0.0)
            self.cell.current_a = 0.0

    def truth(self) -> dict[str, Any]:
        """Return what really happens in the cell."""
        self.advance()
        cell = self.cell
        return {
            "voltage_v": self.terminal_v(),
            "cell_v": cell.voltage_v if cell else None,
            "current_a": self.current_a,
            "charge_ah": self.charge_in_ah - self.charge_out_ah,
            "charge_in_ah": self.charge_in_ah,
            "charge_out_ah": self.charge_out_ah,
            "soc": cell.soc if cell else None,
            "at_rest_v": cell.at_rest_v if cell else None,
            "temperature_c": cell.temperature_c if cell else None,
            "ambient_c": self.ambient_c,
            "connected": self.connected,
            "at_s": self._at_s,
        }

    # --- what is broken ---------------------------------------------------------------------------

    def swap(self, cell: Cell | Capacitor | None) -> None:
        """Put another cell in, or none."""
        self.advance()
        self.cell = cell
        self._apply_ambient()

    def fault(self, name: str, asked: dict[str, Any]) -> bool:
        """Do to the cell what a person could do to it; False for an unknown fault.

        ``wrong_cell`` (fields of the bench file's ``cell``, or ``absent``), ``capacity_x10``,
        ``capacitor`` (charged to the cell's voltage, or ``voltage_v``), ``reversed``, ``leak``
        (``current_a`` that something draws), ``isolator`` (``open``).
        """
        self.advance()
        if name == "wrong_cell":
            self.swap(None if asked.get("absent") else self._another(asked))
        elif name == "capacity_x10":
            self._grow(10.0)
        elif name == "capacitor":
            volts = float(asked.get("voltage_v", self.cell.at_rest_v if self.cell else 3.7))
            self.swap(Capacitor(volts, float(asked.get("farad", 0.01))))
        elif name == "reversed":
            self.reversed = True
        elif name == "leak":
            self.leak_a = float(asked.get("current_a", 0.01))
        elif name == "isolator":
            self.isolate("by hand", bool(asked.get("open", True)))
        else:
            return False
        return True

    def _another(self, asked: dict[str, Any]) -> Cell:
        usual = self.spec or CellSpec()
        given = {key: value for key, value in asked.items() if key in CellSpec.__struct_fields__}
        # Told nothing else: the same type of cell, far from where the first one was.
        given = given or {"soc": 0.1 if usual.soc > 0.4 else 0.9}
        try:
            merged = msgspec.convert({**msgspec.structs.asdict(usual), **given}, CellSpec)
            return merged.build()
        except (msgspec.ValidationError, BenchError) as error:
            raise Refused(str(error)) from error

    def _grow(self, factor: float) -> None:
        if isinstance(self.cell, Cell):
            self.cell.capacity_ah *= factor / self._factor
            self._factor = factor

    def mend(self) -> None:
        """Put the first cell back, the right way round, with nothing else wired to it."""
        self.advance()
        self._grow(1.0)
        self.reversed, self.leak_a = False, 0.0
        self._open.discard("by hand")
        if self.cell is not self._first:
            self.swap(self._first)
