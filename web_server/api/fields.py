"""Serializers that refuse what they do not know, and references by UUID."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers


class Strict:
    """Mixin of serializers: a field that is unknown or read only is an error, not silence.

    A changed copy of what was read may be sent back: a read-only field that still has the value it
    has now is let through on a change.
    """

    def to_internal_value(self, data: Any) -> Any:
        """Collect unknown fields together with all other errors."""
        strange = self._strange(data) if isinstance(data, dict) or hasattr(data, "keys") else {}
        if not strange:
            return super().to_internal_value(data)  # type: ignore[misc]
        try:
            super().to_internal_value(data)  # type: ignore[misc]
        except serializers.ValidationError as exc:
            strange = {**exc.detail, **strange} if isinstance(exc.detail, dict) else strange
        raise serializers.ValidationError(strange)

    def _strange(self, data: Any) -> dict[str, list[str]]:
        fields = self.fields  # type: ignore[attr-defined]
        errors: dict[str, list[str]] = {}
        present: dict[str, Any] | None = None
        for name in data:
            if name not in fields:
                errors[str(name)] = ["unknown field"]
            elif fields[name].read_only:
                if present is None:
                    instance = getattr(self, "instance", None)
                    present = dict(self.to_representation(instance)) if instance is not None else {}  # type: ignore[attr-defined]
                if name not in present or present[name] != data[name]:
                    errors[str(name)] = ["is set by the system and cannot be given"]
        return errors


_writers: dict[type[serializers.BaseSerializer], Any] = {}  # type: ignore[type-arg]


def written(body: type[serializers.BaseSerializer], row: Any) -> dict[str, Any]:  # type: ignore[type-arg]
    """Return ``row`` as ``body`` writes it.

    Making a serializer's fields takes 1 ms, often longer than reading the row; they are made once,
    as writing changes nothing in them.
    """
    writer = _writers.get(body)
    if writer is None:
        writer = _writers[body] = body()
    return dict(writer.to_representation(row))


class StrictSerializer(Strict, serializers.Serializer):
    """A body that is not a model row."""


class StrictModelSerializer(Strict, serializers.ModelSerializer):
    """A body that mirrors a model row; ``id`` is the UUID."""


@extend_schema_field(OpenApiTypes.UUID)
class Reference(serializers.SlugRelatedField):
    """Another resource, by its UUID."""

    default_error_messages = {"does_not_exist": "there is none with this id", "invalid": "an id is a UUID"}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(slug_field="uuid", **kwargs)

    def to_representation(self, obj: Any) -> str:
        """Return the UUID as text."""
        return str(obj.uuid)

    def to_internal_value(self, data: Any) -> Any:
        """Find the row; text that is no UUID is an error, not a crash."""
        try:
            serializers.UUIDField().to_internal_value(data)
        except serializers.ValidationError:
            self.fail("invalid")
        return super().to_internal_value(data)


class ByName(serializers.SlugRelatedField):
    """A person, by the name they log in with."""

    default_error_messages = {"does_not_exist": "nobody has this name"}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(slug_field="username", **kwargs)
