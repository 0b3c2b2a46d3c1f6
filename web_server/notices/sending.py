"""Send one notice through `apprise`, and say in words what came of it."""

from __future__ import annotations

import logging
from typing import NamedTuple

from web_server.notices.addresses import secrets_of
from web_server.notices.models import Target
from web_server.notices.sealing import Unreadable

# What apprise says while it works may hold an address: it reaches no log, only `_words` below.
logging.getLogger("apprise").propagate = False
_TOLD = 400


class Outcome(NamedTuple):
    """What came of one try; ``text`` is empty when it went out."""

    sent: bool
    text: str = ""


def send_to(target: Target, title: str, body: str) -> Outcome:
    """Send to a target; an address that cannot be read any more is an outcome in words."""
    try:
        url = target.address
    except Unreadable as error:
        return Outcome(False, str(error))
    return send(url, title, body)


def send(url: str, title: str, body: str) -> Outcome:
    """Send; waits at most some seconds for a server that does not answer (apprise's own time-outs)."""
    import apprise

    with apprise.LogCapture(level=logging.DEBUG, fmt="%(levelname)s %(message)s") as said:
        messenger = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Cellyard", app_desc="Cellyard"))
        if not messenger.add(url):
            return Outcome(False, "the address is not understood any more; enter it again")
        try:
            sent = messenger.notify(body=body, title=title, notify_type=apprise.NotifyType.FAILURE)
        except Exception as error:  # a plugin of apprise may raise anything; the try is counted all the same
            return Outcome(False, _hidden(f"{type(error).__name__}: {error}", url))
        lines = said.getvalue().splitlines()
    return Outcome(True) if sent else Outcome(False, _hidden(_words(lines), url))


def _words(lines: list[str]) -> str:
    """Return what went wrong: warnings, and the network's own error, which apprise tells only when debugging."""
    found = []
    for line in lines:
        level, _, text = line.partition(" ")
        if level in ("WARNING", "ERROR", "CRITICAL") or text.startswith("Socket Exception"):
            found.append(text.strip().rstrip("."))
    return ("; ".join(dict.fromkeys(found)) or "the server did not take it")[:_TOLD]


def _hidden(text: str, url: str) -> str:
    for secret in secrets_of(url):
        text = text.replace(secret, "…")
    return text
