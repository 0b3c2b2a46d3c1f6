"""Devices that units report: rows for them, and device models the site did not know."""

from __future__ import annotations

import json
from typing import Any

from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from web_server.lab import catalogue
from web_server.lab.models import Device, DeviceModel, Unit
from web_server.lab.presence import moment
from web_server.lib.entity import update_if
from web_server.lib.transactions import atomic
from wire.messages import DeviceReport, ReportedDevice

# More than any computer has sockets; a report beyond it is a mistake or an attack.
DEVICES_MAX = 500


@atomic
def report(unit: Unit, told: DeviceReport) -> list[str]:
    """Mirror a unit's devices; return what of the report could not be used, in sentences.

    A device that is not in the report any more stays, as not connected: its history matters.
    """
    problems = _learn(told.kinds)
    seen, unknown = [], []
    for device in told.devices[:DEVICES_MAX]:
        if not device.model:
            unknown.append(_stranger(device))
            continue
        found = _device(unit, device)
        if found is None:
            problems.append(f"device {device.serial_number!r} is of the unknown model {device.model!r}")
        else:
            seen.append(found.pk)
    if len(told.devices) > DEVICES_MAX:
        problems.append(f"{len(told.devices)} devices; only the first {DEVICES_MAX} were taken")
    now = timezone.now()
    Device.objects.filter(unit=unit, connected=True).exclude(pk__in=seen).update(
        connected=False, gone_since=now, updated_at=now
    )
    if unit.unknown_devices != unknown:
        update_if(Unit.objects.filter(pk=unit.pk), unknown_devices=unknown)
        unit.unknown_devices = unknown
    return problems


def _stranger(told: ReportedDevice) -> dict[str, Any]:
    """Return a device that nobody knows as the unit's page shows it: where it is and what it answered."""
    return {
        "link_name": told.link_name[:200],
        "link": told.link,
        "serial_number": told.serial_number[:100],
        "answered": told.answered[:500],
        "connected": told.connected,
        "since": told.since[:40],
    }


def _learn(kinds: list[dict[str, Any]]) -> list[str]:
    """Add the device models that came along; return what was wrong with the others."""
    problems = []
    for kind in kinds[:DEVICES_MAX]:
        try:
            with transaction.atomic():
                problems += catalogue.learn([kind])
        except (IntegrityError, DataError) as error:
            problems.append(f"the reported device model {kind.get('key')!r} cannot be stored: {error}")
    return problems


def _device(unit: Unit, told: ReportedDevice) -> Device | None:
    model = DeviceModel.objects.filter(key=told.model).first()
    if model is None:
        return None
    serial, link_name = told.serial_number[:100], told.link_name[:200]
    identity = Device.identity_of(model.key, serial, link_name)
    device = Device.objects.filter(unit=unit, identity=identity).first() or Device(unit=unit)
    device.model, device.serial_number, device.link_name = model, serial, link_name
    device.link = json.dumps(told.link)
    device.connected, device.detail = told.connected, told.detail[:250]
    if told.connected:
        device.last_seen, device.gone_since = timezone.now(), None
    elif device.gone_since is None:
        device.gone_since = moment(told.since) or timezone.now()
    device.save()
    return device
