"""Run a manager: ``python -m mn_manager`` (settings: README, "Settings")."""

from __future__ import annotations

import logging
import os
import signal
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import django
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

logger = logging.getLogger("mn_manager")


def main() -> None:
    """Read the settings, then work until SIGTERM or Ctrl-C."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "web_server.settings")
    try:
        django.setup()
    except (ImproperlyConfigured, ValueError) as error:
        sys.exit(f"mn_manager: {error}")
    # These import models, which need Django set up.
    from mn_manager import http
    from mn_manager.loop import Manager
    from mn_manager.name import Name, NameTaken
    from mn_manager.notices import Notices
    from mn_manager.settings import BadSetting, read
    from web_server.accounts.origin import Origin, current

    try:
        settings = read(django_settings.CELLYARD)
        name = Name(settings)
        manager = Manager(settings, name.text, _version())
    except (BadSetting, NameTaken) as error:
        sys.exit(f"mn_manager: {error}")
    current.set(Origin("manager"))
    server = None
    if settings.http_port:
        try:
            server = http.serve(manager, settings.http_host, settings.http_port)
        except OSError as error:
            sys.exit(
                f"mn_manager: port {settings.http_port}: {error}; set CELLYARD_MANAGER_PORT to a free one"
            )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: manager.stop())
    logger.info(
        "event=started manager=%s broker=%s prefix=%s", name.text, manager.link.address, settings.prefix
    )
    notices = Notices(name.text)
    notices.start()
    manager.run()
    notices.stop()
    if server is not None:
        server.shutdown()
    name.release()
    logger.info("event=stopped manager=%s", name.text)


def _version() -> Any:
    try:
        return version("cellyard")
    except PackageNotFoundError:
        return "0"


if __name__ == "__main__":
    main()
