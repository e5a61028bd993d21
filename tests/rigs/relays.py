"""What stands between a client and a server on loopback: an HTTP proxy, and TLS in front of a plain server.

    with BotApi() as api, Proxy(api) as proxy:       # http://api.example.test/... through it is answered by api
        environ = {"HTTP_PROXY": proxy.url}
    with Proxy(api, tls=True) as proxy: ...          # https likewise: CONNECT, then TLS with the tests' certificate

The certificate is for localhost, 127.0.0.1 and api.example.test; ``CERTIFICATE`` is its file, for SSL_CERT_FILE.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from pathlib import Path
from typing import Final, Self

from tests.rigs.patience import PATIENCE_SECONDS
from tests.rigs.raw_server import Connection, Server, http

CERTIFICATE: Final = Path(__file__).parents[1] / "data" / "loopback.pem"
"""Certificate and key, both of no use outside the tests."""
NAME: Final = "api.example.test"
"""A host that no resolver knows, so that only a proxy reaches it."""


class TlsFront(Server):
    """Speaks TLS, and hands each request on to a plain server."""

    def __init__(self, behind: Server) -> None:
        super().__init__(lambda connection: _hand_on(_secure(connection.sock), behind.port))
        self.url = f"https://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        super().__enter__()
        return self


class Proxy(Server):
    """Leads every host to one plain server.

    ``tls``: what comes through CONNECT is TLS, which ends here. ``refuse``: answer this instead, such as
    "407 Proxy Authentication Required".

    Attributes:
        asked: method and target of each request, as a proxy gets them.
        credentials: what each request had as Proxy-Authorization.
    """

    def __init__(self, behind: Server, *, tls: bool = False, refuse: str = "") -> None:
        super().__init__(self._serve)
        self.asked: list[str] = []
        self.credentials: list[str] = []
        self._behind = behind
        self._tls = tls
        self._refuse = refuse

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def _serve(self, connection: Connection) -> None:
        request = _read(connection.sock)
        head = request.partition(b"\r\n\r\n")[0].decode()
        method, target, _ = head.splitlines()[0].split(" ")
        self.asked.append(f"{method} {target}")
        self.credentials.append("".join(re.findall(r"(?im)^proxy-authorization: (.*?)\r?$", head)))
        if self._refuse:
            connection.send(http(b"", "Connection: close", status=self._refuse))
        elif method == "CONNECT":
            connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _hand_on(_secure(connection.sock) if self._tls else connection.sock, self._behind.port)
        else:
            path = re.sub("^http://[^/]*", "", target)
            _hand_on(connection.sock, self._behind.port, request.replace(target.encode(), path.encode(), 1))


def _secure(sock: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context.wrap_socket(sock, server_side=True)


def _hand_on(sock: socket.socket, port: int, request: bytes = b"") -> None:
    """Hand one request on, and its answer back until the server closes."""
    with contextlib.closing(sock), socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as server:
        server.sendall(request or _read(sock))
        while data := server.recv(65_536):
            sock.sendall(data)


def _read(sock: socket.socket) -> bytes:
    """Read one request, with a body of the length that its head says."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65_536)
        if not piece:
            raise ConnectionError("closed before a request")
        data += piece
    length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", data)
    missing = int(length[1]) - len(data.partition(b"\r\n\r\n")[2]) if length else 0
    while missing > 0:
        piece = sock.recv(65_536)
        data, missing = data + piece, missing - len(piece)
    return data
