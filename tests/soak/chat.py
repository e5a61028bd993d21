"""The soak's Bot API. Run as ``python -m tests.soak.chat``.

Orders: ``url``; ``down`` and ``up``; a word of ``MODES`` says how requests are answered from now on; ``asked`` and
``taken`` return how many requests have come in, and every message that the chat shows.
"""

from __future__ import annotations

from typing import Final

from tests.rigs.bot_api import CHAT, TOKEN, Answer, BotApi, bad_gateway, hang, ok, pause
from tests.soak.station import Station, obey

MODES: Final[dict[str, Answer]] = {"well": ok, "hang": hang, "busy": pause(5), "proxy": bad_gateway}


class Chat:
    """The Bot API with its orders; the port stays the same over its absences."""

    def __init__(self) -> None:
        self._port = 0
        self._asked = 0
        self._taken: list[str] = []
        self._api: BotApi | None = None
        self._open()

    def act(self, order: str) -> object:
        """Do as told."""
        if order == "down":
            self.close()
        elif order == "up":
            self._open()
        elif order in MODES and self._api is not None:
            self._api.next(MODES[order])
        elif order == "asked":
            return self._asked + (len(self._api.asked) if self._api is not None else 0)
        elif order == "taken":
            return self._taken + (list(self._api.taken) if self._api is not None else [])
        elif order != "url":
            raise ValueError(f"no such order: {order}")
        return f"http://127.0.0.1:{self._port}/bot"

    def close(self) -> None:
        """Refuse connections, and keep what was taken."""
        if self._api is not None:
            self._api.__exit__(None, None, None)
            self._asked += len(self._api.asked)
            self._taken += self._api.taken
            self._api = None

    def _open(self) -> None:
        if self._api is None:
            self._api = BotApi(port=self._port)
            self._api.__enter__()
            self._port = self._api.port


class ChatStation(Station):
    """The parent's end."""

    def __init__(self) -> None:
        super().__init__("tests.soak.chat")
        self.base_url = str(self.order("url"))

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to send here."""
        return {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": CHAT, "TELEGRAM_API_BASE_URL": self.base_url}


if __name__ == "__main__":
    chat = Chat()
    try:
        obey(chat.act)
    finally:
        chat.close()
