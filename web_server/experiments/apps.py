"""The app `experiments`."""

from django.apps import AppConfig


class Experiments(AppConfig):
    """Django's entry to `web_server.experiments`."""

    name = "web_server.experiments"
