"""What Cellyard relies on in a broker, asked of the real ones."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from devops.broker import USERS, passwords
from tests.stack.brokers import Broker, EmbeddedBroker
from tests.stack.process import Process
from tests.stack.waiting import until

pytestmark = pytest.mark.stack
MIB = 1024 * 1024


class Client:
    """A plain MQTT 3.1.1 client that keeps what it hears."""

    def __init__(self, broker: Broker, user: str, password: str | None = None) -> None:
        self.heard: list[mqtt.MQTTMessage] = []
        self.connected, self.gone = threading.Event(), threading.Event()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"{user}-test")
        self.client.username_pw_set(user, broker.passwords[user] if password is None else password)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = lambda *_: self.gone.set()
        self.client.on_message = lambda _client, _data, message: self.heard.append(message)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        (self.gone if reason.is_failure else self.connected).set()

    def subscribe(self, topic: str) -> None:
        """Subscribe and wait until the broker granted it."""
        granted = threading.Event()
        self.client.on_subscribe = lambda *_: granted.set()
        self.client.subscribe(topic, qos=1)
        assert granted.wait(5)

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Publish and wait until the broker acknowledged it."""
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)


@pytest.fixture
def connect(each_broker: Broker) -> Iterator[Any]:
    """Make clients of the broker; all are ended after the test."""
    made: list[Client] = []

    def connect(user: str, password: str | None = None) -> Client:
        made.append(Client(each_broker, user, password))
        return made[-1]

    yield connect
    for client in made:
        client.client.disconnect()
        client.client.loop_stop()


def test_every_user_may_connect(connect):
    for user in USERS:
        assert connect(user).connected.wait(5), user


def test_a_wrong_password_is_turned_away(connect):
    client = connect("bench", "wrong")
    assert client.gone.wait(5)
    assert not client.connected.is_set()


def test_a_message_of_one_mebibyte_arrives_whole(connect):
    manager, bench = connect("manager"), connect("bench")
    manager.subscribe("cellyard/v1/units/u/samples")
    # The limit is on the payload; Mosquitto's counts it alone, rumqttd's has room for the header.
    bench.publish("cellyard/v1/units/u/samples", b"x" * MIB)
    until(lambda: manager.heard, 10, "the message arrived")
    assert len(manager.heard[0].payload) == MIB


def test_a_larger_message_is_not_delivered(connect):
    manager, bench = connect("manager"), connect("bench")
    manager.subscribe("cellyard/v1/units/u/samples")
    bench.client.publish("cellyard/v1/units/u/samples", b"x" * (MIB + 8192), qos=1)
    # The next one is the proof that the large one is not merely late.
    other = connect("enrol")
    assert other.connected.wait(5)
    manager.subscribe("cellyard/v1/enrol/+/ask")
    other.publish("cellyard/v1/enrol/h/ask", b"next")
    until(lambda: manager.heard, 10, "the next message arrived")
    assert [message.payload for message in manager.heard] == [b"next"]


def test_a_retained_message_reaches_a_later_subscriber(connect):
    connect("bench").publish("cellyard/v1/units/u/presence", b"here", retain=True)
    manager = connect("manager")
    manager.subscribe("cellyard/v1/units/u/presence")
    until(lambda: manager.heard, 5, "the retained message arrived")
    assert manager.heard[0].retain


def test_the_broker_takes_the_same_port_again_after_a_kill(each_broker, connect):
    each_broker.kill()
    each_broker.start()
    assert connect("manager").connected.wait(5)


def test_passwords_are_random_kept_and_private(tmp_path):
    first = passwords(tmp_path)
    assert len(set(first.values())) == len(USERS)
    assert passwords(tmp_path) == first
    for user in USERS:
        assert stat.S_IMODE((tmp_path / "secrets" / f"mqtt-{user}").stat().st_mode) == 0o600


def test_the_embedded_broker_listens_on_the_loopback_only_and_hides_its_file(tmp_path):
    broker = EmbeddedBroker(tmp_path)
    broker.start()
    try:
        config = tmp_path / "broker" / "rumqttd.toml"
        assert f'listen = "127.0.0.1:{broker.port}"' in config.read_text()
        assert stat.S_IMODE(config.stat().st_mode) == 0o600
    finally:
        broker.stop()


def test_a_busy_port_is_one_sentence_with_the_setting(tmp_path):
    broker = EmbeddedBroker(tmp_path / "first")
    broker.start()
    second = EmbeddedBroker(tmp_path / "second", broker.port)
    process = Process("second", second.command(), tmp_path / "log").start()
    try:
        until(lambda: not process.running, 10, "the second broker gave up")
        assert process.output().strip().splitlines() == [
            f"port {broker.port} of 127.0.0.1 is in use: set CELLYARD_MQTT_PORT to a free one"
        ]
        assert process.stop() == 1
    finally:
        process.kill()
        broker.stop()


def test_the_embedded_broker_ends_at_once_when_asked(tmp_path):
    broker = EmbeddedBroker(tmp_path)
    broker.start()
    assert broker.process is not None
    assert broker.process.stop(timeout_s=3) == -15
