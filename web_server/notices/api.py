"""Who hears of alarms, in the REST API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from web_server.accounts.roles import Role
from web_server.api.fields import written
from web_server.api.schema import WAIT
from web_server.api.views import NoBody, Read
from web_server.commands.waiting import seconds_to_wait
from web_server.notices import services
from web_server.notices.bodies import DeliveryBody, TargetBody
from web_server.notices.models import Target
from web_server.notices.waiting import until_known


@extend_schema_view(
    list=extend_schema(summary="List who hears of alarms"),
    create=extend_schema(summary="Add an address"),
    retrieve=extend_schema(summary="Read an address, without its secrets"),
    partial_update=extend_schema(summary="Change an address"),
    destroy=extend_schema(summary="Remove an address"),
)
class TargetViewSet(Read):
    """Addresses that alarms go to by mail or webhook; the lowest `place` hears first."""

    serializer_class = TargetBody
    filterset_fields = ["way", "place", "active"]
    search_fields = ["name", "shown"]
    ordering_fields = ["place", "name", "way", "created_at"]
    ordering = ["place", "name"]
    write_role = Role.ADMINISTRATOR
    query_parameters = {"test": {"wait"}}
    queryset = Target.objects.select_related("made_by")

    def create(self, request: Request) -> Response:
        """Add an address."""
        return self.show(services.add(request.user, **self.body()), status=201)

    def partial_update(self, request: Request, id: Any) -> Response:
        """Change some fields; an address that is not given stays."""
        target = self.get_object()
        serializer = self.get_serializer(target, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        return self.show(services.change(request.user, target, **serializer.validated_data))

    def destroy(self, request: Request, id: Any) -> Response:
        """Forget an address."""
        services.remove(request.user, self.get_object())
        return Response(status=204)

    @extend_schema(summary="Send a test", request=NoBody, responses={201: DeliveryBody}, parameters=[WAIT])
    @action(detail=True, methods=["post"])
    def test(self, request: Request, id: Any) -> Response:
        """Send a test on the way that an alarm would go; `?wait=10` holds the answer until it is known."""
        self.body(NoBody)
        wait_s = seconds_to_wait(request)
        sent = until_known(services.test(request.user, self.get_object()), wait_s)
        return Response(written(DeliveryBody, sent), status=201)
