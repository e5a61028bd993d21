"""One tick: fetch, parse, gather the inputs, decide, commit, publish, write the status file, log and notify.

All steps between fetch and log are synchronous and run on the thread for files and journal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from capital_governor.adapters import atomic_replacement, interlocks, refusals
from capital_governor.adapters.bounded_reading import NotAFile, read_bounded
from capital_governor.adapters.file_convergence import Convergence, FileOutcome
from capital_governor.adapters.paths import Paths
from capital_governor.contracts.allocations import generation_of
from capital_governor.contracts.payload import parse
from capital_governor.core.acceptance import apply_accept, ended_releases
from capital_governor.core.decision import commit, decide, refuse
from capital_governor.core.gate import gate
from capital_governor.core.model import Inputs, Publication, Refusal, Snapshot, State
from capital_governor.core.orders import Order, accept_of, ceiling_of, hold_of, limits_of, releases_of
from capital_governor.core.reason import GATE_REFUSALS, SILENT_HOLDS, TIGHTENED, Reason
from capital_governor.core.trace import Decision
from capital_governor.journal.notices import Notice, lapse_notice, move_notice
from capital_governor.journal.protocol import LIVE, Journal, JournalConflictError, Record
from capital_governor.service.lapses import LAPSED, LapseNews, lapse_news, told_after
from capital_governor.service.publisher import Publisher
from capital_governor.service.recovery import Recovered, Recovery, give_up
from capital_governor.service.sender import sender_of
from capital_governor.service.standing import Outcome, Standing, Vitals, status_document
from capital_governor.settings.load import Settings
from capital_governor.wording.log_events import Line, LogEvent
from capital_governor.wording.notice_texts import has_notice, telegram_text
from capital_governor.wording.reason_texts import evidence

PAUSE_FILE = Path("state", "guardian_pause.json")
PRUNE_CYCLES: Final = 12
"""Old entries are deleted once in so many completed cycles."""


async def tick(
    fetch: Callable[[], Awaitable[bytes | Refusal]],
    conclude: Callable[[Snapshot | Refusal], Awaitable[Outcome]],
    tell: Callable[[], Awaitable[None]],
) -> Outcome:
    """Run one tick and return its outcome.

    Args:
        fetch: asks the dashboard.
        conclude: runs ``Cycle.conclude`` on the thread for files and journal.
        tell: writes the outcome to the log and the messages.
    """
    body = await fetch()
    payload = body if isinstance(body, Refusal) else parse(body)
    outcome = await conclude(payload)
    await tell()
    return outcome


class Cycle:
    """The part of a tick between payload and status file, for the governor of one root.

    Args:
        settings: validated.
        journal: records every cycle; its ``record`` does not raise if the storage fails.
        dry_run: write below ``runtime/dry_run`` instead of ``runtime``.
        notify: record a message to the operator with each move and cut; never in a dry run.
        redact: hides secrets in a message, since the names in it are other programs'.
        vitals: returns the state of journal, log, heartbeat and messages, for the status file.
        clock: seconds since 1970 UTC.
    """

    book = LIVE

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        *,
        dry_run: bool = False,
        notify: bool = False,
        redact: Callable[[str], str] = str,
        vitals: Callable[[], Vitals] = Vitals,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.paths = Paths(settings.root, dry_run)
        self.state = State()
        self._settings = settings
        self._rules = settings.rules()
        self._sender = sender_of(settings)
        self._journal = journal
        self._clock = clock
        self._known_orders: dict[str, Order] = {}
        self._refused: Publication | None = None
        self._stop_file, self._pause_file = settings.root / interlocks.STOP_FILE, settings.root / PAUSE_FILE
        self._publisher = Publisher(self.paths, settings, self._stopped)
        self._last_problem = ""
        self._lapse_told_at: float | None = None
        self._resumed = False
        self._previous = ""
        self._cycles_since_prune = PRUNE_CYCLES
        self._dry_run = dry_run
        self._notify = notify and not dry_run
        self._redact = redact
        self._vitals = vitals
        self.standing = Standing()
        self.remarks: list[Line] = []

    def recover(self) -> str:
        """Prepare the folder and continue where the last run ended; return in words what was found."""
        return self._go_on(self._recovery().take_up())

    def resume(self) -> str:
        """Continue where the last run ended, without changing a file; return in words what was found."""
        return self._go_on(self._recovery().look())

    def _recovery(self) -> Recovery:
        return Recovery(
            self._journal,
            self.book,
            self.paths,
            self._publisher,
            max_age_seconds=self._rules.max_age_seconds,
            sender=self._sender if self._notify else None,
            clock=self._clock,
        )

    def _go_on(self, recovered: Recovered) -> str:
        self.state, self._previous = recovered.state, recovered.previous
        self._last_problem = recovered.files_problem
        self.remarks = [*recovered.remarks]
        published = self.state.published
        if published is not None and self._publisher.shows(published) and not self._publisher.may_lag(published):
            self._publisher.settled = published.generation
        newest = recovered.newest
        if newest is not None:
            # Until the first cycle is completed, the status file shows the last cycle of the last run.
            last = Outcome(newest.inputs, newest.state, newest.decision, visible=self._publisher.visible)
            self.standing = self.standing.after(last)
        self.standing = replace(
            self.standing,
            latches=self.state.latches,
            multipliers=self.state.multipliers,
            orders=self._journal.orders(self._clock()),
        )
        self._known_orders = {order.key: order for order in self.standing.orders}
        self._lapse_told_at = self._lapses_told_at()
        self._resumed = True
        return recovered.found

    def preview(self, payload: Snapshot | Refusal) -> Outcome:
        """Decide as ``conclude`` would, but write nothing."""
        orders = self._journal.orders(self._clock())
        gathered = self._gather(payload, orders)
        if not gathered.files_problem and self._publisher.may_wait(self.state.published):
            # Only a cycle can try to write the files, so take the result of the last one.
            gathered = replace(gathered, files_problem=self._last_problem)
        inputs, decision, ended = self._obey(gathered, orders)
        seen = decision.proposal or decision.after.published
        return Outcome(inputs, self.state, decision, orders=orders, ended_orders=ended, visible=seen)

    def conclude(self, payload: Snapshot | Refusal) -> Outcome:
        """Decide on this payload, publish what was decided, and record all of it.

        A generation that is not in the primary file yet is written first. If that fails, this cycle holds, since the
        agents cannot see more. An override file that cannot be written is reported but causes no hold, so that a lower
        risk still reaches the agents through the primary.
        """
        before, orders = self.state, self._journal.orders(self._clock())
        lifted = self._lifted(orders)
        gathered = self._gather(payload, orders)
        inputs, decision, ended = self._obey(gathered, orders)
        if self._gives_up(decision):
            before = self.state
            inputs, decision, ended = self._obey(gathered, orders)
        convergence = self._catch_up() if self._may_publish(decision) else None
        if convergence is not None and convergence.primary.problem:
            inputs, decision, ended = self._obey(replace(gathered, files_problem=convergence.primary.problem), orders)
        stopped = convergence is not None and convergence.primary.outcome is FileOutcome.STOPPED
        if stopped or (decision.proposal is not None and self._stopped()):
            inputs, decision, ended = self._obey(replace(gathered, stopped=True), orders)
        lapses = self._lapses(decision, before, inputs.now)
        lines = tuple(news.line for news in lapses)
        record = Record(
            book=self.book,
            previous=self._previous,
            inputs=inputs,
            state=before,
            rules=self._rules,
            decision=decision,
            after=commit(decision),
            notices=self._notices(decision, before, lapses, inputs),
            orders=ended,
        )
        with self._alone():
            self._journal.record(record)
        self._previous, self.state = record.key, record.after
        self._lapse_told_at = told_after(lapses, inputs.now, self._lapse_told_at)
        if decision.proposal is not None:
            self._publisher.decided(evidence(decision, before), lines)
        if self._may_write(decision) and (convergence is None or decision.proposal is not None):
            convergence = self._publisher.publish(self.state.published)
        # In every cycle: an adopted generation gets into the journal only now, and a new journal is empty before.
        self._mark_reached()
        outcome = Outcome(
            inputs,
            before,
            decision,
            convergence,
            orders=orders,
            ended_orders=ended,
            visible=self._publisher.visible,
            announcements=self._publisher.announcements(),
            lapses=lines if decision.proposal is None else (),
            lifted_orders=lifted,
            refused=self._refused if decision.reason in GATE_REFUSALS else None,
        )
        if outcome.fetched:
            # Only with a payload whose time agrees with the clock: a wrong clock would delete history and orders.
            self._prune(inputs.now)
        self.standing = self.standing.after(outcome)
        vitals = self._vitals()
        problem = self._write_status(vitals)
        return replace(outcome, status_problem=problem, journal_problem=vitals.journal_problem)

    def _gives_up(self, decision: Decision) -> bool:
        """Give up in a pause what the agents do not see yet, and return whether there was such a generation.

        A pause keeps the shares that the agents see. What a person has tightened is no part of that, and is written.
        """
        hold, published = decision.trace.hold, self.state.published
        if hold is None or hold.reason is not Reason.PAUSED or published is None or self._publisher.shows(published):
            return False
        if published.reason in TIGHTENED:
            return False
        self.state = give_up(self._journal, self.book, self.state, self._publisher.visible)
        self._publisher.decided("")
        self._lapse_told_at = self._lapses_told_at()
        self.remarks.append(LogEvent.MOVE_GIVEN_UP.line(generation=published.generation))
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """If another program has written to the journal, read the state again and raise.

        Nothing is published then, since the decision is not based on what that program has published.
        """
        try:
            yield
        except JournalConflictError:
            self.recover()
            raise

    def _prune(self, now: float) -> None:
        """Delete what is older than JOURNAL_DAYS every ``PRUNE_CYCLES`` cycles, more often while there is much."""
        if self._cycles_since_prune >= PRUNE_CYCLES:
            deleted = self._journal.prune(now, self._settings.journal_days)
            if deleted <= PRUNE_CYCLES:
                self._cycles_since_prune = 0
        self._cycles_since_prune += 1

    def fail(self, error: str) -> str:
        """Write to the status file that an unexpected error ended this cycle; return why that failed, if it did.

        Before ``resume`` has read the file it is not written: only the file may know of a hold.
        """
        if not self._resumed:
            return ""
        self.standing = self.standing.failed(self._clock(), error)
        return self.write_status()

    def leave(self) -> str:
        """Write to the status file that the governor ended, after at least one cycle; return why that failed."""
        if self.standing.reason is None:
            return ""
        self.standing = replace(self.standing, state="ended")
        return self.write_status()

    def write_status(self) -> str:
        """Write the status file; return why that failed, empty if it did not."""
        return self._write_status(self._vitals())

    def _write_status(self, vitals: Vitals) -> str:
        content = status_document(
            self.standing,
            vitals,
            interval_seconds=self._settings.interval_seconds,
            rules=self._rules,
            dry_run=self._dry_run,
            pid=os.getpid(),
        )
        try:
            atomic_replacement.replace(self.paths.status, content, durable=False)
        except OSError as error:
            return refusals.problem(self.paths.status, "written", error)
        return ""

    def _gather(self, payload: Snapshot | Refusal, orders: tuple[Order, ...]) -> Inputs:
        generation, problem = 0, ""
        for path, ours in zip(
            (self.paths.primary, self.paths.override), self._publisher.documents(self.state.published), strict=True
        ):
            if path == self.paths.override and self._settings.override == "off":
                continue
            try:
                content = read_bounded(path)
            except NotAFile as error:
                problem = f"{path} {error.strerror}: move it away"
            except OSError:
                # It has no generation to take note of. converge() replaces it, or reports why it cannot.
                continue
            else:
                if content is not None and content != ours:
                    generation = max(generation, generation_of(content))
        return Inputs(
            now=self._clock(),
            payload=payload,
            pause=interlocks.read_pause(self._pause_file),
            stopped=self._stopped(),
            hold=hold_of(orders),
            limits=limits_of(orders),
            ceiling=ceiling_of(orders),
            released=tuple(order.agent for order in releases_of(orders)),
            known_generation=generation,
            files_problem=problem,
        )

    def _obey(self, inputs: Inputs, orders: tuple[Order, ...]) -> tuple[Inputs, Decision, tuple[Order, ...]]:
        """Decide, with the operator's accept if there is one; also return the accept and releases that have ended."""
        accept = accept_of(orders)
        ended: tuple[Order, ...] = ()
        if accept is None:
            decision = self._decide(inputs)
        else:
            inputs, decision, ended = apply_accept(accept, inputs, self._decide)
        return inputs, decision, (*ended, *ended_releases(releases_of(orders), inputs, decision))

    def _decide(self, inputs: Inputs) -> Decision:
        decision = decide(inputs, self.state, self._rules)
        refusal = gate(decision, inputs, self.state, self._rules)
        if refusal is None:
            return decision
        self._refused = decision.proposal
        return refuse(decision, self.state, refusal)

    def _lapses_told_at(self) -> float | None:
        """Return when the operator was last told that agents are lapsed; None if that episode is over."""
        return self._journal.open_topics().get(LAPSED) if self._notify else None

    def _lifted(self, orders: tuple[Order, ...]) -> tuple[Order, ...]:
        """Return the orders that were in force in the cycle before and no longer are, with who ended them."""
        now_known = {order.key: order for order in orders}
        gone = [order for key, order in self._known_orders.items() if key not in now_known]
        self._known_orders = now_known
        return tuple(self._journal.order(order.key) or order for order in gone)

    def _lapses(self, decision: Decision, before: State, now: float) -> tuple[LapseNews, ...]:
        """Return what is to be told of lapses; nothing while the agents cannot see what an earlier cycle decided."""
        if decision.proposal is None and self._publisher.may_wait(before.published):
            return ()
        return lapse_news(decision, before, self._rules, self._sender, now=now, told_at=self._lapse_told_at)

    def _notices(
        self, decision: Decision, before: State, lapses: tuple[LapseNews, ...], inputs: Inputs
    ) -> tuple[Notice, ...]:
        """Return the messages about a move, cut or restore and about lapses.

        What is published with this decision is told once the agents can see it.
        """
        if not self._notify:
            return ()
        new, notices = decision.proposal, []
        if new is not None and has_notice(decision, before):
            text = telegram_text(decision, before, self._rules, inputs, self._sender)
            notices.append(move_notice(new, self._redact(text)))
        notices += [
            lapse_notice(new, self._redact(news.text), inputs.now, place=place, topic=news.topic, begins=not news.over)
            for place, news in enumerate(lapses)
        ]
        return tuple(notices)

    def _stopped(self) -> bool:
        return interlocks.stop_present(self._stop_file)

    def _may_write(self, decision: Decision) -> bool:
        """Whether the files may be written: not under STOP, and in a pause only what never reached both of them."""
        hold, published = decision.trace.hold, self.state.published
        if hold is None or hold.reason not in SILENT_HOLDS:
            return True
        return hold.reason is Reason.PAUSED and published is not None and published.generation > self._publisher.settled

    @staticmethod
    def _may_publish(decision: Decision) -> bool:
        return decision.trace.hold is None or decision.proposal is not None

    def _catch_up(self) -> Convergence | None:
        """Write what an earlier cycle decided and could not write, before more is decided."""
        if not self._publisher.failed and not self._publisher.may_wait(self.state.published):
            return None
        with self._alone():
            self._journal.check_head(self.book, self._previous)
        convergence = self._publisher.publish(self.state.published)
        self._mark_reached()
        return convergence

    def _mark_reached(self) -> None:
        """Mark the published generation in the journal as reached, if the agents see it."""
        published = self.state.published
        if published is not None and self._publisher.shows(published):
            self._journal.reached(published.generation)
