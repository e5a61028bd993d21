"""A start: finds where the last run ended, from journal, primary file and status file."""

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
from capital_governor.core.adoption import abandon, adopt, recall, taken_over
from capital_governor.core.model import FUTURE_TOLERANCE_SECONDS, Publication, State
from capital_governor.core.orders import replaced
from capital_governor.core.reason import MOVES
from capital_governor.journal.notices import NoticeState, new_notice
from capital_governor.journal.protocol import Entry, Journal
from capital_governor.service.publisher import Publisher
from capital_governor.wording.log_events import Line, LogEvent
from capital_governor.wording.message_form import Sender
from capital_governor.wording.notice_texts import taken_back_text

_BEFORE_LAPSES: Final = frozenset({"", "0.1.0"})
"""The versions that retired absent members; those before schema 4 did not name themselves."""
HELD_NOTICES: Final = 100
"""More than there can be: a held notice waits for a generation that is not in the files yet."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where the last run ended.

    Args:
        state: the state to continue with.
        previous: the key of the journal entry that has it; empty if there is none.
        newest: the journal's newest entry; None if it has none.
        files_problem: why the last cycle could not write the files, from the status file; empty if it could.
        found: what was found, in words.
        remarks: lines for the log.
    """

    state: State
    previous: str
    newest: Entry | None
    files_problem: str
    found: str
    remarks: tuple[Line, ...]


def give_up(journal: Journal, book: str, state: State, visible: Publication | None) -> State:
    """Return the state without what is published, which never reached the agents; withdraw the messages about it.

    Args:
        journal: of the root.
        book: the book of the journal.
        state: with that generation as ``published``.
        visible: what the agents see.
    """
    _withdraw(journal)
    moved_at, published = state.moved_at, state.published
    if published is not None and published.reason in MOVES:
        # Nothing is decided while a generation waits for the files, so its cycle is the last that decided.
        entry = journal.last_decided(book)
        if entry is not None and entry.generation == published.generation:
            moved_at = entry.state.moved_at
        else:
            moved_at = None if visible is None else visible.at
    return abandon(state, visible, moved_at)


def _withdraw(journal: Journal) -> None:
    held = journal.notices(NoticeState.HELD, HELD_NOTICES)
    journal.put_notices([notice.withdrawn() for notice in held])


class Recovery:
    """Finds where the last run ended; used once.

    Args:
        journal: of the root.
        book: the book of the journal to continue.
        paths: of the files.
        publisher: is told what the agents see.
        max_age_seconds: a generation that never reached the agents and is older is abandoned.
        sender: whose messages are sent to the operator; None: none are.
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
        sender: Sender | None,
        clock: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._book = book
        self._paths = paths
        self._publisher = publisher
        self._max_age_seconds = max_age_seconds
        self._sender = sender
        self._clock = clock
        self._state = State()
        self._remarks: list[Line] = []
        self._primary_content: bytes | None = None
        self._refused_primary: bytes | None = None

    def look(self) -> Recovered:
        """Return where the last run ended, and change no file.

        The journal's last state counts, unless the primary file has a later generation or is another program's. Then
        the file is adopted, since the agents obey it. A generation that never reached the file and is older than
        MAX_AGE is abandoned, since its inputs are out of date.
        """
        head = self._journal.head(self._book)
        previous, self._state = ("", State()) if head is None else (head.key, head.state)
        newest = next(self._journal.entries(self._book, last=1), None)
        if newest is not None and newest.version in _BEFORE_LAPSES:
            self._state = taken_over(self._state)
        told = self._take_up_status(None if newest is None else newest.at)
        found = self._take_up_files(told)
        files_problem = "" if told is None else told.files_problem
        return Recovered(self._state, previous, newest, files_problem, found, tuple(self._remarks))

    def take_up(self) -> Recovered:
        """Prepare the folder and ``look``; delete temporary files that a killed governor left.

        A primary file that is not adopted will be overwritten, so a copy of it is kept.
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
        """Compare the primary file with the journal: adopt the file, resume, or abandon what was never written."""
        publisher, published, found = self._publisher, self._state.published, self._primary_on_disk()
        known = 0 if published is None else published.generation
        unreached = self._journal.unreached(self._book) if known else None
        if unreached is not None and found is not None and found.generation == known:
            # The governor was killed after the rename: the agents see it, but the journal does not know.
            publisher.visible = self._journal.last_reached(self._book)
            publisher.show(unreached)
            self._journal.reached(known)
            unreached = None
        publisher.visible = published if unreached is None else found or self._journal.last_reached(self._book)
        if found is not None and self._is_news(found, published, pending=unreached is not None):
            self._state = adopt(self._state, found)
            publisher.visible = found
            # If the file has a later generation, the unreached one was there before, and its message stays.
            _withdraw(self._journal)
            self._take_back(None if found.generation else unreached, told)
            whose = f"generation {found.generation}" if found.generation else "another program's shares"
            return f"adopted {whose} from {self._paths.primary.name}"
        if unreached is not None and not self._is_recent(unreached.at):
            self._state = give_up(self._journal, self._book, self._state, publisher.visible)
            self._take_back(unreached, told)
            return f"abandoned generation {known}, which never reached the agents"
        if found is not None and unreached is None and found.generation != known:
            self._refuse(f"it has generation {found.generation}, and the journal knows a later one")
        return "nothing is published yet" if published is None else f"resumed at generation {known}"

    def _keep_beside(self, content: bytes) -> Line:
        """Copy a primary file that is not adopted; return the log line about it."""
        name = (
            f"{self._paths.primary.name}.not-adopted-{sha256(content).hexdigest()[:8]}"  # the same content is kept once
        )
        try:
            atomic_replacement.replace(self._paths.primary.with_name(name), content)
        except OSError as error:
            problem = error.strerror or str(error)
            return LogEvent.PRIMARY_NOT_KEPT.line(path=str(self._paths.primary), copy=name, problem=problem)
        return LogEvent.PRIMARY_KEPT.line(path=str(self._paths.primary), copy=name)

    def _take_back(self, generation: Publication | None, told: Remembered | None) -> None:
        """If the operator has read of an abandoned move, send a correction."""
        if generation is None or told is None or told.generation < generation.generation:
            return
        text = taken_back_text(generation, self._publisher.visible, self._clock(), self._sender or Sender(""))
        message = text.partition("\n")[0]
        self._remarks.append(LogEvent.MOVE_TAKEN_BACK.line(generation=generation.generation, message=message))
        if self._sender is not None:
            key = f"taken-back-{generation.decision_id}"  # fixed, so that a repeated start sends it only once
            self._journal.put_notices([new_notice(text, self._clock(), key=key)])

    def _take_up_status(self, last_at: float | None) -> Remembered | None:
        """Take over what the status file has and the journal has lost, so that no hold and no pause ends by that.

        The journal may be missing, damaged, or an older copy that was restored. Orders in the status file are put into
        the journal; of two orders for the same thing the one given last counts.

        Args:
            last_at: the time of the journal's newest cycle; None if it has none.

        Returns:
            What the status file says; None if it cannot be read.
        """
        try:
            content = read_bounded(self._paths.status)
        except OSError:
            # The first cycle cannot write it either, and reports that.
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
        """Whether the moment is within MAX_AGE; one in the future is not, since the clock was set back."""
        return -FUTURE_TOLERANCE_SECONDS <= self._clock() - moment <= self._max_age_seconds

    @staticmethod
    def _is_news(found: Publication, published: Publication | None, *, pending: bool) -> bool:
        """Whether the primary file has something that the journal does not know.

        Another program's file (generation 0) is not new once it was adopted, or while a generation that was decided
        after it is not in the file yet.
        """
        if published is None:
            return True
        if found.generation == 0:
            return not pending and found != published
        return found.generation > published.generation

    def _primary_on_disk(self) -> Publication | None:
        """Return what the primary file says; None if there is none, or it cannot be adopted, which is logged."""
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
