"""Who may speak and listen where on the lab's broker."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from devops.mosquitto.users import configuration
from tests.stack.brokers import Mosquitto
from tests.stack.waiting import until

pytestmark = pytest.mark.stack
UNIT = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    running = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def connect(mosquitto: Mosquitto) -> Iterator[Any]:
    made: list[mqtt.Client] = []

    def connect(user: str, password: str | None = None) -> tuple[mqtt.Client, list[str]]:
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"{user}-{len(made)}")
        client.username_pw_set(user, password or mosquitto.passwords[user])
        heard: list[str] = []
        client.on_message = lambda _client, _data, message: heard.append(message.topic)
        ready = threading.Event()
        client.on_connect = lambda *_: ready.set()
        client.connect("127.0.0.1", mosquitto.port)
        client.loop_start()
        assert ready.wait(5)
        made.append(client)
        return client, heard

    yield connect
    for client in made:
        client.disconnect()
        client.loop_stop()


def subscribe(client: mqtt.Client, *topics: str) -> list[bool]:
    """Subscribe and return which were granted."""
    answers: list[Any] = []
    done = threading.Event()

    def granted(_client: Any, _data: Any, _mid: Any, codes: Any, _properties: Any) -> None:
        answers.extend(codes)
        done.set()

    client.on_subscribe = granted
    client.subscribe([(topic, 1) for topic in topics])
    assert done.wait(5)
    return [not code.is_failure for code in answers]


def unit_user(manager: mqtt.Client) -> None:
    """Make a unit's user as the manager does on approval."""
    own = f"cellyard/v1/units/{UNIT}/#"
    kinds = ("publishClientSend", "publishClientReceive", "subscribePattern")
    acls = [{"acltype": kind, "topic": own, "allow": True} for kind in kinds]
    commands = [
        {"command": "createRole", "rolename": "unit", "acls": acls},
        {"command": "createClient", "username": UNIT, "password": "its own", "roles": [{"rolename": "unit"}]},
    ]
    manager.publish("$CONTROL/dynamic-security/v1", json.dumps({"commands": commands}), 1).wait_for_publish(5)


def test_a_unit_speaks_and_listens_below_its_own_topic_only(connect):
    manager, heard = connect("manager")
    assert subscribe(manager, "cellyard/v1/#", "$CONTROL/dynamic-security/v1/response") == [True, True]
    unit_user(manager)
    until(lambda: "$CONTROL/dynamic-security/v1/response" in heard, 5, "the user is made")
    unit, _ = connect(UNIT, "its own")
    own, other = f"cellyard/v1/units/{UNIT}", f"cellyard/v1/units/{OTHER}"
    assert subscribe(unit, f"{own}/commands", f"{other}/commands", "#") == [True, False, False]
    unit.publish(f"{other}/samples", b"forged", 1)
    unit.publish(f"{own}/samples", b"mine", 1)
    until(lambda: f"{own}/samples" in heard, 5, "its own message arrives")
    assert f"{other}/samples" not in heard


def test_a_newcomer_may_ask_and_hear_the_answer_but_hears_no_other_asking(connect):
    manager, heard = connect("manager")
    subscribe(manager, "cellyard/v1/#")
    newcomer, _ = connect("enrol")
    allowed = subscribe(
        newcomer, "cellyard/v1/enrol/mine/answer", "cellyard/v1/enrol/+/ask", "cellyard/v1/units/#"
    )
    assert allowed == [True, False, False]
    newcomer.publish(f"cellyard/v1/units/{UNIT}/commands", b"forged", 1)
    newcomer.publish("cellyard/v1/enrol/mine/ask", b"hello", 1)
    until(lambda: "cellyard/v1/enrol/mine/ask" in heard, 5, "the question arrives")
    assert f"cellyard/v1/units/{UNIT}/commands" not in heard


def test_no_password_can_be_read_from_the_users_file():
    text = json.dumps(configuration({"manager": "correct horse"}))
    assert "correct horse" not in text


def test_the_same_password_is_stored_differently_each_time():
    first, second = (configuration({"manager": "word"})["clients"][0]["password"] for _ in range(2))
    assert first != second
