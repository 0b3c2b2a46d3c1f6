"""The REST API as a Django app: it brings two templates and the OpenAPI extensions."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """Load the OpenAPI extensions once the models are there."""

    name = "web_server.api"
    label = "api"
    verbose_name = "REST API"

    def ready(self) -> None:
        """Register how OpenAPI describes our token."""
        from web_server.api import schema  # noqa: F401
