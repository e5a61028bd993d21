"""A server on loopback, in raw sockets, that may do anything a broken or hostile peer can do."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

Script = Callable[["Connection"], None]
"""What the server does with one connection, which is closed when the script returns."""


class Connection:
    """One accepted connection: ``stop`` is set when the test is over."""

    def __init__(self, sock: socket.socket, server: Server) -> None:
        self.sock = sock
        self.server = server
        self.stop = server.stop

    def read_head(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (data := self.sock.recv(65_536)):
            head += data
        self.server.heads.append(head)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)


class Server:
    """Serves on ``url`` while the block lasts; the n-th connection gets the n-th script, later ones the last.

    ``port`` 0 is any that is free; ``host`` an address of this machine.
    """

    def __init__(self, *scripts: Script, port: int = 0, host: str = "127.0.0.1") -> None:
        self.scripts = scripts
        self.stop = threading.Event()
        self.heads: list[bytes] = []
        self.connections = 0
        self.finished = 0
        self._listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._threads = [threading.Thread(target=self._accept)]
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            script = self.scripts[min(self.connections, len(self.scripts) - 1)]
            self.connections += 1
            thread = threading.Thread(target=self._run, args=(script, sock))
            self._threads.append(thread)
            thread.start()

    def _run(self, script: Script, sock: socket.socket) -> None:
        # The client leaves whenever it likes: that ends a script and is no failure of the test.
        with sock, contextlib.suppress(OSError):
            sock.settimeout(5)
            script(Connection(sock, self))
        self.finished += 1


def answer(data: bytes) -> Script:
    """Read the request, send this, close."""

    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(data)

    return script


def answer_and_hang(data: bytes) -> Script:
    """Read the request, send this, then neither send nor close."""

    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(data)
        connection.stop.wait(5)

    return script


def answer_and_reset(data: bytes) -> Script:
    """Read the request, send this, then reset the connection."""

    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(data)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return script


def repeat(head: bytes, piece: bytes, every_seconds: float = 0.0) -> Script:
    """Read the request, send the head, then the piece again and again for ever."""

    def script(connection: Connection) -> None:
        connection.read_head()
        connection.send(head)
        while not connection.stop.wait(every_seconds) if every_seconds else not connection.stop.is_set():
            connection.send(piece)

    return script


def hang(connection: Connection) -> None:
    """Accept, and that is all."""
    connection.stop.wait(5)


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a whole well-formed answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
