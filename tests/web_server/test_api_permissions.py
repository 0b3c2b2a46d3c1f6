"""What each of three standing people may do: an operator, a colleague of another group, a stranger.

The colleague is a viewer: sees everything, moves nothing.
"""

from __future__ import annotations

import pytest

from tests.web_server.api_lab import BATTERY, PROFILE, build, client_of
from web_server.experiments.models import Alarm

pytestmark = pytest.mark.django_db

READS = [
    "batteries/",
    "batteries/{battery}/",
    "profiles/",
    "profiles/{profile}/",
    "profiles/{profile}/versions/",
    "profiles/{profile}/export/?format=json",
    "experiments/",
    "experiments/{experiment}/",
    "experiments/{experiment}/samples/",
    "experiments/{experiment}/events/",
    "experiments/{experiment}/steps/",
    "experiments/{experiment}/cycles/",
    "experiments/{experiment}/export/",
    "stations/",
    "stations/{station}/",
    "stations/{station}/versions/",
    "units/",
    "units/{unit}/",
    "devices/",
    "devices/{device}/",
    "device-models/",
    "alarms/",
    "alarms/{alarm}/",
    "commands/",
    "tokens/",
    "me/",
]
# What an operator does; the expected status, where it is not 200.
OPERATES = [
    ("post", "batteries/", {**BATTERY, "name": "Cell 2"}, 201),
    ("patch", "batteries/{battery}/", {"project": "x"}, 200),
    ("post", "batteries/{battery}/eject/", {}, 200),
    ("post", "batteries/{battery}/load/", {"station": "{station}"}, 200),
    ("post", "batteries/{battery}/inspect/", {"note": "dry and flat"}, 200),
    ("post", "profiles/", {**PROFILE, "name": "Another"}, 201),
    ("patch", "profiles/{profile}/", {"project": "x"}, 200),
    ("delete", "profiles/{profile}/", None, 204),
    (
        "post",
        "experiments/",
        {"name": "R", "battery": "{battery}", "profile": "{profile}", "station": "{station}"},
        201,
    ),
    ("patch", "experiments/{experiment}/", {"priority": 3}, 200),
    ("post", "experiments/{experiment}/cancel/", {}, 200),
    ("post", "experiments/{experiment}/stop/", {"how": "now"}, 200),
    ("post", "experiments/{experiment}/notes/", {"text": "smells fine"}, 201),
    ("post", "experiments/queue/", {"experiments": ["{experiment}"]}, 200),
    ("post", "alarms/{alarm}/acknowledge/", {}, 200),
    ("post", "stations/stop-all/", {}, 201),
    ("post", "stations/{station}/commands/", {"kind": "device.read"}, 201),
    ("post", "units/{unit}/detect/", {}, 201),
]
# What takes a manager.
MANAGES = [
    (
        "post",
        "stations/",
        {"name": "S", "unit": "{unit}", "devices": [{"device": "{device}", "role": "power"}]},
        201,
    ),
    ("patch", "stations/{station}/", {"location": "hall 2"}, 200),
    ("post", "stations/{empty}/retire/", {}, 200),
    ("post", "units/{unit}/approve/", {}, 200),
    ("patch", "units/{unit}/", {"name": "bench 2"}, 200),
    ("post", "units/{unit}/commands/", {"kind": "unit.log"}, 201),
]


@pytest.fixture
def lab():
    return build()


@pytest.fixture
def filled(lab):
    """Return a function that puts the laboratory's ids into addresses and bodies."""
    experiment = lab.file()
    alarm = Alarm.objects.create(station=lab.stations[0], code="v_max", text="too high")
    ids = {
        "battery": lab.battery.uuid,
        "profile": lab.profile.uuid,
        "station": lab.stations[0].uuid,
        "empty": lab.stations[1].uuid,
        "unit": lab.unit.uuid,
        "device": lab.devices[2].uuid,
        "experiment": experiment.uuid,
        "alarm": alarm.uuid,
    }

    def fill(part):
        if isinstance(part, str):
            return part.format(**ids) if part.startswith("{") or "/" in part else part
        if isinstance(part, list):
            return [fill(entry) for entry in part]
        if isinstance(part, dict):
            return {key: fill(entry) for key, entry in part.items()}
        return part

    return fill


def ask(client, method, address, body):
    return getattr(client, method)(f"/api/v1/{address}", body, format="json")


@pytest.mark.parametrize("address", READS)
def test_a_colleague_reads_everything_and_a_stranger_nothing(lab, filled, address):
    assert client_of(lab.colleague).get(f"/api/v1/{filled(address)}").status_code == 200
    assert client_of(None).get(f"/api/v1/{filled(address)}").status_code == 401


@pytest.mark.parametrize(("method", "address", "body", "status"), OPERATES)
def test_an_operator_runs_the_lab_and_nobody_below(lab, filled, method, address, body, status):
    address, body = filled(address), filled(body)
    assert ask(client_of(None), method, address, body).status_code == 401
    refused = ask(client_of(lab.colleague), method, address, body)
    assert refused.status_code == 403
    assert "operator" in refused.json()["detail"]
    answer = ask(client_of(lab.operator), method, address, body)
    assert answer.status_code == status, answer.content


@pytest.mark.parametrize(("method", "address", "body", "status"), MANAGES)
def test_a_manager_changes_what_the_lab_is_made_of(lab, filled, method, address, body, status):
    address, body = filled(address), filled(body)
    assert ask(client_of(None), method, address, body).status_code == 401
    assert ask(client_of(lab.colleague), method, address, body).status_code == 403
    refused = ask(client_of(lab.operator), method, address, body)
    assert refused.status_code == 403
    assert "manager" in refused.json()["detail"]
    answer = ask(client_of(lab.manager), method, address, body)
    assert answer.status_code == status, answer.content


def test_a_colleague_may_check_a_profile_without_saving_it(lab):
    answer = client_of(lab.colleague).post("/api/v1/profiles/check/", PROFILE, format="json")
    assert answer.json()["valid"] is True
