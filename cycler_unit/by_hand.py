"""Safety rule 20: a person controls a station by hand, under a lease and inside an envelope.

The lease names what is connected: the loaded battery (its envelope), or nothing or another object with
typed voltage, current and duration. Each reading is judged as in a test. A lease that is not renewed for
10 s, or whose time is over, falls back to off. Everything is an event with the person.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from cycler_unit import contract, hand_charge, hand_controls, hand_lease, hand_limits, left_alone
from cycler_unit.contract import Refusal
from cycler_unit.drivers.base import Target
from cycler_unit.drivers.errors import DeviceLost, DriverError
from cycler_unit.hand_lease import Lease
from cycler_unit.mail import Reply
from cycler_unit.readings import Taken
from cycling import reasons
from cycling.reading import EndReason
from wire.messages import LEASE_S, DeviceLease, DeviceSet

if TYPE_CHECKING:
    from cycler_unit.station import Station

logger = logging.getLogger("cycler_unit.by_hand")

SETTINGS = frozenset({"mode", "current_a", "voltage_v", "power_w"})
MODES = ("off", "cc", "cv", "cp")


class ByHand:
    """Manual control of one station; used by its thread only, ``lease`` is read by others."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self.lease: Lease | None = None
        self._charge = hand_charge.HandCharge(station.hub.spool)

    @property
    def on(self) -> bool:
        """Say whether current may flow by hand."""
        return self.lease is not None and self.lease.target is not None

    @property
    def shown(self) -> str | None:
        """Return the lease that holds the station, for the heartbeat."""
        lease = self.lease
        return lease.id if lease is not None else None

    # --- requests ---------------------------------------------------------------------------------

    def ask_lease(self, args: DeviceLease, reply: Reply) -> None:
        """Take, renew or give back the lease; raises :class:`Refusal`."""
        held = self.lease
        if held is not None and held.id == args.lease:
            if args.release:
                self.end(f"given back by {held.person}")
                reply("done", {"released": True}, None)
                return
            held.until_s = time.monotonic() + LEASE_S
            reply("done", {"lease": held.id, "until_s": LEASE_S}, None)
            return
        if args.release:
            reply("done", {"released": True, "note": "it was not held"}, None)
            return
        self._refuse(held)
        self.lease = hand_lease.of(self._station, args)
        self._say(f"{args.person} takes the station by hand: {self.lease.connected}", args.person)
        self._station.soon()
        reply("done", {"lease": args.lease, "until_s": LEASE_S}, None)

    def _refuse(self, held: Lease | None) -> None:
        station = self._station
        if held is not None:
            raise Refusal(f"{held.person} holds the station by hand")
        if station.conductor.experiment is not None:
            raise Refusal("an experiment runs on the station; manual control waits for its end", 20)
        self._refuse_unsafe()

    def _refuse_unsafe(self) -> None:
        """Raise :class:`Refusal` for what forbids current now, also under a lease that was given before."""
        station = self._station
        if station.unsafe is not None:
            raise Refusal(f"the station is not confirmed off: {station.unsafe}", 6)
        if station.latched:
            raise Refusal(f"the station is tripped and not acknowledged: {station.kept.latches[0].text}", 7)
        if station.zone_why is not None:
            raise Refusal(station.zone_why, 18)

    def ask_set(self, args: DeviceSet, reply: Reply) -> None:
        """Set the power device or an auxiliary one by hand; raises :class:`Refusal`."""
        lease = self._leased(args.lease)
        lease.until_s = time.monotonic() + LEASE_S
        if args.device in self._station.parts.instruments:
            hand_controls.put(self._station, args, reply)
            self._say(f"{lease.person} sets {_words(args.values)}", lease.person)
            return
        if args.device not in {place.device.device for place in self._station.parts.places}:
            raise Refusal("the station does not have that device")
        point = self._target(lease, args.values)
        if point is not None:
            self._refuse_unsafe()
            left_alone.refuse_by_hand(self._station, point, lease.limits)
        self._say(f"{lease.person} sets {_words(args.values)}", lease.person)
        if point is None:
            self._off()
        else:
            self._switch_on(lease, point)
        if self._station.unsafe is not None:
            reply("failed", None, f"not confirmed off: {self._station.unsafe}")
            return
        if self.lease is not lease:
            latches = self._station.kept.latches
            reply("failed", None, latches[-1].text if latches else "manual control has ended")
            return
        reply("done", {"output_on": self._station.power.output_on, "set": self._station.power.last}, None)

    def _leased(self, lease: str) -> Lease:
        if self.lease is None or self.lease.id != lease:
            raise Refusal("this lease does not hold the station (any more); take it again", 20)
        return self.lease

    def _target(self, lease: Lease, values: dict[str, float | str]) -> Target | None:
        """Return what the values ask for, None for off; raises :class:`Refusal` outside the envelope."""
        if unknown := sorted(set(values) - SETTINGS):
            raise Refusal(f"unknown settings {', '.join(unknown)}; allowed are {', '.join(sorted(SETTINGS))}")
        mode = values.get("mode", "off")
        if mode not in MODES:
            raise Refusal(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
        if mode == "off":
            return None
        bounds = hand_limits.Bounds(lease.limits)
        try:
            return bounds.target(str(mode), {k: float(v) for k, v in values.items() if k != "mode"})
        except ValueError as error:
            raise Refusal(str(error), 20) from None

    # --- the output -------------------------------------------------------------------------------

    def _switch_on(self, lease: Lease, target: Target) -> None:
        """Set the device: protections first, and only on something whose voltage is inside the envelope."""
        station = self._station
        first = not station.power.output_on
        try:
            if first:
                self._check_before(lease)
            station.outputs.connect()
            station.power.apply(target)
            lease.target = target
        except DeviceLost as error:
            station.lose(str(error))
            return
        except DriverError as error:
            station.fail("device_error", str(error))
            return
        station.soon()

    def _check_before(self, lease: Lease) -> None:
        station = self._station
        station.outputs.connect()
        taken = station.read()
        if taken.voltage_v is None:
            raise Refusal("the device gives no voltage", 5)
        for limit in lease.limits.limits:
            if limit.quantity == "voltage_v" and lease.connected.startswith("battery"):
                outside = (
                    taken.voltage_v > limit.trip if limit.side == "max" else taken.voltage_v < limit.trip
                )
                if outside:
                    raise Refusal(
                        f"the voltage at rest is {taken.voltage_v:.3f} V, beyond the {limit.side} of {limit.trip:g} V",
                        4,
                    )
        if fault := station.power.device.fault():
            raise Refusal(f"the device reports an error: {fault}", 13)
        differs = station.power.protect(contract.protections(lease.limits))
        if differs is not None:
            raise Refusal(f"the device does not take its protections: {differs}", 3)

    def _off(self) -> None:
        if self.lease is not None:
            self.lease.target = None
        self._station.switch_off()

    # --- every round ------------------------------------------------------------------------------

    def take(self, taken: Taken) -> None:
        """Judge a reading and the lease's time; off first, then everything else."""
        lease, battery, output_on = self.lease, self._station.watch.id, self._station.power.output_on
        if lease is None:
            self._charge.take(battery, taken, on=output_on)
            return
        reading = taken.reading(taken.taken_s - lease.began_s, output_on)
        on = lease.target is not None
        most_a = hand_charge.asked_a(lease.target)
        spent = self._charge.take(battery, taken, on=on, limits=lease.limits, asked_a=most_a)
        if on:
            reason = lease.judge.judge(reading) or spent
            if reason is not None:
                self._trip(lease, reason)
                return
        now_s = time.monotonic()
        if now_s > lease.until_s:
            self.end(f"the lease of {lease.person} was not renewed for {LEASE_S:g} s")
        elif now_s > lease.ends_s:
            self.end(f"the time that {lease.person} asked for is over")

    def _trip(self, lease: Lease, reason: EndReason) -> None:
        battery = self._station.watch.id
        hurt = battery is not None and reasons.quarantines(reason.code, reason.quantity)
        self._station.trip(
            reason.code, reason.text, quantity=reason.quantity, limit=reason.limit, measured=reason.measured,
            **({"battery": battery} if battery is not None else {}), **({"quarantine": True} if hurt else {}),
        )  # fmt: skip

    def stopped(self, why: str) -> bool:
        """Give the lease up after a trip or an error, the output is off already; False when nobody held it."""
        lease, self.lease = self.lease, None
        if lease is None:
            return False
        self._say(f"manual control by {lease.person} ended: {why}", lease.person)
        return True

    def end(self, why: str, *, outputs: bool = True) -> None:
        """End the lease: output off, outputs safe."""
        if self.lease is None:
            return
        if self._station.power.is_open and (self.lease.target is not None or self._station.power.output_on):
            self._station.switch_off()
        if outputs:
            self._station.outputs.safe()
        self.stopped(why)
        self._station.hub.changed()

    def _say(self, text: str, person: str) -> None:
        logger.info("event=by_hand station=%s text='%s'", self._station.id, text)
        self._station.event(
            "note", text, {"manual": True, "person": person, "battery": self._station.watch.id}
        )


def _words(values: dict[str, float | str]) -> str:
    return ", ".join(
        f"{name} {value if isinstance(value, str) else f'{value:g}'}" for name, value in values.items()
    )
