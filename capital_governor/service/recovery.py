"""A start: where the last run ended, as journal, primary file and status file say, and what is given up of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from capital_governor.adapters import atomic_replacement
from capital_governor.adapters.bounded_reading import read_bounded
from capital_governor.adapters.paths import Paths
from capital_governor.contracts.allocations import NotOurs, read_primary
from capital_governor.contracts.status import Remembered, remembered, standing_orders
from capital_governor.core.adoption import abandon, adopt, recall
from capital_governor.core.model import FUTURE_TOLERANCE_SECONDS, Publication, State
from capital_governor.core.orders import replaced
from capital_governor.journal.notices import NoticeState, new_notice
from capital_governor.journal.protocol import Entry, Journal
from capital_governor.service.publisher import Publisher
from capital_governor.wording.log_events import Line, LogEvent
from capital_governor.wording.notice_texts import taken_back_text

HELD_NOTICES: Final = 100
"""More than can be held at once: each waits for a generation that has not reached the files."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where the last run ended.

    Args:
        state: to go on with.
        previous: the key of the entry that it came from; empty if there is none.
        newest: the journal's newest entry; None if it has none.
        files_problem: why the last cycle could not write the files, as the status file says; empty if it could.
        found: in words.
        remarks: lines for the log.
    """

    state: State
    previous: str
    newest: Entry | None
    files_problem: str
    found: str
    remarks: tuple[Line, ...]


class Recovery:
    """One look at what the last run has left. Made anew for each.

    Args:
        journal: of the root.
        book: the journal's book that is governed by.
        paths: of the files.
        publisher: learns what the agents see.
        max_age_seconds: what never reached the agents and is older is given up.
        notify: whether the operator is told by message.
        clock: seconds since 1970 UTC.
    """

    def __init__(
        self,
        journal: Journal,
        book: str,
        paths: Paths,
        publisher: Publisher,
        *,
        max_age_seconds: float,
        notify: bool,
        clock: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._book = book
        self._paths = paths
        self._publisher = publisher
        self._max_age_seconds = max_age_seconds
        self._notify = notify
        self._clock = clock
        self._state = State()
        self._remarks: list[Line] = []
        self._primary_content: bytes | None = None
        self._refused_primary: bytes | None = None

    def look(self) -> Recovered:
        """Return where the last run ended, and change no file.

        The journal's last state counts, unless the primary file carries a later generation or is the previous
        program's: then the file is what the agents obey, and is adopted. A generation that never reached the file
        and is older than MAX_AGE is abandoned: what it was decided on no longer holds.
        """
        head = self._journal.head(self._book)
        previous, self._state = ("", State()) if head is None else (head.key, head.state)
        newest = next(self._journal.entries(self._book, last=1), None)
        told = self._take_up_status(None if newest is None else newest.at)
        found = self._take_up_files(told)
        files_problem = "" if told is None else told.files_problem
        return Recovered(self._state, previous, newest, files_problem, found, tuple(self._remarks))

    def take_up(self) -> Recovered:
        """Make the folder ready and ``look``; what a killed predecessor left half-written is swept away.

        A primary file that is not adopted will be overwritten, so a copy is kept.
        """
        self._paths.make_folder()
        left_over = self._paths.sweep().problem
        recovered = self.look()
        remarks = list(recovered.remarks)
        if left_over:
            remarks.append(LogEvent.LEFTOVERS_STAY.line(problem=left_over))
        if self._refused_primary is not None:
            remarks.append(self._keep_beside(self._refused_primary))
        return replace(recovered, remarks=tuple(remarks))

    def _take_up_files(self, told: Remembered | None) -> str:
        """Compare the primary file with the journal: adopt the file, resume, or give up what was never written."""
        publisher, published, found = self._publisher, self._state.published, self._primary_on_disk()
        known = 0 if published is None else published.generation
        unreached = self._journal.unreached(self._book) if known else None
        if unreached is not None and found is not None and found.generation == known:
            # Killed between the rename and the mark: the agents have it, and nobody was told.
            publisher.visible = self._journal.last_reached(self._book)
            publisher.show(unreached)
            self._journal.reached(known)
            unreached = None
        publisher.visible = published if unreached is None else found or self._journal.last_reached(self._book)
        if found is not None and self._is_news(found, published, pending=unreached is not None):
            self._state = adopt(self._state, found)
            publisher.visible = found
            # A later generation than the one that was on its way tells that this one was there.
            self._give_up(None if found.generation else unreached, told)
            whose = f"generation {found.generation}" if found.generation else "another program's shares"
            return f"adopted {whose} from {self._paths.primary.name}"
        if unreached is not None and not self._is_recent(unreached.at):
            self._state = abandon(self._state, publisher.visible)
            self._give_up(unreached, told)
            return f"abandoned generation {known}, which never reached the agents"
        if found is not None and unreached is None and found.generation != known:
            self._refuse(f"it has generation {found.generation}, and the journal knows a later one")
        return "nothing is published yet" if published is None else f"resumed at generation {known}"

    def _keep_beside(self, content: bytes) -> Line:
        """Copy a primary that was not taken up; return what to say of it."""
        name = f"{self._paths.primary.name}.not-adopted-{sha256(content).hexdigest()[:8]}"  # the same one, kept once
        try:
            atomic_replacement.replace(self._paths.primary.with_name(name), content)
        except OSError as error:
            problem = error.strerror or str(error)
            return LogEvent.PRIMARY_NOT_KEPT.line(path=str(self._paths.primary), copy=name, problem=problem)
        return LogEvent.PRIMARY_KEPT.line(path=str(self._paths.primary), copy=name)

    def _give_up(self, generation: Publication | None, told: Remembered | None) -> None:
        """Withdraw the message of a move that is given up; if the operator was told of it before, send a correction."""
        held = self._journal.notices(NoticeState.HELD, HELD_NOTICES)
        self._journal.put_notices([notice.withdrawn() for notice in held])
        if generation is None or told is None or told.generation < generation.generation:
            return
        text = taken_back_text(generation, self._publisher.visible)
        message = text.partition("\n")[0]
        self._remarks.append(LogEvent.MOVE_TAKEN_BACK.line(generation=generation.generation, message=message))
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
            content = read_bounded(self._paths.status)
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
            known = self._state.multipliers if told.undated else {}
            later = {name: min(value, known.get(name, value)) for name, value in told.multipliers.items()}
            self._state = recall(self._state, told.latches, later)
        return told

    def _is_recent(self, moment: float) -> bool:
        """Whether that is within MAX_AGE; a time in the future tells of a clock set back, and may be as old as any."""
        return -FUTURE_TOLERANCE_SECONDS <= self._clock() - moment <= self._max_age_seconds

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

    def _primary_on_disk(self) -> Publication | None:
        """Return what the primary file says; None if there is none, or none that can be taken up, which is remarked."""
        try:
            content = read_bounded(self._paths.primary)
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
        self._refused_primary, published = self._primary_content, self._state.published
        instead = "a first allocation" if published is None else f"generation {published.generation}"
        path = str(self._paths.primary)
        self._remarks.append(LogEvent.PRIMARY_NOT_ADOPTED.line(path=path, problem=why, instead=instead))
