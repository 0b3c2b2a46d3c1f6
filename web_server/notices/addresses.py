"""Where a notice goes: a mail or webhook address as people type it, as `apprise` takes it, and as it may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from web_server.lib.errors import Refused

LENGTH_MAX = 2000
_MAIL = ("mailto", "mailtos")
# Plain webhooks, and those of chat services that a laboratory may have; nothing that acts on this computer.
_HOOKS = ("json", "jsons", "form", "forms", "xml", "xmls")
_CHATS = (
    "slack", "msteams", "workflows", "mmost", "mmosts", "rocket", "rockets", "matrix", "matrixs",
    "ntfy", "ntfys", "gotify", "gotifys", "signal", "signals", "tgram", "pover", "discord", "zulip",
)  # fmt: skip
EXAMPLES = (
    "mailtos://name:password@mail.example.org:587?from=lab@example.org&to=night@example.org",
    "https://hooks.example.org/cellyard",
)


@dataclass(frozen=True)
class Address:
    """One address; ``url`` holds secrets, ``shown`` none."""

    way: str
    url: str
    shown: str


def parse(text: str) -> Address:
    """Return what was typed as an address.

    ``https://…`` is a webhook that gets JSON by POST; ``mailto://`` and ``mailtos://`` name a mail
    server, ``?to=`` who gets it; other services as `apprise` writes them.

    Raises:
        Refused: it is no address that Cellyard sends to; the text never repeats what is secret.
    """
    text = text.strip()
    if len(text) > LENGTH_MAX:
        raise Refused.one(f"The address has {len(text)} characters; at most {LENGTH_MAX} fit.", "address")
    scheme, mark, _ = text.partition("://")
    scheme = scheme.lower()
    if not mark:
        raise Refused.one(f"An address begins like {EXAMPLES[0]} or {EXAMPLES[1]}.", "address")
    if scheme in ("http", "https"):
        text = _as_json(text)
    elif scheme not in (*_MAIL, *_HOOKS, *_CHATS):
        raise Refused.one(
            f"Cellyard does not send to {scheme[:20]}://; use mailtos:// or https://.", "address"
        )
    if not _understood(text):
        raise Refused.one(
            f"Something is missing in this {scheme}:// address; one that works looks like {_example(scheme)}.",
            "address",
        )
    return Address("mail" if scheme in _MAIL else "webhook", text, _shown(scheme, text))


def _example(scheme: str) -> str:
    return EXAMPLES[0] if scheme in _MAIL else EXAMPLES[1]


def _as_json(text: str) -> str:
    """Return a plain web address as `apprise` writes one that gets JSON; its query goes along unchanged."""
    parts = urlsplit(text)
    asked = urlencode([(f"-{name}", entry) for name, entry in parse_qsl(parts.query)])
    return urlunsplit((f"json{'s' if parts.scheme == 'https' else ''}", parts.netloc, parts.path, asked, ""))


def _understood(url: str) -> bool:
    import apprise

    made = apprise.Apprise.instantiate(url, suppress_exceptions=True)
    return made is not None


def _shown(scheme: str, url: str) -> str:
    """Return scheme, server and recipient; user, password, path and query stay hidden."""
    parts = urlsplit(url)
    port = re.sub(r".*?(:\d+)?$", r"\1", parts.netloc.rpartition("@")[2]) or ""
    host = unquote(parts.hostname or "")
    if scheme in _MAIL:
        to = dict(parse_qsl(parts.query)).get("to", "")
        return f"{scheme}://{host}{port}{f' to {to}' if to else ''}"[:250]
    if scheme in _CHATS:
        # The host part of these is a token.
        return f"{scheme}://…"
    hidden = "/…" if parts.path.strip("/") or parts.query else ""
    return f"{scheme}://{host}{port}{hidden}"[:250]


def secrets_of(url: str) -> list[str]:
    """Return the parts of an address that must appear in no text."""
    parts = urlsplit(url)
    found = [parts.password, parts.username, *parts.path.split("/"), parts.query]
    found += [entry for name, entry in parse_qsl(parts.query) if name not in ("to", "from")]
    kept = {text for text in found if text and len(text) > 3}
    return sorted(
        {form for text in kept for form in (text, unquote(text), quote(text))}, key=len, reverse=True
    )
