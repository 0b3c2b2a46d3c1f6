"""``docs/api.md`` works as it stands: its commands are run, one after the other, by a shell."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.stack.process import ROOT, Process
from tests.stack.waiting import free_port, until

pytestmark = pytest.mark.stack
PAGE = ROOT / "docs" / "api.md"
README = ROOT / "README.md"


@pytest.fixture
def site(tmp_path):
    port = free_port()
    env = {
        "CELLYARD_STATE_DIR": str(tmp_path),
        "CELLYARD_DATABASE_URL": f"sqlite:///{tmp_path}/site.sqlite3",
        "CELLYARD_WEB_PORT": str(port),
        "DJANGO_SETTINGS_MODULE": "web_server.settings",
    }
    web = Process("web", [sys.executable, "-m", "gunicorn"], tmp_path / "web.log", env)
    with (tmp_path / "lab.log").open("w") as log:
        lab = subprocess.Popen(
            [sys.executable, "-m", "tests.web_server.stream_lab", "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            env=web.env,
        )
        assert lab.stdout.readline(), (tmp_path / "lab.log").read_text()
        web.start()
        until(lambda: subprocess.run(["curl", "-sf", f"http://127.0.0.1:{port}/healthz"]).returncode == 0)
        yield f"http://127.0.0.1:{port}"
        web.stop()
        lab.stdin.close()
        lab.wait(10)
        lab.stdout.close()


def test_every_command_of_the_walk_through_works(site, tmp_path):
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.S | re.M)
    assert len(blocks) >= 10
    script = tmp_path / "walk.sh"
    # Each block names itself, so that a failure says where; `pipefail` sees an error behind `| field`.
    script.write_text("set -euo pipefail\n" + "".join(f"echo '== {n}'\n{b}\n" for n, b in enumerate(blocks)))
    run = subprocess.run(
        ["bash", script],
        cwd=tmp_path,
        env={"SITE": site, "PASSWORD": "seen by nobody else", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert '"valid":false' in run.stdout
    assert "event: sample" in run.stdout
    # Pause, resume, stop; set, renew and off by hand.
    assert run.stdout.splitlines().count("done") == 6
    lines = (tmp_path / "experiment.csv").read_text().splitlines()
    assert lines[0].startswith("seq,time_utc,elapsed_s")
    assert len(lines) > 5
    assert "seen enough" in run.stdout


def test_the_commands_of_the_readme_work(site, tmp_path):
    (block,) = [b for b in re.findall(r"^```\n(.*?)^```$", README.read_text(), re.S | re.M) if "curl" in b]
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "admin-password").write_text("seen by nobody else\n")
    script = "set -euo pipefail\n" + block.replace("http://127.0.0.1:8000", site)
    run = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.returncode == 0, run.stderr
    assert '"results"' in run.stdout
