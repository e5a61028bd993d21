"""One root in the model: a real cycle on real files and a real journal, beside the oracle that says what has to be."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cache
from math import inf
from pathlib import Path
from typing import Any, Final

from capital_governor.adapters.interlocks import STOP_FILE
from capital_governor.contracts.payload import parse
from capital_governor.core.model import Group, Refusal
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.core.reason import Reason
from capital_governor.journal.fallback import ResilientJournal
from capital_governor.journal.notices import NoticeState
from capital_governor.journal.protocol import Entry, new_key
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.journal.store import Store
from capital_governor.service.cycle import Cycle
from capital_governor.service.standing import Outcome
from capital_governor.settings.load import Settings
from tests.model import documents
from tests.model.fleet import Said
from tests.model.steps import Killed, Step, every_step
from tests.oracle.decision import Oracle
from tests.oracle.sight import Observation, OperatorLimit, PauseFile, Published
from tests.oracle.sight import Settings as OracleSettings
from tests.rigs.cycle_rig import settings_of
from tests.rigs.journal_cycles import resilient

START: Final = 1_762_207_200.0
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - made by mkdtemp, and fsync costs nothing there
_RENAMED: Final = frozenset({"max_age_seconds", "release_after", "groups"})
MOVES: Final = "move-"
"""So begin the keys of notices about what was published; there are others, about lapses."""
FETCH_FAILED: Final = Refusal(Reason.FETCH_FAILED, "connection refused")


@cache
def _base() -> Settings:
    return settings_of(Path(tempfile.gettempdir()))


@dataclass(slots=True)
class Done:
    """One cycle that was recorded: the oracle after it, and whether its publication is to be told."""

    oracle: Oracle
    told: bool


@dataclass(slots=True)
class World:
    """The root, the governor that runs on it, and the oracle.

    Attributes:
        now: seconds since 1970 UTC; the model moves it.
        oracle: what is known after the last recorded cycle.
        done: the cycles that the journal has or will have, oldest first, since it was begun anew.
        orders: the operator's orders that have not ended, by key.
        taken: keys of notices that the operator has taken.
        left: how many files of the previous program were put there.
        carried: notices that come from before ``done``: they waited while the journal was lost.
        in_all_files: the newest generation that this governor knows to have once reached all files that it writes.
    """

    rules: OracleSettings
    policy: str = "assert"
    now: float = START
    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None)))
    oracle: Oracle = field(default_factory=Oracle)
    done: list[Done] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    carried: int = 0
    left: int = 0
    in_all_files: int = 0
    pause_file: PauseFile | None = None
    journal: ResilientJournal = field(init=False)
    cycle: Cycle = field(init=False)
    found: str = ""

    def __post_init__(self) -> None:
        (self.root / "state").mkdir()
        self.begin()

    def close(self) -> None:
        self.journal.close()
        shutil.rmtree(self.root)

    # --- places ---

    @property
    def primary(self) -> Path:
        return self.cycle.paths.primary

    @property
    def override(self) -> Path:
        return self.cycle.paths.override

    @property
    def stop(self) -> Path:
        return self.root / STOP_FILE

    @property
    def journal_path(self) -> Path:
        return self.root / "state" / "capital_governor.sqlite3"

    def status(self) -> dict[str, Any]:
        return documents.load(self.cycle.paths.status) or {}

    # --- the process ---

    def begin(self) -> None:
        """Start a governor on this root."""
        told: dict[str, Any] = {key: value for key, value in asdict(self.rules).items() if key not in _RENAMED}
        told |= {"root": self.root, "override": self.policy, "max_age_set_seconds": self.rules.max_age_seconds}
        told |= {"release_after_cycles": self.rules.release_after}
        told |= {"groups": tuple(Group(*group) for group in self.rules.groups)}
        settings = _base().model_copy(update=told)
        self.journal = resilient(self.journal_path, now=lambda: self.now, busy_seconds=0.1)
        self.cycle = Cycle(settings, self.journal, notify=True, clock=lambda: self.now)
        self.found = self.cycle.recover()

    def kill(self) -> None:
        """Let the process be gone, with all that it had in memory only."""
        store = self.journal._store
        if isinstance(store, Store):
            store.close()

    def lose_journal(self) -> None:
        """Note that the journal's file is gone while the governor runs; what it kept in memory goes into a new one."""
        self.carried = len(self.waiting(NoticeState.PENDING)) + len(self.waiting(NoticeState.HELD))
        self.done, self.taken = [], set()
        # Only what is in force goes into the new one.
        self.orders = {order.key: order for kind in OrderKind for order in self.standing(kind)}

    def restart(self) -> None:
        """Start on what is on the disk; the oracle goes on from that too."""
        kept = self.rows()
        self.done = self.done[:kept]
        self.oracle = self.done[-1].oracle.copy() if self.done else Oracle()
        stored = self.stored_orders() | (set() if kept else self.told_orders())
        self.orders = {key: order for key, order in self.orders.items() if key in stored}
        self.taken = self.settled()
        if not kept:
            self.carried = len(self.ask(f"SELECT 1 FROM notices WHERE key LIKE '{MOVES}%'"))  # noqa: S608 - own words
        self._recall()
        self._take_up()
        self.in_all_files = self._found_in_all_files()
        if self.told_orders():
            self._let_the_last_count()
        self.begin()

    def _let_the_last_count(self) -> None:
        """Note that a start that finds orders in the status file ends all but the last order for the same thing.

        There may be several where the clock was set back to a time at which an expired one is in force.
        """
        standing = [order for order in self.orders.values() if self.stands(order)]
        last = {(order.kind, order.agent): order for order in sorted(standing, key=lambda order: order.given_at)}
        old = {order.key for order in standing if last[order.kind, order.agent] is not order}
        self.orders = {key: order for key, order in self.orders.items() if key not in old}

    def _found_in_all_files(self) -> int:
        """The generation that a start takes for written: what is published, if the primary has or had it.

        If the override still has an earlier one of ours, the last governor has died between the two.
        """
        published = self.oracle.published
        if published is None or self._is_pending(documents.read(self.primary)):
            return 0
        lags = self.policy == "assert" and 0 < documents.signed_generation(self.override) < published.generation
        return 0 if lags else published.generation

    def _recall(self) -> None:
        """Let the oracle remember what the status file says that holds do, where the journal has nothing as new."""
        told, newest = self.status(), self.ask("SELECT at FROM cycles ORDER BY seq DESC LIMIT 1")
        if not told or (newest and datetime.fromisoformat(told["timestamp"]).timestamp() <= newest[0][0]):
            return
        watch, latches = self.oracle.watch, told["latches"]
        watch.paused |= latches["paused"]
        watch.guardian_seen |= latches["guardian_seen"]
        watch.stamp_seen |= latches["timestamp_seen"]
        self.oracle.known |= told["multipliers"]

    def give_up_in_a_pause(self, seen: Observation) -> None:
        """Let a paused cycle give up what no agent has seen yet, but not what a person has tightened."""
        published = self.oracle.published
        if published is None or not self._is_pending(document := documents.read(self.primary)):
            return
        which = f"generation = {published.generation} ORDER BY id DESC LIMIT 1"
        found = self.ask(f"SELECT doc FROM publications WHERE {which}")  # noqa: S608 - a number
        if not found or json.loads(zlib.decompress(found[0][0]))["reason"] in {"cut_ceiling", "cut_limit"}:
            return
        if self.oracle.copy().step(seen, self.rules).hold == "paused":
            reached = document or self._last_reached()
            self.oracle.abandon(None if reached is None else reached.published, self._moved_before(published))

    def _take_up(self) -> None:
        """Let the oracle take up what a start finds: a file to adopt, an intent to give up, or nothing new."""
        published, document = self.oracle.published, documents.read(self.primary)
        if document is not None and self._is_news(document.published):
            self.oracle.adopt(document.published, document.at)
        elif published is not None and self._is_pending(document) and not self._is_recent():
            reached = document or self._last_reached()
            self.oracle.abandon(None if reached is None else reached.published, self._moved_before(published))

    def _moved_before(self, given_up: Published) -> float | None:
        """When the last move before this generation was made; a cut or restore left that as it was."""
        known = (done.oracle for done in reversed(self.done))
        others = (each for each in known if each.published is None or each.published.generation != given_up.generation)
        return next((each.moved_at for each in others), None)

    def _is_news(self, found: Published) -> bool:
        published = self.oracle.published
        if published is None or found.generation > published.generation:
            return True
        if found.generation > 0:
            return False
        return not self._is_pending(None) and (published.generation, published.shares) != (0, found.shares)

    def _is_pending(self, document: documents.Document | None) -> bool:
        """Whether what is published never reached the agents."""
        generation = 0 if self.oracle.published is None else self.oracle.published.generation
        if generation == 0 or (document is not None and document.published.generation == generation):
            return False
        return generation not in self.reached()

    def _is_recent(self) -> bool:
        """Whether what is published was decided within MAX_AGE; of a time in the future nobody knows how old it is."""
        published = self.oracle.published
        assert published is not None
        which = f"WHERE generation = {published.generation} ORDER BY id DESC LIMIT 1"
        ((at,),) = self.ask(f"SELECT at FROM publications {which}")  # noqa: S608
        return -60.0 <= self.now - float(at) <= self.rules.max_age_seconds

    def _last_reached(self) -> documents.Document | None:
        found = self.ask("SELECT doc FROM publications WHERE reached = 1 ORDER BY generation DESC LIMIT 1")
        if not found:
            return None
        said = json.loads(zlib.decompress(found[0][0]))
        names = ("generation", "shares", "reserve", "weights", "exposure", "withheld")
        return documents.Document(Published(**{name: said[name] for name in names if name in said}), said["at"])

    # --- the journal, as any SQLite tool reads it ---

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        if not self.journal_path.exists():
            return []
        try:
            with closing(sqlite3.connect(f"file:{self.journal_path}?mode=ro", uri=True)) as reader:
                return reader.execute(sql).fetchall()
        except sqlite3.DatabaseError:
            return []

    def rows(self) -> int:
        """How many cycles the journal has; none where there is no journal."""
        found = self.ask("SELECT count(*) FROM cycles")
        return int(found[0][0]) if found else 0

    def reached(self) -> set[int]:
        return {number for (number,) in self.ask("SELECT generation FROM publications WHERE reached = 1")}

    def stored_orders(self) -> set[str]:
        return {key for (key,) in self.ask("SELECT key FROM orders WHERE ended_at IS NULL")}

    def told_orders(self) -> set[str]:
        """The orders of the status file that a start obeys where the journal has nothing: none that is used once."""
        orders = self.status().get("orders", ())
        return {order["key"] for order in orders if order["order"] not in {"accept", "release"}}

    def waiting(self, state: NoticeState) -> list[str]:
        """The keys of the notices about what was published that are held or to be sent."""
        return [notice.key for notice in self.journal.notices(state, 1_000) if notice.key.startswith(MOVES)]

    def settled(self) -> set[str]:
        return self._noted("state IN ('sent', 'refused')")

    def withdrawn(self) -> set[str]:
        """The notices of moves that were given up before any agent saw them."""
        return self._noted("state = 'withdrawn'")

    def _noted(self, which: str) -> set[str]:
        return {key for (key,) in self.ask(f"SELECT key FROM notices WHERE {which} AND key LIKE '{MOVES}%'")}  # noqa: S608 - own words

    # --- the operator ---

    def order(self, kind: OrderKind, seconds: float | None, **more: Any) -> None:
        """Give an order as the commands do: another process writes it, and it takes the place of one like it."""
        until = None if seconds is None else self.now + seconds
        order = Order(key=new_key(), kind=kind, author="anna", given_at=self.now, until=until, **more)
        self._change(lambda other: other.kind is kind and other.agent == order.agent, order)

    def take_back(self, kind: OrderKind, agent: str = "") -> None:
        """Take back all orders of this kind, or those about one agent."""
        self._change(lambda order: order.kind is kind and agent in ("", order.agent), None)

    def end(self, kind: OrderKind) -> None:
        """Note that the governor has ended all orders of this kind that were in force."""
        used = {order.key for order in self.standing(kind)}
        self.orders = {key: order for key, order in self.orders.items() if key not in used}

    def _change(self, over: Callable[[Order], bool], given: Order | None) -> None:
        with closing(open_sqlite(self.journal_path)) as journal:
            journal.change_orders(
                self.now, lambda o: o.ended(self.now, OrderEnd.REPLACED, "anna") if over(o) else None, given
            )
        # One whose time is over is not there to be taken back; a clock that is set back brings it into force again.
        standing = {order.key for kind in OrderKind for order in self.standing(kind)}
        self.orders = {key: order for key, order in self.orders.items() if key not in standing or not over(order)}
        if given is not None:
            self.orders[given.key] = given

    def standing(self, kind: OrderKind) -> list[Order]:
        """Return the orders of this kind that are in force."""
        return [order for order in self.orders.values() if order.kind is kind and self.stands(order)]

    def stands(self, order: Order) -> bool:
        """Whether an order that has not been ended has not expired."""
        return self.now < _end(order)

    # --- one cycle ---

    def look(self, said: Said) -> Observation:
        """Return what a governor can see now, in the oracle's words."""
        hold, ceiling = (
            max(self.standing(kind), key=lambda order: order.given_at, default=None)
            for kind in (OrderKind.HOLD, OrderKind.EXPOSURE)
        )
        files = [self.primary] if self.policy == "off" else [self.primary, self.override]
        return Observation(
            now=self.now,
            payload=said.seen,
            pause_file=self.pause_file,
            stopped=self.stop.exists(),
            operator_hold_until=None if hold is None else _end(hold),
            operator_limits=tuple(
                OperatorLimit(
                    order.agent,
                    cap=1.0 if order.cap is None else order.cap,
                    floor=0.0 if order.floor is None else order.floor,
                    until=_end(order),
                    share_out=order.share_out,
                )
                for order in self.standing(OrderKind.LIMIT)
            ),
            known_generation=max(documents.signed_generation(path) for path in files),
            files_unwritable=any(path.is_dir() for path in files),
            ceiling=None if ceiling is None or ceiling.cap is None else (ceiling.cap, _end(ceiling)),
            release=frozenset(order.agent for order in self.standing(OrderKind.RELEASE)),
        )

    def conclude(self, said: Said, step: Step | None = None) -> Outcome | None:
        """Let one cycle pass; None if the process died in it."""
        payload = FETCH_FAILED if said.seen == "fetch_failed" else parse(said.body)
        if step is None:
            return self.cycle.conclude(payload)
        try:
            with every_step(step):
                return self.cycle.conclude(payload)
        except Killed:
            return None

    def last_entry(self) -> Entry:
        """The newest cycle on record."""
        with closing(open_sqlite(self.journal_path, read_only=True)) as journal:
            return next(journal.entries(Cycle.book, last=1))


def _end(order: Order) -> float:
    return inf if order.until is None else order.until
