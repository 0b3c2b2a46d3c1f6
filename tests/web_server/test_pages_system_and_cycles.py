"""What pages say of counters and of cycles that are not over."""

from django.utils import timezone

from tests.web_server import pages_lab
from web_server.lab.models import ManagerBeat
from web_server.measurements.models import CycleRow

COUNTERS = {
    "counts": {"samples_stored": 252, "overflowed": 0},
    "dropped": {"malformed": 3},
    "last_drop": {"at": "2026-05-01T10:00:00+00:00", "why": "malformed", "topic": "a/b", "reason": "no JSON"},
}


def test_the_system_page_says_in_words_what_the_manager_counted(administrator, client):
    ManagerBeat.objects.create(manager="m-0", hostname="m", broker_connected=True, counters=COUNTERS)
    client.force_login(administrator)
    page = client.get("/system/").content.decode()
    assert "samples stored 252" in page
    assert "malformed 3" in page
    assert "on a/b: no JSON" in page
    assert "connected; 3 messages were dropped as unreadable" in page
    assert "{" not in page.partition("Manager processes")[2].partition("</table>")[0]


def cycle(experiment, number: int, charge_in_ah: float, charge_out_ah: float) -> CycleRow:
    now = timezone.now()
    return CycleRow.objects.create(
        experiment=experiment,
        cycle=number,
        started_at=now,
        ended_at=now,
        duration_s=60,
        charge_in_ah=charge_in_ah,
        charge_out_ah=charge_out_ah,
    )


def test_a_cycle_has_no_efficiency_before_it_is_over(administrator, client):
    lab = pages_lab.fill(administrator)
    experiment = lab.experiment
    experiment.cycle_rows.all().delete()
    cycle(experiment, 1, 0.02, 0.019)
    cycle(experiment, 2, 0.02, 0.001)
    type(experiment).objects.filter(pk=experiment.pk).update(cycle=2)
    client.force_login(administrator)
    page = client.get(f"/experiments/{experiment.uuid}/").content.decode()
    assert "95.00 %" in page
    assert "5.00 %</td>" not in page.replace("95.00 %", "")
    assert "the cycle is not over yet" in page


def test_charge_that_never_came_out_is_no_efficiency_of_zero():
    assert CycleRow(charge_in_ah=0.02, charge_out_ah=0.0).coulombic_efficiency is None
    assert CycleRow(charge_in_ah=0.02, charge_out_ah=0.01).coulombic_efficiency == 0.5
