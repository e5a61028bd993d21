"""The running governor: its ticks, and the heartbeat, messages and digest beside them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from capital_governor.adapters import logs
from capital_governor.adapters.dashboard import dashboard_of
from capital_governor.adapters.heartbeat import Heartbeat
from capital_governor.adapters.log_output import Sink
from capital_governor.adapters.paths import Paths
from capital_governor.core.model import Refusal, Snapshot
from capital_governor.journal.fallback import ResilientJournal
from capital_governor.journal.protocol import JournalConflictError
from capital_governor.journal.sqlite.file import set_aside
from capital_governor.journal.sqlite.sqlite_driver import in_memory, open_sqlite
from capital_governor.service.alerts import JOURNAL, Alert, Alerts
from capital_governor.service.cycle import Cycle, tick
from capital_governor.service.digest import Digest
from capital_governor.service.disk_thread import Disk
from capital_governor.service.event_log import EventLog, write_line
from capital_governor.service.governor_return import end_marker, return_notice
from capital_governor.service.notifications import Notifications, telegram_of
from capital_governor.service.open_episodes import open_episodes
from capital_governor.service.sender import sender_of
from capital_governor.service.standing import Outcome, Vitals
from capital_governor.settings.load import Settings
from capital_governor.wording.log_events import Line, LogEvent

GRACE_SECONDS: Final = 1.2
"""How long ``close`` waits for files and journal."""


class JournalNews:
    """Outages of the journal, reported by its thread and logged by the event loop.

    Attributes:
        problem: why the journal cannot be written; empty if it can.
        waiting: what is not logged yet: why it was lost, or how many cycles were written back.
    """

    def __init__(self) -> None:
        self.problem = ""
        self.waiting: deque[str | int] = deque()

    def lost(self, problem: str) -> None:
        """Note why it cannot be written."""
        self.problem = problem
        self.waiting.append(problem)

    def restored(self, cycles: int) -> None:
        """Note how many cycles were written back."""
        self.problem = ""
        self.waiting.append(cycles)


async def open_governor(
    settings: Settings,
    sink: Sink,
    *,
    dry_run: bool = False,
    completed: Callable[[Outcome], object] = lambda _: None,
) -> Governor:
    """Open the journal on the disk thread, since it may hang, and return a governor with it. See ``Governor``.

    Raises:
        JournalRefusedError: the journal is another program's, or of a newer version.
    """
    disk, news = Disk(), JournalNews()
    path = Paths(settings.root, dry_run).journal(settings.journal_path)
    try:
        journal = await disk(
            lambda: ResilientJournal(
                lambda: open_sqlite(path),
                memory=in_memory(),
                set_aside=lambda: set_aside(path, time.time()),
                on_lost=news.lost,
                on_restored=news.restored,
            )
        )
    except BaseException:
        disk.close()
        raise
    return Governor(settings, sink, journal, news, disk, dry_run=dry_run, completed=completed)


class Governor:
    """A cycle and everything around it. ``open_governor`` makes it, in the event loop that it is used in.

    Args:
        settings: validated.
        sink: of the logs; the status file counts its failures.
        journal: opened on the disk thread.
        news: outages of the journal.
        disk: the thread for files and journal.
        dry_run: publish below ``runtime/dry_run``, and send no messages.
        completed: called after each completed cycle, but not after one that an unexpected error ended.
    """

    def __init__(
        self,
        settings: Settings,
        sink: Sink,
        journal: ResilientJournal,
        news: JournalNews,
        disk: Disk,
        *,
        dry_run: bool,
        completed: Callable[[Outcome], object],
    ) -> None:
        self._log = logs.get_logger().bind()  # bound once, since a cycle of a large fleet writes many lines
        self._sink = sink
        self._settings = settings
        self._dry_run = dry_run
        self._rules = settings.rules()
        self._interval_seconds = settings.interval_seconds
        self._event_log = EventLog(self._say, self._rules, interval_seconds=self._interval_seconds)
        self._dashboard = dashboard_of(settings)
        self._journal = journal
        self._news = news
        self._on_disk = disk
        self._completed = completed
        telegram = None if dry_run else telegram_of(settings, sink.redact)
        self._cycle = Cycle(
            settings,
            self._journal,
            dry_run=dry_run,
            notify=telegram is not None,
            redact=sink.redact,
            vitals=self._vitals,
        )
        self._settings = settings
        self._alerts = Alerts(self._alert, settings)
        self._informed = self._recovered = self._concluded = False
        self._untold: Outcome | None = None
        self._dropped = 0
        self._heartbeat: Heartbeat | None = None
        if settings.heartbeat_url is not None and not dry_run:
            self._heartbeat = Heartbeat(settings.heartbeat_url.get_secret_value(), self._tell_heartbeat)
        self._notifications: Notifications | None = None
        self._digest: Digest | None = None
        if telegram is not None:
            if settings.digest_hour is not None:
                self._digest = Digest(journal, Cycle.book, settings.digest_hour, sender_of(settings), sink.redact)
            self._notifications = Notifications(
                telegram, self._journal, self._on_disk, redact=sink.redact, on_finished=self._renew_status
            )

    @property
    def journal_lost(self) -> bool:
        """Whether the last records are in memory only."""
        return self._journal.lost

    def start(self) -> None:
        """Start sending messages in the background."""
        if self._notifications is not None:
            self._notifications.start()

    def tell(self, text: str) -> None:
        """Send the operator a message, which is stored in the journal at once; without Telegram it does nothing."""
        if self._notifications is not None:
            self._notifications.tell(text)

    async def flush(self) -> None:
        """Send waiting messages and the heartbeat, within a limited time."""
        if self._notifications is not None:
            await self._notifications.flush()
        if self._heartbeat is not None:
            await self._heartbeat.flush()

    async def tick(self) -> Outcome:
        """Run one tick; before the first, continue where the last run ended."""
        if not self._recovered:
            await self._recover()
        outcome = await tick(self._dashboard.fetch, self._conclude, self._tell_cycle)
        if self._heartbeat is not None:
            self._heartbeat.beat()
        await self._tell_return()
        self._completed(outcome)
        return outcome

    async def _tell_return(self) -> None:
        """Tell the operator that the governor is back, if its supervisor has marked that it ended."""
        if self._dry_run:
            return
        settings, folder = self._settings, Paths(self._settings.root).folder
        try:
            notice = await self._on_disk(lambda: return_notice(folder, settings.fleet_name, time.time()))
            if notice is not None and (self._notifications is None or await self._notifications.put(notice)):
                await self._on_disk(lambda: end_marker(folder).unlink(missing_ok=True))
        except Exception:  # noqa: BLE001 - a failed message must not fail the cycle
            self._say(LogEvent.NOTICES_FAILED.line())

    async def _conclude(self, payload: Snapshot | Refusal) -> Outcome:
        """Conclude the cycle on the disk thread; the outcome is kept until it is logged."""

        def conclude() -> Outcome:
            self._untold = self._cycle.conclude(payload)
            self._concluded = True
            return self._untold

        return await self._on_disk(conclude)

    async def _tell_cycle(self) -> None:
        """Log the outcome of the last concluded cycle, unless that was done."""
        self._tell_journal()
        outcome, self._untold = self._untold, None
        if outcome is not None:
            self._log_remarks()
            self._event_log.cycle(outcome)
            self._alerts.cycle(outcome)
            await self._post(outcome)

    async def guarded_tick(self) -> bool:
        """Run a tick and handle every exception; return whether it had a usable payload."""
        try:
            return (await self.tick()).fetched
        except Exception as error:  # noqa: BLE001 - the next tick may well succeed
            conflict = isinstance(error, JournalConflictError)
            text = self._sink.redact(str(error) if conflict else f"{type(error).__name__}: {error}")
            self._event_log.broken(text, conflict=conflict)
            self._alerts.broken(text, time.time(), visible=self._cycle.standing.published, conflict=conflict)
            self._log_remarks()
            await self._say_in_status(lambda: self._cycle.fail(text))
            self._tell_journal()
            await self._post()
            return False

    async def _post(self, outcome: Outcome | None = None) -> None:
        """Store the waiting messages, and after a completed cycle the digest if it is due; a failure is only logged."""
        if self._notifications is None:
            return
        try:
            digest = self._digest
            if digest is not None and outcome is not None:
                await self._on_disk(lambda: digest.put(outcome))
            await self._notifications.post()
        except Exception:  # noqa: BLE001 - a failed message must not fail the cycle
            self._say(LogEvent.NOTICES_FAILED.line())

    async def _recover(self) -> None:
        """Continue where the last run ended, also with the open alerts."""
        if self._notifications is not None and not self._informed:
            interval = self._interval_seconds
            earlier = await self._on_disk(lambda: open_episodes(self._journal, Cycle.book, time.time(), interval))
            self._event_log = EventLog(self._say, self._rules, earlier.told, interval_seconds=interval)
            self._alerts = Alerts(self._alert, self._settings, earlier)
            self._informed = True
        found = await self._on_disk(self._cycle.recover)
        self._tell_journal()
        self._say(LogEvent.START_FOUND.line(found=found))
        self._log_remarks()
        self._recovered = True
        # A cycle makes a dozen objects for each agent, nearly all of which are freed without the garbage collector. The
        # rest is collected after the cycle. With 10,000 agents this saves a sixth of the cycle.
        gc.set_threshold(50_000, 10, 10)

    def _log_remarks(self) -> None:
        """Log what the cycle found beside its decision, such as in the journal."""
        for remark in self._cycle.remarks:
            self._say(remark)
        self._cycle.remarks.clear()

    async def close(self, *, goes_on: bool = False) -> None:
        """Finish what is being written, write the end to the status file and close the journal.

        With ``goes_on`` another governor follows in this process, so the status file stays as it is.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                if self._heartbeat is not None:
                    await self._heartbeat.close()
                if self._notifications is not None:
                    await self._notifications.close()
                await self._on_disk.quiet()
                await self._tell_cycle()  # if its tick was cancelled while the disk thread worked on it
                if not goes_on:
                    await self._say_in_status(self._cycle.leave)
                await self._on_disk(self._journal.close)
        self._tell_journal()
        self._on_disk.close()

    async def _say_in_status(self, write: Callable[[], str]) -> None:
        """Write the status file outside of a cycle; a failure is only logged."""
        try:
            problem = await self._on_disk(write)
        except Exception:  # noqa: BLE001 - governing does not need the status file
            self._say(LogEvent.STATUS_FAILED.line())
        else:
            self._event_log.status_file(problem)

    async def _renew_status(self) -> None:
        """Update the status file after a message; not before the first cycle, when it still shows the last run."""
        if self._concluded:
            await self._say_in_status(self._cycle.write_status)

    def _say(self, line: Line) -> None:
        write_line(self._log, line)

    def _alert(self, alert: Alert) -> None:
        if self._notifications is not None:
            self._notifications.alert(alert)

    def _tell_journal(self) -> None:
        """Log outages of the journal; the end also of one that began in an earlier process."""
        again, now = LogEvent.JOURNAL_WRITABLE.line(), time.time()
        while self._news.waiting:
            news = self._news.waiting.popleft()
            dropped, self._dropped = self._journal.dropped - self._dropped, self._journal.dropped
            if isinstance(news, str):
                self._event_log.episode(JOURNAL, LogEvent.JOURNAL_LOST.line(problem=news), again)
                self._alerts.journal_lost(news, now)
            else:
                self._event_log.episode(JOURNAL, None, LogEvent.JOURNAL_RESTORED.line(cycles=news, dropped=dropped))
                self._alerts.journal_back(now, news, dropped)
        if not self._journal.lost:
            self._event_log.episode(JOURNAL, None, again)
            self._alerts.journal_back(now)

    def _tell_heartbeat(self, problem: str) -> None:
        begun = LogEvent.HEARTBEAT_FAILED.line(problem=self._sink.redact(problem)) if problem else None
        self._event_log.episode("heartbeat", begun, LogEvent.HEARTBEAT_SUCCEEDS.line())

    def _vitals(self) -> Vitals:
        beat = self._heartbeat
        return Vitals(
            journal_problem=self._news.problem,
            journal_dropped=self._journal.dropped,
            log_failures=self._sink.failures,
            heartbeat_failures=0 if beat is None else beat.failures,
            heartbeat_problem="" if beat is None else self._sink.redact(beat.problem),
            notices=self._journal.backlog(),
        )
