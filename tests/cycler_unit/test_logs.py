"""One event a line, as text or JSON, with levels by logger."""

from __future__ import annotations

import json
import logging

import pytest

from cycler_unit import logs
from web_server.lib import logs as site


def record(text: str, *, error: bool = False) -> logging.LogRecord:
    """Return a record as a logger makes it."""
    info = None
    if error:
        try:
            raise ValueError("a fault")
        except ValueError as fault:
            info = (ValueError, fault, fault.__traceback__)
    return logging.LogRecord("mn_manager.loop", logging.INFO, __file__, 1, text, (), info)


def test_a_stranger_cannot_forge_a_second_line() -> None:
    line = logs.TextFormatter().format(record("event=message_dropped topic='x\nCRITICAL root all is lost'"))
    assert "\n" not in line
    assert line.split(" ")[1:3] == ["INFO", "mn_manager.loop"]


def test_json_is_one_object_a_line_with_the_traceback_inside() -> None:
    line = logs.JsonFormatter().format(record("event=fault", error=True))
    assert "\n" not in line
    body = json.loads(line)
    assert (body["level"], body["logger"]) == ("INFO", "mn_manager.loop")
    assert "ValueError: a fault" in body["traceback"]


def test_levels_go_by_logger() -> None:
    levels = logs.parse_levels("warning, mn_manager=DEBUG,cycler_unit.link=ERROR")
    assert levels == {"": "WARNING", "mn_manager": "DEBUG", "cycler_unit.link": "ERROR"}


@pytest.mark.parametrize(
    ("setting", "value"),
    [("CELLYARD_LOG", "LOUD"), ("CELLYARD_LOG", "a=b=c"), ("CELLYARD_LOG_FORMAT", "xml")],
)
def test_a_wrong_setting_is_named(setting: str, value: str) -> None:
    with pytest.raises(logs.BadLogSetting, match=setting):
        logs.set_up({setting: value})


# --- the twin at the site -----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["event=started n=3", "two\nlines\r", "°C and µ"])
def test_a_line_of_the_site_looks_like_a_line_of_the_unit(text: str) -> None:
    said = record(text)
    assert site.Text().format(said) == logs.TextFormatter().format(said)
    ours, theirs = (json.loads(each.format(said)) for each in (logs.JsonFormatter(), site.Json()))
    assert ours == theirs


@pytest.mark.parametrize(
    "setting", ["", "DEBUG", "warning, mn_manager=DEBUG,cycler_unit.link=error", " ,INFO,"]
)
def test_site_and_unit_read_one_setting_alike(setting: str) -> None:
    root, named = site.parse_levels(setting)
    assert logs.parse_levels(setting) == {
        **({"": root} if root != "INFO" or "INFO" in setting else {}),
        **named,
    }


@pytest.mark.parametrize("setting", ["LOUD", "cycler_unit=", "a=b=c"])
def test_site_and_unit_refuse_the_same_settings(setting: str) -> None:
    with pytest.raises(logs.BadLogSetting):
        logs.parse_levels(setting)
    with pytest.raises(site.BadLogSetting):
        site.parse_levels(setting)
