"""What a person may set by hand: typed limits as an envelope, and set points inside one (rule 20)."""

from __future__ import annotations

from collections.abc import Sequence

from cycler_unit.contract import Refusal
from cycler_unit.drivers.base import Target
from cycling import envelope, givers
from cycling.contract import DeviceLimits, Envelope, Limit, Resolution
from cycling.limits import find
from wire.catalogue import Kind


def typed(given: dict[str, float], devices: Sequence[DeviceLimits], power: Kind) -> Envelope:
    """Return typed limits as an envelope with its trips; raises :class:`Refusal` outside the devices'."""
    given = dict(given)
    if given["voltage_max_v"] <= given["voltage_min_v"]:
        raise Refusal("voltage_max_v must be above voltage_min_v", 20)
    if given["current_min_a"] > 0.0 or given["current_max_a"] < 0.0:
        raise Refusal("current_min_a must be at most 0 A and current_max_a at least 0 A", 20)
    margin = envelope.margins(1, devices)
    for side, watts in (("min", power.power_min_w), ("max", power.power_max_w)):
        if watts is not None:
            given[f"power_{side}_w"] = watts
    limits = [
        Limit(
            quantity=quantity,
            side="max" if side == "max" else "min",
            operating=given[name],
            trip=round(given[name] + (margin[quantity] if side == "max" else -margin[quantity]), 9),
            source=f"the typed {givers.words(name)}",
        )
        for quantity, unit in (("voltage_v", "v"), ("current_a", "a"), ("power_w", "w"))
        for side in ("min", "max")
        if (name := f"{quantity.rsplit('_', 1)[0]}_{side}_{unit}") in given
    ]
    first = devices[0]
    step = Resolution(voltage_v=first.voltage_resolution_v, current_a=first.current_resolution_a)
    found = Envelope(limits=tuple(limits), resolution=step)
    if wider := envelope.wider_than(found, devices):
        raise Refusal(f"these limits are wider than the station's devices: {'; '.join(wider)}", 20)
    return found


class Bounds:
    """What an envelope lets a person set."""

    def __init__(self, limits: Envelope) -> None:
        def operating(quantity: str, side: str) -> float | None:
            limit = find(limits, quantity, "max" if side == "max" else "min")
            return None if limit is None else limit.operating

        self.v_min, self.v_max = operating("voltage_v", "min"), operating("voltage_v", "max")
        self.i_min, self.i_max = operating("current_a", "min") or 0.0, operating("current_a", "max") or 0.0
        self.p_min, self.p_max = operating("power_w", "min"), operating("power_w", "max")

    def target(self, mode: str, values: dict[str, float]) -> Target:
        """Return the target; raises ``ValueError`` naming the setting and what is allowed."""
        charge_a, discharge_a = max(self.i_max, 0.0), max(-self.i_min, 0.0)
        if mode == "cc":
            current_a = self._value(values, "current_a", "A", self.i_min, self.i_max)
            return self._made(mode, current_a, current_a=current_a, charge=max(current_a, 0.0), discharge=max(-current_a, 0.0))  # fmt: skip
        if mode == "cp":
            power_w = self._value(values, "power_w", "W", self.p_min, self.p_max)
            return self._made(mode, power_w, power_w=power_w, charge=charge_a if power_w > 0 else 0.0, discharge=discharge_a if power_w < 0 else 0.0)  # fmt: skip
        voltage_v = self._value(values, "voltage_v", "V", self.v_min, self.v_max)
        if "current_a" in values:
            most_a = abs(self._value(values, "current_a", "A", self.i_min, self.i_max))
            charge_a, discharge_a = min(charge_a, most_a), min(discharge_a, most_a)
        return self._made(mode, 0.0, voltage_v=voltage_v, charge=charge_a, discharge=discharge_a)

    @staticmethod
    def _value(
        values: dict[str, float], name: str, unit: str, low: float | None, high: float | None
    ) -> float:
        if name not in values:
            raise ValueError(f"{name} is missing")
        value = values[name]
        if not (low is None or value >= low) or not (high is None or value <= high):
            raise ValueError(f"{name} {value:g} {unit} lies outside {low} to {high} {unit}")
        return value

    def _made(
        self,
        mode: str,
        sign: float,
        *,
        charge: float,
        discharge: float,
        current_a: float | None = None,
        voltage_v: float | None = None,
        power_w: float | None = None,
    ) -> Target:
        return Target(
            mode=mode,  # type: ignore[arg-type]
            direction="charge" if sign > 0 else "discharge" if sign < 0 else "both",
            current_a=current_a,
            voltage_v=voltage_v,
            power_w=power_w,
            voltage_max_v=self.v_max,
            voltage_min_v=self.v_min,
            charge_current_max_a=charge,
            discharge_current_max_a=discharge,
        )
