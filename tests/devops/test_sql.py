"""The database users of sql/users.sql, on a real server."""

from __future__ import annotations

import subprocess
import sys

import MySQLdb
import pytest

from tests.stack.mariadb import MariaDB
from tests.stack.process import ROOT

pytestmark = pytest.mark.stack
SCRIPT = ROOT / "sql" / "users.sql"
PASSWORDS = {"owner": "o'wner word", "site": "site word", "reader": "reader \\word"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Return a server with the users, the tables made by the owner, and the grants brought up to date."""
    running = MariaDB(tmp_path_factory.mktemp("mariadb")).start()
    users(running)
    url = f"mysql://cellyard_owner:o%27wner%20word@127.0.0.1:{running.port}/cellyard"
    env = {"CELLYARD_DATABASE_URL": url, "CELLYARD_STATE_DIR": str(running.folder), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], cwd=ROOT, env=env, check=True)
    users(running)
    yield running
    running.stop()


def users(server):
    quoted = {name: word.replace("\\", "\\\\").replace("'", "''") for name, word in PASSWORDS.items()}
    given = ", ".join(f"@{name} = '{word}'" for name, word in quoted.items())
    server.sql(f"SET {given};\n{SCRIPT.read_text()}")


def run(server, user, word, statement):
    connection = MySQLdb.connect(
        host="127.0.0.1", port=server.port, user=user, password=word, database="cellyard"
    )
    try:
        cursor = connection.cursor()
        cursor.execute(statement)
        connection.commit()
        return cursor.fetchall()
    finally:
        connection.close()


def test_the_site_reads_and_writes_rows(server):
    run(
        server,
        "cellyard",
        PASSWORDS["site"],
        "INSERT INTO django_migrations (app, name, applied) VALUES ('a', 'b', NOW())",
    )
    assert run(server, "cellyard", PASSWORDS["site"], "SELECT COUNT(*) FROM django_migrations")[0][0] > 0


@pytest.mark.parametrize(
    "statement", ["DROP TABLE lab_station", "CREATE TABLE own (a INT)", "ALTER TABLE lab_station ADD own INT"]
)
def test_the_site_changes_no_table(server, statement):
    with pytest.raises(MySQLdb.OperationalError, match="denied"):
        run(server, "cellyard", PASSWORDS["site"], statement)


def test_the_reader_reads_measurements_and_writes_nothing(server):
    assert run(
        server, "cellyard_reader", PASSWORDS["reader"], "SELECT COUNT(*) FROM measurements_sample"
    ) == ((0,),)
    with pytest.raises(MySQLdb.OperationalError, match="denied"):
        run(server, "cellyard_reader", PASSWORDS["reader"], "DELETE FROM measurements_sample")


@pytest.mark.parametrize("table", ["accounts_person", "accounts_token", "django_session", "lab_enroltoken"])
def test_the_reader_sees_nothing_that_opens_a_door(server, table):
    with pytest.raises(MySQLdb.OperationalError, match="denied"):
        run(server, "cellyard_reader", PASSWORDS["reader"], f"SELECT * FROM {table}")


def test_it_leaves_no_procedure_behind(server):
    found = server.sql(
        "SELECT routine_name FROM information_schema.routines WHERE routine_schema = 'cellyard'"
    )
    assert found.strip() == ""


def test_a_missing_password_stops_the_script(server):
    with pytest.raises(RuntimeError, match="set @owner, @site and @reader"):
        server.sql(SCRIPT.read_text())
