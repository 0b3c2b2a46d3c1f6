"""Write ``sql/schema.sql``, the tables as MariaDB has them after all migrations; ``--check`` compares.

``python -m tests.stack.schema [--check]`` starts a private MariaDB for it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from .mariadb import MariaDB
from .process import ROOT

FILE = ROOT / "sql" / "schema.sql"
HEAD = "-- Generated from the migrations by `make docs`; to read, never to run.\n"


def schema(server: MariaDB) -> str:
    """Return the tables of a freshly migrated database, in the order of their names."""
    url = server.create("cellyard")
    env = {**os.environ, "CELLYARD_DATABASE_URL": url, "CELLYARD_STATE_DIR": str(server.folder)}
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0", "--skip-checks"]
    subprocess.run(migrate, cwd=ROOT, env=env, check=True)
    names = server.sql("SHOW TABLES", "cellyard").split()[1:]
    return HEAD + "".join(f"\n{table(server, name)};\n" for name in names)


def table(server: MariaDB, name: str) -> str:
    """Return one table's definition without what differs from server to server."""
    text = server.sql(f"SHOW CREATE TABLE `{name}`", "cellyard").split("\n", 1)[1].split("\t", 1)[1]
    text = text.strip().replace("\\n", "\n")
    return re.sub(r" AUTO_INCREMENT=\d+", "", text)


def main() -> int:
    """Write or compare; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.stack.schema", description=__doc__)
    parser.add_argument("--check", action="store_true", help="say whether the file is current")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory(prefix="cellyard-schema-") as folder:
        server = MariaDB(Path(folder))
        try:
            text = schema(server.start())
        finally:
            server.stop()
    if not check:
        FILE.write_text(text, encoding="utf-8")
        return 0
    if not FILE.exists() or FILE.read_text(encoding="utf-8") != text:
        print("sql/schema.sql is not what the migrations make: run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
