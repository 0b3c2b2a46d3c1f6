"""The app `lab`."""

from django.apps import AppConfig


class Lab(AppConfig):
    """Django's entry to `web_server.lab`."""

    name = "web_server.lab"
