"""The app `notices`."""

from django.apps import AppConfig


class Notices(AppConfig):
    """Django's entry to `web_server.notices`."""

    name = "web_server.notices"
