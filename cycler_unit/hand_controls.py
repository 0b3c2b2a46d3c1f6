"""Set controls of a station's auxiliary devices by hand (rule 20); the isolator keeps its own rules (17)."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from cycler_unit.contract import Refusal
from cycler_unit.drivers.errors import DriverError
from cycler_unit.instruments import Instrument, Write
from cycler_unit.mail import Reply
from wire.catalogue import KindControl
from wire.messages import DeviceSet

if TYPE_CHECKING:
    from cycler_unit.station import Station

# A device that has not written it by then is said to hang; a relay board by HTTP takes a second.
WRITE_S = 10.0


def put(station: Station, args: DeviceSet, reply: Reply) -> None:
    """Set controls on the station's thread, which never waits; answered when the device holds them.

    Raises :class:`Refusal` outside the device's ranges, and outside those that the station narrows.
    """
    instrument = station.parts.instruments[args.device]
    controls = {each.name: each for each in instrument.kind.controls}
    wanted = {name: _checked(controls, name, value) for name, value in args.values.items()}
    if why := station.outputs.outputs.why_not_by_hand(instrument, wanted):
        raise Refusal(why, 20)
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
    threading.Thread(target=_answer, args=(instrument, writes, reply), name="set", daemon=True).start()


def _answer(instrument: Instrument, writes: list[Write], reply: Reply) -> None:
    """Tell what became of the writes; the station's own thread goes on reading meanwhile."""
    until_s = time.monotonic() + WRITE_S
    for each in writes:
        if not each.done.wait(max(0.0, until_s - time.monotonic())):
            reply("failed", {"held": dict(instrument.held)}, f"{each.control} is not confirmed: {instrument.why_not or 'the device does not answer'}")  # fmt: skip
            return
    errors = [each.error for each in writes if each.error]
    reply("failed" if errors else "done", {"held": dict(instrument.held)}, "; ".join(errors) or None)


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
