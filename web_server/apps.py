"""The site itself as an app: its management commands, templates, static files and checks."""

from django.apps import AppConfig


class Site(AppConfig):
    """What belongs to no single noun."""

    name = "web_server"
    label = "site_wide"

    def ready(self) -> None:
        """Register the system checks."""
        from web_server import checks  # noqa: F401
