"""A private MariaDB server: own data folder, own socket, a free port, nothing of the system's."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from pathlib import Path

from .process import Process
from .waiting import free_port, until

# The tests need no safety against a power cut, only the same SQL and what survives a kill (with 0 the
# last second of commits would not); these save most of the disk waits.
FAST = (
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=48M",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--performance-schema=OFF",
)
# Not `cellyard`: that is the name of the site's own user, whose grants are tested.
USER = "tester"
PASSWORD = "only for tests"


class MariaDB:
    """One server in ``folder``; ``url(database)`` is what ``CELLYARD_DATABASE_URL`` takes."""

    def __init__(self, folder: Path, options: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.options = options
        self.port = free_port()
        # A socket's path is at most 107 bytes, and pytest's folders are long.
        self.socket = Path("/tmp") / f"cellyard-{os.getpid()}-{self.port}.sock"
        self.process: Process | None = None

    def start(self) -> MariaDB:
        """Create the data folder where there is none, start, and wait until it answers."""
        data = self.folder / "data"
        # Two that are installed at once in one /tmp drop each other's temporary tables.
        temporary = self.folder / "tmp"
        as_user = [f"--user={getpass.getuser()}", f"--tmpdir={temporary}"]
        temporary.mkdir(parents=True, exist_ok=True)
        if not data.exists():
            data.mkdir(parents=True)
            tool = "mariadb-install-db"
            subprocess.run(
                [
                    tool,
                    "--no-defaults",
                    *as_user,
                    f"--datadir={data}",
                    "--auth-root-authentication-method=normal",
                ],
                check=True,
                capture_output=True,
            )
        server = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        own = [
            f"--datadir={data}",
            f"--socket={self.socket}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
        ]
        pid = f"--pid-file={self.folder / 'pid'}"
        command = [server, "--no-defaults", *as_user, *own, pid, *FAST, *self.options]
        self.process = Process("mariadb", command, self.folder / "log").start()
        until(self._answers, 60, f"MariaDB answers; log: {self.process.output()[-1500:]}")
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        if not self.process.running:
            raise RuntimeError(self.process.output()[-1500:])
        self.sql(
            f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';"
            f"GRANT ALL ON *.* TO '{USER}'@'%'; FLUSH PRIVILEGES;"
        )
        return True

    def sql(self, statements: str, database: str = "") -> str:
        """Run SQL as the server's root and return what the client prints."""
        client = ["mariadb", "--no-defaults", f"--socket={self.socket}", "--user=root", "--batch"]
        done = subprocess.run(
            [*client, *([database] if database else [])], input=statements, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def create(self, database: str) -> str:
        """Create an empty database and return its address."""
        self.sql(f"DROP DATABASE IF EXISTS `{database}`; CREATE DATABASE `{database}` CHARACTER SET utf8mb4")
        return self.url(database)

    def url(self, database: str) -> str:
        """Return the address of a database of this server."""
        return f"mysql://{USER}:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """End the server; its data stays in the folder."""
        if self.process is not None:
            self.process.stop(30)
            self.socket.unlink(missing_ok=True)
