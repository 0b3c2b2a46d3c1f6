"""The small parts of the supervisor, alone."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import yaml

from cycler_unit.simulators import bench as simulated
from devops.up import bench, ports
from devops.up.__main__ import main
from devops.up.cells import Cells
from devops.up.lock import Held, Lock
from devops.up.logs import Prefixed
from devops.up.processes import broker_url, environment, late
from devops.up.settings import BadSetting, Settings, load
from devops.up.supervisor import in_words


@pytest.fixture(autouse=True)
def _no_env_file_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "__defaults__", (Path("/nowhere/.env"),))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path)


def test_the_lock_tells_the_second_what_the_first_said(tmp_path):
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    first.take("http://127.0.0.1:8000")
    with pytest.raises(Held, match=r"http://127\.0\.0\.1:8000"):
        second.take("http://127.0.0.1:9000")
    first.release()
    first.release()
    second.take("http://127.0.0.1:9000")
    second.release()


def test_pieces_of_output_become_whole_lines(capsys):
    stream = Prefixed("web")
    stream({"data": b"one\ntw"})
    stream({"data": "o ü\nthr".encode()})
    stream.close()
    assert capsys.readouterr().out.splitlines() == [
        "web        | one",
        "web        | two ü",
        "web        | thr",
    ]


@pytest.mark.parametrize("text", ["0", "65536", "-1", "eighty", "8000.5"])
def test_a_port_that_is_none_is_refused_by_its_name(monkeypatch, text):
    monkeypatch.setenv("CELLYARD_MQTT_PORT", text)
    with pytest.raises(BadSetting, match=r"CELLYARD_MQTT_PORT is .* from 1 to 65535"):
        load()


def test_a_broker_address_that_is_none_is_refused_by_its_name(monkeypatch):
    monkeypatch.setenv("CELLYARD_MQTT_URL", "http://broker")
    with pytest.raises(BadSetting, match=r"CELLYARD_MQTT_URL: .*mqtt://"):
        load()


def test_a_state_folder_that_cannot_be_one_is_refused_by_its_name(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CELLYARD_STATE_DIR", str(tmp_path / "file"))
    assert main() == 1
    assert "CELLYARD_STATE_DIR" in capsys.readouterr().err


def test_the_env_file_counts_where_the_environment_says_nothing(monkeypatch, tmp_path):
    # Set and taken away again, so that what load() adds to the environment ends with the test.
    for name in ("CELLYARD_WEB_PORT", "CELLYARD_MQTT_PORT", "CELLYARD_LOG"):
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv("CELLYARD_WEB_PORT")
    monkeypatch.delenv("CELLYARD_LOG")
    monkeypatch.setenv("CELLYARD_MQTT_PORT", "1900")
    file = tmp_path / ".env"
    file.write_text("CELLYARD_WEB_PORT=8100\nCELLYARD_MQTT_PORT=18830\nCELLYARD_LOG=DEBUG\n")
    settings = load(file)
    assert (settings.web_port, settings.mqtt_port) == (8100, 1900)
    children = environment(settings)
    assert (children["CELLYARD_WEB_PORT"], children["CELLYARD_LOG"]) == ("8100", "DEBUG")


def test_a_relative_state_folder_lies_beside_the_code(monkeypatch):
    monkeypatch.setenv("CELLYARD_STATE_DIR", "elsewhere")
    assert load().state_dir == Path(__file__).resolve().parents[2] / "elsewhere"


def test_the_brokers_address_may_come_from_a_file(monkeypatch, tmp_path):
    (tmp_path / "url").write_text("mqtt://manager:word@lab:1883\n")
    monkeypatch.setenv("CELLYARD_MQTT_URL_FILE", str(tmp_path / "url"))
    assert load().mqtt_url == "mqtt://manager:word@lab:1883"


def test_a_free_port_is_found_past_busy_ones():
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert not ports.is_free("127.0.0.1", port)
        assert ports.first_free("127.0.0.1", port) > port


def test_an_address_that_is_not_ours_is_named_with_its_setting():
    with pytest.raises(ports.Busy, match="CELLYARD_BIND"):
        ports.require("203.0.113.7", 8000, "CELLYARD_WEB_PORT")


def test_the_bench_is_written_once_and_then_the_users(tmp_path):
    first = bench.bench(tmp_path)
    assert [supply["cell"] for supply in first["supplies"]] == [bench.CELL, bench.CELL]
    first["supplies"][0]["cell"]["soc"] = 0.9
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(first))
    assert bench.bench(tmp_path)["supplies"][0]["cell"]["soc"] == 0.9


def test_the_bench_has_one_of_each_family_to_discover(tmp_path):
    described = bench.bench(tmp_path)
    links = bench.links(described)
    assert [link["name"] for link in links[:2]] == ["supply1", "supply2"]
    there = {link["name"]: link["kind"] for link in links[2:]}
    assert there == {
        "load1": "visa", "meter1": "visa", "flow1": "visa", "relays1": "http", "chamber1": "modbus", "CAN": "can",
    }  # fmt: skip
    simulated.parse(described)


def test_without_multicast_the_bench_comes_without_its_can_devices(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench.multicast, "works", lambda group: False)
    links = bench.links(bench.bench(tmp_path))
    assert "CAN" not in [link["name"] for link in links]
    assert "load1" in [link["name"] for link in links]
    assert "no multicast" in capsys.readouterr().out


def test_a_bench_of_an_earlier_release_still_works(tmp_path):
    described = bench.bench(tmp_path)
    del described["devices"], described["circuits"]
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(described))
    assert len(bench.links(bench.bench(tmp_path))) == 2


def test_two_benches_of_one_machine_have_a_can_bus_each():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("", 0))
        port = taken.getsockname()[1]
        assert bench.multicast.free_port(port) != port


def test_multicast_is_tried_and_not_assumed():
    assert not bench.multicast.works("127.0.0.1")


def test_a_busy_port_of_the_bench_is_named_with_its_file(tmp_path):
    first = bench.bench(tmp_path)
    with (
        socket.create_server(("127.0.0.1", first["supplies"][1]["port"])),
        pytest.raises(ports.Busy, match=r"in use by another program: set the port in .*/bench\.yaml"),
    ):
        bench.bench(tmp_path)


def test_a_bench_file_that_cannot_be_read_is_one_sentence(tmp_path):
    (tmp_path / "bench.yaml").write_text("supplies: [")
    with pytest.raises(bench.BadBench, match=r"bench\.yaml"):
        bench.bench(tmp_path)
    (tmp_path / "bench.yaml").write_text("supplies: []")
    with pytest.raises(bench.BadBench, match="control_port"):
        bench.bench(tmp_path)


def test_a_cell_keeps_its_charge_until_it_is_described_anew(tmp_path):
    described = {
        "supplies": [{"name": "a", "cell": dict(bench.CELL)}],
        "host": "127.0.0.1",
        "control_port": 1,
    }
    first = Cells(described, tmp_path / "bench.yaml")
    first.bench["supplies"][0]["cell"]["soc"] = 0.77
    first.write()
    assert Cells(described, tmp_path / "bench.yaml").bench["supplies"][0]["cell"]["soc"] == 0.77
    described["supplies"][0]["cell"]["capacity_ah"] = 2.0
    assert Cells(described, tmp_path / "bench.yaml").bench["supplies"][0]["cell"]["soc"] == 0.5


def test_a_shared_holder_keeps_its_charge_too(tmp_path):
    described = {
        "supplies": [],
        "circuits": [{"name": "holder", "cell": dict(bench.CELL)}, {"name": "empty", "cell": None}],
        "host": "127.0.0.1",
        "control_port": 1,
    }
    first = Cells(described, tmp_path / "bench.yaml")
    first.bench["circuits"][0]["cell"]["soc"] = 0.66
    first.write()
    assert Cells(described, tmp_path / "bench.yaml").bench["circuits"][0]["cell"]["soc"] == 0.66


def test_simulators_that_do_not_answer_change_nothing(tmp_path):
    described = {
        "supplies": [{"name": "a", "cell": dict(bench.CELL)}],
        "host": "127.0.0.1",
        "control_port": 1,
    }
    cells = Cells(described, tmp_path / "bench.yaml")
    cells.look()
    assert cells.bench["supplies"][0]["cell"]["soc"] == 0.5


def test_each_process_knows_only_what_it_must(monkeypatch, settings, tmp_path):
    for name in ("CELLYARD_DATABASE_URL", "CELLYARD_SECRET_KEY_FILE", "CELLYARD_ADMIN_PASSWORD"):
        monkeypatch.setenv(name, "secret")
    programs = {program.name: program.env for program in late(settings, tmp_path / "unit.yaml")}
    assert "secret" not in programs["unit"].values()
    assert "CELLYARD_MQTT_URL" not in programs["web"]
    assert programs["manager"]["CELLYARD_MQTT_URL"].startswith("mqtt://manager:")
    assert programs["manager"]["CELLYARD_DATABASE_URL"] == "secret"


def test_a_hidden_setting_is_hidden_as_a_file_too(monkeypatch, settings):
    monkeypatch.setenv("CELLYARD_MQTT_URL_FILE", "/run/secrets/url")
    assert "CELLYARD_MQTT_URL_FILE" not in environment(settings, without=("CELLYARD_MQTT_URL",))


def test_an_outside_broker_keeps_its_own_user(tmp_path):
    settings = Settings(state_dir=tmp_path, mqtt_url="mqtts://somebody:word@lab:8883")
    assert broker_url(settings, "manager") == "mqtts://somebody:word@lab:8883"


def test_an_end_is_said_in_words():
    assert in_words(-9) == "signal SIGKILL"
    assert in_words(3) == "exit code 3"
