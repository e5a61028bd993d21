"""One tick: gather Inputs -> decide -> gate -> commit -> converge the files -> say how it stands.

Everything here but the fetch is synchronous and belongs to the one thread that owns files and journal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from capital_governor.acceptance import settle
from capital_governor.adapters import files, interlocks
from capital_governor.adapters.journal import Journal, Record
from capital_governor.adapters.notices import Notice, new_notice
from capital_governor.adapters.orders import Order, accept_of, hold_of, limits_of, replaced
from capital_governor.adapters.primary import generation_of, read_primary
from capital_governor.core.adoption import abandon, adopt, recall
from capital_governor.core.decision import commit, decide, refuse
from capital_governor.core.gate import gate
from capital_governor.core.hold import FUTURE_TOLERANCE_SECONDS
from capital_governor.core.model import Inputs, Publication, Refusal, Snapshot, State
from capital_governor.core.publication import documents
from capital_governor.core.reason import SILENT_HOLDS
from capital_governor.core.trace import Decision
from capital_governor.messages import telegram_text
from capital_governor.settings import Settings
from capital_governor.status import Outcome, Standing, remembered, standing_orders, status_document

STOP_FILE = Path("runtime", "capital_governor.STOP")
PAUSE_FILE = Path("state", "guardian_pause.json")


class Cycle:
    """The governor of one root, one tick at a time.

    Args:
        settings: validated.
        journal: where every cycle is recorded; its ``record`` raises nothing for want of storage.
        dry_run: write below ``runtime/dry_run`` instead of ``runtime``.
        notify: record with each move and cut what the operator is to be told of it; never in a dry run.
        annotate: adds to the standing what only the caller knows, before it is written to the status file.
        clock: seconds since 1970 UTC.
    """

    book = "live"

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        *,
        dry_run: bool = False,
        notify: bool = False,
        annotate: Callable[[Standing], Standing] = lambda standing: standing,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.paths = files.Paths(settings.root, dry_run)
        self.state = State()
        self._settings = settings
        self._rules = settings.rules()
        self._journal = journal
        self._clock = clock
        self._stop_file, self._pause_file = settings.root / STOP_FILE, settings.root / PAUSE_FILE
        self._documents: tuple[bytes, bytes] | None = None
        self._documented: Publication | None = None
        self._reached = 0
        self._resumed = False
        self._dry_run = dry_run
        self._notify = notify and not dry_run
        self._annotate = annotate
        self.standing = Standing()

    def recover(self) -> str:
        """Make the folder ready and ``resume``; what a killed predecessor left half-written is swept away."""
        self.paths.make_folder()
        self.paths.sweep()
        return self.resume()

    def resume(self) -> str:
        """Take up where the last run ended; return in words what was found.

        The journal's last state counts, unless the primary file carries a later generation or is the previous
        program's: then the file is what the agents obey, and is adopted. A generation that never reached the file
        and is older than MAX_AGE is abandoned: what it was decided on no longer holds.
        """
        known_state = self._journal.state(self.book)
        self.state = known_state or State()
        newest = next(self._journal.entries(self.book, last=1), None)
        self._take_up_status(None if newest is None else newest.at)
        if newest is not None:
            # Until the first cycle is done, the status file goes on saying what the last run ended with.
            self.standing = self.standing.after(Outcome(newest.inputs, newest.state, newest.decision))
        self.standing = replace(self.standing, latches=self.state.latches, multipliers=self.state.multipliers)
        self._resumed = True
        self.standing = replace(self.standing, orders=self._journal.orders(self._clock()))
        published, found = self.state.published, self._primary_on_disk()
        known = 0 if published is None else published.generation
        unreached = self._journal.unreached(self.book) if known else None
        if unreached is not None and found is not None and found.generation == known:
            self._journal.reached(known)
            unreached = None
        self._reached = known if unreached is None else 0
        if found is not None and self._is_news(found, published, pending=unreached is not None):
            self.state = adopt(self.state, found)
            self._reached = found.generation
            whose = f"generation {found.generation}" if found.generation else "another program's shares"
            return f"adopted {whose} from {self.paths.primary.name}"
        if unreached is not None and not self._is_recent(unreached.at):
            stands = self._journal.last_reached(self.book) if found is None else found
            self.state = abandon(self.state, stands)
            self._reached = 0 if stands is None else stands.generation
            return f"abandoned generation {known}, which never reached the agents"
        return "nothing is published yet" if published is None else f"resumed at generation {known}"

    def _take_up_status(self, last_at: float | None) -> None:
        """Go on with what the status file says and the journal has lost: neither hold nor pause must end by that.

        It may be lost itself, damaged, or an older copy that was put back. What it says of an order that it knows
        counts, also once it can be read again; of two for the same thing the one given last.

        Args:
            last_at: the time of the journal's newest cycle; None if it has none.
        """
        try:
            content = files.read(self.paths.status)
        except OSError:
            # It can be written neither, which the first cycle says.
            return
        said = () if content is None else standing_orders(content)
        if said:
            now = self._clock()
            self._journal.put_orders(said)
            self._journal.put_orders(replaced(self._journal.orders(now), now))
        told = None if content is None else remembered(content)
        if told is not None and (last_at is None or told.at > last_at):
            self.state = recall(self.state, told.latches, told.multipliers)

    def _is_recent(self, moment: float) -> bool:
        """Whether that is within MAX_AGE; a time in the future tells of a clock set back, and may be as old as any."""
        return -FUTURE_TOLERANCE_SECONDS <= self._clock() - moment <= self._rules.max_age_seconds

    @staticmethod
    def _is_news(found: Publication, published: Publication | None, *, pending: bool) -> bool:
        """Whether the primary says what the journal does not know.

        Another program's file (generation 0) is no news once it was adopted, nor while a generation that was decided
        upon it is still on its way to the file.
        """
        if published is None:
            return True
        if found.generation == 0:
            return not pending and found != published
        return found.generation > published.generation

    def preview(self, payload: Snapshot | Refusal) -> Outcome:
        """Decide as ``conclude`` would, and write nothing."""
        orders = self._journal.orders(self._clock())
        inputs, decision, settled = self._obey(self._gather(payload, orders), orders)
        return Outcome(inputs, self.state, decision, orders=orders, settled=settled)

    def conclude(self, payload: Snapshot | Refusal) -> Outcome:
        """Decide on this payload, publish what was decided, and record all of it."""
        before, orders = self.state, self._journal.orders(self._clock())
        inputs, decision, settled = self._obey(self._gather(payload, orders), orders)
        if decision.proposal is not None and self._stopped():
            inputs, decision, settled = self._obey(
                replace(inputs, stopped=True, accept=False, accept_only=None), orders
            )
        after = commit(decision)
        self._journal.record(
            Record(
                book=self.book,
                inputs=inputs,
                state=before,
                rules=self._rules,
                decision=decision,
                after=after,
                notices=self._notices(decision, before, inputs.now),
                orders=settled,
            )
        )
        self.state = after
        convergence = None if decision.reason in SILENT_HOLDS else self._converge()
        if after.published is not None and after.published.generation == self._reached:
            # In every cycle: an adopted generation is in the journal only now, and so is all after it was begun anew.
            self._journal.reached(self._reached)
        outcome = Outcome(inputs, before, decision, convergence, orders=orders, settled=settled)
        if outcome.fetched:
            # Not by our clock alone: one that leaps ahead for a cycle would delete history, and orders in force.
            self._journal.prune(inputs.now, self._settings.journal_days)
        self.standing = self.standing.after(outcome)
        problem = self.write_status()
        return replace(outcome, status_problem=problem, journal_problem=self.standing.journal_problem)

    def fail(self, error: str) -> str:
        """Say in the status file that an unexpected error ended this cycle; return what kept that from it.

        Before ``resume`` has taken up what that file says it stays as it is: it may be all that knows of a hold.
        """
        if not self._resumed:
            return ""
        self.standing = self.standing.failed(self._clock(), error)
        return self.write_status()

    def leave(self) -> str:
        """Say in the status file that the governor has ended, if it ever governed; return what kept that from it."""
        if self.standing.reason is None:
            return ""
        self.standing = replace(self.standing, state="ended")
        return self.write_status()

    def write_status(self) -> str:
        """Write the status file; return what kept that from it, empty if nothing did."""
        self.standing = self._annotate(self.standing)
        content = status_document(
            self.standing,
            interval_seconds=self._settings.interval_seconds,
            rules=self._rules,
            dry_run=self._dry_run,
            pid=os.getpid(),
        )
        try:
            files.replace(self.paths.status, content, durable=False)
        except OSError as error:
            return f"{self.paths.status} could not be written: {error.strerror}"
        return ""

    def _gather(self, payload: Snapshot | Refusal, orders: tuple[Order, ...]) -> Inputs:
        generation, problem = 0, ""
        for path, ours in zip((self.paths.primary, self.paths.override), self._published_documents(), strict=True):
            if path == self.paths.override and self._settings.override == "off":
                continue
            try:
                content = files.read(path)
            except files.NotAFile as error:
                problem = f"{path} {error.strerror}: move it away"
            except OSError:
                # Nothing to learn from it; converge() replaces it, or says why it cannot.
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
            known_generation=generation,
            files_problem=problem,
        )

    def _obey(self, inputs: Inputs, orders: tuple[Order, ...]) -> tuple[Inputs, Decision, tuple[Order, ...]]:
        """Decide, with the operator's accept where there is one; also return that accept if it has ended."""
        accept = accept_of(orders)
        if accept is None:
            return inputs, self._decide(inputs), ()
        return settle(accept, inputs, self._decide)

    def _decide(self, inputs: Inputs) -> Decision:
        decision = decide(inputs, self.state, self._rules)
        refusal = gate(decision, inputs, self.state, self._rules)
        return decision if refusal is None else refuse(decision, self.state, refusal)

    def _notices(self, decision: Decision, before: State, now: float) -> tuple[Notice, ...]:
        """Return what the operator is to be told of the decision: of each move and cut, once."""
        if not self._notify or decision.proposal is None:
            return ()
        return (new_notice(telegram_text(decision, before, self._rules), now),)

    def _stopped(self) -> bool:
        return interlocks.stop_present(self._stop_file)

    def _published_documents(self) -> tuple[bytes, bytes] | tuple[None, None]:
        """The two files as they should be, made once a publication; none for what another program published."""
        published = self.state.published
        if published is None or published.generation == 0:
            return None, None
        if self._documents is None or self._documented is not published:
            self._documents, self._documented = documents(published), published
        return self._documents

    def _converge(self) -> files.Convergence | None:
        primary, override = self._published_documents()
        published = self.state.published
        if primary is None or override is None or published is None:
            return None
        convergence = files.converge(
            self.paths, primary, override, policy=self._settings.override, stopped=self._stopped
        )
        if convergence.primary.outcome in {files.Outcome.WRITTEN, files.Outcome.UNCHANGED}:
            self._reached = published.generation
        return convergence

    def _primary_on_disk(self) -> Publication | None:
        try:
            content = files.read(self.paths.primary)
        except OSError:
            # The first cycle meets it too, and says so.
            return None
        found = None if content is None else read_primary(content)
        return found if isinstance(found, Publication) else None
