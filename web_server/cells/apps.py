"""The app `cells`."""

from django.apps import AppConfig


class Cells(AppConfig):
    """Django's entry to `web_server.cells`."""

    name = "web_server.cells"
