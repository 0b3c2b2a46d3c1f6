"""The app `measurements`."""

from django.apps import AppConfig


class Measurements(AppConfig):
    """Django's entry to `web_server.measurements`."""

    name = "web_server.measurements"
