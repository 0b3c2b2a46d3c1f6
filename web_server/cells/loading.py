"""Loading by barcode scanner: what a code means, what the cell's voltage at rest should be, and undo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from web_server.accounts.models import Person
from web_server.accounts.roles import Role, require
from web_server.cells import limits, services
from web_server.cells.models import Battery
from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.lab.models import Station, StationDevice
from web_server.lib.errors import Refused
from wire import messages

# As the unit's own wiring check before the first step (safety.md rules 4 and 10).
NEAR_V_PER_CELL = 0.050
# A station's reading counts as one of now when it is not older than this.
FRESH_S = 10.0
# An undo is for a slip of the hand; later somebody has to say what happened.
UNDO_WITHIN_S = 3600.0
CODE_LENGTH = 250


@dataclass(frozen=True)
class Verdict:
    """What the voltage at rest says; ``level`` is success, warning or error."""

    level: str
    text: str
    voltage_v: float | None = None
    low_v: float | None = None
    high_v: float | None = None


def scanned(code: str) -> Station | Battery:
    """Return the holder or the cell that a code means: its barcode, else serial number, name or id.

    Raises:
        Refused: nothing has this code, or more than one thing; the text names them.
    """
    code = code.strip()
    if not code:
        raise Refused.one("Nothing was scanned.", "code")
    if len(code) > CODE_LENGTH:
        raise Refused.one(f"The code has {len(code)} characters; that is no label of ours.", "code")
    for found in (_by_barcode(code), _by_other(code)):
        if len(found) == 1:
            return found[0]
        if found:
            names = " and ".join(str(row) for row in found[:3])
            raise Refused.one(f"“{code}” means more than one thing: {names}. Scan another label.", "code")
    raise Refused.one(
        f"Nothing here has the code “{code}”: is the cell recorded, the station labelled?", "code"
    )


def _by_barcode(code: str) -> list[Any]:
    rows = Battery.objects.filter(barcode=code, retired_at=None)
    return [*Station.objects.filter(barcode=code, retired_at=None), *rows]


def _by_other(code: str) -> list[Any]:
    key = Q(uuid=UUID(code)) if _is_uuid(code) else Q(pk__in=[])
    stations = Station.objects.filter(key | Q(name=code), retired_at=None)
    batteries = Battery.objects.filter(key | Q(serial_number=code) | Q(name=code), retired_at=None)
    return [*stations[:3], *batteries[:3]]


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def undo(by: Person, battery: Battery, station: Station) -> Battery:
    """Take back a loading that was a slip: the same as ejecting, but only from that station and soon after.

    Raises:
        NotAllowed: the role is too low.
        Refused: it is not there any more, too long ago, or an experiment has it.
    """
    require(by, Role.OPERATOR, "undo a loading")
    battery.refresh_from_db()
    if battery.station_id != station.pk or battery.loaded_at is None:
        raise Refused.one(f"{battery.name} is not in {station.name} any more.", "battery")
    if (timezone.now() - battery.loaded_at).total_seconds() > UNDO_WITHIN_S:
        raise Refused.one(f"{battery.name} was loaded more than an hour ago; eject it instead.", "battery")
    return services.eject(by, battery)


def ask_voltage(by: Person, battery: Battery) -> Command:
    """Ask the unit to read the station's power device now.

    Raises:
        NotAllowed: the role is too low.
        Refused: the battery is in no station, or its unit cannot be asked.
    """
    require(by, Role.OPERATOR, "read a voltage")
    station = battery.station
    if station is None:
        raise Refused.one(f"{battery.name} is in no station.", "battery")
    if not station.unit.online:
        raise Refused.one(f"{station.name} is offline: nobody can read the voltage now.", "station")
    use = station.devices.filter(role=StationDevice.Role.POWER).select_related("device").first()
    if use is None:
        raise Refused.one(f"{station.name} has no device that measures.", "station")
    args = messages.DeviceRead(device=str(use.device.uuid))
    return commands.request("device.read", args, station.unit, station=station, by=by, expires_s=10.0)


def verdict(battery: Battery, command: Command) -> Verdict:
    """Judge the voltage that ``command`` read, else the station's own reading of just now."""
    told = command.result if command.status == Command.Status.DONE else None
    measured = ((told or {}).get("values") or {}).get("voltage_v")
    if measured is None:
        measured = _reading(battery)
    if measured is None:
        why = command.reason or "the unit has not answered"
        return Verdict("warning", f"The voltage could not be read: {why}")
    return judge(battery, float(measured))


def seen(battery: Battery) -> Verdict | None:
    """Judge what its station read last at rest; None when nothing was read there since it is in."""
    station = battery.station
    if station is None or station.state != Station.State.IDLE:
        return None
    measured = _reading(battery, within_s=UNDO_WITHIN_S)
    return None if measured is None else judge(battery, measured)


def _reading(battery: Battery, within_s: float = FRESH_S) -> float | None:
    """Return the station's last reading, if it was taken since the battery is in."""
    station = battery.station
    if station is None or station.reading is None or station.reading_at is None:
        return None
    age_s = (timezone.now() - station.reading_at).total_seconds()
    if battery.loaded_at is None or station.reading_at < battery.loaded_at or age_s > within_s:
        return None
    voltage = station.reading.get("voltage_v")
    return None if voltage is None else float(voltage)


def judge(battery: Battery, voltage_v: float) -> Verdict:
    """Compare a voltage at rest with the one recorded last, else with the battery's limits."""
    body = services.as_body(battery)
    low, high = limits.pack_voltage(body, "min"), limits.pack_voltage(body, "max")
    shown = f"{voltage_v:.3f} V"
    if low is not None and abs(voltage_v) < 0.1 * low:
        return Verdict("error", f"{shown}: the holder is empty, or a lead is open.", voltage_v, low, high)
    if voltage_v < 0:
        return Verdict("error", f"{shown}: the leads are reversed.", voltage_v, low, high)
    if low is not None and high is not None and not low <= voltage_v <= high:
        text = f"{shown} is outside {battery.name}'s limits, {low:g} to {high:g} V: is it the right cell?"
        return Verdict("error", text, voltage_v, low, high)
    rest = battery.last_rest_voltage_v
    if rest is None:
        return Verdict(
            "success", f"{shown}, inside the limits; none was recorded before.", voltage_v, low, high
        )
    near = NEAR_V_PER_CELL * battery.cells_in_series
    if abs(voltage_v - rest) > near:
        text = (
            f"{shown}, but {battery.name} rested at {rest:.3f} V last: is it the right cell? "
            "Confirm it when you file the experiment."
        )
        return Verdict("warning", text, voltage_v, rest - near, rest + near)
    return Verdict("success", f"{shown}, as expected ({rest:.3f} V).", voltage_v, rest - near, rest + near)
