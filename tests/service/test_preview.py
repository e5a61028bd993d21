"""A preview (`check`, `once --dry-run`) against the cycle that a start then really takes, over random histories."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from capital_governor.adapters.paths import Paths
from capital_governor.cli.preview import _copied
from capital_governor.core.acceptance import open_hold
from capital_governor.core.model import EVERYBODY, Refusal, Snapshot
from capital_governor.core.orders import Order, OrderEnd, OrderKind
from capital_governor.core.reason import Reason
from capital_governor.journal.protocol import new_key
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.service.cycle import Cycle
from capital_governor.service.standing import Outcome
from tests.rigs.builders import snapshot
from tests.rigs.cycle_rig import CycleRig

HISTORIES = 120
STEPS = 14
NAMES = ("Ada", "Bob", "Cyd", "Dan")
ORDERED = [
    *((OrderKind.HOLD, ""), (OrderKind.EXPOSURE, ""), (OrderKind.LIMIT, EVERYBODY)),
    *((kind, agent) for kind in (OrderKind.LIMIT, OrderKind.RELEASE) for agent in ("Ada", "Bob")),
]


@dataclass(slots=True)
class History:
    """One root, and what befalls it; what was copied may be put back later."""

    rig: CycleRig
    rng: random.Random
    copies: dict[str, list[bytes]] = field(default_factory=dict)

    @property
    def journal(self) -> Path:
        return self.rig.settings.journal_path

    @property
    def status(self) -> Path:
        return self.rig.governor.paths.status

    def payload(self) -> Snapshot | Refusal:
        rng = self.rng
        if rng.random() < 0.1:
            return Refusal(Reason.FETCH_FAILED, "connection refused")
        there = rng.sample(NAMES, rng.choice((1, 2, 3, 4, 4, 4)))
        found = snapshot(
            {name: rng.choice((0.1, 0.5, 0.9, rng.random())) for name in there},
            at=None if rng.random() < 0.1 else self.rig.now - rng.choice((0, 0, 0, 2_000)),
            faulty=[name for name in NAMES if name not in there and rng.random() < 0.3],
            risk=rng.choice((None, 0.0, 0.5, 1.0, 1.2)),
            drawdown=rng.choice((None, 0.0, 10.0, 20.0)),
            paused=rng.random() < 0.15,
        )
        return replace(found, guardian=None) if rng.random() < 0.15 else found

    def live(self) -> None:
        """Let something happen."""
        rng, rig = self.rng, self.rig
        what = rng.choice(
            ("cycle",) * 6 + ("order", "order", "take back", "accept", "pause", "stop", "time", "copy", "put back")
        )
        if what == "cycle":
            rig.cycle(self.payload())
        elif what in {"order", "take back", "accept"}:
            self.order(what)
        elif what == "pause":
            rig.pause_file.write_text(json.dumps({"paused": rng.random() < 0.3, "reason": rng.choice(("", "loss"))}))
        elif what == "stop":
            if rig.stop_file.exists() or rng.random() < 0.4:
                (rig.stop_file.unlink if rig.stop_file.exists() else rig.stop_file.touch)()
        elif what == "time":
            rig.now += rng.choice((0.4, 60.0, 1_000.0, 90_000.0, -700.0))
        elif what == "copy":
            self.stopped(self.copy)
        else:
            self.stopped(self.put_back)

    def order(self, what: str) -> None:
        rng, now = self.rng, self.rig.now + self.rng.random()
        kind, agent = rng.choice(ORDERED)
        given: Order | None = None
        until = rng.choice((None, now + 200.0, now + 5_000.0))
        with closing(open_sqlite(self.journal)) as journal:
            if what == "accept":
                kind, agent = OrderKind.ACCEPT, ""
                hold = open_hold(entry.decision for entry in reversed(list(journal.entries(Cycle.book, last=4))))
                if hold is None:
                    return
                given = Order(
                    key=new_key(), kind=kind, author="ann", given_at=now, until=now + 9e4, accepts=hold.reason.value
                )
            elif what == "order":
                given = self.drawn(kind, agent, now, until)
            ends = OrderEnd.TAKEN_BACK if given is None else OrderEnd.REPLACED
            journal.change_orders(
                now, lambda old: old.ended(now, ends, "ann") if (old.kind, old.agent) == (kind, agent) else None, given
            )

    def drawn(self, kind: OrderKind, agent: str, now: float, until: float | None) -> Order:
        """An order of this kind with values of its own, as the commands give it."""
        rng, cap, floor = self.rng, None, None
        if kind is OrderKind.EXPOSURE:
            cap = rng.choice((0.0, 0.5, 0.9, 1.0))
        elif kind is OrderKind.LIMIT:
            cap, floor = rng.choice(((0.0, None), (0.1, None), (0.3, None), (None, 0.3), (0.35, 0.2)))
        elif kind is OrderKind.RELEASE:
            until = now + 9e4
        return Order(
            key=new_key(),
            kind=kind,
            author="ann",
            given_at=now,
            until=until,
            agent=agent,
            cap=cap,
            floor=floor,
            share_out=kind is OrderKind.LIMIT and cap is not None and rng.random() < 0.3,
        )

    def stopped(self, change: Any) -> None:
        """Do something with the files while no governor runs."""
        self.rig.journal.close()
        change()
        self.rig._begin()
        self.rig.governor.recover()

    def copy(self) -> None:
        for path in (self.journal, self.status, self.rig.primary):
            if path.exists():
                self.copies.setdefault(path.name, []).append(path.read_bytes())

    def put_back(self) -> None:
        """Put an earlier copy of one file in its place, so that the others are newer; or remove it."""
        path = self.rng.choice((self.journal, self.status, self.status, self.rig.primary))
        kept = self.copies.get(path.name)
        if kept:
            path.write_bytes(self.rng.choice(kept))
        elif self.rng.random() < 0.3:
            path.unlink(missing_ok=True)

    def foretell(self, payload: Snapshot | Refusal) -> Outcome:
        """Return what a preview of the stopped governor's next start announces."""
        cycle = Cycle(self.rig.settings, _copied(self.journal), clock=lambda: self.rig.now)
        cycle.resume()
        return cycle.preview(payload)

    def start(self, payload: Snapshot | Refusal) -> Outcome:
        """Return what that start really does."""
        self.rig._begin()
        self.rig.governor.recover()
        return self.rig.governor.conclude(payload)


def dry_run_beside(root: Path) -> None:
    """Leave what a dry run leaves: files, a journal, and orders of its own."""
    paths = Paths(root, dry_run=True)
    paths.make_folder()
    journal = paths.journal(root / "state").relative_to(root)
    with CycleRig(root, dry_run=True, JOURNAL=journal) as dry:
        dry.governor.recover()
        dry.see()
        orders = ((OrderKind.HOLD, "", None), (OrderKind.EXPOSURE, "", 0.0), (OrderKind.LIMIT, "Ada", 0.0))
        dry.journal.put_orders(
            [
                Order(key=f"dry {kind}", kind=kind, author="dry", given_at=dry.now, agent=agent, cap=cap)
                for kind, agent, cap in orders
            ]
        )
        dry.see()


def compare(history: History, seen: Counter[str]) -> None:
    payload = history.payload()
    history.rig.journal.close()
    foretold = history.foretell(payload)
    done = history.start(payload)
    assert foretold.before == done.before
    assert foretold.inputs == done.inputs
    assert foretold.decision == done.decision
    assert "dry" not in {order.author for order in foretold.orders}
    assert sorted(foretold.orders, key=lambda order: order.key) == sorted(done.orders, key=lambda order: order.key)
    assert {order.key for order in foretold.ended_orders} == {order.key for order in done.ended_orders}
    seen[done.decision.reason.value] += 1
    seen.update(order.kind.value for order in done.orders)
    if done.decision.trace.hold is not None:
        seen[f"held by {done.decision.trace.hold.reason.value}"] += 1


def test_a_preview_is_what_the_next_start_does(tmp_path: Path) -> None:
    """State, inputs, orders and decision are those of the start that follows, whatever came before.

    Orders of every kind that were given and taken back, pauses, stops, leaps of the clock, lost and older copies
    of journal, status file and primary; with brakes of a profile, and beside a dry run with orders of its own.
    """
    seen: Counter[str] = Counter()
    for seed in range(HISTORIES):
        rng = random.Random(seed)  # noqa: S311 - the same histories in every run
        root = tmp_path / str(seed)
        (root / "state").mkdir(parents=True)
        profile, dry_run = rng.choice(("original", "original", "steady")), rng.random() < 0.3
        brakes: dict[str, Any] = {"CONFIRM_CYCLES": rng.choice(("1", "2")), "COOLDOWN": rng.choice(("0", "700"))}
        if profile == "steady":
            brakes = {"PROFILE": profile} | ({} if rng.random() < 0.5 else {"CONFIRM_CYCLES": "1"})
        if dry_run:
            dry_run_beside(root)
        with CycleRig(root, **brakes) as rig:
            history = History(rig, rng)
            rig.governor.recover()
            try:
                for step in range(STEPS):
                    history.live()
                    if step % 3 == 2:
                        compare(history, seen)
                        seen.update([f"profile {profile}", f"dry run beside: {dry_run}"])
            except AssertionError as error:
                error.add_note(f"history {seed}")
                raise
        shutil.rmtree(root)
    rare = {
        *(kind.value for kind in OrderKind),
        *(f"held by {reason}" for reason in ("operator_hold", "paused", "stopped", "guardian_lost", "fetch_failed")),
        *(f"held by {reason}" for reason in ("faulty_majority", "members_gone", "payload_stale", "timestamp_lost")),
        *("profile steady", "dry run beside: True"),
        "cut_ceiling",
        "cut_limit",
        "member_joined",
        "threshold",
        "unchanged",
    } - seen.keys()
    assert not rare, f"the histories never meet {sorted(rare)}: {seen}"
