"""Addresses below /api/."""

from __future__ import annotations

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from web_server.accounts.api import MeView, TokenView, TokenViewSet
from web_server.api.problems import unknown_address
from web_server.api.stream import StreamView
from web_server.cells.api import BatteryViewSet
from web_server.commands.api import CommandViewSet
from web_server.experiments.api import AlarmViewSet, ExperimentViewSet
from web_server.lab.api import (
    DeviceModelViewSet,
    DeviceViewSet,
    StationViewSet,
    UnitViewSet,
    ZoneViewSet,
)
from web_server.notices.api import TargetViewSet
from web_server.profiles.api import ProfileViewSet

router = SimpleRouter(use_regex_path=False)
for prefix, viewset, name in (
    ("units", UnitViewSet, "unit"),
    ("device-models", DeviceModelViewSet, "device-model"),
    ("devices", DeviceViewSet, "device"),
    ("stations", StationViewSet, "station"),
    ("zones", ZoneViewSet, "zone"),
    ("batteries", BatteryViewSet, "battery"),
    ("profiles", ProfileViewSet, "profile"),
    ("experiments", ExperimentViewSet, "experiment"),
    ("alarms", AlarmViewSet, "alarm"),
    ("commands", CommandViewSet, "command"),
    ("notice-targets", TargetViewSet, "notice-target"),
    ("tokens", TokenViewSet, "token"),
):
    router.register(prefix, viewset, basename=f"api-{name}")

# Both pages write style attributes; their scripts are files all the same. Redoc searches in a worker.
_docs = csp_update({"style-src": [SELF, UNSAFE_INLINE], "worker-src": [SELF, "blob:"]})

urlpatterns: list[URLPattern | URLResolver] = [
    path("v1/token/", TokenView.as_view(), name="api-token"),
    path("v1/me/", MeView.as_view(), name="api-me"),
    path("v1/stream/", StreamView.as_view(), name="api-stream"),
    path("v1/", include(router.urls)),
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path(
        "docs/",
        _docs(SpectacularSwaggerSplitView.as_view(url_name="api-schema", template_name="api/swagger.html")),
        name="api-docs",
    ),
    path(
        "redoc/",
        _docs(SpectacularRedocView.as_view(url_name="api-schema", template_name="api/redoc.html")),
        name="api-redoc",
    ),
    # Anything else, also with a line break in it.
    re_path(r"", unknown_address),
]
