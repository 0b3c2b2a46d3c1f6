"""Find out who is on a text link: each family's question, with that family's line settings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from cycler_unit import catalogue, drivers
from cycler_unit.buses.protocol import Link, Say, Seen
from cycler_unit.buses.visa import DEFAULTS, VisaLink, parse_identity
from cycler_unit.drivers.base import Identity
from cycler_unit.drivers.errors import DeviceLost
from wire.catalogue import Kind

logger = logging.getLogger("cycler_unit.buses")

# A device that knows a question answers it well within this; a line with nobody on it costs it per question.
PROBE_S = 0.5
# Of these a family may have its own; they decide which bytes arrive at all.
LINE = ("terminator", "baud_rate", "data_bits", "parity", "stop_bits", "spacing_s", "open_wait_s")
# What is kept of an answer that nobody understands.
ANSWER_MAX = 200


def full(link: Link) -> dict[str, Any]:
    """Return a text link as VISA takes it: a serial port named by its device file has a resource too."""
    made = dict(link)
    if made.get("kind") == "serial" and "resource" not in made and made.get("port"):
        made["resource"] = f"ASRL{made['port']}::INSTR"
    return made


def scan(link: Link, say: Say, make: Callable[[dict[str, Any]], VisaLink] = VisaLink) -> list[Seen]:
    """Ask until somebody says who it is; raise ``DeviceLost`` when the link cannot be opened.

    What answers but fits no row is returned with its answer; a silent link is an empty list.
    """
    kinds = [kind for kind in catalogue.all_kinds() if kind.link in ("visa", "serial") and kind.probe]
    plan = _plan(full(link), kinds)
    steps = sum(len(probes) for _, probes in plan)
    done, heard = 0, ""
    for settings, probes in plan:
        wire = make(settings)
        wire.open()
        try:
            for probe, asked in probes:
                say(done, steps, f"asking {probe}")
                done += 1
                answer = _ask(wire, probe)
                for kind in asked if answer else ():
                    identity = identity_of(kind, answer)
                    if fits(kind, answer, identity):
                        own = _narrowed(kind, answer, identity)
                        return _outputs(_seen(link, own, identity, answer), own)
                heard = heard or answer
        finally:
            wire.close()
    if not heard:
        return []
    identity = parse_identity(heard)
    return [
        Seen(link=dict(link), maker=identity.maker if identity.model else "", model=identity.model,
             serial_number=identity.serial_number, firmware=identity.firmware, answered=heard[:ANSWER_MAX])
    ]  # fmt: skip


def _plan(
    link: dict[str, Any], kinds: list[Kind]
) -> list[tuple[dict[str, Any], list[tuple[str, list[Kind]]]]]:
    """Return what to ask with which line settings; ``*IDN?`` first, which most devices know.

    What the unit's file says of a line holds for all families, and a socket has no line settings.
    """
    is_socket = str(link.get("resource", "")).upper().startswith("TCPIP")
    groups: dict[tuple[str, ...], tuple[dict[str, Any], dict[str, list[Kind]]]] = {}
    for kind in sorted(kinds, key=lambda each: each.probe != "*IDN?"):
        settings = {**kind.link_settings, **link}
        key = tuple(str(settings.get(name, DEFAULTS.get(name))) for name in LINE[: 1 if is_socket else None])
        _, probes = groups.setdefault(key, ({**settings, "timeout_s": PROBE_S * 2}, {}))
        probes.setdefault(kind.probe, []).append(kind)
    return [(settings, list(probes.items())) for settings, probes in groups.values()]


def _outputs(seen: Seen, kind: Kind) -> list[Seen]:
    """Return a device of several outputs as one device per output, or the one that the link names."""
    several = int(kind.settings.get("channels", 1))
    if several == 1:
        return [seen]
    named = seen.link.get("channel_no")
    return [
        msgspec.structs.replace(
            seen, link={**seen.link, "channel_no": number}, serial_number=f"{seen.serial_number}/{number}"
        )
        for number in ([int(named)] if named is not None else range(1, several + 1))
    ]


def _ask(wire: VisaLink, probe: str) -> str:
    try:
        # Some instruments echo what they were asked.
        lines = [line for line in wire.converse(probe, PROBE_S) if line != probe]
    except DeviceLost as error:
        # Bytes at the wrong speed are no text; the next settings may fit.
        logger.debug("event=probe_failed probe=%r reason='%s'", probe, error)
        if not wire.is_open:
            raise
        return ""
    return lines[0] if lines else ""


def identity_of(kind: Kind, answer: str) -> Identity:
    """Cut an answer as the family's driver does, else at its commas."""
    try:
        cut = getattr(drivers.load(kind.driver), "identity_of", parse_identity)
        identity: Identity = cut(answer)
    except (drivers.DriverMissing, ValueError, IndexError, DeviceLost):
        return parse_identity(answer)
    return identity


def fits(kind: Kind, answer: str, identity: Identity) -> bool:
    """Tell whether an answer is this kind's, as it came or cut."""
    return catalogue.match(answer, [kind]) is not None or catalogue.match(identity.text, [kind]) is not None


def _narrowed(kind: Kind, answer: str, identity: Identity) -> Kind:
    """Return the row that an operator added for this very model, where there is one."""
    found = catalogue.narrowed(kind, answer)
    return found if found is not kind else catalogue.narrowed(kind, identity.text)


def _seen(link: Link, kind: Kind, identity: Identity, answer: str) -> Seen:
    return Seen(
        link=dict(link), kind=kind.key, maker=identity.maker or kind.maker, model=identity.model or kind.model,
        serial_number=identity.serial_number, firmware=identity.firmware, answered=answer[:ANSWER_MAX],
    )  # fmt: skip
