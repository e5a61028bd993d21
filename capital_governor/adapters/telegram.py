"""Sends messages by Telegram. python-telegram-bot is imported with the first message."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from capital_governor.adapters import logs
from capital_governor.adapters.http_failure import failure_text, proxy_text, wants_proxy_password
from capital_governor.adapters.http_get import httpx, tls_context
from capital_governor.adapters.notifier import Delivery, Refused, Retry, Sent
from capital_governor.adapters.printable import escape
from capital_governor.adapters.proxies import ProxyUnusableError, Route, route_to

if TYPE_CHECKING:
    from telegram import Bot
    from telegram.error import TelegramError

T = TypeVar("T")

DEADLINE_SECONDS: Final = 20.0
LONGEST_TEXT: Final = 4096
"""The largest number of characters in one message of the Bot API."""
_SHOWN_CHARACTERS: Final = 200
_UNREADABLE: Final = ". Parsing the server response"
"""In the library's error text, what separates its own words from a body that is not JSON."""


class Telegram:
    """One chat.

    Args:
        token: of the bot.
        chat_id: of the chat.
        base_url: of the Bot API; the token is appended.
        topic_id: of the forum topic in the chat; None: the chat itself.
        redact: hides secrets in texts about failures.
        deadline_seconds: for one message.
    """

    def __init__(
        self,
        token: str,
        chat_id: str,
        base_url: str,
        *,
        topic_id: int | None = None,
        redact: Callable[[str], str],
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._token = token
        self._chat_id = chat_id
        self._base_url = base_url
        self._topic_id = topic_id
        self._redact = redact
        self._deadline_seconds = deadline_seconds
        self._bot: Bot | None = None
        self._route = Route()
        self._shown = f"the Bot API at {urlsplit(base_url).netloc}"

    async def send(self, text: str) -> Delivery:
        """Send one plain text, cut to ``LONGEST_TEXT``.

        A time-out counts as not sent, although it may have been: a message twice is better than none. A group that has
        become a supergroup has a new chat id. The answer names it, and it is used from then on.
        """

        async def deliver(bot: Bot) -> Sent:
            await self._deliver(bot, text[:LONGEST_TEXT])
            return Sent()

        return await self._ask(deliver)

    async def look(self) -> str | Retry | Refused:
        """Return in words which bot and which chat these are, or why that is not known. Nothing is sent to the chat."""

        async def names(bot: Bot) -> str:
            me, chat = await bot.get_me(), await bot.get_chat(self._chat_id)
            shown = chat.effective_name or self._chat_id
            return self._clear(f"bot @{me.username}, {chat.type} {shown}")

        return await self._ask(names)

    async def _ask(self, call: Callable[[Bot], Awaitable[T]]) -> T | Retry | Refused:
        """Return what a call of the Bot API returns, or why it failed."""
        try:
            # The import takes most of a second and does not count towards the deadline.
            bot = await asyncio.to_thread(self._make_bot) if self._bot is None else self._bot
        except ProxyUnusableError as error:
            return Retry(str(error))
        except Exception as error:  # noqa: BLE001 - a failure of Telegram must stop nothing else
            return Retry(failure_text(error, self._shown))
        self._bot = bot
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await call(bot)
        except TimeoutError:
            return Retry(f"no answer within {self._deadline_seconds:g} s from {self._shown}{self._through}")
        except Exception as error:  # noqa: BLE001 - likewise
            return self._failure(error)

    async def close(self) -> None:
        """Close the connection."""
        if self._bot is not None:
            bot, self._bot = self._bot, None
            await bot.request.shutdown()

    def _make_bot(self) -> Bot:
        # Makes RetryAfter's pause a timedelta; with a number the library warns each time.
        os.environ.setdefault("PTB_TIMEDELTA", "true")
        from telegram import Bot  # noqa: PLC0415 - its import takes as long as all others together
        from telegram.request import HTTPXRequest  # noqa: PLC0415

        # It logs unreadable answers as errors with tracebacks; the failure is logged by the outbox.
        logging.getLogger("telegram").setLevel(logging.CRITICAL)
        self._route = route_to(self._base_url)
        tls = tls_context(httpx.URL(self._base_url))
        request = HTTPXRequest(
            connection_pool_size=1, proxy=self._route.proxy, httpx_kwargs={"trust_env": False, "verify": tls}
        )
        return Bot(self._token, base_url=self._base_url, request=request, get_updates_request=request)

    async def _deliver(self, bot: Bot, text: str) -> None:
        from telegram import LinkPreviewOptions  # noqa: PLC0415 - loaded already
        from telegram.error import ChatMigrated  # noqa: PLC0415

        # Telegram takes an agent's name such as a.com for a link, and would show that page below the message.
        send = partial(
            bot.send_message,
            text=text,
            message_thread_id=self._topic_id,
            link_preview_options=LinkPreviewOptions(is_disabled=True),
        )
        try:
            await send(self._chat_id)
        except ChatMigrated as moved:
            if type(moved.new_chat_id) is not int or str(moved.new_chat_id) == self._chat_id:
                raise
            self._chat_id = str(moved.new_chat_id)
            logs.get_logger().warning("chat_moved", problem=_moved_text(self._chat_id))
            await send(self._chat_id)

    @property
    def _through(self) -> str:
        return f" through {self._route.via}" if self._route.via else ""

    def _failure(self, error: Exception) -> Retry | Refused:
        """Return whether to try again after an error of a request."""
        from telegram.error import ChatMigrated, NetworkError, RetryAfter, TelegramError, TimedOut  # noqa: PLC0415

        match error:
            case RetryAfter():
                return Retry("Telegram asks for a pause", _seconds(error.retry_after))
            case TimedOut():
                return Retry(f"no answer in time from {self._shown}{self._through}")
            case ChatMigrated() if type(error.new_chat_id) is int:
                return Retry(_moved_text(str(error.new_chat_id)))
            case NetworkError() if error.__cause__ is not None and not isinstance(error.__cause__, TelegramError):
                # The library's own text may have the URL, which contains the token.
                return Retry(self._clear(failure_text(error.__cause__, self._shown, self._route.via)))
            case TelegramError() if not isinstance(error, ChatMigrated):
                return self._answered(error)
            case _:
                return Retry(self._strange("is not one of Telegram's"))

    def _answered(self, error: TelegramError) -> Retry | Refused:
        """Return whether to try again after an error in the answer, of Telegram or of a server in its place."""
        from telegram.error import BadRequest, Forbidden, InvalidToken, NetworkError  # noqa: PLC0415

        words = self._clear(error.message.partition(_UNREADABLE)[0])[:_SHOWN_CHARACTERS]
        if self._route.via and wants_proxy_password(words):
            return Retry(proxy_text(self._route.via, "407"))
        refusal = isinstance(error, BadRequest | Forbidden | InvalidToken)
        if error.__cause__ is not None and (refusal or not isinstance(error, NetworkError)):
            return Retry(self._strange(f"is not one of Telegram's ({words})"))
        if isinstance(error, InvalidToken):
            return Refused("no such bot: check TELEGRAM_BOT_TOKEN (and TELEGRAM_API_BASE_URL, if set)")
        if not refusal:
            return Retry(f"{self._shown} answers: {words}")
        if self._topic_id is not None and ("thread" in words.lower() or "topic" in words.lower()):
            return Refused(f"{words}: check TELEGRAM_TOPIC_ID, a topic of the chat in TELEGRAM_CHAT_ID")
        return Refused(f"{words}: check TELEGRAM_CHAT_ID and that the bot may write there")

    def _strange(self, what: str) -> str:
        return f"the answer of {self._shown}{self._through} {what}: check TELEGRAM_API_BASE_URL"

    def _clear(self, text: str) -> str:
        """Return the text of an answer without secrets, safe for log and status file."""
        return escape(self._redact(text.replace(self._token, "********")))


def _moved_text(chat_id: str) -> str:
    return f"the group has a new chat id: set TELEGRAM_CHAT_ID={chat_id}"


def _seconds(wish: object) -> float | None:
    """Return a pause in seconds; None if the server sent no valid one, which the library does not check."""
    if isinstance(wish, timedelta):
        return wish.total_seconds()
    return float(wish) if isinstance(wish, int | float) else None
