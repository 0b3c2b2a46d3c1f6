"""Settings, secrets, logs and the checks for deployment mistakes."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from web_server import checks
from web_server.lib import logs, secret

ROOT = Path(__file__).resolve().parents[2]


def _ids(found: list[Any]) -> list[str]:
    return [message.id for message in found]


def _own(settings: Any, **changed: Any) -> None:
    settings.CELLYARD = msgspec.structs.replace(settings.CELLYARD, **changed)


def _run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these settings in a process of its own: settings are read once per process."""
    script = f"import django; django.setup(); from django.conf import settings; {code}"
    given = {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "web_server.settings", **environment}
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    made = secret.read_or_make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(made) >= 50
    assert secret.read_or_make(path) == made


def test_processes_that_start_together_agree_on_the_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: secret.read_or_make(tmp_path / "key"), range(8)))
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_levels_are_set_per_logger() -> None:
    assert logs.parse_levels("INFO") == ("INFO", {})
    assert logs.parse_levels("mn_manager=debug, WARNING ,cycler_unit.link=ERROR") == (
        "WARNING",
        {"mn_manager": "DEBUG", "cycler_unit.link": "ERROR"},
    )
    with pytest.raises(logs.BadLogSetting, match="DEBUG, INFO, WARNING"):
        logs.parse_levels("mn_manager=LOUD")


def test_a_log_line_carries_its_ids_as_text_and_as_json() -> None:
    record = logging.makeLogRecord(
        {"name": "mn_manager", "levelname": "INFO", "msg": "stored %d", "args": (4,)}
    )
    record.experiment = "e1"
    assert logs.Text().format(record).endswith("INFO mn_manager stored 4 experiment=e1")
    line = json.loads(logs.Json().format(record))
    assert (line["message"], line["experiment"], line["level"]) == ("stored 4", "e1", "INFO")


def test_loopback_is_fine_as_it_comes(settings: Any) -> None:
    assert checks.exposure(None) == []


def test_open_to_the_network_needs_names_and_https(settings: Any) -> None:
    _own(settings, bind="0.0.0.0")
    settings.ALLOWED_HOSTS = ["localhost"]
    assert _ids(checks.exposure(None)) == ["cellyard.W001", "cellyard.W002"]
    settings.DEBUG = True
    assert "cellyard.E001" in _ids(checks.exposure(None))


def test_https_behind_a_proxy_needs_its_origin(settings: Any) -> None:
    _own(settings, https=True)
    assert _ids(checks.exposure(None)) == ["cellyard.W003"]


def test_secrets_that_others_can_read_or_guess_are_errors(settings: Any, tmp_path: Path) -> None:
    _own(settings, state_dir=tmp_path)
    (tmp_path / "secret-key").write_text("x")
    (tmp_path / "secret-key").chmod(0o644)
    assert "cellyard.E002" in _ids(checks.secrets(None))
    (tmp_path / "secret-key").chmod(0o600)
    settings.SECRET_KEY = "short"
    assert _ids(checks.secrets(None)) == ["cellyard.E003"]


def test_a_server_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        vendor, mysql_version, mysql_is_mariadb = "mysql", (10, 5, 1), True

    monkeypatch.setattr(checks, "connections", {"default": Old})
    [error] = checks.database(None, ["default"])
    assert (error.id, error.msg) == ("cellyard.E005", "This is MariaDB 10.5.1; 10.6 or newer is needed.")
    assert checks.database(None, None) == []


@pytest.mark.slow
def test_sqlite_has_the_options_that_were_measured(tmp_path: Path) -> None:
    code = "print(settings.DATABASES['default'])"
    told = _run(code, CELLYARD_STATE_DIR=str(tmp_path))
    assert told.returncode == 0, told.stderr
    for part in ("'transaction_mode': 'IMMEDIATE'", "'timeout': 20", "journal_mode=WAL", "'CONN_MAX_AGE': 0"):
        assert part in told.stdout
    assert stat.S_IMODE((tmp_path / "secret-key").stat().st_mode) == 0o600


@pytest.mark.slow
def test_a_mysql_address_and_a_secret_from_a_file_are_taken(tmp_path: Path) -> None:
    kept = tmp_path / "url"
    kept.write_text("mysql://cellyard:pw@db:3306/cellyard")
    code = "d = settings.DATABASES['default']; print(d['ENGINE'], d['HOST'], d['NAME'], d['OPTIONS'])"
    told = _run(code, CELLYARD_STATE_DIR=str(tmp_path), CELLYARD_DATABASE_URL_FILE=str(kept))
    assert "django.db.backends.mysql db cellyard" in told.stdout, told.stderr
    assert "read committed" in told.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("CELLYARD_LOG_FORMAT", "xml", "CELLYARD_LOG_FORMAT is 'xml'; use one of text, json"),
        ("CELLYARD_LOG", "LOUD", "CELLYARD_LOG: 'LOUD' names no level"),
        ("CELLYARD_WEB_PORT", "http", "CELLYARD_WEB_PORT"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_its_name(
    tmp_path: Path, name: str, given: str, said: str
) -> None:
    told = _run("", CELLYARD_STATE_DIR=str(tmp_path), **{name: given})
    assert told.returncode != 0
    assert said in told.stderr


WRONG = {
    "CELLYARD_LOG": "LOUD",
    "CELLYARD_LOG_FORMAT": "xml",
    "CELLYARD_WEB_PORT": "eighty",
    "CELLYARD_DATABASE_URL": "nonsense",
}


@pytest.mark.parametrize("command", [["manage.py", "check"], ["-m", "gunicorn"]], ids=["manage", "gunicorn"])
@pytest.mark.parametrize(("name", "text"), WRONG.items())
def test_a_wrong_setting_stops_each_start_with_its_name_and_no_traceback(
    command: list[str], name: str, text: str, tmp_path: Path
) -> None:
    given = {"PATH": os.environ["PATH"], "CELLYARD_STATE_DIR": str(tmp_path), name: text}
    if name != "CELLYARD_WEB_PORT":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            given["CELLYARD_WEB_PORT"] = str(probe.getsockname()[1])
    run = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = run.stdout + run.stderr
    assert run.returncode != 0
    assert name in said
    assert "Traceback" not in said
