"""Down and stop all: everything off, answered when it was measured and read back (rules 6, 18 and 20)."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cycler_unit.contract import Refusal
from cycler_unit.drivers.base import Measured
from cycler_unit.drivers.errors import DeviceRefused
from cycler_unit.free import Lent, values_of
from cycler_unit.mail import Ask, Reply
from cycler_unit.outputs import CONFIRM_S
from cycler_unit.power import OffResult, Power
from wire.messages import DeviceOff, ExperimentStop

if TYPE_CHECKING:
    from cycler_unit.station import Station

# Outputs are looked at this often until they hold their safe value.
LOOK_S = 0.02


def of_station(station: Station, args: DeviceOff, reply: Reply) -> None:
    """Switch everything of a station off, whoever holds it; on the station's thread.

    1. its test ends, the power device is off and measured off; 2. the outputs get their safe values;
    3. the lease ends; 4. answered by a thread of its own once the outputs hold them, so that no slow
    relay board holds up the readings.
    """
    who = args.person or "a person"
    experiment = station.conductor.experiment
    if experiment is not None:
        stop = ExperimentStop(experiment=experiment, how="now", reason=f"Down by {who}", person=args.person)
        with contextlib.suppress(Refusal):  # taken up after a restart, it could not be read and has ended
            station.conductor.serve(Ask("stop", stop, lambda *_: None, urgent=True))
    off = station.switch_off() if station.power.is_open else None
    station.outputs.safe()
    station.by_hand.end(f"Down by {who}", outputs=False)
    told: dict[str, Any] = {"stopped": experiment} if experiment is not None else {}
    told["measured"] = _measured(off)
    _answer_later(station, told, reply)


def by_stop_all(station: Station, ask: Ask) -> None:
    """Do a station's part of stop all, off first; like Down answered once its outputs hold their safe values."""
    station.by_hand.end("everything was stopped")
    told: list[dict[str, Any]] = []
    station.conductor.serve(replace(ask, reply=lambda _outcome, result, _why: told.append(result or {})))
    station.outputs.safe()
    _answer_later(station, told[0], ask.reply)


def _answer_later(station: Station, told: dict[str, Any], reply: Reply) -> None:
    threading.Thread(target=_answer, args=(station, told, reply), name="down", daemon=True).start()


def _measured(off: OffResult | None) -> dict[str, float | None]:
    """Return what flowed when off was confirmed, or when it was not; empty where nothing answered."""
    found: Measured | None = off.measured if off is not None else None
    return {} if found is None else {"voltage_v": found.voltage_v, "current_a": found.current_a}


def _answer(station: Station, told: dict[str, Any], reply: Reply) -> None:
    outputs = station.parts.outputs
    until_s = time.monotonic() + CONFIRM_S
    while (left := outputs.unconfirmed()) and time.monotonic() < until_s:
        time.sleep(LOOK_S)
    why = "; ".join([*([station.unsafe] if station.unsafe else []), *left])
    station.mail.wake()  # the site sees what the outputs hold now, not a round later
    told |= {"off": not why, "held": outputs.shown}
    reply("failed" if why else "done", told, f"not confirmed off: {why}" if why else None)


def of_device(lent: Lent) -> dict[str, Any]:
    """Make a device in no station safe and return what it holds and measures then; raises driver's errors.

    What moves current is measured off; everything else holds its safe values, which its driver reads back.
    """
    if lent.kind.role == "power":
        off = Power(lent.device, lent.kind, "").off()
        if not off.confirmed:
            raise DeviceRefused(f"not confirmed off: {off.text}")
    else:
        lent.device.make_safe()
    held: dict[str, float] = lent.device.held()
    # Half a step: a switch has steps of 1, and 0 is not 1.
    wrong = [
        each.name
        for each in lent.kind.controls
        if each.safe is not None and abs(held.get(each.name, each.safe) - each.safe) > 0.505 * each.step
    ]
    if wrong:
        raise DeviceRefused("not confirmed off: " + ", ".join(f"{name} is {held[name]:g}" for name in wrong))
    values = values_of(lent.kind, lent.device.read(), lent.judge, time.monotonic())
    return {"off": True, "held": held, "measured": values}
