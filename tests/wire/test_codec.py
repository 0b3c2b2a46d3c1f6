"""The one door for payloads: everything wrong ends in `Malformed`, nothing else."""

from __future__ import annotations

import contextlib
import json
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import codec, messages

KINDS = [
    messages.RegisterAsk,
    messages.Presence,
    messages.Heartbeat,
    messages.DeviceReport,
    messages.Command,
    messages.Reply,
    messages.SampleBatch,
    messages.EventBatch,
    messages.Ack,
]
PRESENCE = messages.Presence(
    online=True, connection="c", boot_id="b", version="1", since="2026-01-01T00:00:00Z"
)


def test_a_message_comes_back_as_it_went() -> None:
    assert codec.decode(codec.encode(PRESENCE), messages.Presence) == PRESENCE


def test_unknown_fields_are_ignored_so_that_older_and_newer_parts_meet() -> None:
    newer = msgspec.to_builtins(PRESENCE) | {"colour": "green", "nested": [{"a": 1}]}
    assert codec.decode(json.dumps(newer).encode(), messages.Presence) == PRESENCE


def test_a_missing_required_field_is_named() -> None:
    with pytest.raises(codec.Malformed, match="connection"):
        codec.decode(b'{"online": true}', messages.Presence)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"online": NaN}',
        b'{"online": 1e999}',
        b'{"online": ' + b"9" * 5000 + b"}",
        b'{"online": "\\ud800"}',
        b"\x80\x04\x95\x00",  # the beginning of a pickle
    ],
)
def test_what_is_no_such_message_is_malformed(payload: bytes) -> None:
    # Every field of an acknowledgement is optional, so what it does not know is no fault.
    for kind in set(KINDS) - {messages.Ack}:
        with pytest.raises(codec.Malformed):
            codec.decode(payload, kind)


def test_one_mebibyte_is_the_limit() -> None:
    whole = codec.encode(PRESENCE)
    padded = whole + b" " * (messages.MAX_BYTES - len(whole))
    assert codec.decode(padded, messages.Presence) == PRESENCE
    with pytest.raises(codec.Malformed, match="too large"):
        codec.decode(padded + b" ", messages.Presence)
    with pytest.raises(codec.TooLarge):
        codec.encode(msgspec.structs.replace(PRESENCE, version="x" * messages.MAX_BYTES))


@pytest.mark.parametrize("depth", [codec.MAX_DEPTH, 900, 5000, 200_000])
def test_deep_nesting_is_malformed_wherever_it_hides(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    event = b'{"spool":"s","first_seq":1,"events":[{"at":"","kind":"note","text":"","detail":{"a":%s}}]}'
    with pytest.raises(codec.Malformed):
        codec.decode(event % deep, messages.EventBatch)
    with pytest.raises(codec.Malformed):
        codec.decode(codec.encode(PRESENCE)[:-1] + b',"more":' + deep + b"}", messages.Presence)


def test_brackets_in_texts_are_no_depth() -> None:
    text = '[{"\\' * 10_000
    told = msgspec.structs.replace(PRESENCE, version=text)
    assert codec.decode(codec.encode(told), messages.Presence).version == text


def test_many_small_parts_are_no_depth() -> None:
    event = messages.Event(at="", kind="note", text="", detail={"a": [1]})
    told = messages.EventBatch(spool="s", first_seq=1, events=[event] * 5000)
    assert len(codec.decode(codec.encode(told), messages.EventBatch).events) == 5000


def test_the_arguments_of_a_command_are_checked_by_its_kind() -> None:
    args = codec.decode_args("experiment.stop", msgspec.Raw(b'{"experiment":"e"}'))
    assert args == messages.ExperimentStop(experiment="e")
    with pytest.raises(codec.Malformed, match="experiment"):
        codec.decode_args("experiment.stop", msgspec.Raw(b"{}"))
    with pytest.raises(codec.Malformed, match="unknown command kind"):
        codec.decode_args("shell.run", msgspec.Raw(b"{}"))


@given(st.binary(max_size=2000))
def test_random_bytes_raise_nothing_but_malformed(payload: bytes) -> None:
    for kind in KINDS:
        with contextlib.suppress(codec.Malformed):
            codec.decode(payload, kind)


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists, max_leaves=20)
)
def test_random_values_in_every_field_raise_nothing_but_malformed(value: object) -> None:
    for kind in KINDS:
        filled = dict.fromkeys(kind.__struct_fields__, value)
        with contextlib.suppress(codec.Malformed, UnicodeEncodeError):
            codec.decode(json.dumps(filled).encode(), kind)


def test_damaged_messages_raise_nothing_but_malformed() -> None:
    rng = random.Random(7)
    whole = bytearray(
        codec.encode(messages.SampleBatch(experiment="e", first_seq=1, count=2, columns={"a": [1, 2]}))
    )
    for _ in range(3000):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        with contextlib.suppress(codec.Malformed):
            codec.decode(bytes(damaged), messages.SampleBatch)
