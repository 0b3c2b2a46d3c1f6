"""The unit's own settings (docs/unit.md): one YAML file, read once into a frozen struct.

A wrong value stops start-up with the key's name and what is allowed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mqtt_link import Address, BadAddress
from wire.topics import PREFIX


class BadSetting(Exception):
    """A setting cannot be used; the text names the key and what is allowed."""


class Mqtt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the broker is. ``user`` and ``password`` override those of the address."""

    url: str = "mqtt://127.0.0.1:1883"
    user: str | None = None
    password: str | None = None
    password_file: str | None = None
    ca: str | None = None


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting of the unit; times in seconds."""

    state_dir: str
    name: str = ""
    hardware_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{0,64}$")] = ""
    mqtt: Mqtt = msgspec.field(default_factory=Mqtt)
    prefix: Annotated[str, Meta(pattern=r"^[^#+\s/][^#+\s]*$")] = PREFIX
    token: str | None = None
    token_file: str | None = None
    links: list[dict[str, Any]] = []
    discover: list[Literal["serial", "visa"]] = []
    record_every_s: Annotated[float, Meta(ge=0.5, le=86400.0)] = 10.0
    loop_period_s: Annotated[float, Meta(ge=0.01, le=10.0)] | None = None
    idle_period_s: Annotated[float, Meta(ge=0.1, le=5.0)] = 1.0
    wiring_check_s: Annotated[float, Meta(ge=0.5, le=60.0)] = 2.0
    wiring_timeout_s: Annotated[float, Meta(ge=5.0, le=600.0)] = 120.0
    http_port: Annotated[int, Meta(ge=0, le=65535)] = 0

    @property
    def folder(self) -> Path:
        """Return the state folder."""
        return Path(self.state_dir)


def load(path: str | Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the settings; raises :class:`BadSetting` with file, key and what is allowed."""
    import yaml  # only here: 2 MB that a running unit does not need

    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSetting(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise BadSetting(f"{path}: must be a list of settings such as 'state_dir: /var/lib/cellyard'")
    try:
        return parse(data, environ)
    except BadSetting as error:
        raise BadSetting(f"{path}: {error}") from None


def parse(data: dict[str, Any], environ: Mapping[str, str] = os.environ) -> Config:
    """Check ``data`` with the environment laid over it; raises :class:`BadSetting`."""
    data = dict(data)
    mqtt = data.get("mqtt")
    mqtt = dict(mqtt) if isinstance(mqtt, dict) else ({} if mqtt is None else mqtt)
    if isinstance(mqtt, dict):
        if url := environ.get("CELLYARD_MQTT_URL"):
            mqtt["url"] = url
        if ca := environ.get("CELLYARD_MQTT_CA"):
            mqtt["ca"] = ca
    data["mqtt"] = mqtt
    try:
        config = msgspec.convert(data, Config)
    except msgspec.ValidationError as error:
        raise BadSetting(_sentence(str(error))) from None
    _check(config)
    return config


def _sentence(text: str) -> str:
    """Turn msgspec's text into one that names the key first."""
    what, _, where = text.partition(" - at `$")
    key = where.rstrip("`").lstrip(".").replace("[...]", "") or "the settings"
    if "unknown field" in what:
        allowed = ", ".join(Config.__struct_fields__ if key == "the settings" else Mqtt.__struct_fields__)
        what = f"{what[:1].lower()}{what[1:]}; allowed are {allowed}"
    return f"{key}: {what}"


def _check(config: Config) -> None:
    if not config.state_dir:
        raise BadSetting("state_dir: must name a folder that the unit may write")
    try:
        Address.parse(config.mqtt.url)
    except BadAddress as error:
        raise BadSetting(f"mqtt.url: {error}") from None
    for index, link in enumerate(config.links):
        if not isinstance(link.get("kind"), str):
            raise BadSetting(f"links[{index}]: needs a kind, e.g. {{kind: visa, resource: 'TCPIP::...'}}")


def secret(value: str | None, file: str | None, key: str) -> str | None:
    """Return a secret given directly or by file; raises :class:`BadSetting` for an unreadable file."""
    if value is not None or file is None:
        return value
    try:
        return Path(file).read_text(encoding="utf-8").strip() or None
    except OSError as error:
        raise BadSetting(f"{key}: {file} cannot be read: {error.strerror}") from None
