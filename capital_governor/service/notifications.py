"""What the operator is told by message: alerts become notices of the journal, and an outbox delivers them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from capital_governor.adapters import logs
from capital_governor.adapters.telegram import Telegram
from capital_governor.journal.notices import new_notice
from capital_governor.journal.protocol import Journal
from capital_governor.service.event_log import write_line
from capital_governor.service.outbox import OnDisk, Outbox
from capital_governor.settings.load import Settings
from capital_governor.wording.log_events import Line
from capital_governor.wording.notice_texts import alert_text

FLUSH_SECONDS: Final = 30.0
"""How long a command that ends by itself waits for what it has to tell."""
CLOSE_SECONDS: Final = 0.3
"""How long the end waits for the other side of the connection."""


def telegram_of(settings: Settings, redact: Callable[[str], str]) -> Telegram | None:
    """Return the chat that the settings name; None if they name none."""
    token, chat = settings.telegram_bot_token, settings.telegram_chat_id
    if token is None or chat is None:
        return None
    return Telegram(
        token.get_secret_value(),
        chat,
        settings.telegram_api_base_url,
        topic_id=settings.telegram_topic_id,
        redact=redact,
    )


class Notifications:
    """Brings notices to Telegram while the governor lives. Made and used in an event loop, but for ``alert``.

    Args:
        telegram: the chat.
        store: the journal.
        on_disk: runs a call to the journal on its thread.
        redact: takes secrets out of the text of an alert.
        on_finished: awaited after a notice was sent or refused.
    """

    def __init__(
        self,
        telegram: Telegram,
        store: Journal,
        on_disk: OnDisk,
        *,
        redact: Callable[[str], str],
        on_finished: Callable[[], Awaitable[object]],
    ) -> None:
        self._log = logs.get_logger()
        self._telegram = telegram
        self._store = store
        self._on_disk = on_disk
        self._redact = redact
        self._outbox = Outbox(store, on_disk, telegram, say=self._say, now=time.time, on_finished=on_finished)
        self._alerts: deque[Line] = deque()
        self._task: asyncio.Task[None] | None = None

    def alert(self, line: Line) -> None:
        """Take a line that the operator should be told of; any thread may."""
        self._alerts.append(line)

    async def post(self) -> None:
        """Put the alerts taken so far into the journal, and have it looked at for more to send."""
        now, lines = time.time(), tuple(self._alerts)
        notices = [
            new_notice(self._redact(alert_text(line)), now, topic=line.topic, begins=not line.over) for line in lines
        ]
        if notices:
            await self._on_disk(lambda: self._store.put_notices(notices))
        for _ in notices:  # only now: what could not be put down is to be told the next time
            self._alerts.popleft()
        self._outbox.wake()

    def start(self) -> None:
        """Deliver in the background from now on."""
        self._task = asyncio.create_task(self._outbox.run(), name="outbox")

    async def flush(self) -> None:
        """Deliver what is due, in the time that a command may take; what is left waits for the next run."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._outbox.flush()

    async def close(self) -> None:
        """End the delivery; what is on its way is sent again by the next run."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._telegram.close()

    def _say(self, line: Line) -> None:
        write_line(self._log, line)
