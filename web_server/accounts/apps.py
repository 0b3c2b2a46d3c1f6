"""The app `accounts`."""

from django.apps import AppConfig


class Accounts(AppConfig):
    """Django's entry to `web_server.accounts`."""

    name = "web_server.accounts"
