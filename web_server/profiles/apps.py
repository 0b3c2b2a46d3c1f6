"""The app `profiles`."""

from django.apps import AppConfig


class Profiles(AppConfig):
    """Django's entry to `web_server.profiles`."""

    name = "web_server.profiles"
