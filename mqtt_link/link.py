"""The connection: fixed client id, clean session, subscribed again on every connect.

Nothing relies on the broker keeping anything (docs/adr/0001-mqtt_link.md): while there is no
connection ``publish`` refuses at once, and who wants to be heard says it again.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.client import topic_matches_sub
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from mqtt_link.address import Address

logger = logging.getLogger("mqtt_link")

# A dead peer is noticed after 1.5 times this; half the 15 s after which a unit counts as offline.
KEEPALIVE_S = 5
# First and longest wait between two attempts to connect; the jitter halves it at most.
RETRY_FIRST_S, RETRY_LONGEST_S = 0.5, 8.0
# Unacknowledged QoS 1 messages under way, and waiting behind them, before publish() refuses.
INFLIGHT, QUEUED = 50, 500
# Brokers close the connection over a larger one, and it would be sent again on every connect.
PAYLOAD_MAX = 1_048_576

# Linux alone has it; elsewhere the broker waits for a delayed acknowledgement now and then.
QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)

Callback = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Will:
    """What the broker says for us when the connection dies."""

    topic: str
    payload: bytes
    retain: bool = True


class Link:
    """Keep one connection alive on a thread of its own; all callbacks run on that thread.

    ``will`` may be a function: it is asked before every attempt, so that a will can name the
    coming connection. ``publish`` may be called from any thread. An error in a callback is
    logged and counted, and never ends the thread.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        *,
        will: Will | tuple[str, bytes, bool] | Callable[[], Will] | None = None,
        ca: str | None = None,
    ) -> None:
        self.address = Address.parse(url)
        self.client_id = client_id
        self.connects = 0
        self.dropped = 0
        self.callback_errors = 0
        self._will = Will(*will) if isinstance(will, tuple) else will
        self._ca = ca
        self._topics: dict[str, Callback] = {}
        self._greeters: list[Callable[[], None]] = []
        self._farewells: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._up = threading.Event()
        self._stopping = False
        self._failures = 0
        self._opened = False
        self._said: str | None = None
        self._client = self._make_client()

    # --- what the owner calls -------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the present connection."""
        return self._up.is_set()

    def on_connect(self, callback: Callable[[], None]) -> None:
        """Call ``callback()`` after every connect, when all subscriptions have been sent."""
        self._greeters.append(callback)

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Call ``callback()`` whenever an accepted connection ends."""
        self._farewells.append(callback)

    def subscribe(self, topic: str, callback: Callback) -> None:
        """Deliver messages on ``topic`` (``+`` and ``#`` allowed) to ``callback(topic, payload)``.

        Remembered, and subscribed again on every connect.
        """
        with self._lock:
            self._topics[topic] = callback
            if self.connected:
                self._client.subscribe(topic, qos=1)

    def unsubscribe(self, topic: str) -> None:
        """Forget ``topic``; a message already under way is dropped."""
        with self._lock:
            self._topics.pop(topic, None)
            if self.connected:
                self._client.unsubscribe(topic)

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> bool:
        """Hand ``payload`` to the connection; False when there is none, or it is full.

        True is no promise that anybody got it: only the receiver's own answer is.
        """
        if not self.connected or len(payload) > PAYLOAD_MAX:
            self.dropped += 1
            return False
        sent = self._client.publish(topic, payload, qos=qos, retain=retain)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.dropped += 1
            return False
        return True

    def start(self) -> None:
        """Begin connecting, and go on for ever; returns at once."""
        self._stopping = False
        self._client.connect_async(self.address.host, self.address.port, keepalive=KEEPALIVE_S)
        self._client.loop_start()

    def wait(self, timeout_s: float) -> bool:
        """Wait until connected, at most ``timeout_s``; True when it is."""
        return self._up.wait(timeout_s)

    def stop(self) -> None:
        """Say goodbye, so that no will is published, and end the thread; safe twice."""
        self._stopping = True
        self._client.disconnect()
        self._client.loop_stop()
        self._up.clear()

    # --- what paho calls, on its thread ---------------------------------------------------------

    def _make_client(self) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=self.client_id, clean_session=True, protocol=mqtt.MQTTv311
        )
        if self.address.user is not None:
            client.username_pw_set(self.address.user, self.address.password)
        if self.address.tls:
            client.tls_set(ca_certs=self._ca)
        client.max_inflight_messages_set(INFLIGHT)
        client.max_queued_messages_set(QUEUED)
        client.on_pre_connect = self._before_connect
        client.on_socket_open = self._socket_open
        client.on_connect = self._connected
        client.on_connect_fail = self._connect_failed
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscribed
        client.on_message = self._message
        client.on_publish = self._published
        return client

    def _before_connect(self, client: mqtt.Client, _userdata: Any) -> None:
        self._opened = False
        will = self._will() if callable(self._will) else self._will
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)

    def _socket_open(self, _client: mqtt.Client, _userdata: Any, opened: Any) -> None:
        self._opened = True
        # Commands are small; without this Nagle's algorithm holds each back up to 40 ms.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _connected(
        self, client: mqtt.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        if reason.is_failure:
            self._say(f"refused by the broker: {reason}")
            return
        self.connects += 1
        self._failures = 0
        self._said = None
        logger.info("event=broker_connected broker=%s client=%s", self.address, self.client_id)
        with self._lock:
            # One packet each: a broker that refuses one topic still grants the others.
            for topic in self._topics:
                client.subscribe(topic, qos=1)
            # Only now: what is published from here on, we would hear ourselves.
            self._up.set()
        for greet in self._greeters:
            self._run(greet)

    def _connect_failed(self, _client: mqtt.Client, _userdata: Any) -> None:
        self._retry_later()
        self._say("does not answer")

    def _disconnected(
        self, _client: mqtt.Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        was_up = self._up.is_set()
        self._up.clear()
        self._retry_later()
        if was_up:
            if not self._stopping:
                self._say(f"connection lost: {reason}")
            for farewell in self._farewells:
                self._run(farewell)
        elif self._opened and not self._stopping:
            self._say("closed by the broker: user or password?")

    def _subscribed(
        self, _client: mqtt.Client, _userdata: Any, _mid: int, reasons: Any, _properties: Any
    ) -> None:
        for reason in reasons:
            if reason.is_failure:
                logger.error("event=subscription_refused broker=%s reason=%s", self.address, reason)

    def _published(
        self, client: mqtt.Client, _userdata: Any, _mid: int, _reason: Any, _properties: Any
    ) -> None:
        self._acknowledge_at_once(client)

    @staticmethod
    def _acknowledge_at_once(client: mqtt.Client) -> None:
        """Let the kernel acknowledge what just came, which it forgets to do again after every answer.

        A broker that leaves Nagle's algorithm on (the embedded one does, Mosquitto by default) holds its
        next packet back until then: measured, every tenth reply to a command came 40 ms late.
        """
        opened: Any = client.socket()
        if QUICK_ACK is not None and opened is not None:
            with contextlib.suppress(OSError):
                opened.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)

    def _message(self, client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._acknowledge_at_once(client)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self.dropped += 1
            logger.warning("event=message_dropped reason='topic is not UTF-8'")
            return
        with self._lock:
            callback = self._topics.get(topic) or next(
                (found for sub, found in self._topics.items() if topic_matches_sub(sub, topic)), None
            )
        if callback is not None:
            payload = bytes(message.payload)
            self._run(lambda: callback(topic, payload))

    def _run(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            self.callback_errors += 1
            logger.exception("event=callback_failed client=%s", self.client_id)

    def _retry_later(self) -> None:
        longest = min(RETRY_LONGEST_S, RETRY_FIRST_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        # Jitter: a hundred units must not knock on a restarted broker in the same moment.
        delay_s: Any = random.uniform(longest / 2, longest)
        self._client.reconnect_delay_set(min_delay=delay_s, max_delay=delay_s)

    def _say(self, what: str) -> None:
        """Log ``what`` once, not at every attempt."""
        if what != self._said:
            self._said = what
            logger.warning(
                "event=broker_away broker=%s client=%s reason='%s'", self.address, self.client_id, what
            )
