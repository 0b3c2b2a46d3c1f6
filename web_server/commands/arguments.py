"""What the commands that programs may send take: one strict body per kind."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers

from web_server.api.fields import Reference, StrictSerializer
from web_server.lab.control import LONGEST_S, MODES
from web_server.lab.models import Device

# The unit holds a listen at most this long; a page asks again and again.
LISTEN_S = 25.0
_HEX = re.compile(r"([0-9a-fA-F]{2}){0,8}")


class NoArgs(StrictSerializer):
    """Nothing."""


class DetectArgs(StrictSerializer):
    """Where to look; nothing = everywhere."""

    links = serializers.ListField(child=serializers.CharField(), required=False)


class ReadArgs(StrictSerializer):
    """Which device of the unit, or of the station."""

    device = Reference(queryset=Device.objects.select_related("unit", "station", "model"), required=False)


class LeaseArgs(ReadArgs):
    """Take (no lease), renew or give back (`release`) the manual lease of a device or station.

    `connected` is `battery` (the loaded one, whose limits the site computes) or `other`: nothing or
    another object, with typed limits and a duration.
    """

    lease = serializers.UUIDField(required=False)
    release = serializers.BooleanField(required=False)
    connected = serializers.ChoiceField(choices=["battery", "other"], required=False)
    voltage_min_v = serializers.FloatField(required=False)
    voltage_max_v = serializers.FloatField(required=False)
    current_min_a = serializers.FloatField(required=False)
    current_max_a = serializers.FloatField(required=False)
    duration_s = serializers.FloatField(required=False, min_value=1, max_value=LONGEST_S)


@extend_schema_field(
    {
        "type": "object",
        "additionalProperties": {"oneOf": [{"type": "number"}, {"type": "string", "enum": list(MODES)}]},
    }
)
class ValuesField(serializers.DictField):
    """Set points by name: `mode current_a voltage_v power_w` of what drives a battery, else controls."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Take an object; the control's own rules come after."""
        if not isinstance(data, dict) or not data:
            raise serializers.ValidationError("an object of set points by name")
        return {str(name): given for name, given in data.items()}


class SetArgs(ReadArgs):
    """Set controls under a lease."""

    lease = serializers.UUIDField()
    values = ValuesField()  # type: ignore[assignment]


class OffArgs(ReadArgs):
    """Everything off, whoever holds it."""


class ScpiArgs(StrictSerializer):
    """One message on a text link. `force`: also where another device of the same bus runs nothing."""

    link = serializers.CharField(max_length=200)
    text = serializers.CharField(max_length=1000)
    timeout_s = serializers.FloatField(required=False, min_value=0.1, max_value=10)
    force = serializers.BooleanField(required=False)


class CanSendArgs(StrictSerializer):
    """One frame; `payload` in hex, at most 8 bytes."""

    link = serializers.CharField(max_length=200)
    id = serializers.IntegerField(min_value=0, max_value=0x1FFFFFFF)
    payload = serializers.CharField(required=False, allow_blank=True, max_length=16)
    listen_s = serializers.FloatField(required=False, min_value=0, max_value=10)
    force = serializers.BooleanField(required=False)

    def validate_payload(self, text: str) -> str:
        """Refuse what is no hex of whole bytes."""
        if not _HEX.fullmatch(text):
            raise serializers.ValidationError("up to 8 bytes in hex, for example 020100")
        return text


class CanListenArgs(StrictSerializer):
    """Frames with `id & mask` equal to the wanted; `after` goes on where the last answer ended."""

    link = serializers.CharField(max_length=200)
    seconds = serializers.FloatField(required=False, min_value=0.1, max_value=LISTEN_S)
    id = serializers.IntegerField(required=False, min_value=0, max_value=0x1FFFFFFF)
    mask = serializers.IntegerField(required=False, min_value=0, max_value=0x1FFFFFFF)
    most = serializers.IntegerField(required=False, min_value=1, max_value=2000)
    after = serializers.IntegerField(required=False, min_value=-1)


class LogArgs(StrictSerializer):
    """The last lines of the unit's log; `level` sets one, for example `cycler_unit.link=DEBUG`."""

    lines = serializers.IntegerField(required=False, min_value=1, max_value=2000)
    level = serializers.CharField(required=False, max_length=200)


class RestartArgs(StrictSerializer):
    """Restart the unit; refused while a test runs there unless `force`."""

    force = serializers.BooleanField(required=False)


class DrillArgs(StrictSerializer):
    """Let a station behave as if the server were away for so long: its contact policy must act."""

    seconds = serializers.FloatField(min_value=1, max_value=3600)


ARGUMENTS: dict[str, type[StrictSerializer]] = {
    "detect": DetectArgs,
    "device.read": ReadArgs,
    "device.lease": LeaseArgs,
    "device.set": SetArgs,
    "device.off": OffArgs,
    "station.drill": DrillArgs,
    "scpi.query": ScpiArgs,
    "scpi.write": ScpiArgs,
    "can.send": CanSendArgs,
    "can.listen": CanListenArgs,
    "unit.log": LogArgs,
    "unit.restart": RestartArgs,
}


@extend_schema_field(
    PolymorphicProxySerializer(
        component_name="CommandArguments",
        serializers=list(dict.fromkeys(ARGUMENTS.values())),
        resource_type_field_name=None,
    )
)
class ArgumentsField(serializers.DictField):
    """The arguments of a command, by its kind."""


def checked(kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a command as its body says; errors name ``args.<field>``."""
    body = ARGUMENTS[kind](data=given)
    if not body.is_valid():
        raise serializers.ValidationError({"args": body.errors})
    return dict(body.validated_data)
