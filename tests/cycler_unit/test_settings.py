"""A wrong setting stops start-up with the key's name and what is allowed."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from cycler_unit import __version__, config
from cycler_unit.__main__ import main
from cycler_unit.config import BadSetting, parse
from tests.stack.process import ROOT

GOOD: dict[str, Any] = {"state_dir": "/tmp/unit"}


def test_the_least_that_is_needed_is_a_state_folder() -> None:
    settings = parse(GOOD, {})
    assert settings.idle_period_s == 1.0
    assert settings.links == []


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({}, ["state_dir"]),
        ({"state_dir": ""}, ["state_dir"]),
        ({"loop_period_s": 0.001}, ["loop_period_s", "0.01"]),
        ({"loop_period_s": "fast"}, ["loop_period_s"]),
        ({"http_port": 70000}, ["http_port", "65535"]),
        ({"hardware_id": "a/b"}, ["hardware_id"]),
        ({"prefix": "a/#"}, ["prefix"]),
        ({"links": [{"resource": "x"}]}, ["links[0]", "kind"]),
        ({"links": "TCPIP"}, ["links"]),
        ({"mqtt": {"url": "http://x"}}, ["mqtt.url", "mqtt://"]),
        ({"mqtt": {"port": 1}}, ["mqtt", "port", "url"]),
        ({"loop_periods": 1}, ["loop_periods", "loop_period_s"]),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any], names: list[str]) -> None:
    given = {} if wrong == {} else {**GOOD, **wrong}
    with pytest.raises(BadSetting) as caught:
        parse(given, {})
    for name in names:
        assert name in str(caught.value)


def test_the_environment_wins_over_the_file() -> None:
    environment = {"CELLYARD_MQTT_URL": "mqtts://lab:8883", "CELLYARD_MQTT_CA": "/ca.pem"}
    settings = parse({**GOOD, "mqtt": {"url": "mqtt://other"}}, environment)
    assert (settings.mqtt.url, settings.mqtt.ca) == ("mqtts://lab:8883", "/ca.pem")


@pytest.mark.parametrize("text", ["a: [", "- 1", "just text", ""])
def test_a_file_that_is_no_settings_is_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "unit.yaml"
    file.write_text(text)
    with pytest.raises(BadSetting) as caught:
        config.load(file, {})
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_ends_the_program_with_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--config", str(tmp_path / "none.yaml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret\n")
    assert config.secret(None, str(file), "token_file") == "secret"
    assert config.secret("direct", str(file), "token_file") == "direct"
    with pytest.raises(BadSetting, match="token_file"):
        config.secret(None, str(tmp_path / "none"), "token_file")


def test_the_unit_has_the_projects_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["version"] == __version__
