"""What notices look like in the REST API."""

from __future__ import annotations

from rest_framework import serializers

from web_server.api.fields import ByName, Reference, StrictModelSerializer
from web_server.notices.models import Delivery, Target


class TargetBody(StrictModelSerializer):
    """An address that alarms go to. The address itself is never shown again."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    address = serializers.CharField(
        write_only=True, required=False, help_text="`mailtos://user:password@server?to=…` or `https://…`"
    )
    made_by = ByName(read_only=True)

    class Meta:
        model = Target
        fields = ["id", "name", "way", "address", "shown", "place", "active", "made_by", "created_at"]
        read_only_fields = ["way", "shown", "created_at"]
        # Whether a name is taken is the service's to say, in a sentence.
        extra_kwargs = {"name": {"validators": []}, "place": {"required": False}}


class DeliveryBody(StrictModelSerializer):
    """One message to one address, and what came of it."""

    id = serializers.UUIDField(source="uuid", read_only=True)
    alarm = Reference(read_only=True)
    target = Reference(read_only=True)

    class Meta:
        model = Delivery
        fields = [
            "id",
            "alarm",
            "target",
            "target_name",
            "target_shown",
            "round",
            "state",
            "attempts",
            "next_try_at",
            "sent_at",
            "outcome",
            "created_at",
        ]
        read_only_fields = fields
