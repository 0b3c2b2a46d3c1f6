"""The app `lab`."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


def _seed(sender: AppConfig, **_: Any) -> None:
    """Write the catalogue once this app's tables are as the code expects them."""
    from django.db import connection

    from web_server.lab import catalogue

    # A migration backwards, or to an older state, ends here too, without the table.
    if "lab_devicemodel" in connection.introspection.table_names():
        catalogue.seed()


class Lab(AppConfig):
    """Django's entry to `web_server.lab`."""

    name = "web_server.lab"

    def ready(self) -> None:
        """Seed the catalogue after each migrate."""
        post_migrate.connect(_seed, sender=self)
