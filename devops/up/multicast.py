"""Whether programs of this machine hear each other by multicast, which the simulated CAN bus runs on."""

from __future__ import annotations

import socket
import struct

# A frame of this machine to itself is there at once; this is for a loaded one.
WAIT_S = 0.5


def works(group: str) -> bool:
    """Send one datagram to a group on this machine and tell whether it comes back."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
            ear.settimeout(WAIT_S)
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
            ear.bind(("", 0))
            membership = struct.pack("4sL", socket.inet_aton(group), socket.INADDR_ANY)
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
            ear.sendto(b"cellyard", (group, ear.getsockname()[1]))
            return ear.recv(16) == b"cellyard"
    except OSError:
        return False


def free_port(start: int) -> int:
    """Return the first UDP port from ``start`` on that nobody uses: two benches must not hear each other."""
    for port in range(start, 65536):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    return start
