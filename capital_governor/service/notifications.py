"""Messages to the operator: alerts become notices in the journal, and an outbox sends them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from capital_governor.adapters import logs
from capital_governor.adapters.telegram import Telegram
from capital_governor.journal.notices import Notice, new_notice
from capital_governor.journal.protocol import Journal
from capital_governor.service.alerts import Alert
from capital_governor.service.event_log import write_line
from capital_governor.service.outbox import OnDisk, Outbox
from capital_governor.settings.load import Settings
from capital_governor.wording.log_events import Line, LogEvent

FLUSH_SECONDS: Final = 30.0
"""How long ``once`` waits for its messages to be sent."""
CLOSE_SECONDS: Final = 0.3
"""How long ``close`` waits for the connection to be closed."""


def telegram_of(settings: Settings, redact: Callable[[str], str]) -> Telegram | None:
    """Return the chat in the settings; None if there is none."""
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
    """Sends notices to Telegram while the governor runs. Used in an event loop, except ``alert``.

    Args:
        telegram: the chat.
        store: the journal.
        on_disk: runs a call to the journal on its thread.
        redact: hides secrets in the text of an alert.
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
        self._alerts: deque[Alert] = deque()
        self._task: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[bool]] = set()

    def alert(self, alert: Alert) -> None:
        """Take an alert; may be called from any thread."""
        self._alerts.append(alert)

    async def post(self) -> None:
        """Put the alerts taken so far into the journal, and wake the outbox."""
        notices = [
            new_notice(self._redact(alert.text), alert.at, topic=alert.topic, begins=not alert.over)
            for alert in tuple(self._alerts)
        ]
        if notices:
            await self._on_disk(lambda: self._store.put_notices(notices))
        for _ in notices:  # only now: if they could not be stored, the next call tries again
            self._alerts.popleft()
        self._outbox.wake()

    def tell(self, text: str) -> None:
        """Send a text that does not belong to a cycle; it is put into the journal at once."""
        task = asyncio.create_task(self.put(new_notice(self._redact(text), time.time())), name="message")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def put(self, notice: Notice) -> bool:
        """Put a notice into the journal, to be sent; return whether that could be done, else it is logged."""
        try:
            await self._on_disk(lambda: self._store.put_notices((notice,)))
        except Exception:  # noqa: BLE001 - a failed message must stop nothing else
            self._say(LogEvent.NOTICES_FAILED.line())
            return False
        self._outbox.wake()
        return True

    def start(self) -> None:
        """Send in the background from now on."""
        self._task = asyncio.create_task(self._outbox.run(), name="outbox")

    async def flush(self) -> None:
        """Send what is due within ``FLUSH_SECONDS``; the rest waits for the next run."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._outbox.flush()

    async def close(self) -> None:
        """Stop sending; the next run sends again what was not confirmed."""
        if self._telling:
            await asyncio.wait(self._telling)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._telegram.close()

    def _say(self, line: Line) -> None:
        write_line(self._log, line)
