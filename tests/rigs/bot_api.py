"""A Bot API on loopback that answers ``sendMessage`` by script: well, badly, late or not at all.

    with BotApi() as api:                  # takes every message
        api.next(refuse(400), ok)          # the next two requests; the last script stays
        api.wait_for(3)                    # until it has taken three messages

What counts as taken is what a chat would show: a message is taken when its script says so, answered or not.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Self
from urllib.parse import parse_qs

from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.raw_server import Connection, Server, http, stay

TOKEN: Final = "123456789:CANARYabcdefghijklmnopqrstuvwxyz-_0"  # noqa: S105 - of no bot
CHAT: Final = "-100123"

Answer = Callable[["Exchange"], None]


class Exchange:
    """One request to the Bot API: its path, its fields, and what may be done about it."""

    def __init__(self, api: BotApi, connection: Connection, path: str, fields: dict[str, str]) -> None:
        self.api = api
        self.connection = connection
        self.path = path
        self.fields = fields

    def take(self) -> None:
        """Show the message in the chat."""
        with self.api.changing:
            self.api.taken.append(self.fields["text"])

    def answer(self, body: object, status: str = "200 OK") -> None:
        """Answer this; bytes as they are, all else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.send(http(data, "Content-Type: application/json", "Connection: close", status=status))


def ok(exchange: Exchange) -> None:
    """Take the message and say so."""
    exchange.take()
    chat = {"id": int(CHAT), "type": "group", "title": "Operators"}
    message = {"message_id": len(exchange.api.taken), "date": 1_762_207_200, "chat": chat}
    exchange.answer({"ok": True, "result": message | {"text": exchange.fields["text"]}})


def hang(exchange: Exchange) -> None:
    """Neither answer nor close."""
    stay(exchange.connection)


def reset(exchange: Exchange) -> None:
    """Break the connection off."""
    exchange.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def malformed(exchange: Exchange) -> None:
    """Answer what is no JSON, with the token in it."""
    exchange.answer(f"<html>{TOKEN}</html>".encode())


def refuse(code: int, description: str = "") -> Answer:
    """Answer with this status, and a description that repeats the token as a hostile server may."""

    def script(exchange: Exchange) -> None:
        said = description or f"Refused /bot{TOKEN}/sendMessage"
        exchange.answer({"ok": False, "error_code": code, "description": said}, f"{code} Refused")

    return script


def bad_gateway(exchange: Exchange) -> None:
    """Answer as a proxy whose server is down."""
    exchange.answer(b"<html>Bad Gateway</html>", "502 Bad Gateway")


def migrate(chat_id: object) -> Answer:
    """Answer as for a group that has become a supergroup with this chat id."""

    def script(exchange: Exchange) -> None:
        body = {"ok": False, "error_code": 400, "description": "Bad Request: group chat was upgraded"}
        exchange.answer(body | {"parameters": {"migrate_to_chat_id": chat_id}}, "400 Bad Request")

    return script


def pause(seconds: object) -> Answer:
    """Answer 429 with this ``retry_after``."""

    def script(exchange: Exchange) -> None:
        body = {"ok": False, "error_code": 429, "description": "Too Many Requests"}
        exchange.answer(body | {"parameters": {"retry_after": seconds}}, "429 Too Many Requests")

    return script


def then(act: Callable[[], object], *, take: bool) -> Answer:
    """Do something, such as killing the sender, before anything is answered; then break the connection off."""

    def script(exchange: Exchange) -> None:
        if take:
            exchange.take()
        act()
        reset(exchange)

    return script


class BotApi(Server):
    """Serves while the block lasts; ``base_url`` is what TELEGRAM_API_BASE_URL takes.

    Attributes:
        taken: the texts that the chat shows, in their order.
        asked: the path of each request.
        chats: the chat of each request.
        topics: the forum topic of each request, "" for none.
        previews: what each request asks about previews of links, as JSON; "" for nothing.
    """

    def __init__(self, *scripts: Answer, port: int = 0, patience_seconds: float = PATIENCE_SECONDS) -> None:
        super().__init__(self._serve, port=port, patience_seconds=patience_seconds)
        self.changing = threading.Lock()
        self.taken: list[str] = []
        self.asked: list[str] = []
        self.chats: list[str] = []
        self.topics: list[str] = []
        self.previews: list[str] = []
        self.base_url = f"{self.url}/bot"
        self._queue: deque[Answer] = deque(scripts or (ok,))

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to send here."""
        return {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": CHAT, "TELEGRAM_API_BASE_URL": self.base_url}

    def next(self, *scripts: Answer) -> None:
        """Forget what was to come, and answer with these from the next request on; the last one stays."""
        with self.changing:
            self._queue = deque(scripts)

    def wait_for(self, messages: int, seconds: float = PATIENCE_SECONDS) -> list[str]:
        """Wait until so many messages were taken in all, and return them."""
        wait_until(lambda: len(self.taken) >= messages, seconds)
        return list(self.taken)

    def wait_asked(self, requests: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until so many requests have come in all."""
        wait_until(lambda: len(self.asked) >= requests, seconds)

    def _serve(self, connection: Connection) -> None:
        head, body = _read(connection.sock)
        if not head:
            return
        path = head.split(" ", 2)[1]
        fields = _fields(head, body)
        with self.changing:
            self.asked.append(path)
            self.chats.append(fields.get("chat_id", ""))
            self.topics.append(fields.get("message_thread_id", ""))
            self.previews.append(fields.get("link_preview_options", ""))
            script = self._queue.popleft() if len(self._queue) > 1 else self._queue[0]
        script(Exchange(self, connection, path, fields))


def _read(sock: socket.socket) -> tuple[str, bytes]:
    """Read one request with a body of the length that its head says; nothing where the client leaves before its end."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65_536)
        if not piece:
            return "", b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode()
    lengths = [line.partition(":")[2] for line in text.splitlines() if line.lower().startswith("content-length:")]
    while len(body) < int(lengths[0]):
        piece = sock.recv(65_536)
        if not piece:
            return "", b""
        body += piece
    return text, body


def _fields(head: str, body: bytes) -> dict[str, str]:
    if "application/json" in head.lower():
        found: dict[str, Any] = json.loads(body)
        return {name: str(value) for name, value in found.items()}
    return {name: values[0] for name, values in parse_qs(body.decode()).items()}
