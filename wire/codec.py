"""Turn messages into bytes and back; the only door through which a payload comes in.

Every reason for refusing a payload ends in :class:`Malformed`, so that a receiver needs exactly
one ``except``: it counts, logs topic and reason, drops the message and goes on.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from cycling import structs
from wire.messages import ARGS, MAX_BYTES, Message

T = TypeVar("T", bound=Message)

# Deeper than any profile a person writes (a group takes two levels); far below the recursion
# limit, so that whatever handles the decoded values later cannot run out of stack.
MAX_DEPTH = 100

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)
_ENCODER = msgspec.json.Encoder()
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {}


class Malformed(Exception):
    """A payload that is no such message; ``reason`` is one sentence fit for a log and a page."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TooLarge(ValueError):
    """A message of our own that no receiver would accept."""


def encode(message: Message) -> bytes:
    """Return ``message`` as UTF-8 JSON; raises :class:`TooLarge` over ``MAX_BYTES``."""
    payload = _ENCODER.encode(message)
    if len(payload) > MAX_BYTES:
        raise TooLarge(f"{type(message).__name__} of {len(payload)} bytes; at most {MAX_BYTES} can be sent")
    return payload


def decode(payload: bytes, kind: type[T]) -> T:
    """Return ``payload`` as a ``kind``; raises :class:`Malformed` for anything else."""
    if len(payload) > MAX_BYTES:
        raise Malformed(f"too large: {len(payload)} bytes, at most {MAX_BYTES}")
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.json.Decoder(kind)
    try:
        message: T = decoder.decode(payload)
    except RecursionError:
        raise Malformed(f"nested deeper than {MAX_DEPTH} levels") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise Malformed(f"not a {kind.__name__}: {error}") from None
    _refuse_depth(payload)
    return message


def decode_args(kind: str, args: msgspec.Raw | bytes) -> Message:
    """Return a command's ``args`` as the struct of its ``kind``; raises :class:`Malformed`.

    Only for kinds in ``wire.messages.ARGS``; the others carry plain objects.
    """
    struct = ARGS.get(kind)
    if struct is None:
        raise Malformed(f"unknown command kind {kind!r}")
    return decode(bytes(args) or b"{}", struct)


def raw(args: Message | dict[str, Any]) -> msgspec.Raw:
    """Return ``args`` encoded, ready for ``Command.args``."""
    return msgspec.Raw(_ENCODER.encode(args))


def _refuse_depth(payload: bytes) -> None:
    """Raise :class:`Malformed` when valid JSON nests deeper than ``MAX_DEPTH``."""
    # Nearly every message has fewer brackets than that and needs no walk.
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _TOKEN.finditer(payload):
        first = payload[token.start()]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Malformed(f"nested deeper than {MAX_DEPTH} levels")
        elif first in b"]}":
            depth -= 1


# By the thread that imports this: messages are decoded by several at once, the first time too.
structs.build()
