"""Set controls of a station's auxiliary devices by hand (rule 20); the isolator keeps its own rules (17)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cycler_unit.contract import Refusal
from cycler_unit.drivers.errors import DriverError
from cycler_unit.instruments import Instrument, Write
from cycler_unit.mail import Reply
from wire.catalogue import KindControl
from wire.messages import DeviceSet

if TYPE_CHECKING:
    from cycler_unit.station import Station


@dataclass
class Waiting:
    """Controls that are being written, and whom to tell."""

    writes: list[Write]
    reply: Reply
    instrument: Instrument


class HandControls:
    """One station's; used by its thread only, which never waits for a slow device."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._waiting: list[Waiting] = []

    def set(self, args: DeviceSet, reply: Reply) -> None:
        """Set controls; answered when the device holds them. Raises :class:`Refusal` outside their ranges."""
        station, instrument = self._station, self._station.parts.instruments[args.device]
        controls = {each.name: each for each in instrument.kind.controls}
        wanted = {name: _checked(controls, name, value) for name, value in args.values.items()}
        isolator = station.parts.isolator
        if isolator is not None and isolator.instrument is instrument and isolator.control in wanted:
            try:
                (station.outputs.connect if wanted.pop(isolator.control) else station.outputs.isolate)()
            except DriverError as error:
                raise Refusal(str(error), 17) from None
        dead_man = station.parts.dead_man
        if dead_man is not None and dead_man.instrument is instrument and dead_man.control in wanted:
            raise Refusal("the dead-man output is closed and opened by the control loop, not by hand", 17)
        station.outputs.let_go()
        order = sorted(wanted, key=lambda name: controls[name].order)
        for name in order:
            station.outputs.outputs.set_by_hand(instrument, args.device, name)
        writes = [instrument.write(name, wanted[name]) for name in order]
        self._waiting.append(Waiting(writes, reply, instrument))

    def answer(self) -> None:
        """Answer what is done."""
        for each in [each for each in self._waiting if all(write.done.is_set() for write in each.writes)]:
            self._waiting.remove(each)
            errors = [write.error for write in each.writes if write.error]
            each.reply(
                "failed" if errors else "done",
                {"held": dict(each.instrument.held)},
                "; ".join(errors) or None,
            )


def _checked(controls: dict[str, KindControl], name: str, value: float | str) -> float:
    control = controls.get(name)
    if control is None:
        raise Refusal(f"unknown setting {name}; allowed are {', '.join(controls) or 'none'}")
    if isinstance(value, str) or not _inside(control, value):
        raise Refusal(f"{control.label} cannot be {value}; allowed are {_range(control)}", 20)
    return float(value)


def _inside(control: KindControl, value: float) -> bool:
    low, high = (0.0, 1.0) if control.switch else (control.minimum, control.maximum)
    return (low is None or value >= low) and (high is None or value <= high)


def _range(control: KindControl) -> str:
    return "0 and 1" if control.switch else f"{control.minimum} to {control.maximum} {control.unit}".strip()
