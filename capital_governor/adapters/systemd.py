"""systemd's notification protocol, sd_notify(3): one datagram a message, sent or not, never waited for."""

from __future__ import annotations

import socket


class ServiceManager:
    """Whoever started this process and listens on NOTIFY_SOCKET.

    Args:
        address: what NOTIFY_SOCKET says: a path, or a name in Linux's abstract space after ``@``; empty if nobody
            listens, and then nothing is sent.
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
                sender.settimeout(0)  # a full queue must not hold up a cycle
                sender.sendto(message.encode(), self._address)
        except OSError as error:  # no such socket, nobody behind it, its queue full, a name too long
            return f"systemd cannot be notified at NOTIFY_SOCKET: {error.strerror or error}"
        return ""
