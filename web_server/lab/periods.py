"""How often a device is recorded while it runs no experiment: told to its unit, which keeps it."""

from __future__ import annotations

from web_server.commands import services as commands
from web_server.commands.models import Command
from web_server.lab.models import Device
from wire import messages


def send(device: Device) -> Command:
    """Tell the unit; the command waits in the outbox until the unit is there."""
    where = messages.DevicePlace(
        model=device.model.key, serial_number=device.serial_number, link_name=device.link_name
    )
    args = messages.UnitReadings(periods=[messages.ReadingPeriod(where=where, every_s=device.record_every_s)])
    return commands.request("unit.readings", args, device.unit, expires_s=None, audited=False)
