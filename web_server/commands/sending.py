"""A command that a program asks for, sent by the service that knows its rules."""

from __future__ import annotations

from typing import Any

from web_server.accounts.models import Person
from web_server.commands import services
from web_server.commands.models import Command
from web_server.lab import control
from web_server.lab import services as lab
from web_server.lab.models import Device, Station, Unit
from web_server.lib.errors import Refused
from wire import messages


def send(
    by: Person,
    kind: str,
    args: dict[str, Any],
    unit: Unit,
    *,
    station: Station | None = None,
    device: Device | None = None,
    expires_s: float | None = None,
) -> Command:
    """Send one command to a unit, about one of its stations or devices where the kind has one.

    ``args`` are as `arguments.checked` returns them.

    Raises:
        NotAllowed: the role is too low for this kind.
        Refused: an argument is missing, or names what is not there.
    """
    if kind.startswith("device."):
        return _device(by, kind, dict(args), unit, station, device)
    if kind == "detect":
        return lab.detect(by, unit, args.get("links"))
    if kind == "station.drill":
        if station is None:
            raise Refused.one("A drill names its station.", "station")
        args = {**args, "station": str(station.uuid), "person": by.get_username()}
    if kind == "unit.restart":
        args = {**args, "person": by.get_username()}
    if kind == "can.listen" and args.get("after"):
        return _listen_on(by, args, unit)
    timeout = {} if expires_s is None else {"expires_s": expires_s}
    return services.request(kind, messages.ARGS[kind](**args), unit, station=station, by=by, **timeout)


def _listen_on(by: Person, args: dict[str, Any], unit: Unit) -> Command:
    """Go on listening: a page asks every few seconds, of which the trail needs the first alone."""
    before = Command.objects.filter(kind="can.listen", unit=unit, issued_by=by, status=Command.Status.DONE)
    before.filter(args_text__contains='"after":').delete()
    return services.request("can.listen", messages.CanListen(**args), unit, by=by, audited=False)


def _device(
    by: Person, kind: str, args: dict[str, Any], unit: Unit, station: Station | None, device: Device | None
) -> Command:
    named: Device | None = args.pop("device", None) or device
    if named is not None and named.unit_id != unit.pk:
        raise Refused.one(f"{named} is on {named.unit.name}, not on {unit.name}.", "args.device")
    if station is not None and named is not None and named.station_id != station.pk:
        raise Refused.one(f"{named} is not part of {station.name}.", "args.device")
    target: Station | Device | None = station or named
    if target is None:
        raise Refused.one("Name the device.", "args.device")
    if kind == "device.read":
        return control.read(by, named or control.driving(target))
    if kind == "device.off":
        return control.down(by, target)
    if kind == "device.lease":
        return control.lease(by, target, **args)
    held = target if isinstance(target, Station) else (target.station or target)
    return control.set_values(by, held, args["lease"], args["values"], named)
