"""Telegram behind the Notifier protocol. python-telegram-bot is loaded with the first message."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from capital_governor.adapters.logs import escape
from capital_governor.adapters.outbox import Delivery, Refused, Retry, Sent

if TYPE_CHECKING:
    from telegram import Bot

DEADLINE_SECONDS: Final = 20.0
LONGEST_TEXT: Final = 4096
"""Characters that the Bot API takes in one message."""
_SHOWN_CHARACTERS: Final = 200
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}


class Telegram:
    """One chat.

    Args:
        token: of the bot.
        chat_id: where to.
        base_url: of the Bot API; the token is appended.
        redact: takes secrets out of what is said of a failure.
        deadline_seconds: for one message in all.
    """

    def __init__(
        self,
        token: str,
        chat_id: str,
        base_url: str,
        *,
        redact: Callable[[str], str],
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._token = token
        self._chat_id = chat_id
        self._base_url = base_url
        self._redact = redact
        self._deadline_seconds = deadline_seconds
        self._bot: Bot | None = None

    async def send(self, text: str) -> Delivery:
        """Send one plain text, cut to what a message may hold.

        A time-out counts as not delivered although it may have been: a notice twice is better than none.
        """
        try:
            # Loading takes the better part of a second of work and is not the other side's fault: no deadline on it.
            bot = await asyncio.to_thread(self._make_bot) if self._bot is None else self._bot
            self._bot = bot
            async with asyncio.timeout(self._deadline_seconds):
                await bot.send_message(self._chat_id, text[:LONGEST_TEXT])
        except TimeoutError:
            return Retry(f"no answer within {self._deadline_seconds:.0f} s")
        except Exception as error:  # noqa: BLE001 - a notifier's failure, whatever it is, must stop nothing else
            return self._failure(error)
        return Sent()

    async def close(self) -> None:
        """Close the connection."""
        if self._bot is not None:
            bot, self._bot = self._bot, None
            await bot.request.shutdown()

    def _make_bot(self) -> Bot:
        # The library warns with each RetryAfter whose pause it gives as a number; this makes it a timedelta.
        os.environ.setdefault("PTB_TIMEDELTA", "true")
        from telegram import Bot  # noqa: PLC0415 - its import costs as much as all else together
        from telegram.request import HTTPXRequest  # noqa: PLC0415

        # It logs whole answers that it cannot read, as errors with tracebacks; what failed is said here.
        logging.getLogger("telegram").setLevel(logging.CRITICAL)
        # A proxy of the environment is for the way out; httpx would send loopback through it as well.
        local = urlsplit(self._base_url).hostname in _LOOPBACK
        request = HTTPXRequest(connection_pool_size=1, httpx_kwargs={"trust_env": not local})
        return Bot(self._token, base_url=self._base_url, request=request, get_updates_request=request)

    def _failure(self, error: Exception) -> Delivery:
        """Sort an error by whether trying again is of use."""
        from telegram.error import RetryAfter  # noqa: PLC0415 - loaded already if anything was sent

        refusal = self._refusal(error)
        if refusal:
            return Refused(refusal)
        if isinstance(error, RetryAfter):
            return Retry("Telegram asks for a pause", _seconds(error.retry_after))
        return Retry(self._trouble(error))

    def _refusal(self, error: Exception) -> str:
        """Return why no further attempt can succeed and what to do about it; empty if one may."""
        from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken  # noqa: PLC0415

        match error:
            case ChatMigrated():
                return f"the group has a new chat id: set TELEGRAM_CHAT_ID={error.new_chat_id}"
            case InvalidToken():
                return "no such bot: check TELEGRAM_BOT_TOKEN (and TELEGRAM_API_BASE_URL, if set)"
            case BadRequest() | Forbidden():
                return f"{self._shown(error.message)}: check TELEGRAM_CHAT_ID and that the bot may write there"
        return ""

    def _trouble(self, error: Exception) -> str:
        from telegram.error import TelegramError, TimedOut  # noqa: PLC0415

        if isinstance(error, TimedOut):
            return "time-out"
        if isinstance(error, TelegramError) and (error.__cause__ is None or isinstance(error.__cause__, TelegramError)):
            return self._shown(error.message)
        # The words of an error of the transport may be the URL, so only its name is repeated.
        return type(error.__cause__ or error).__name__

    def _shown(self, text: str) -> str:
        """Return the other side's words, without a body that could not be read, fit for log and status file."""
        text = text.partition(". Parsing the server response")[0]
        return escape(self._redact(text.replace(self._token, "********")))[:_SHOWN_CHARACTERS]


def _seconds(wish: object) -> float | None:
    """Return a pause in seconds; the library hands on whatever the other side sent, None if that is no time."""
    if isinstance(wish, timedelta):
        return wish.total_seconds()
    return float(wish) if isinstance(wish, int | float) else None
