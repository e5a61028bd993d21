"""systemd's notification protocol, sd_notify(3): one datagram per message, sent without waiting."""

from __future__ import annotations

import socket


class ServiceManager:
    """The service manager that listens on NOTIFY_SOCKET.

    Args:
        address: the value of NOTIFY_SOCKET: a path, or ``@`` and a name in Linux's abstract namespace; empty: nothing
            is sent.
    """

    def __init__(self, address: str) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def notify(self, *assignments: str) -> str:
        """Send assignments such as ``READY=1`` as one message; return why it could not be sent, empty if it was."""
        if not self._address:
            return ""
        message = "\n".join(assignment.replace("\n", " ") for assignment in assignments)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(0)  # a full queue must not delay a cycle
                sender.sendto(message.encode(), self._address)
        except OSError as error:  # no such socket, no listener, a full queue, a name too long
            return f"systemd cannot be notified at NOTIFY_SOCKET: {error.strerror or error}"
        return ""
