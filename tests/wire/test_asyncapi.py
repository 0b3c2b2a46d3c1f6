"""The generated page is current, valid, and names every topic and message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from wire import asyncapi, messages, topics


def test_the_page_in_the_docs_is_current() -> None:
    assert asyncapi.main(["--check"]) == 0


def test_a_changed_message_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "asyncapi.yaml"
    page.write_text(asyncapi.text().replace("disk_free_bytes", "disk_free"))
    assert asyncapi.main(["--check", str(page)]) == 1
    assert "python -m wire.asyncapi" in capsys.readouterr().err


def test_it_is_yaml_and_says_what_the_document_says() -> None:
    assert yaml.safe_load(asyncapi.text()) == asyncapi.document()


def test_every_topic_has_its_channel() -> None:
    leaves = {address.rsplit("/", 1)[1] for _, address, *_ in asyncapi.CHANNELS}
    assert leaves == {*topics.UNIT_TOPICS, "ask", "answer"}


def test_every_reference_leads_somewhere() -> None:
    document = asyncapi.document()
    for reference in _references(document):
        part: Any = document
        for key in reference.removeprefix("#/").split("/"):
            part = part[key]


def test_commands_are_never_retained() -> None:
    operation = asyncapi.document()["operations"]["managerSendsCommands"]
    assert operation["bindings"]["mqtt"]["retain"] is False


def test_the_arguments_of_every_kind_are_described() -> None:
    schemas = asyncapi.document()["components"]["schemas"]
    assert {kind.__name__ for kind in messages.ARGS.values()} <= set(schemas)


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [found for value in part.values() for found in _references(value)]
    if isinstance(part, list):
        return [found for value in part for found in _references(value)]
    return []
