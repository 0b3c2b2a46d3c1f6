"""Settings of the REST API; `web_server.settings` takes them in."""

from __future__ import annotations

from typing import Any

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "web_server.api.authentication.TokenAuthentication",
        # For the pages' own scripts; asks for the CSRF token.
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["web_server.api.permissions.RolePermission"],
    "DEFAULT_SCHEMA_CLASS": "web_server.api.schema.Operations",
    "DEFAULT_PAGINATION_CLASS": "web_server.api.paging.Pages",
    "DEFAULT_FILTER_BACKENDS": [
        "django_filters.rest_framework.DjangoFilterBackend",
        "rest_framework.filters.SearchFilter",
        "web_server.api.ordering.Ordering",
    ],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_THROTTLE_RATES": {"token": "10/min"},
    "EXCEPTION_HANDLER": "web_server.api.problems.handle",
    # `?format=` chooses the form of an export, not the renderer.
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "UNICODE_JSON": True,
    "COERCE_DECIMAL_TO_STRING": False,
}

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Cellyard",
    "DESCRIPTION": "The open system that runs a battery laboratory. A walk through: `docs/api.md`.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    # 3.1 is JSON Schema, in which msgspec describes the steps.
    "OAS_VERSION": "3.1.0",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "web_server.api.schema.add_step_model",
    ],
    "ENUM_NAME_OVERRIDES": {
        "Role": "web_server.accounts.roles.Role",
        "DeviceRole": "web_server.lab.models.StationDevice.Role",
        "ExperimentStatus": "web_server.experiments.models.Status",
        "CommandStatus": "web_server.commands.models.Command.Status",
        "AlarmState": "web_server.experiments.models.Alarm.State",
        "StationState": "web_server.lab.models.Station.State",
        "EventKind": "web_server.experiments.models.Event.Kind",
        "CommandKind": "web_server.commands.api.KIND_CHOICES",
    },
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    # No request leaves the site: the documentation pages' scripts come with drf-spectacular-sidecar.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}
