"""Manual control (safety.md rule 20): leases, settings, and Down.

A device in a station belongs to that station's own thread and is asked through its mailbox. Here are
the devices in no station: a relay, a lamp, a chamber, an HV channel. Their lease lasts ``LEASE_S`` and
is renewed by the page; when it lapses their controls go to their safe values.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cycler_unit import down
from cycler_unit.buses.protocol import bus_key, device_key
from cycler_unit.clock import iso
from cycler_unit.commands import Answer
from cycler_unit.contract import Refusal
from cycler_unit.devices import Devices, Found
from cycler_unit.drivers.errors import DriverError
from cycler_unit.free import Free, values_of
from cycler_unit.spool import Entry, Spool
from cycler_unit.typed_limits import TypedLimits
from wire.catalogue import Kind, KindControl
from wire.messages import LEASE_S, DeviceLease, DeviceOff, DevicePlace, DeviceRead, DeviceSet

logger = logging.getLogger("cycler_unit.manual")

# Lapsed leases are looked for this often; a device that was not confirmed safe is asked again so often.
LOOK_S, AGAIN_S = 0.25, 1.0
# What a device with typed limits measures is compared with them this often.
JUDGE_S = 0.5
# The owner of a device in hand makes it safe when this process does not renew its permit for so long: a
# lease and a little, so that a lease that lapses is ended here, with its reason.
PERMIT_S, PERMIT_EVERY_S = LEASE_S + 2.0, 2.0
# Leases looked after at the same time.
AT_ONCE = 4
COMPOSE = (
    "{name} moves current and is in no station: compose a station with it, which names its limits and "
    "its battery, and control that by hand"
)


@dataclass
class Lease:
    """One person's exclusive hold of one device. ``until_s`` is monotonic."""

    id: str
    person: str
    found: Found
    until_s: float
    typed: TypedLimits
    ends_s: float = math.inf
    """When the agreed duration is over; renewing does not move it."""
    judge_s: float = 0.0
    since: str = field(default_factory=lambda: iso(time.time()))
    doomed: str | None = None
    """Why it ends, though a page still renews it: until the device is confirmed safe."""
    lapsed: bool = False
    again_s: float = 0.0
    permit_s: float = 0.0
    """When the owner's permit is renewed next (rule 8)."""

    def as_told(self) -> dict[str, Any]:
        """Return what others may know of it."""
        left_s = max(0.0, self.until_s - time.monotonic())
        return {"lease": self.id, "person": self.person, "until": iso(time.time() + left_s)}


class Manual:
    """Devices in no station under people's hands."""

    def __init__(self, devices: Devices, free: Free, spool: Spool) -> None:
        self._devices, self._free, self._spool = devices, free, spool
        self._leases: dict[str, Lease] = {}
        self._lock = threading.RLock()
        self._at_work: set[str] = set()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="lease")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="leases", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End all leases; the devices are safe afterwards as far as they answer."""
        self._stopping.set()
        self._thread.join(5.0)
        self._pool.shutdown(wait=True, cancel_futures=True)
        for lease in self._all():
            self._end(lease, "the unit stops")

    def _all(self) -> list[Lease]:
        with self._lock:
            return list(self._leases.values())

    def buses(self) -> set[str]:
        """Return the buses on which a person holds a device."""
        return {bus_key(lease.found.link) for lease in self._all()}

    def in_hand(self) -> set[str]:
        """Return the ``device_key`` of every device that a person holds."""
        return {device_key(lease.found.link) for lease in self._all()}

    # --- reading --------------------------------------------------------------------------------

    def read(self, args: DeviceRead, answer: Answer) -> None:
        """Read one device now."""
        found = self._find(args.where)
        with self._free.use(found) as lent:
            measured = lent.device.read()
            now_s = time.monotonic()
            held = lent.device.held()
            # Behind an owner every device is one that could move current; only the kind tells.
            on = lent.device.output_is_on() if lent.kind.role == "power" else None
            values = values_of(lent.kind, measured, lent.judge, now_s)
        lease = self._leases.get(device_key(found.link))
        answer("done", {
            "values": values, "held": held, "output_on": on, "age_s": round(now_s - measured.began_s, 3),
            "lease": lease.as_told() if lease else None,
        }, None)  # fmt: skip

    def _find(self, where: DevicePlace | None) -> Found:
        found = self._devices.find(where) if where is not None else None
        if found is None or found.kind is None:
            raise Refusal("this unit does not know that device; start a detection")
        if self._devices.is_held(found.link):
            raise Refusal(f"{_name(found)} belongs to a station; it is controlled there")
        return found

    # --- leases ---------------------------------------------------------------------------------

    def lease(self, args: DeviceLease, answer: Answer) -> None:
        """Take, renew or give back a lease."""
        found = self._find(args.where)
        assert found.kind is not None
        if found.kind.role == "power":
            raise Refusal(COMPOSE.format(name=_name(found)))
        key = device_key(found.link)
        holder = self._renewed(key, args, found)
        if args.release:
            if holder is not None:
                self._end(holder, f"{args.person} gave it back")
            answer("done", {"released": True}, None)
            return
        if holder is not None:
            answer("done", {"lease": holder.id, "until_s": LEASE_S}, None)
            return
        with self._free.use(found):  # opened, and safe, before anybody owns it
            pass
        with self._lock:
            self._renewed(key, args, found)  # somebody else may have been quicker
            now = time.monotonic()
            ends_s = now + args.duration_s if args.duration_s is not None else math.inf
            typed = TypedLimits(args)
            self._leases[key] = Lease(args.lease, args.person, found, now + LEASE_S, typed, ends_s)
        self._event(found, f"{args.person} takes {_name(found)} in hand", args.person)
        answer("done", {"lease": args.lease, "until_s": LEASE_S}, None)

    def _renewed(self, key: str, args: DeviceLease, found: Found) -> Lease | None:
        """Return the caller's own lease, renewed; raise :class:`Refusal` when it is somebody else's."""
        with self._lock:
            holder = self._leases.get(key)
            if holder is None:
                return None
            if holder.id != args.lease:
                who, since = holder.person or "somebody else", holder.since
                raise Refusal(f"{_name(found)} is in the hands of {who} since {since}")
            if holder.doomed is not None and not args.release:
                raise Refusal(f"this hold of {_name(found)} has ended: {holder.doomed}")
            if not args.release:
                holder.until_s = time.monotonic() + LEASE_S
            return holder

    def _watch(self) -> None:
        """Look after every lease; each on its own, so that a lost device holds up no other."""
        while not self._stopping.wait(LOOK_S):
            for lease in self._all():
                key = device_key(lease.found.link)
                if key not in self._at_work:
                    self._at_work.add(key)
                    self._pool.submit(self._look_after, lease, key)

    def _look_after(self, lease: Lease, key: str) -> None:
        try:
            now = time.monotonic()
            why = self._over(lease, now)
            if why is None:
                self._renew(lease, now)
            if why is None and lease.typed.any() and now >= lease.judge_s:
                lease.judge_s = now + JUDGE_S
                why = self._judge(lease)
            if why is not None and now >= lease.again_s:
                lease.doomed = why
                self._end(lease, why)
        except Exception:
            # The one broad except of these threads: the next look tries again.
            logger.exception("event=lease_not_looked_after")
        finally:
            self._at_work.discard(key)

    def _renew(self, lease: Lease, now: float) -> None:
        """Renew the permit at the device's owner: should this process hang, the owner makes it safe."""
        if now < lease.permit_s:
            return
        lease.permit_s = now + PERMIT_EVERY_S
        with self._free.use(lease.found) as lent:
            if hasattr(lent.device, "renew"):
                lent.device.permit_s = PERMIT_S
                lent.device.renew()

    @staticmethod
    def _over(lease: Lease, now: float) -> str | None:
        if lease.doomed is not None:
            return lease.doomed
        if now >= lease.ends_s:
            return "the agreed duration is over"
        return "the page does not renew its hold any more" if now >= lease.until_s else None

    def _judge(self, lease: Lease) -> str | None:
        """Read the device and compare it with what was typed; one that does not answer is outside."""
        assert lease.found.kind is not None
        try:
            with self._free.use(lease.found) as lent:
                values = values_of(lent.kind, lent.device.read(), lent.judge, time.monotonic())
        except DriverError as error:
            return f"it cannot be read: {error}"
        return lease.typed.judge(lease.found.kind, values)

    def _end(self, lease: Lease, why: str) -> None:
        """Bring a device to its safe values and end the lease; not confirmed, it is tried again."""
        key, name = device_key(lease.found.link), _name(lease.found)
        try:
            held = self._make_safe(lease.found)
        except DriverError as error:
            lease.again_s = time.monotonic() + AGAIN_S
            if not lease.lapsed:
                lease.lapsed = True
                text = f"{name} is not confirmed safe: {error}"
                logger.error("event=not_confirmed_safe device='%s' reason='%s'", name, error)
                self._event(lease.found, text, lease.person, why=why)
            if self._devices.is_held(lease.found.link):
                self._leases.pop(key, None)  # a station has it now, and made it safe
            return
        with self._lock:
            if self._leases.get(key) is lease:
                del self._leases[key]
        self._event(lease.found, f"{name} is safe again: {why}", lease.person, held=held)

    def _make_safe(self, found: Found) -> dict[str, float]:
        with self._free.use(found) as lent:
            lent.device.make_safe()
            held: dict[str, float] = lent.device.held()
            return held

    # --- setting --------------------------------------------------------------------------------

    def set(self, args: DeviceSet, answer: Answer) -> None:
        """Set controls under a lease: all are checked before the first is written."""
        found = self._find(args.where)
        assert found.kind is not None
        if found.kind.role == "power":
            raise Refusal(COMPOSE.format(name=_name(found)))
        key = device_key(found.link)
        lease = self._own(key, args.lease, found)
        wanted = [(control, number(control, value)) for control, value in _asked(found.kind, args.values)]
        for control, value in wanted:
            lease.typed.refuse(control, value)
        with self._free.use(found) as lent:
            self._own(key, args.lease, found)  # it may have lapsed while the device was busy
            if hasattr(lent.device, "permit_s"):
                lent.device.permit_s = PERMIT_S
            for control, value in wanted:
                lent.device.set(control.name, value)
            held = lent.device.held()
        said = ", ".join(f"{control.label} {value:g} {control.unit}".strip() for control, value in wanted)
        self._event(found, f"{args.person} sets {_name(found)}: {said}", args.person, held=held,
                    values={control.name: value for control, value in wanted})  # fmt: skip
        answer("done", {"held": held}, None)

    def _own(self, key: str, lease_id: str, found: Found) -> Lease:
        with self._lock:
            lease = self._leases.get(key)
            mine = lease is not None and lease.id == lease_id and lease.doomed is None
            if lease is None or not mine or time.monotonic() >= min(lease.until_s, lease.ends_s):
                raise Refusal(f"take {_name(found)} in hand first: this hold has ended or is somebody else's")
            return lease

    # --- Down -----------------------------------------------------------------------------------

    def off(self, args: DeviceOff, answer: Answer) -> None:
        """Bring a device to its safe values, whoever holds it; the holder has to take it again."""
        found = self._find(args.where)
        with self._free.use(found) as lent:
            told = down.of_device(lent)
        with self._lock:
            self._leases.pop(device_key(found.link), None)
        text = f"{args.person or 'somebody'} switches {_name(found)} off"
        self._event(found, text, args.person, held=told["held"])
        answer("done", told, None)

    def all_off(self, why: str) -> list[str]:
        """End every lease (stop all); return what was not confirmed, in sentences."""
        for lease in self._all():
            self._end(lease, why)
        return [f"{_name(lease.found)} is not confirmed safe" for lease in self._all()]

    def _event(self, found: Found, text: str, person: str, **detail: Any) -> None:
        place = msgspec.to_builtins(found.place)
        event = {"at": iso(time.time()), "kind": "device", "text": text, "detail": {**place, "person": person, **detail}}  # fmt: skip
        self._spool.put(Entry(events=[event]), force=True)


def _name(found: Found) -> str:
    label = found.kind.label if found.kind else "the device"
    return f"{label} {found.seen.serial_number}".strip()


def _asked(kind: Kind, values: dict[str, float | str]) -> list[tuple[KindControl, float | str]]:
    """Return what shall be set, ramps first, then by falling order: the reverse of Down."""
    controls = {control.name: control for control in kind.controls}
    if not values:
        raise Refusal("name at least one setting")
    for name in values:
        if name not in controls:
            known = ", ".join(controls) or "none"
            raise Refusal(f"{kind.label} has no setting {name!r}; it has {known}")
    chosen = [(controls[name], value) for name, value in values.items()]
    return sorted(chosen, key=lambda each: (each[0].safe is not None, -each[0].order))


def number(control: KindControl, value: float | str) -> float:
    """Return a value for a control; raise :class:`Refusal` naming its range with units."""
    if isinstance(value, str) and control.switch and value.lower() in ("on", "off"):
        value = 1.0 if value.lower() == "on" else 0.0
    try:
        wanted = float(value)
    except ValueError:
        raise Refusal(f"{control.label}: {value!r} is no number") from None
    if not math.isfinite(wanted):
        raise Refusal(f"{control.label}: {value!r} is no number")
    if control.switch and wanted not in (0.0, 1.0):
        raise Refusal(f"{control.label} is a switch: 0 is off and 1 is on, not {wanted:g}")
    low, high = control.minimum, control.maximum
    if (low is not None and wanted < low) or (high is not None and wanted > high):
        unit = f" {control.unit}" if control.unit else ""
        raise Refusal(f"{control.label} is {wanted:g}{unit}; {_range(low, high, unit)}")
    return wanted


def _range(low: float | None, high: float | None, unit: str) -> str:
    if low is not None and high is not None:
        return f"allowed are {low:g} to {high:g}{unit}"
    return f"allowed is at most {high:g}{unit}" if low is None else f"allowed is at least {low:g}{unit}"
