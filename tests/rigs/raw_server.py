"""A server on loopback, in raw sockets, that may do anything a broken or hostile peer can do."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self

from tests.rigs.patience import PATIENCE_SECONDS

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
        self.began = time.monotonic()

    def read_head(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (data := self.sock.recv(65_536)):
            head += data
        self.server.heads.append(head)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def over(self, seconds: float) -> bool:
        """Wait so long, and return whether to end: the test is over, or the client has been waited for long enough.

        A client that is meant to leave by itself has not done so then: ``Server.gave_up`` counts it.
        """
        left = self.began + self.server.patience_seconds - time.monotonic()
        if self.stop.wait(max(0.0, min(seconds, left))):
            return True
        if left > seconds:
            return False
        self.server.gave_up += 1
        return True


class Server:
    """Serves on ``url`` while the block lasts; the n-th connection gets the n-th script, later ones the last.

    ``port`` 0 is any that is free; ``host`` an address of this machine. A script that would go on for ever ends when
    the client leaves or after ``patience_seconds``.

    Attributes:
        gave_up: how often a script ended because the client had not left in all that time.
    """

    def __init__(
        self,
        *scripts: Script,
        port: int = 0,
        host: str = "127.0.0.1",
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.scripts = scripts
        self.patience_seconds = patience_seconds
        self.gave_up = 0
        self.stop = threading.Event()
        self.heads: list[bytes] = []
        self.connections = 0
        self.finished = 0
        self._listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for sock in list(self._open):  # a client that keeps its connection must not keep the server
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
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
            sock.settimeout(self.patience_seconds)
            self._open.add(sock)
            script(Connection(sock, self))
        self._open.discard(sock)
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
        stay(connection)

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
        while not connection.over(every_seconds):
            connection.send(piece)

    return script


def hang(connection: Connection) -> None:
    """Accept, and that is all."""
    stay(connection)


def stay(connection: Connection) -> None:
    """Answer nothing more until the client leaves."""
    while not connection.over(0.05):
        if _has_left(connection.sock):
            return


def _has_left(sock: socket.socket) -> bool:
    readable, _, _ = select.select([sock], [], [], 0)
    return bool(readable) and not sock.recv(65_536)


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a whole well-formed answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@contextlib.contextmanager
def full_backlog(port: int = 0) -> Iterator[str]:
    """A listening socket that nobody accepts from, and whose queue is full: further connections hang."""
    with socket.create_server(("127.0.0.1", port), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
