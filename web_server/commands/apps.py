"""The app `commands`."""

from django.apps import AppConfig


class Commands(AppConfig):
    """Django's entry to `web_server.commands`."""

    name = "web_server.commands"
