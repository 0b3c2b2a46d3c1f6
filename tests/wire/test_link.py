"""The connection on both real brokers: comes back by itself and listens again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from mqtt_link import Address, BadAddress, Link, Will, link
from tests.stack.brokers import Broker
from tests.stack.waiting import free_port, until

Make = Callable[..., Link]


@pytest.fixture
def make() -> Iterator[Make]:
    """Make links that end with the test."""
    made: list[Link] = []

    def make(url: str, client_id: str, **more: object) -> Link:
        made.append(Link(url, client_id, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.stop()


class Ear:
    """Remembers what came in."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.rang = threading.Event()

    def __call__(self, topic: str, payload: bytes) -> None:
        self.heard.append((topic, payload))
        self.rang.set()


def test_messages_go_both_ways_and_wildcards_match(each_broker: Broker, make: Make) -> None:
    ear, here = Ear(), make(each_broker.url(), "cellyard-a")
    here.subscribe("cellyard/v1/enrol/+/ask", ear)
    here.start()
    assert here.wait(10)
    there = make(each_broker.url("enrol"), "cellyard-b")
    there.start()
    assert there.wait(10)
    assert there.publish("cellyard/v1/enrol/hw/ask", b"hello")
    assert ear.rang.wait(10)
    assert ear.heard == [("cellyard/v1/enrol/hw/ask", b"hello")]


def test_it_comes_back_after_a_broken_broker_and_listens_again(each_broker: Broker, make: Make) -> None:
    ear, here, greeted = Ear(), make(each_broker.url(), "cellyard-a"), []
    here.subscribe("cellyard/v1/units/u/replies", ear)
    here.on_connect(lambda: greeted.append(here.publish("cellyard/v1/units/u/replies", b"here I am")))
    here.start()
    assert here.wait(10)
    each_broker.kill()
    until(lambda: not here.connected, 20, "the lost connection is noticed")
    assert not here.publish("cellyard/v1/units/u/replies", b"lost"), "nothing is kept for later"
    each_broker.start()
    until(lambda: len(greeted) == 2, 30, "it connects again")
    until(lambda: len(ear.heard) >= 2, 10, "it listens again")
    assert b"lost" not in dict(ear.heard).values()


def test_the_will_names_the_connection_that_died(each_broker: Broker, make: Make) -> None:
    ear, watcher, number = Ear(), make(each_broker.url(), "cellyard-watch"), iter(range(9))
    watcher.subscribe("cellyard/v1/units/u/presence", ear)
    watcher.start()
    assert watcher.wait(10)
    dying = make(
        each_broker.url("bench" if each_broker.name.startswith("embedded") else "manager"),
        "cellyard-dying",
        will=lambda: Will("cellyard/v1/units/u/presence", b"gone %d" % next(number)),
    )
    dying.start()
    assert dying.wait(10)
    dying._client.socket().close()
    until(lambda: ear.heard, 20, "the will is heard")
    assert ear.heard[0][1] == b"gone 0"


def test_a_wrong_password_is_said_in_words(
    each_broker: Broker, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "mqtt_link")
    wrong = make(f"mqtt://manager:wrong@127.0.0.1:{each_broker.port}", "cellyard-x")
    wrong.start()
    until(lambda: "closed by the broker: user or password?" in caplog.text or "refused" in caplog.text, 15)
    assert not wrong.connected
    assert "wrong" not in caplog.text.replace("'", ""), "no secret in a log"


def test_a_missing_broker_is_said_once_and_tried_for_ever(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "mqtt_link")
    alone = make(f"mqtt://127.0.0.1:{free_port()}", "cellyard-x")
    alone.start()
    until(lambda: alone._failures >= 3, 20, "it tries again")
    assert caplog.text.count("event=broker_away") == 1


def test_a_failing_callback_is_logged_and_the_next_message_heard(broker: Broker, make: Make) -> None:
    ear, here = Ear(), make(broker.url(), "cellyard-a")

    def fail_first(topic: str, payload: bytes) -> None:
        if payload == b"bad":
            raise ValueError("a fault")
        ear(topic, payload)

    here.subscribe("cellyard/v1/units/u/events", fail_first)
    here.start()
    assert here.wait(10)
    here.publish("cellyard/v1/units/u/events", b"bad")
    here.publish("cellyard/v1/units/u/events", b"good")
    assert ear.rang.wait(10)
    assert here.callback_errors == 1


def test_what_no_broker_takes_is_refused_at_once(broker: Broker, make: Make) -> None:
    here = make(broker.url(), "cellyard-a")
    here.start()
    assert here.wait(10)
    assert not here.publish("cellyard/v1/units/u/events", b"x" * (link.PAYLOAD_MAX + 1))
    assert here.connected


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h", "must begin with mqtt"),
        ("mqtt://", "names no host"),
        ("mqtt://h:99999", "port must be a number"),
    ],
)
def test_an_address_that_cannot_be_is_refused_in_words(url: str, said: str) -> None:
    with pytest.raises(BadAddress, match=said):
        Address.parse(url)


def test_an_address_keeps_its_password_to_itself() -> None:
    address = Address.parse("mqtts://u:p%40ss@broker")
    assert (address.port, address.tls, address.user, address.password) == (8883, True, "u", "p@ss")
    assert "p@ss" not in f"{address} {address!r}"
