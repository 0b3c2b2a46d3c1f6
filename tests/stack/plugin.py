"""What must be settled before Django reads its settings: state folder, secrets, database of the tests.

Named by ``-p`` in pyproject.toml, because pytest-django reads the settings before any conftest.py
is loaded. The workers of pytest-xdist inherit what their parent has set and started.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from . import backend
from .mariadb import MariaDB

SETTLED = "CELLYARD_TEST_STATE"


def settle() -> None:
    """Point every setting at a fresh folder, and start MariaDB for the lab backend."""
    chosen = backend.chosen()
    for name in [
        name for name in os.environ if name.startswith("CELLYARD_") and name != "CELLYARD_TEST_BACKEND"
    ]:
        del os.environ[name]
    state = Path(tempfile.mkdtemp(prefix="cellyard-tests-"))
    atexit.register(shutil.rmtree, state, ignore_errors=True)
    os.environ[SETTLED] = str(state)
    os.environ["CELLYARD_STATE_DIR"] = str(state)
    os.environ["CELLYARD_SECRET_KEY"] = "only for tests, " * 4
    # Said although it is the default: a developer's own .env must not reach the tests.
    os.environ["CELLYARD_DATABASE_URL"] = f"sqlite:///{state / 'cellyard.sqlite3'}"
    if chosen == "lab":
        server = MariaDB(state / "mariadb")
        atexit.register(server.stop)
        server.start()
        os.environ["CELLYARD_DATABASE_URL"] = server.url("cellyard")
        os.environ["CELLYARD_TEST_MARIADB_SOCKET"] = str(server.socket)


if SETTLED not in os.environ:
    settle()
