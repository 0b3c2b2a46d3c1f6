"""What every resource of the API is made of: thin views over services, named by UUID."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions, mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from web_server.api.fields import written

PAGING = frozenset({"page", "page_size", "search", "ordering"})


def refuse_strange_query(request: Request, known: frozenset[str] | set[str]) -> None:
    """Refuse query parameters that nothing reads: a mistyped filter must not answer everything."""
    strange = sorted(set(request.query_params) - known)
    if strange:
        allowed = ", ".join(sorted(known)) or "none"
        raise exceptions.ValidationError(
            {name: [f"unknown query parameter; allowed: {allowed}"] for name in strange}
        )


class Checked(APIView):
    """A view that names its query parameters, by act, in ``query_parameters``."""

    query_parameters: dict[str, set[str]] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate, permit, then look at the query."""
        super().initial(request, *args, **kwargs)
        refuse_strange_query(request, self.known_query())

    def known_query(self) -> set[str]:
        """Return the query parameters that the present act reads."""
        act = getattr(self, "action", None) or (self.request.method or "").lower()
        known = set(self.query_parameters.get(act, ()))
        if act == "list":
            known |= PAGING | filters_of(self)
        return known


def filters_of(view: Any) -> set[str]:
    """Return the names of the filters of a list view."""
    from django_filters.rest_framework import DjangoFilterBackend

    filterset = DjangoFilterBackend().get_filterset_class(view, view.get_queryset())
    return set(filterset.base_filters) if filterset else set()


class Read(Checked, mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet):  # type: ignore[type-arg]
    """List and read; the address and every reference carry the UUID."""

    lookup_field = "uuid"
    lookup_url_kwarg = "id"
    lookup_value_converter = "uuid"

    def get_object(self) -> Any:
        """Return the row of the address; the list's filters do not hide it."""
        found = get_object_or_404(self.get_queryset(), uuid=self.kwargs["id"])
        self.check_object_permissions(self.request, found)
        return found

    def body(
        self, serializer_class: type[serializers.Serializer] | None = None, **kwargs: Any
    ) -> dict[str, Any]:  # type: ignore[type-arg]
        """Return the request's validated body."""
        make = serializer_class or self.get_serializer_class()
        serializer = make(data=self.request.data, context=self.get_serializer_context(), **kwargs)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def show(self, instance: Any, status: int = 200) -> Response:
        """Answer with the resource as it is now, read again with all its parts."""
        fresh = self.get_queryset().get(pk=instance.pk)
        shown = written(self.get_serializer_class(), fresh)
        headers = {"Location": self.reverse_action("detail", args=[fresh.uuid])} if status == 201 else None
        return Response(shown, status=status, headers=headers)


class ResourceFilters(django_filters.FilterSet):
    """Filters of a list whose rows can be retired; retired ones are left out unless asked for."""

    retired = django_filters.BooleanFilter(field_name="retired_at", lookup_expr="isnull", exclude=True)

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Leave retired rows out unless ``?retired=`` says otherwise."""
        rows = super().filter_queryset(queryset)
        return rows if self.form.cleaned_data.get("retired") is not None else rows.filter(retired_at=None)


class NoBody(serializers.Serializer):  # type: ignore[type-arg]
    """An act without a body; whatever is sent is refused."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Refuse any field."""
        if data and hasattr(data, "keys"):
            raise serializers.ValidationError({str(name): ["unknown field"] for name in data})
        return {}


class Changeable(Read):
    """List, read, change, retire; the acts themselves are services."""

    def change(self, instance: Any, **body: Any) -> Any:
        """Change a row by its service."""
        raise NotImplementedError

    def put_away(self, instance: Any) -> None:
        """Retire a row by its service."""
        raise NotImplementedError

    def update(self, request: Request, id: Any, partial: bool = False) -> Response:
        """Change all fields of one."""
        instance = self.get_object()
        serializer = self.get_serializer(instance, data=request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        return self.show(self.change(instance, **serializer.validated_data))

    def partial_update(self, request: Request, id: Any) -> Response:
        """Change some fields of one."""
        return self.update(request, id, partial=True)

    def destroy(self, request: Request, id: Any) -> Response:
        """Retire one: it stays readable, and what it did stays recorded."""
        self.put_away(self.get_object())
        return Response(status=204)

    @extend_schema(summary="Retire", request=NoBody)
    @action(detail=True, methods=["post"])
    def retire(self, request: Request, id: Any) -> Response:
        """Take it out of use: it stays readable, and what it did stays recorded."""
        self.body(NoBody)
        instance = self.get_object()
        self.put_away(instance)
        return self.show(instance)


class Resource(Changeable):
    """The same, and one can be created."""

    def add(self, **body: Any) -> Any:
        """Create a row by its service."""
        raise NotImplementedError

    def create(self, request: Request) -> Response:
        """Create one."""
        return self.show(self.add(**self.body()), status=201)
