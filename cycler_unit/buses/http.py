"""Devices with a small web server: relay boards, ESPHome nodes, lamps.

| key of the link | default | meaning |
|---|---|---|
| ``url`` | required | ``http://192.168.1.40`` or ``https://...``; no user and no password in it |
| ``user``, ``password_file`` | none | basic authentication; the password is the file's first line |
| ``timeout_s`` | 2.0 | longest whole exchange, connecting included |

The connection is kept open between exchanges where the device allows it. One exchange at a time: these
devices serve one client. A password is in no message, no log and no exchange kept for the black box.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import urllib3
from urllib3.util import Timeout, make_headers, parse_url

from cycler_unit.buses.ring import Ring
from cycler_unit.drivers.errors import DeviceFault, DeviceLost, DeviceRefused

# Far more than any answer of these devices; what is longer is not one of them.
MOST_BYTES = 64 * 1024
# Read in small parts, so that a device that trickles cannot outlast the exchange's time.
PART_BYTES = 4096


@dataclass(frozen=True)
class Answer:
    """What a device answered: HTTP status and text."""

    status: int
    text: str

    def json(self) -> dict[str, Any]:
        """Return the answer as an object; raise ``DeviceLost`` when it is none (a cut line, noise)."""
        try:
            found = json.loads(self.text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise DeviceLost(f"the answer is no JSON object: {self.text[:60]!r}")
        return found


class HttpLink:
    """One device's web server. Thread-safe; one exchange at a time."""

    def __init__(self, settings: Mapping[str, Any], ring: Ring | None = None) -> None:
        self.url = str(settings.get("url", "")).rstrip("/")
        self.user = str(settings.get("user", ""))
        self.password_file = str(settings.get("password_file", ""))
        # Links are shown on the site and cross the broker; a secret in one is not secret.
        self._has_password = "password" in settings
        self.timeout_s = float(settings.get("timeout_s", 2.0))
        self.ring = ring if ring is not None else Ring()
        self.lock = threading.RLock()
        self._pool: urllib3.HTTPConnectionPool | None = None
        self._headers: dict[str, str] = {}

    def open(self) -> None:
        """Read the password and make ready; the first exchange connects. Raise ``DeviceRefused``."""
        with self.lock:
            self.close()
            place = _place(self.url)
            if self._has_password:
                raise DeviceRefused("the link carries a password: put it into a file and give password_file")
            self._headers = self._authentication()
            self._pool = urllib3.connection_from_url(place, maxsize=1, block=True, retries=False)

    def _authentication(self) -> dict[str, str]:
        if not self.user:
            return {}
        password = ""
        if self.password_file:
            try:
                lines = Path(self.password_file).read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "not a text file"
                raise DeviceRefused(f"password_file {self.password_file} cannot be read: {why}") from None
            password = lines[0] if lines else ""
        return dict(make_headers(basic_auth=f"{self.user}:{password}"))

    def close(self) -> None:
        """Close the connection; safe twice; never raises."""
        with self.lock:
            pool, self._pool = self._pool, None
            if pool is not None:
                # A half-dead connection may fail in any way while it is closed.
                with contextlib.suppress(Exception):
                    pool.close()

    def get(self, path: str) -> Answer:
        """Ask for a page; raise ``DeviceLost``, ``DeviceRefused`` (4xx) or ``DeviceFault`` (5xx)."""
        return self._exchange("GET", path, None, "")

    def post(self, path: str, body: Mapping[str, Any] | str | None = None) -> Answer:
        """Send a mapping as JSON, a text as plain text, or nothing."""
        if body is None or isinstance(body, str):
            return self._exchange("POST", path, (body or "").encode(), "text/plain")
        text = json.dumps(body, separators=(",", ":"))
        return self._exchange("POST", path, text.encode(), "application/json")

    def _exchange(self, method: str, path: str, body: bytes | None, content_type: str) -> Answer:
        headers = {**self._headers, **({"Content-Type": content_type} if body else {})}
        asked = f"{method} {path} {body.decode()}" if body else f"{method} {path}"
        with self.lock:
            self.ring.sent(asked)
            try:
                try:
                    answer = self._within_time(method, path, body, headers)
                except urllib3.exceptions.ProtocolError:
                    # A kept connection that the device closed meanwhile. What these devices are told is
                    # never a difference (no toggle), so that saying it twice does nothing else.
                    answer = self._within_time(method, path, body, headers)
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                self.ring.heard(f"(no answer: {type(error).__name__})")
                raise DeviceLost(f"{self.url} does not answer {method} {path}: {_why(error)}") from None
            self.ring.heard(f"{answer.status} {answer.text}")
        if answer.status in (401, 403):
            raise DeviceRefused(f"{self.url} refuses the user or password ({answer.status})")
        if answer.status >= 500:
            raise DeviceFault(f"{self.url} answers {method} {path} with status {answer.status}")
        if answer.status >= 300:
            raise DeviceRefused(f"{self.url} has no {method} {path} (status {answer.status})")
        return answer

    def _within_time(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        if self._pool is None:
            raise DeviceLost(f"{self.url} is not open")
        until_s = time.monotonic() + self.timeout_s
        response = self._pool.urlopen(
            method, path, body=body, headers=headers, redirect=False, retries=False,
            timeout=Timeout(total=self.timeout_s), preload_content=False, decode_content=False,
        )  # fmt: skip
        try:
            received = b""
            for part in response.stream(PART_BYTES):
                received += part
                if len(received) > MOST_BYTES:
                    raise ValueError("the answer is too long")
                if time.monotonic() > until_s:
                    raise TimeoutError(f"not complete within {self.timeout_s:g} s")
        except BaseException:
            # What is left of this answer must not become the next one.
            response.close()
            raise
        response.release_conn()
        return Answer(response.status, received.decode("utf-8", "replace").strip())


def quoted(name: str) -> str:
    """Return a name as one part of a path."""
    return quote(name, safe="")


def _place(url: str) -> str:
    """Check the link's ``url``; raise ``DeviceRefused`` naming what is wrong."""
    try:
        parsed = parse_url(url)
    except urllib3.exceptions.HTTPError:
        raise DeviceRefused("the link's url is no address such as http://192.168.1.40") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise DeviceRefused(f"the link's url {url!r} is no address such as http://192.168.1.40")
    if parsed.auth:
        raise DeviceRefused("the link's url carries a password: give user and password_file instead")
    if parsed.path or parsed.query:
        raise DeviceRefused(f"the link's url {url!r} names a page: give only http://host:port")
    return url


def _why(error: Exception) -> str:
    """Return a cause in words; urllib3's own texts carry object addresses."""
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "it cannot be connected"
    if isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError):
        return "it is silent for too long"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return "it closed the connection"
    return str(error) if isinstance(error, ValueError) else type(error).__name__
