"""Old readings of idle devices are thinned; extremes, new readings and the numbers of events stay."""

from __future__ import annotations

import io
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.web_server.factories import make_device, make_unit
from web_server.lab.models import Device
from web_server.measurements import thinning
from web_server.measurements.device_charts import window
from web_server.measurements.models import DeviceReading

pytestmark = pytest.mark.django_db
BEGAN = datetime(2026, 1, 5, 23, 0, tzinfo=UTC)
SPOOL = uuid.uuid4()


@pytest.fixture
def device() -> Device:
    """Return a device with two hours of readings every 10 s, over midnight."""
    found = make_device(make_unit())
    rows = [
        DeviceReading(
            device=found, unit=found.unit, spool=SPOOL, spool_seq=n + 1, at=BEGAN + timedelta(seconds=10 * n),
            values={"voltage_v": float(n % 97), "temperature_c": None if n % 5 else 20.0},
        )
        for n in range(720)
    ]  # fmt: skip
    DeviceReading.objects.bulk_create(rows)
    return found


def thin(**more: bool) -> int:
    """Thin everything of that day and the next to ten minutes."""
    return thinning.thin(BEGAN + timedelta(days=3), 600.0, **more)


def test_of_each_ten_minutes_stay_the_first_the_lowest_and_the_highest(device: Device) -> None:
    before = window(device, None, None, 10_000)["columns"]["voltage_v"]
    gone = thin()
    left = DeviceReading.objects.filter(device=device).order_by("at")
    assert left.count() == 720 - gone
    assert 12 * 2 <= left.count() <= 12 * 5
    after = [row.values["voltage_v"] for row in left]
    assert (min(after), max(after)) == (min(before), max(before))
    assert left.first().at == BEGAN  # type: ignore[union-attr]


def test_thinning_again_finds_nothing_more(device: Device) -> None:
    thin()
    assert thin() == 0


def test_a_dry_run_only_counts(device: Device) -> None:
    assert thin(dry_run=True) == thin() > 600


def test_new_readings_stay_as_they_are(device: Device) -> None:
    assert thinning.thin(BEGAN, 600.0) == 0
    assert thinning.thin(BEGAN + timedelta(minutes=10), 600.0) > 0
    assert DeviceReading.objects.filter(at__gte=BEGAN + timedelta(minutes=10)).count() == 660


def test_the_last_number_of_each_spool_stays_or_the_units_next_events_would_seem_to_miss_some(
    device: Device,
) -> None:
    thin()
    assert DeviceReading.objects.filter(spool=SPOOL, spool_seq=720).exists()


def test_the_command_says_how_many_rows_went_and_refuses_nonsense(device: Device) -> None:
    DeviceReading.objects.update(at=timezone.now() - timedelta(days=100))
    out = io.StringIO()
    call_command("thin_readings", dry_run=True, stdout=out)
    assert "readings would go." in out.getvalue()
    call_command("thin_readings", stdout=out)
    assert "readings are gone." in out.getvalue()
    nonsense = [("older_than_days", 0.1), ("older_than_days", 1e9), ("every_s", 0.0)]
    nonsense += [("every_s", float("nan")), ("every_s", float("inf"))]
    for wrong in ({name: given} for name, given in nonsense):
        with pytest.raises(CommandError, match="allowed is"):
            call_command("thin_readings", **wrong)
