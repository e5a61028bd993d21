"""Tells whether a host is this machine itself."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

_LOOPBACK_NET: Final = 127


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine itself: localhost, 127.0.0.0/8 (127.1 too) or ::1."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            return socket.inet_aton(name)[0] == _LOOPBACK_NET
        except OSError:
            return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
