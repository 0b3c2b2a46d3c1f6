"""The production shape: what the compose file and the images run, from a cold database, in an unlucky order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from tests.devops.containers import DEVOPS, Host, Image, composed
from tests.stack.api import Api
from tests.stack.mariadb import MariaDB
from tests.stack.process import ROOT, Process
from tests.stack.simulated import Simulators, supply
from tests.stack.waiting import until

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def config():
    return composed()


@pytest.fixture(scope="module")
def host(config, tmp_path_factory):
    return Host(tmp_path_factory.mktemp("host"), config)


def database(host, config):
    """Return the database container's server with the user that its environment asks for."""
    about = config["services"]["database"]
    server = MariaDB(host.folder / "mariadb", tuple(about["command"][1:]))
    server.port = host.ports["database"]
    server.start()
    name, user = about["environment"]["MARIADB_DATABASE"], about["environment"]["MARIADB_USER"]
    password = Path(host.native(about["environment"]["MARIADB_PASSWORD_FILE"])).read_text().strip()
    server.sql(
        f"CREATE DATABASE {name}; CREATE USER '{user}'@'%' IDENTIFIED BY '{password}';"
        f"GRANT ALL ON {name}.* TO '{user}'@'%'"
    )
    return server


@pytest.fixture(scope="module")
def running(host, config):
    """Start everything, what others need last."""
    collect = next(line for line in Image(DEVOPS / "docker/web.Dockerfile").run if "collectstatic" in line)
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        **Image(DEVOPS / "docker/web.Dockerfile").env,
    }
    env = {key: host.native(text).replace("$PATH", "/usr/bin:/bin") for key, text in env.items()}
    subprocess.run(["sh", "-c", host.native(collect)], cwd=ROOT, env=env, check=True, capture_output=True)
    services = {name: host.service(name) for name in ("web", "manager", "prepare", "broker")}
    server = None
    try:
        for name in ("web", "manager", "prepare"):
            services[name].start()
        until(
            lambda: services["prepare"].starts >= 2, 30, "the tables were tried before the database was there"
        )
        services["broker"].start()
        server = database(host, config)
        yield services
    finally:
        for service in services.values():
            service.stop()
        if server is not None:
            server.stop()


@pytest.fixture(scope="module")
def address(host):
    return f"http://127.0.0.1:{host.ports['web']}"


def test_the_site_answers_without_a_database_and_says_that_it_is_not_ready(host, address, tmp_path):
    web = host.service("web")
    web.env["CELLYARD_DATABASE_URL_FILE"] = str(tmp_path / "url")
    (tmp_path / "url").write_text("mysql://cellyard:word@127.0.0.1:9/cellyard")
    web.start()
    try:
        until(lambda: httpx.get(f"{address}/healthz").is_success, 20, "the site answers")
        assert httpx.get(f"{address}/readyz").status_code == 503
    finally:
        web.stop()


def test_everything_comes_up_by_itself_in_an_unlucky_order(running, address):
    until(
        lambda: running["prepare"].succeeded,
        60,
        f"the tables are made: {running['prepare'].output()[-1500:]}",
    )
    until(
        lambda: httpx.get(f"{address}/readyz").is_success, 60, f"ready; {running['manager'].output()[-1500:]}"
    )


def test_nobody_wrote_a_traceback_while_waiting(running):
    for service in running.values():
        assert "Traceback" not in service.output(), service.name


def test_the_page_and_its_hashed_files_are_served(running, address):
    page = httpx.get(f"{address}/", follow_redirects=True)
    assert page.status_code == 200
    style = page.text.split('rel="stylesheet" href="')[1].split('"')[0]
    answer = httpx.get(f"{address}{style}")
    assert answer.is_success
    assert "immutable" in answer.headers["cache-control"]


def test_a_unit_from_its_image_is_approved_gets_its_own_user_and_works(running, host, address, config):
    password = (host.secrets / "admin-password").read_text().strip()
    api = until(lambda: Api(address, "admin", password), 20, "the first administrator may log in")
    simulators = Simulators(host.folder / "bench", [supply("psb1")]).start()
    settings = host.folder / "unit.yaml"
    url = f"mqtt://enrol:example-enrol-password@127.0.0.1:{host.ports['broker']}"
    about = {"hardware_id": "container", "state_dir": str(host.folder / "unit"), "mqtt": {"url": url}}
    settings.write_text(yaml.safe_dump(about | {"links": simulators.links()}))
    command = [part.replace("/etc/cellyard/unit.yaml", str(settings)) for part in unit_command()]
    unit = Process("unit", [sys.executable, *command[1:]], host.folder / "unit.log").start()
    try:
        waiting = until(lambda: api.get("units/")["results"], 30, f"the unit asked; {unit.output()}")[0]
        assert waiting["status"] == "pending"
        api.post(f"units/{waiting['id']}/approve/")
        until(lambda: api.get("devices/")["count"] == 1, 40, f"its device is known; {unit.output()[-1500:]}")
        users = (host.folder / "broker" / "users.json").read_text()
        assert waiting["id"] in users
    finally:
        unit.stop()
        simulators.stop()


def unit_command():
    return Image(DEVOPS / "docker/unit.Dockerfile").command


@pytest.mark.parametrize("role", ["web", "manager", "unit", "simulators"])
def test_no_image_runs_as_root_or_carries_secrets(role):
    text = (DEVOPS / "docker" / f"{role}.Dockerfile").read_text()
    assert "USER 10001" in text
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".env", "devops/secrets", "var"} <= set(ignored)


def test_every_command_of_an_image_names_a_module_that_exists():
    for role, module in (
        ("manager", "mn_manager"),
        ("unit", "cycler_unit"),
        ("simulators", "cycler_unit.simulators"),
    ):
        assert Image(DEVOPS / f"docker/{role}.Dockerfile").command[:3] == ["python", "-m", module]
        subprocess.run([sys.executable, "-c", f"import {module}.__main__"], cwd=ROOT, check=True)


def test_every_service_starts_again_by_itself_and_the_servers_are_watched(config):
    for name, service in config["services"].items():
        assert service["restart"] in ("unless-stopped", "on-failure"), name
    for name in ("database", "broker", "web"):
        assert service_health(config, name)


def service_health(config, name):
    return config["services"][name]["healthcheck"]["test"]


def test_no_secret_is_in_the_environment_of_a_service(config):
    secrets = [Path(secret["file"]).read_text().strip() for secret in config["secrets"].values()]
    for service in config["services"].values():
        for text in service.get("environment", {}).values():
            assert not any(secret in str(text) for secret in secrets)
