"""How gunicorn serves the site: ``gunicorn`` in this folder finds this file and needs no argument."""

from __future__ import annotations

import ctypes
import signal
import sys
from pathlib import Path
from typing import Any

from environs import FileAwareEnv
from uvicorn_worker import UvicornWorker

from web_server.lib import logs

_env = FileAwareEnv(strip_whitespace=True)
_env.read_env(Path(__file__).resolve().parent / ".env", recurse=False)


class _Worker(UvicornWorker):
    """Django answers requests only: no lifespan messages and no web sockets."""

    CONFIG_KWARGS = {"lifespan": "off", "ws": "none", "server_header": False}


wsgi_app = "web_server.asgi:application"
worker_class = _Worker
try:
    bind = f"{_env.str('CELLYARD_BIND', '127.0.0.1')}:{_env.int('CELLYARD_WEB_PORT', 8000)}"
    workers = _env.int("CELLYARD_WEB_WORKERS", 1)
    # Its lines look like those of all other processes; requests are logged by the proxy in front.
    logconfig_dict = logs.config(_env.str("CELLYARD_LOG", "INFO"), _env.str("CELLYARD_LOG_FORMAT", "text"))
except ValueError as error:
    sys.exit(f"gunicorn: {error}")
# An open event stream never ends by itself; a stop must not wait for it longer than this.
graceful_timeout = 3
# A worker that answers nothing for this long is replaced.
timeout = 60
# Whoever ends TLS in a proxy names its address, so that it is believed about the client's.
forwarded_allow_ips = _env.str("CELLYARD_PROXY", "127.0.0.1")
proc_name = "cellyard-web"
logconfig_dict["loggers"].update(
    {
        "gunicorn.error": {"handlers": ["stream"], "level": "INFO", "propagate": False},
        "gunicorn.access": {"handlers": [], "level": "WARNING", "propagate": False},
    }
)
# gunicorn's remote control: one more door that nobody needs.
control_socket_disable = True


def post_fork(_server: Any, _worker: Any) -> None:
    """Let a worker end with its master: one left alone would keep the port from the next master."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
