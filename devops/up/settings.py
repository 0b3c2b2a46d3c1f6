"""The settings of `make up`, from the environment and `.env`, parsed once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import load_dotenv
from environs import EnvError, FileAwareEnv

from mqtt_link import Address, BadAddress

ROOT = Path(__file__).resolve().parents[2]


class BadSetting(Exception):
    """A setting cannot be used; the text is one sentence with its name and what is allowed."""


@dataclass(frozen=True)
class Settings:
    """What the user may choose (README, Settings). ``None`` = our own, embedded one."""

    state_dir: Path
    bind: str = "127.0.0.1"
    web_port: int = 8000
    mqtt_port: int = 1883
    mqtt_url: str | None = field(default=None, repr=False)
    mqtt_ca: str | None = None

    @property
    def run_dir(self) -> Path:
        """Where the pid files and the lock are."""
        return self.state_dir / "run"

    @property
    def host(self) -> str:
        """The address at which this machine reaches its own servers."""
        return "127.0.0.1" if self.bind in ("0.0.0.0", "") else self.bind

    @property
    def web_address(self) -> str:
        """Where the page is."""
        return f"http://{self.host}:{self.web_port}"


def load(dotenv_file: Path = ROOT / ".env") -> Settings:
    """Read ``dotenv_file`` into the environment and return the settings.

    Raises:
        BadSetting: a value is not allowed.
    """
    # Into the environment itself: every process that is started inherits it. What is set there already wins.
    load_dotenv(dotenv_file)
    env = FileAwareEnv(strip_whitespace=True)
    try:
        return Settings(
            # Its text is joined to the place of the code, so that `var` means the same from anywhere.
            state_dir=(ROOT / (env.str("CELLYARD_STATE_DIR", "") or "var")).resolve(),
            bind=env.str("CELLYARD_BIND", "127.0.0.1"),
            web_port=_port("CELLYARD_WEB_PORT", 8000),
            mqtt_port=_port("CELLYARD_MQTT_PORT", 1883),
            mqtt_url=_broker(env.str("CELLYARD_MQTT_URL", "")),
            mqtt_ca=env.str("CELLYARD_MQTT_CA", "") or None,
        )
    except (EnvError, OSError, ValueError) as error:
        raise BadSetting(str(error)) from None


def _broker(url: str) -> str | None:
    try:
        if url:
            Address.parse(url)
    except BadAddress as error:
        raise BadSetting(f"CELLYARD_MQTT_URL: {error}") from None
    return url or None


def _port(name: str, default: int) -> int:
    text = os.environ.get(name, "") or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise BadSetting(f"{name} is {text!r}; it must be a port, a number from 1 to 65535")
    return int(text)
