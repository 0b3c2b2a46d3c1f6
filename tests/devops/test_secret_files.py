"""Secrets are made once, agreed on by all who start together, and private."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

from devops.secret_files import kept_secret, write_private


def test_a_secret_is_made_once_and_kept(tmp_path):
    path = tmp_path / "deep" / "secret"
    first = kept_secret(path)
    assert len(first) >= 20
    assert kept_secret(path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_given_secret_is_kept_as_it_is(tmp_path):
    assert kept_secret(tmp_path / "secret", make="given") == "given"


def test_many_that_start_together_agree(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: kept_secret(tmp_path / "secret"), range(32)))
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_an_open_file_becomes_private_when_it_is_written_again(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
