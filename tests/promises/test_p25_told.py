"""P25: a move is told when the agents can see it; one that is taken back is told too."""

from __future__ import annotations

import ast
import errno
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import pytest

from capital_governor.adapters import file_convergence
from capital_governor.core.model import Publication
from capital_governor.core.reason import CUTS, MOVES
from capital_governor.journal.notices import Notice, NoticeState, move_notice
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.journal.store import Store
from capital_governor.service import cycle as cycle_module
from capital_governor.service.cycle import Cycle
from capital_governor.service.event_log import EventLog
from capital_governor.service.publisher import Publisher
from capital_governor.service.recovery import Recovery
from capital_governor.wording.log_events import Line
from tests.model.steps import Killed, every_step
from tests.promises.ledger import Account, require
from tests.rigs.builders import INTERVAL, NOW, snapshot
from tests.rigs.cycle_rig import settings_of
from tests.rigs.journal_cycles import resilient

FIRST: Final[Mapping[str, float]] = {"Ada": 0.5, "Bob": 0.3, "Cyd": 0.2}
NEXT: Final[Mapping[str, float]] = {"Ada": 0.1, "Bob": 0.3, "Cyd": 0.6}
LATE: Final = 3_600
"""Seconds after which an intent is older than MAX_AGE."""
LEFT_ALONE: Final = ("look for STOP",)
"""Steps that no disk refuses."""


@dataclass
class Watched:
    """A governor on a root, what its agents have seen, and all that its operator was told, over several processes."""

    root: Path
    now: float = NOW
    seen: dict[int, dict[str, float]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = settings_of(self.root)
        self.start()

    @property
    def primary(self) -> Path:
        return self.cycle.paths.primary

    def start(self) -> None:
        path = self.settings.journal_path
        self.journal = resilient(path, now=lambda: self.now)
        self.cycle = Cycle(self.settings, self.journal, notify=True, clock=lambda: self.now)
        self.report = EventLog(self.hear, self.settings.rules())
        self.cycle.recover()
        for remark in self.cycle.remarks:
            self.hear(remark)

    def kill(self) -> None:
        """The process is gone: what it had in memory only is lost."""
        store: Any = self.journal._store
        if store is not None:
            store._db._db.close()

    def hear(self, line: Line) -> None:
        self.lines.append(line.text)

    def look(self, step: str = "") -> None:
        """See what an agent sees now, and hold what the status file says against it."""
        del step
        with suppress(FileNotFoundError):
            said = json.loads(self.primary.read_bytes())
            self.seen[said["generation"]] = said["allocations"]
        with suppress(FileNotFoundError):
            status = json.loads(self.cycle.paths.status.read_bytes())
            told = status["generation"]
            require(told is None or told in self.seen, f"the status file says generation {told}, seen {[*self.seen]}")

    def see(self, scores: Mapping[str, float], step: Callable[[str], None] | None = None) -> None:
        """One cycle, and its report."""
        with every_step(step or self.look):
            outcome = self.cycle.conclude(snapshot(scores, at=self.now))
        self.look()
        self.report.cycle(outcome)
        self.now += INTERVAL

    def notices(self) -> list[Notice]:
        with open_journal(self.root) as journal:
            rows = journal._db.rows("SELECT key, state, text FROM notices ORDER BY id")
        return [Notice(key=key, created_at=0.0, text=text, state=NoticeState(state)) for key, state, text in rows]

    def released(self) -> set[int]:
        """The generations whose notice may be sent."""
        told = [notice for notice in self.notices() if notice.key.startswith("move-")]
        sendable = {NoticeState.PENDING, NoticeState.SENT}
        return {int(notice.key.rpartition("-")[2]) for notice in told if notice.state in sendable}

    def taken_back(self) -> set[int]:
        keys = [notice.key for notice in self.notices() if notice.key.startswith("taken-back-")]
        return {int(key.rpartition("-")[2]) for key in keys}

    def digested(self) -> int:
        """The moves and cuts that a digest of all time would count."""
        return sum(reason in MOVES | CUTS for _, reason in self.journal.timeline(Cycle.book, 0.0))

    def committed(self) -> int:
        head = self.journal.head(Cycle.book)
        return 0 if head is None or head.state.published is None else head.state.published.generation

    def hold_told_against_seen(self, where: str) -> None:
        """Whatever was told was seen, or taken back; whatever was seen is told; and nothing runs ahead."""
        self.look()
        released, seen = self.released(), set(self.seen)
        require(released <= seen | self.taken_back(), f"{where}: told {released}, seen {seen}")
        require(seen <= released, f"{where}: seen {seen}, told {released}")
        require(self.digested() == len(seen), f"{where}: the digest counts {self.digested()}, seen {seen}")
        shown = [ast.literal_eval(line.removeprefix("New: ")) for line in self.lines if line.startswith("New: ")]
        known = [*self.seen.values()]
        require(all(line in known for line in shown), f"{where}: the log tells {shown}, seen {known}")
        require(self.committed() <= max(seen, default=0) + 1, f"{where}: generation {self.committed()}, seen {seen}")


@contextmanager
def open_journal(root: Path, *, read_only: bool = True) -> Iterator[Any]:
    journal = open_sqlite(root / "state" / "capital_governor.sqlite3", read_only=read_only)
    try:
        yield journal
    finally:
        journal.close()


class Refusing:
    """A disk that refuses from one step on, so many times; every step is looked at too."""

    def __init__(self, watched: Watched, nth: int, error: int, times: int) -> None:
        self.watched, self.left, self.error, self.times = watched, nth, error, times
        self.fired = 0

    def __call__(self, step: str) -> None:
        self.watched.look()
        if step.startswith("after") or step.removeprefix("before ") in LEFT_ALONE:
            return
        self.left -= 1
        if self.left < 0 and self.times > 0:
            self.times -= 1
            self.fired += 1
            raise OSError(self.error, "refused")


class Killing:
    """The end of the process at one step."""

    def __init__(self, watched: Watched, nth: int) -> None:
        self.watched, self.left, self.fired = watched, nth, 0

    def __call__(self, step: str) -> None:
        del step
        self.watched.look()
        self.left -= 1
        if self.left < 0:
            self.fired += 1
            raise Killed


def refused(root: Path, nth: int, error: int, times: int) -> int:
    """The disk refuses during a move and, if it goes on refusing, in the cycles after it; then it takes all again.

    Return how often it refused; 0 if the move has no such step.
    """
    watched = Watched(root)
    watched.see(FIRST)
    disk = Refusing(watched, nth, error, times)
    watched.see(NEXT, disk)
    if not disk.fired:
        watched.journal.close()
        return 0
    for scores in (FIRST, NEXT):
        watched.see(scores, disk)
    for _ in range(2):
        watched.see(NEXT)
    watched.hold_told_against_seen(f"{errno.errorcode[error]} at step {nth}, {times} times")
    watched.journal.close()
    return disk.fired


def killed(root: Path, nth: int, pause: int) -> int:
    """The process dies during a move; the next one starts so many seconds later."""
    watched = Watched(root)
    watched.see(FIRST)
    step = Killing(watched, nth)
    with suppress(Killed):
        watched.see(NEXT, step)
    watched.kill()
    watched.now += pause
    watched.start()
    for _ in range(2):
        watched.see(NEXT)
    watched.hold_told_against_seen(f"killed at step {nth}, started after {pause} s")
    watched.journal.close()
    return step.fired


def roots(folder: Path) -> Iterator[Path]:
    number = 0
    while True:
        number += 1
        made = folder / str(number)
        made.mkdir(parents=True)
        yield made


def at_every_step(folder: Path) -> tuple[int, int]:
    """Refuse and kill at each step of a move, one after the other; return how often each was done."""
    fresh, refusals, kills = roots(folder), 0, 0
    for error, times in ((errno.ENOSPC, 1_000), (errno.ENOSPC, 1), (errno.EPERM, 1)):
        nth = 0
        while fired := refused(next(fresh), nth, error, times):
            refusals += fired
            nth += 1
    for pause in (0, LATE):
        nth = 0
        while killed(next(fresh), nth, pause):
            kills += 1
            nth += 1
    return refusals, kills


def test_p25_nothing_is_told_that_no_agent_has_seen(promise: Account, tmp_path: Path) -> None:
    """Whatever fails or dies during a move: log, messages, digest and status tell what the primary file carries."""
    refusals, kills = at_every_step(tmp_path / "product")
    assert refusals > 100
    assert kills > 30
    promise.figure(f"calls refused {refusals}, kills {kills}: told and never visible 0, visible and never told 0")

    def told_at_once(publication: Publication, text: str) -> Notice:
        return move_notice(publication, text).released()

    def show_all(self: Publisher, published: Publication | None) -> file_convergence.Convergence | None:
        convergence = REAL_PUBLISH(self, published)
        if published is not None:
            self.show(published)
        return convergence

    mutants: dict[str, AbstractContextManager[object]] = {
        "told when decided": patch.object(cycle_module, "move_notice", told_at_once),
        "shown whatever became of the file": patch.object(Publisher, "publish", show_all),
        "decides on while nothing can be written": patch.object(Cycle, "_catch_up", lambda _: None),
        "never released": patch.object(Cycle, "_mark_reached", lambda _: None),
    }
    for name, mutant in mutants.items():
        with promise.mutant(name), mutant:
            at_every_step(tmp_path / name)


REAL_PUBLISH: Final = Publisher.publish


def take_back(root: Path) -> str:
    """A move was told (status file and chat), and no agent has seen it when a start gives it up."""
    watched = Watched(root)
    watched.see(FIRST)
    old = watched.primary.read_bytes()
    watched.see(NEXT)
    watched.kill()
    # As the version before left it on a full disk: decided and told, and still the old primary.
    watched.primary.write_bytes(old)
    with open_journal(root, read_only=False) as journal:
        journal._db._db.execute("UPDATE publications SET reached = 0 WHERE generation = 2")
    watched.now += LATE
    watched.start()
    watched.see(FIRST)
    require(watched.taken_back() == {2}, f"taken back: {watched.taken_back()}")
    (text,) = [notice.text for notice in watched.notices() if notice.key.startswith("taken-back-")]
    watched.kill()
    watched.start()
    watched.see(FIRST)
    require(len([n for n in watched.notices() if n.key.startswith("taken-back-")]) == 1, "taken back twice")
    require(any("taken back" in line for line in watched.lines), "the log does not say so")
    watched.journal.close()
    return text


def test_p25_a_move_that_was_told_and_is_given_up_is_taken_back(promise: Account, tmp_path: Path) -> None:
    """The message names the generation that is off, and the shares that the agents have, once over restarts."""
    folders = roots(tmp_path)
    text = take_back(next(folders))
    assert text.split("\n") == [
        "↩️ Capital Reallocation taken back: generation 2 of 2025-11-03 22:05 UTC is not in force. Agents have:",
        "Ada: 40.0%",
        "Bob: 36.0%",
        "Cyd: 24.0%",
        "It never reached the agents, and is too old to be published now. The next cycle decides anew.",
        "No action needed.",
        "fleet1 · 2025-11-03 23:10 UTC",
    ]
    promise.figure("told and given up 1: taken back 1")
    with promise.mutant("given up without a word"), patch.object(Recovery, "_take_back", lambda *_: None):
        take_back(next(folders))


def test_p25_a_move_that_nobody_was_told_of_is_given_up_in_silence(tmp_path: Path) -> None:
    """A generation that died between commit and rename, and is given up an hour later, leaves no message at all."""
    watched = Watched(tmp_path)
    watched.see(FIRST)

    def die_at_the_file(step: str) -> None:
        if step == "before create":
            raise Killed

    with pytest.raises(Killed):
        watched.see(NEXT, die_at_the_file)
    watched.kill()
    watched.now += LATE
    watched.start()
    states = {notice.key.rpartition("-")[2]: notice.state for notice in watched.notices()}
    assert states == {"1": NoticeState.PENDING, "2": NoticeState.WITHDRAWN}
    assert not any("taken back" in line for line in watched.lines)
    watched.see(NEXT)
    assert set(watched.seen) == {1, 3}
    watched.hold_told_against_seen("given up")
    watched.journal.close()


def lose_the_mark(root: Path) -> None:
    """The power is lost between a publication and the next commit, so that the journal does not have its mark."""
    watched = Watched(root)
    watched.see(FIRST)
    state, synced = root / "state", root / "synced"

    def keep(step: str) -> None:
        if step == "after commit":  # the last that waits for the disk; the mark comes later and does not
            shutil.copytree(state, synced)

    watched.see(NEXT, keep)
    watched.kill()
    shutil.rmtree(state)
    shutil.move(synced, state)
    with open_journal(root, read_only=False) as journal:
        assert journal.unreached(Cycle.book).generation == 2, "the mark was not lost"
    assert 2 not in watched.released()
    watched.start()
    watched.see(NEXT)
    require(watched.journal.unreached(Cycle.book) is None, "the journal does not know what is in the file")
    watched.hold_told_against_seen("after the power loss")
    require(any("generation 2" in line for line in watched.lines), "the log does not say so")
    watched.journal.close()


def test_p25_a_mark_that_the_power_took_is_made_again(promise: Account, tmp_path: Path) -> None:
    """The mark that agents see a move does not wait for the disk: a start without it finds the move, and tells."""
    folders = roots(tmp_path)
    lose_the_mark(next(folders))
    promise.figure("marks lost with the power 1: told again 1")
    with promise.mutant("never marked"), patch.object(Store, "reached", lambda *_: None):
        lose_the_mark(next(folders))


def test_p25_a_full_disk_holds_and_the_same_cycle_goes_on_once_there_is_room(tmp_path: Path) -> None:
    """While files cannot be written each cycle holds and says so; the move is told when it is in the file."""
    watched = Watched(tmp_path)
    watched.see(FIRST)

    def full(step: str) -> None:
        if step == "before write":
            raise OSError(errno.ENOSPC, "No space left on device")

    for _ in range(3):
        watched.see(NEXT, full)
    reasons = [entry.reason.value for entry in watched.journal.entries(Cycle.book)]
    assert reasons == ["first_allocation", "threshold", "files_unwritable", "files_unwritable"]
    assert not [line for line in watched.lines if line.startswith("Reallocation triggered (change")]
    told = "Generation 2 is decided, but not in the files yet: agents have generation 1"
    assert watched.lines.count(told) == 1
    watched.see(NEXT)
    said = [line for line in watched.lines if line.startswith(("Reallocation triggered", "Allocations saved"))]
    assert [line.partition(":")[0] for line in said[2:]] == [
        "Reallocation triggered (change >= 0.10)",
        "Allocations saved",
    ]
    assert [entry.reason.value for entry in watched.journal.entries(Cycle.book)][-1] == "unchanged"
    watched.journal.close()
