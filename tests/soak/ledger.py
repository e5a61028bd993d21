"""The soak's own copy of the journal, taken row by row while the governor runs, and the accounts made from it.

It reads SQLite by itself and imports nothing of the product, so that what is wrong there is not believed here.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Final

WHOLE: Final = 1_000_000
HEADING: Final = "🎯 Capital Reallocation:"
SHARE: Final = re.compile(r"(.+: [0-9]+\.[0-9]%)(?: \(was [0-9]+\.[0-9]%\)| \(new\))?")
"""A line of a move's message with the share of an agent or the reserve, and what follows the figure."""
NO_RESERVE: Final = "Reserve: 0.0%"
ENDED: Final = "The governor ended"
TOLD_OF_THE_END: Final = "told the operator that the governor has ended"
"""What the supervisor logs once it has sent that message, which it puts into the journal afterwards."""
COPY_SECONDS: Final = 0.5
UNANSWERED: Final = frozenset({"fetch_failed", "payload_refused", "payload_stale"})
"""Cycles that show that the dashboard is not back yet, however long that takes."""

Move = tuple[int, tuple[tuple[str, int], ...], int]
"""Generation, shares by agent and reserve, both in millionths."""


@dataclass(frozen=True, slots=True)
class Row:
    """One completed cycle: ``at`` in seconds since 1970 UTC; ``decided``: it came as far as scores."""

    at: float
    reason: str
    decided: bool

    @property
    def governed(self) -> bool:
        """Whether it decided, and the gate let that pass."""
        return self.decided and not self.reason.startswith("gate_")


@dataclass(frozen=True, slots=True)
class Told:
    """One notice of the journal."""

    text: str
    topic: str
    state: str
    attempts: int


class Ledger:
    """Copies what the journal at ``path`` says whenever it is asked, from any thread, and forgets nothing of it."""

    def __init__(self, path: Path) -> None:
        self.unreadable = 0
        self._path = path
        self._changing = threading.Lock()
        self._file: tuple[int, int] | None = None
        self._seq = 0
        self._cycles: dict[float, Row] = {}
        self._moves: dict[Move, None] = {}
        self._notices: dict[str, Told] = {}
        self._pending = 0

    def copy(self, *, at_rest: bool = False) -> None:
        """Copy what is new; ``at_rest``: no process has the journal open. What cannot be read now is counted."""
        with self._changing:
            wal = Path(f"{self._path}-wal")
            # Without it a reader would make one, which only the governor should.
            if not self._path.exists() or not (at_rest or wal.exists()):
                return
            try:
                self._copy(alone=at_rest and not wal.exists())
            except (sqlite3.Error, OSError, ValueError):
                self.unreadable += 1  # damaged by the soak, or just being set aside

    def _copy(self, *, alone: bool) -> None:
        found = self._path.stat()
        if self._file != (found.st_dev, found.st_ino):
            self._file, self._seq = (found.st_dev, found.st_ino), 0
        how = "immutable=1" if alone else "mode=ro"
        db = sqlite3.connect(f"{self._path.as_uri()}?{how}", uri=True, timeout=0.5, isolation_level=None)
        try:
            db.execute("BEGIN")
            which = "book = 'live' AND seq > ? ORDER BY seq"
            cycles = db.execute(f"SELECT seq, at, reason, decided FROM cycles WHERE {which}", (self._seq,)).fetchall()  # noqa: S608 - a constant
            published = db.execute("SELECT doc FROM publications WHERE book = 'live'").fetchall()
            notices = db.execute("SELECT key, text, topic, state, attempts FROM notices").fetchall()
        finally:
            db.close()
        for seq, at, reason, decided in cycles:
            self._cycles[at] = Row(at, reason, bool(decided))
            self._seq = seq
        for (doc,) in published:
            said = json.loads(zlib.decompress(doc))
            self._moves[said["generation"], tuple(sorted(said["shares"].items())), said["reserve"]] = None
        found_now = {key: Told(*rest) for key, *rest in notices}
        self._notices |= found_now
        self._pending = sum(notice.state == "pending" for notice in found_now.values())

    def cycles(self) -> list[Row]:
        """Return all cycles by time."""
        with self._changing:
            return [self._cycles[at] for at in sorted(self._cycles)]

    def moves(self) -> list[Move]:
        """Return every publication."""
        with self._changing:
            return list(self._moves)

    def notices(self) -> list[Told]:
        """Return every notice, as it was last seen."""
        with self._changing:
            return list(self._notices.values())

    def pending(self) -> int:
        """Return how many notices wait by the newest journal: what became of others went with a damaged one."""
        with self._changing:
            return self._pending

    def attempts(self) -> int:
        """Return how many attempts to send a notice have failed."""
        return sum(notice.attempts for notice in self.notices())

    def since(self, at: float, reasons: Collection[str] = ()) -> list[Row]:
        """Return the cycles after ``at``, with one of these reasons if any are named."""
        return [row for row in self.cycles() if row.at > at and (not reasons or row.reason in reasons)]


@dataclass(slots=True)
class Account:
    """What was to be told against what the chat shows.

    Attributes:
        made: how many messages were to be told.
        invented: messages of what never was.
    """

    made: int
    sent: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    doubled: Counter[str] = field(default_factory=Counter)
    invented: Counter[str] = field(default_factory=Counter)


def head(move: Move) -> str:
    """Return the lines of a publication's message that follow from its shares."""
    _, shares, reserve = move
    ranked = sorted(shares, key=lambda line: (-line[1], line[0]))
    lines = [f"{agent}: {100 * share / WHOLE:.1f}%" for agent, share in ranked]
    lines.append(f"Reserve: {100 * reserve / WHOLE:.1f}%")
    return "\n".join([HEADING, *(line for line in lines if line != NO_RESERVE)])


def told_head(text: str) -> str:
    """Return the same lines of a message, without what each share was before and without a reserve of nothing."""
    first, *rest = text.split("\n")
    found = takewhile(bool, (SHARE.fullmatch(line) for line in rest))
    return "\n".join([first, *(each[1] for each in found if each is not None and each[1] != NO_RESERVE)])


def to_be_told(moves: Iterable[Move]) -> list[Move]:
    """Return the publications that change a share, by generation: the others change only what is withheld."""
    found: list[Move] = []
    before: Move | None = None
    for move in sorted(moves):
        if before is None or move[1:] != before[1:]:
            found.append(move)
        before = move
    return found


def moves_account(moves: Iterable[Move], taken: Iterable[str]) -> Account:
    """Compare what was published, by whatever source, with the messages in the chat."""
    made = to_be_told(dict.fromkeys(moves))
    wanted = Counter(head(move) for move in made)
    told = Counter(told_head(text) for text in taken if text.startswith(HEADING))
    more = told - wanted
    return Account(
        made=len(made),
        sent=told.total(),
        lost=wanted - told,
        doubled=Counter({text: count for text, count in more.items() if text in wanted}),
        invented=Counter({text: count for text, count in more.items() if text not in wanted}),
    )


def alerts_account(
    notices: Iterable[Told], logged: Iterable[str], taken: Iterable[str], unread: Iterable[tuple[float, float]]
) -> Account:
    """Compare the messages that were made, but for those about moves, with those in the chat.

    The journal's must all have arrived. One that no journal has is invented, unless its minute is in ``unread``: times
    from which a journal may not have been read before it was damaged. The supervisor sends the message that the
    governor has ended before it puts it into the journal, and may be killed between; the log tells of each that it
    sent.
    """
    noted = Counter(notice.text for notice in notices if not notice.text.startswith(HEADING))
    told = Counter(text for text in taken if not text.startswith(HEADING))
    spans = list(unread)
    all_ends_sent = sum(ENDED in text for text in told) <= sum(TOLD_OF_THE_END in line for line in logged)
    wanted = noted.copy()
    for text in told.keys() - noted.keys():
        if _in_any(_minute(text), spans) or (ENDED in text and all_ends_sent):
            wanted[text] = 1
    more = told - wanted
    return Account(
        made=noted.total(),
        sent=told.total(),
        lost=noted - told,
        doubled=Counter({text: count for text, count in more.items() if wanted[text]}),
        invented=Counter({text: count for text, count in more.items() if not wanted[text]}),
    )


def _minute(text: str) -> float | None:
    """Return the beginning of the minute that a message tells, in seconds since 1970 UTC; None if it tells none."""
    found = re.search(r" · ([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}) UTC", text)
    return None if found is None else datetime.fromisoformat(f"{found[1]}+00:00").timestamp()


def _in_any(minute: float | None, spans: Iterable[tuple[float, float]]) -> bool:
    return minute is not None and any(begin < minute + 60 and minute <= end for begin, end in spans)


def seen_moves(generations: Mapping[str, tuple[Mapping[str, int], int]]) -> list[Move]:
    """Return the moves that a reader of the primary saw."""
    return [(int(number), tuple(sorted(shares.items())), reserve) for number, (shares, reserve) in generations.items()]


def longest_gap(cycles: Iterable[Row], windows: Iterable[tuple[float, float]]) -> float:
    """Return the longest time between two cycles in a row, in seconds, where no window was open between them."""
    rows, closed = [row.at for row in cycles], list(windows)
    gaps = [
        later - sooner
        for sooner, later in pairwise(rows)
        if not any(begin <= later and end >= sooner for begin, end in closed)
    ]
    return max(gaps, default=0.0)


def cycles_until_governed(cycles: Iterable[Row], since: float) -> int | None:
    """Return how many cycles after ``since`` it took until one governed, that one included; None if none did.

    Those without a usable answer of the dashboard do not count: its fault is not over yet.
    """
    count = 0
    for row in cycles:
        if row.at > since and row.reason not in UNANSWERED:
            count += 1
            if row.governed:
                return count
    return None
