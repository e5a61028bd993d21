"""One tick: gather Inputs -> decide -> gate -> commit -> converge the files -> say how it stands.

Everything here but the fetch is synchronous and belongs to the one thread that owns files and journal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from capital_governor.adapters import atomic_replacement, file_convergence, interlocks, refusals
from capital_governor.adapters.bounded_reading import NotAFile, read
from capital_governor.adapters.file_convergence import Convergence, FileOutcome
from capital_governor.adapters.paths import Paths
from capital_governor.contracts.allocations import NotOurs, generation_of, read_primary
from capital_governor.contracts.status import Remembered, remembered, standing_orders
from capital_governor.core.acceptance import settle
from capital_governor.core.adoption import abandon, adopt, recall
from capital_governor.core.decision import commit, decide, refuse
from capital_governor.core.gate import gate
from capital_governor.core.model import FUTURE_TOLERANCE_SECONDS, Inputs, Publication, Refusal, Snapshot, State
from capital_governor.core.orders import Order, accept_of, hold_of, limits_of, replaced
from capital_governor.core.publication import adopted_document, documents
from capital_governor.core.reason import SILENT_HOLDS
from capital_governor.core.trace import Decision
from capital_governor.journal.notices import Notice, NoticeState, move_notice, new_notice
from capital_governor.journal.protocol import Journal, JournalConflictError, Record
from capital_governor.service.standing import Outcome, Standing, status_document
from capital_governor.settings.load import Settings
from capital_governor.wording.log_events import Line, LogEvent
from capital_governor.wording.messages import Announcement, evidence
from capital_governor.wording.notice_texts import taken_back_text, telegram_text

STOP_FILE = Path("runtime", "capital_governor.STOP")
PAUSE_FILE = Path("state", "guardian_pause.json")
HELD_NOTICES: Final = 100
"""More than can be held at once: each waits for a generation that has not reached the files."""
PRUNE_CYCLES: Final = 12
"""In how many completed cycles old entries are deleted once."""


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
        self.paths = Paths(settings.root, dry_run)
        self.state = State()
        self._settings = settings
        self._rules = settings.rules()
        self._journal = journal
        self._clock = clock
        self._stop_file, self._pause_file = settings.root / STOP_FILE, settings.root / PAUSE_FILE
        self._documents: tuple[bytes, bytes] | None = None
        self._documented: Publication | None = None
        self._own_override: bytes | None = None
        self._visible: Publication | None = None
        self._failed = False
        self._last_problem = ""
        self._evidence = ""
        self._announcements: list[Announcement] = []
        self._resumed = False
        self._previous = ""
        self._cycles_since_prune = PRUNE_CYCLES
        self._dry_run = dry_run
        self._notify = notify and not dry_run
        self._annotate = annotate
        self.standing = Standing()
        self.remarks: list[Line] = []
        self._primary_content: bytes | None = None
        self._refused_primary: bytes | None = None

    def recover(self) -> str:
        """Make the folder ready and ``resume``; what a killed predecessor left half-written is swept away.

        A primary file that is not adopted will be overwritten, so a copy is kept.
        """
        self.paths.make_folder()
        left_over = self.paths.sweep().problem
        found = self.resume()
        if left_over:
            self.remarks.append(LogEvent.LEFTOVERS_STAY.line(problem=left_over))
        if self._refused_primary is not None:
            self.remarks.append(self._keep_beside(self._refused_primary))
            self._refused_primary = None
        return found

    def resume(self) -> str:
        """Take up where the last run ended; return in words what was found.

        The journal's last state counts, unless the primary file carries a later generation or is the previous
        program's: then the file is what the agents obey, and is adopted. A generation that never reached the file
        and is older than MAX_AGE is abandoned: what it was decided on no longer holds.
        """
        head = self._journal.head(self.book)
        self._previous, self.state = ("", State()) if head is None else (head.key, head.state)
        newest = next(self._journal.entries(self.book, last=1), None)
        told = self._take_up_status(None if newest is None else newest.at)
        self._last_problem = "" if told is None else told.files_problem
        found = self._take_up_files(told)
        if newest is not None:
            # Until the first cycle is done, the status file goes on saying what the last run ended with.
            last = Outcome(newest.inputs, newest.state, newest.decision, visible=self._visible)
            self.standing = self.standing.after(last)
        self._resumed = True
        self.standing = replace(
            self.standing,
            latches=self.state.latches,
            multipliers=self.state.multipliers,
            orders=self._journal.orders(self._clock()),
        )
        return found

    def _take_up_files(self, told: Remembered | None) -> str:
        """Compare the primary file with the journal: adopt the file, resume, or give up what was never written."""
        published, found = self.state.published, self._primary_on_disk()
        known = 0 if published is None else published.generation
        unreached = self._journal.unreached(self.book) if known else None
        if unreached is not None and found is not None and found.generation == known:
            # Killed between the rename and the mark: the agents have it, and nobody was told.
            self._visible = self._journal.last_reached(self.book)
            self._show(unreached)
            self._journal.reached(known)
            unreached = None
        self._visible = published if unreached is None else found or self._journal.last_reached(self.book)
        if found is not None and self._is_news(found, published, pending=unreached is not None):
            self.state = adopt(self.state, found)
            self._visible = found
            # A later generation than the one that was on its way tells that this one was there.
            self._give_up(None if found.generation else unreached, told)
            whose = f"generation {found.generation}" if found.generation else "another program's shares"
            return f"adopted {whose} from {self.paths.primary.name}"
        if unreached is not None and not self._is_recent(unreached.at):
            self.state = abandon(self.state, self._visible)
            self._give_up(unreached, told)
            return f"abandoned generation {known}, which never reached the agents"
        if found is not None and unreached is None and found.generation != known:
            self._refuse(f"it has generation {found.generation}, and the journal knows a later one")
        return "nothing is published yet" if published is None else f"resumed at generation {known}"

    def _keep_beside(self, content: bytes) -> Line:
        """Copy a primary that was not taken up; return what to say of it."""
        name = f"{self.paths.primary.name}.not-adopted-{sha256(content).hexdigest()[:8]}"  # the same one, kept once
        try:
            atomic_replacement.replace(self.paths.primary.with_name(name), content)
        except OSError as error:
            problem = error.strerror or str(error)
            return LogEvent.PRIMARY_NOT_KEPT.line(path=str(self.paths.primary), copy=name, problem=problem)
        return LogEvent.PRIMARY_KEPT.line(path=str(self.paths.primary), copy=name)

    def _give_up(self, generation: Publication | None, told: Remembered | None) -> None:
        """Withdraw the message of a move that is given up; if the operator was told of it before, send a correction."""
        held = self._journal.notices(NoticeState.HELD, HELD_NOTICES)
        self._journal.put_notices([notice.withdrawn() for notice in held])
        if generation is None or told is None or told.generation < generation.generation:
            return
        text = taken_back_text(generation, self._visible)
        message = text.partition("\n")[0]
        self.remarks.append(LogEvent.MOVE_TAKEN_BACK.line(generation=generation.generation, message=message))
        if self._notify:
            key = f"taken-back-{generation.decision_id}"  # of its own, so that a start that is killed tells it once
            self._journal.put_notices([new_notice(text, self._clock(), key=key)])

    def _take_up_status(self, last_at: float | None) -> Remembered | None:
        """Go on with what the status file says and the journal has lost: neither hold nor pause must end by that.

        It may be lost itself, damaged, or an older copy that was put back. What it says of an order that it knows
        counts, also once it can be read again; of two for the same thing the one given last.

        Args:
            last_at: the time of the journal's newest cycle; None if it has none.

        Returns:
            What it says; None if it says nothing that can be read.
        """
        try:
            content = read(self.paths.status)
        except OSError:
            # It can be written neither, which the first cycle says.
            return None
        said = () if content is None else standing_orders(content)
        if said:
            now = self._clock()
            self._journal.put_orders(said)
            self._journal.put_orders(replaced(self._journal.orders(now), now))
        told = None if content is None else remembered(content)
        if told is not None and (last_at is None or told.at > last_at):
            known = self.state.multipliers if told.undated else {}
            later = {name: min(value, known.get(name, value)) for name, value in told.multipliers.items()}
            self.state = recall(self.state, told.latches, later)
        return told

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
        gathered = self._gather(payload, orders)
        if not gathered.files_problem and self._may_wait():
            # Whether the disk takes it now only a cycle can try: what the last one met is the best that is known.
            gathered = replace(gathered, files_problem=self._last_problem)
        inputs, decision, settled = self._obey(gathered, orders)
        seen = decision.proposal or decision.after.published
        return Outcome(inputs, self.state, decision, orders=orders, settled=settled, visible=seen)

    def conclude(self, payload: Snapshot | Refusal) -> Outcome:
        """Decide on this payload, publish what was decided, and record all of it.

        A generation that is not in the primary file yet goes there first. Where that fails this cycle holds, so that no
        more is decided than the agents can see. An override file that cannot be written is told, and holds nothing:
        what lowers risk must reach the agents.
        """
        before, orders = self.state, self._journal.orders(self._clock())
        gathered = self._gather(payload, orders)
        inputs, decision, settled = self._obey(gathered, orders)
        convergence = self._catch_up() if self._may_publish(decision) else None
        if convergence is not None and convergence.primary.problem:
            inputs, decision, settled = self._obey(replace(gathered, files_problem=convergence.primary.problem), orders)
        stopped = convergence is not None and convergence.primary.outcome is FileOutcome.STOPPED
        if stopped or (decision.proposal is not None and self._stopped()):
            inputs, decision, settled = self._obey(replace(gathered, stopped=True), orders)
        record = Record(
            book=self.book,
            previous=self._previous,
            inputs=inputs,
            state=before,
            rules=self._rules,
            decision=decision,
            after=commit(decision),
            notices=self._notices(decision, before),
            orders=settled,
        )
        with self._alone():
            self._journal.record(record)
        self._previous, self.state = record.key, record.after
        if decision.proposal is not None:
            self._evidence = evidence(decision, before)
        if decision.reason not in SILENT_HOLDS and (convergence is None or decision.proposal is not None):
            convergence = self._converge()
        # In every cycle: an adopted generation is in the journal only now, and so is all after it was begun anew.
        self._mark_reached()
        announcements, self._announcements = tuple(self._announcements), []
        outcome = Outcome(
            inputs,
            before,
            decision,
            convergence,
            orders=orders,
            settled=settled,
            visible=self._visible,
            announcements=announcements,
        )
        if outcome.fetched:
            # Not by our clock alone: one that leaps ahead for a cycle would delete history, and orders in force.
            self._prune(inputs.now)
        self.standing = self.standing.after(outcome)
        problem = self.write_status()
        return replace(outcome, status_problem=problem, journal_problem=self.standing.journal_problem)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Where another program turns out to write the journal too, take the state anew, and raise.

        Nothing is published then: what was decided does not go on from what that program has published.
        """
        try:
            yield
        except JournalConflictError:
            self.recover()
            raise

    def _prune(self, now: float) -> None:
        """Delete what is older than JOURNAL_DAYS, now and then; as long as there is much of it in every cycle."""
        if self._cycles_since_prune >= PRUNE_CYCLES:
            deleted = self._journal.prune(now, self._settings.journal_days)
            if deleted <= PRUNE_CYCLES:
                self._cycles_since_prune = 0
        self._cycles_since_prune += 1

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
            atomic_replacement.replace(self.paths.status, content, durable=False)
        except OSError as error:
            return refusals.problem(self.paths.status, "written", error)
        return ""

    def _gather(self, payload: Snapshot | Refusal, orders: tuple[Order, ...]) -> Inputs:
        generation, problem = 0, ""
        for path, ours in zip((self.paths.primary, self.paths.override), self._published_documents(), strict=True):
            if path == self.paths.override and self._settings.override == "off":
                continue
            try:
                content = read(path)
            except NotAFile as error:
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

    def _notices(self, decision: Decision, before: State) -> tuple[Notice, ...]:
        """Return what the operator is to be told of each move and cut, once it has reached the agents."""
        if not self._notify or decision.proposal is None:
            return ()
        return (move_notice(decision.proposal, telegram_text(decision, before, self._rules)),)

    def _stopped(self) -> bool:
        return interlocks.stop_present(self._stop_file)

    def _published_documents(self) -> tuple[bytes, bytes] | tuple[None, None]:
        """The two files as they should be, made once a publication; none for what another program published."""
        published = self.state.published
        if published is None or published.generation == 0:
            return None, None
        if self._documents is None or self._documented is not published:
            if self._documents is not None:
                self._own_override = self._documents[1]
            self._documents, self._documented = documents(published), published
        return self._documents

    @staticmethod
    def _may_publish(decision: Decision) -> bool:
        return decision.trace.hold is None or decision.proposal is not None

    def _is_visible(self, published: Publication | None) -> bool:
        visible = self._visible
        return published is not None and visible is not None and published.generation == visible.generation

    def _may_wait(self) -> bool:
        """Whether something is decided that the agents may not see yet."""
        return self.state.published is not None and not self._is_visible(self.state.published)

    def _catch_up(self) -> Convergence | None:
        """Write what the files lack from an earlier cycle, if they lack anything, before more is decided."""
        if not self._failed and not self._may_wait():
            return None
        with self._alone():
            self._journal.check_head(self.book, self._previous)
        convergence = self._converge()
        self._mark_reached()
        return convergence

    def _mark_reached(self) -> None:
        """Let the journal know that the agents see what is published, if they do."""
        published = self.state.published
        if published is not None and self._is_visible(published):
            self._journal.reached(published.generation)

    def _show(self, published: Publication) -> None:
        """Note that the agents see this generation, and that it is to be told."""
        if not self._is_visible(published):
            self._announcements.append(Announcement(published, self._visible, self._evidence))
            self._visible, self._evidence = published, ""

    def _converge(self) -> Convergence | None:
        primary, override = self._published_documents()
        published = self.state.published
        if published is not None and published.generation == 0:
            return self._restore(published)
        if primary is None or override is None or published is None:
            return None
        convergence = file_convergence.converge(
            self.paths,
            primary,
            override,
            policy=self._settings.override,
            stopped=self._stopped,
            own=self._own_override,
        )
        if convergence.primary.outcome in {FileOutcome.WRITTEN, FileOutcome.UNCHANGED}:
            self._show(published)
        self._note_failure(convergence)
        return convergence

    def _note_failure(self, convergence: Convergence) -> None:
        """Remember whether the primary could not be written; under STOP nobody has tried."""
        if convergence.primary.outcome is not FileOutcome.STOPPED:
            self._failed = bool(convergence.primary.problem)

    def _restore(self, published: Publication) -> Convergence | None:
        """Put back what another program published, where its file is gone or damaged: the agents go by it.

        One that can be read stays, whatever it says: that program may still be running.
        """
        try:
            content = read(self.paths.primary)
        except OSError:
            content = None
        if content is not None and isinstance(read_primary(content), Publication):
            return None
        convergence = file_convergence.converge(
            self.paths, adopted_document(published), b"", policy="off", stopped=self._stopped
        )
        self._note_failure(convergence)
        return convergence

    def _primary_on_disk(self) -> Publication | None:
        """Return what the primary file says; None if there is none, or none that can be taken up, which is remarked."""
        try:
            content = read(self.paths.primary)
        except OSError as error:
            self._refuse(error.strerror or str(error))
            return None
        self._primary_content = content
        found = None if content is None else read_primary(content)
        if isinstance(found, NotOurs):
            self._refuse(found.detail)
            return None
        return found

    def _refuse(self, why: str) -> None:
        self._refused_primary = self._primary_content
        instead = (
            "a first allocation" if self.state.published is None else f"generation {self.state.published.generation}"
        )
        self.remarks.append(
            LogEvent.PRIMARY_NOT_ADOPTED.line(path=str(self.paths.primary), problem=why, instead=instead)
        )
