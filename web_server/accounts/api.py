"""Tokens and oneself in the REST API."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import authenticate
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import exceptions, serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle

from web_server.accounts import services
from web_server.accounts.models import Person, Token
from web_server.accounts.roles import Role
from web_server.api.fields import ByName, StrictModelSerializer, StrictSerializer
from web_server.api.views import Checked, NoBody, Read


class TokenRequest(StrictSerializer):
    """Who asks, and what the token may do."""

    username = serializers.CharField()
    password = serializers.CharField(trim_whitespace=False, style={"input_type": "password"})
    name = serializers.CharField(required=False, allow_blank=True, max_length=100)
    scope = serializers.ChoiceField(choices=Role.choices, required=False, help_text="At most one's own role.")
    expires_in_days = serializers.IntegerField(
        required=False, min_value=1, max_value=services.TOKEN_DAYS_MAX, default=services.TOKEN_DAYS
    )


class TokenBody(StrictModelSerializer):
    """A token; its secret is shown only once, when it is made."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    person = ByName(read_only=True)

    class Meta:
        model = Token
        fields = [
            "id",
            "person",
            "name",
            "beginning",
            "scope",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        ]


class NewToken(TokenBody):
    """A token just made, with its secret."""

    token = serializers.CharField(read_only=True, help_text="The secret; it is not shown again.")

    class Meta(TokenBody.Meta):
        fields = ["token", *TokenBody.Meta.fields]


class PersonBody(StrictModelSerializer):
    """A person as they see themselves."""

    id = serializers.UUIDField(source="uuid", read_only=True)

    class Meta:
        model = Person
        fields = ["id", "username", "email", "role", "effective_role"]
        read_only_fields = fields


class Guesses(SimpleRateThrottle):
    """Slows down guessing of passwords, by address and name together."""

    scope = "token"

    def get_cache_key(self, request: Request, view: Any) -> str:
        """Count per address and name: one guesser does not lock out everybody."""
        sent = request.data if hasattr(request.data, "get") else {}
        ident = f"{self.get_ident(request)}:{str(sent.get('username'))[:150]}"
        return self.cache_format % {"scope": self.scope, "ident": ident}


class TokenView(Checked):
    """Tokens for programs."""

    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]
    throttle_classes = [Guesses]

    @extend_schema(
        operation_id="token_create",
        summary="Get a token",
        request=TokenRequest,
        responses={201: NewToken},
        auth=[],
    )
    def post(self, request: Request) -> Response:
        """Exchange name and password for a token."""
        serializer = TokenRequest(data=request.data)
        serializer.is_valid(raise_exception=True)
        body = dict(serializer.validated_data)
        name, password = body.pop("username"), body.pop("password")
        person = authenticate(request._request, username=name, password=password)
        if person is None:
            raise exceptions.AuthenticationFailed("Unknown name or wrong password.")
        token, secret = services.issue_token(person, **body)
        token.token = secret
        return Response(NewToken(token).data, status=201)

    def get_authenticate_header(self, request: Request) -> str:
        """Answer a wrong password with 401."""
        return 'Token realm="Cellyard"'


class MeView(Checked):
    """Oneself."""

    @extend_schema(operation_id="me", summary="Who am I?", responses=PersonBody)
    def get(self, request: Request) -> Response:
        """Name, role, and what the token in use allows."""
        return Response(PersonBody(request.user).data)


@extend_schema_view(
    list=extend_schema(summary="List one's tokens"), retrieve=extend_schema(summary="Read a token")
)
class TokenViewSet(Read):
    """One's own tokens; administrators see all."""

    serializer_class = TokenBody
    filterset_fields = ["scope"]
    search_fields = ["name"]
    ordering_fields = ["created_at", "expires_at", "last_used_at", "name"]
    ordering = ["-created_at"]
    # A viewer's token may end itself.
    write_role = Role.VIEWER
    queryset = Token.objects.select_related("person")

    def get_queryset(self) -> Any:
        """Leave out other people's tokens."""
        rows = super().get_queryset()
        person = self.request.user
        if getattr(self, "swagger_fake_view", False) or person.may(Role.ADMINISTRATOR):
            return rows
        return rows.filter(person=person)

    @extend_schema(summary="Revoke a token", request=NoBody)
    def destroy(self, request: Request, id: Any) -> Response:
        """End a token at once."""
        services.revoke_token(request.user, self.get_object())
        return Response(status=204)
