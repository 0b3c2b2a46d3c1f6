"""One connection to an MQTT broker, shared by the unit and the manager."""

from mqtt_link.address import Address, BadAddress
from mqtt_link.link import Link, Will

__all__ = ["Address", "BadAddress", "Link", "Will"]
