"""States that a governor does not leave by itself, or is suspected not to: how to get one into each of them.

Random sequences meet the common ones, in all combinations; these are the far ones, each made on purpose. Each is left
with whatever made it still going on: ``tests.model.ending`` says what it is to be all well again.
"""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

import pytest

from capital_governor.core.orders import OrderKind
from capital_governor.core.reason import Reason
from capital_governor.service.standing import Outcome
from tests.model import tamper
from tests.model.ending import Ending, govern_again, let_pass, mend
from tests.model.fleet import Dashboard, Said
from tests.model.steps import Killed, Step
from tests.model.world import World
from tests.oracle.sight import Settings
from tests.rigs.allocation_files import document, previous

INTERVAL: Final = 300.0
YEAR: Final = 365 * 86_400.0


class Case:
    """A governor that has published, and what befalls it."""

    def __init__(self, rules: Settings = tamper.DEFAULTS) -> None:
        self.world = World(rules)
        self.dashboard = Dashboard()
        self.dashboard.rescore(3, {"Atlas", "Bolt", "Crest", "Echo"})
        self.cycles(1 + rules.confirm_cycles)
        assert self.world.cycle.state.published is not None

    def cycles(self, count: int = 1) -> None:
        for _ in range(count):
            self.hears(self.dashboard.payload(self.world.now))

    def hears(self, said: Said, step: Step | None = None) -> None:
        if step is None:
            let_pass(self.world, said, INTERVAL)
            return
        self.world.conclude(said, step)
        self.world.now += INTERVAL

    def restart(self) -> None:
        self.world.kill()
        self.world.begin()

    def odd(self, kind: str, cycles: int = 1) -> None:
        for _ in range(cycles):
            self.hears(tamper.odd(self.dashboard, self.world, kind, ()))

    def swing(self, seed: int = 9) -> None:
        """Let a move be due."""
        self.dashboard.rescore(seed, set(self.dashboard.records))

    def govern_again(self, ending: Ending) -> int:
        """Let all faults be over; return how many cycles it took until one governed."""
        if self.world.journal.lost:
            self.cycles()  # so that there is a journal in which a hold can be taken back
        mend(self.world, self.dashboard)

        def cycle(said: Said) -> Outcome | None:
            return let_pass(self.world, said, INTERVAL)

        return govern_again(self.world, self.dashboard, ending, cycle=cycle, start=self.restart)

    def write(self, sql: str, *values: object) -> None:
        """Change the journal behind the governor's back."""
        with closing(sqlite3.connect(self.world.journal_path, isolation_level=None)) as db:
            db.execute(sql, values)


# --- who says stop ----------------------------------------------------------------------------------------------------


def paused_without_agents(case: Case) -> None:
    case.dashboard.paused = True
    case.cycles()
    case.dashboard.paused, case.dashboard.absent = False, set(case.dashboard.records)
    case.cycles(2)


def paused_and_lost(case: Case) -> None:
    """The pause is known by the status file alone; the guardian block is gone."""
    tamper.pause(case.world, "on", "cooling")
    case.cycles()
    case.world.kill()
    tamper.lose_journal(case.world, garbage=True)
    case.world.begin()
    case.dashboard.lacks = {"guardian"}
    case.cycles(2)


def everybody_says_stop(case: Case) -> None:
    case.dashboard.paused = True
    tamper.pause(case.world, "endless", "")
    case.world.stop.touch()
    case.world.order(OrderKind.HOLD, None)
    case.odd("stale", 2)


def pause_file_expired(case: Case) -> None:
    """The payload goes on repeating it."""
    case.dashboard.paused, case.dashboard.said = True, "cooling"
    tamper.pause(case.world, "over", "cooling")
    case.odd("fetch_failed")
    case.cycles()


# --- the agents -------------------------------------------------------------------------------------------------------


def gone_by_turns(case: Case) -> None:
    """Half of the fleet is gone, and in each second cycle something else holds."""
    case.dashboard.absent = {"Atlas", "Bolt"}
    for _ in range(5):
        case.cycles()
        case.odd("fetch_failed")


def gone_nearly_for_good(case: Case) -> None:
    case.dashboard.absent = {"Atlas", "Bolt"}
    case.cycles(4 * case.world.rules.membership_grace_cycles - 1)


def all_faulty(case: Case) -> None:
    case.dashboard.faulty = dict.fromkeys(case.dashboard.records, "NaN")
    case.cycles(3)


def nobody_left(case: Case) -> None:
    """One after the other has been retired, as without lapses, and the last one is gone."""
    case.world.rules = replace(case.world.rules, release_after=0)
    case.restart()
    for name in sorted(case.dashboard.records):
        case.dashboard.absent |= {name}
        case.cycles(case.world.rules.membership_grace_cycles + 2)


def accept_waits(case: Case) -> None:
    """For a hold that nothing shows to be over."""
    case.dashboard.lacks = {"stamp", "guardian"}
    case.cycles()
    case.world.order(OrderKind.ACCEPT, 86_400.0, accepts=Reason.TIMESTAMP_LOST.value)
    case.odd("fetch_failed", 2)


def accepted_members_lost(case: Case) -> None:
    case.dashboard.faulty = dict.fromkeys(case.dashboard.records, "null")
    case.cycles()
    case.world.order(OrderKind.ACCEPT, 86_400.0, accepts=Reason.FAULTY_MAJORITY.value)
    case.cycles()
    case.dashboard.absent = set(case.dashboard.records)
    case.cycles(2)


def all_lapsed(case: Case) -> None:
    """One after the other has lapsed, and a newcomer is gone too."""
    for name in sorted(case.dashboard.records):
        case.dashboard.absent |= {name}
        case.cycles(case.world.rules.membership_grace_cycles + 2)
    case.dashboard.rescore(4, {"Hive-2"})
    case.cycles(2)
    case.dashboard.absent |= {"Hive-2"}
    case.cycles(3)


def lapsed_and_journal_lost(case: Case) -> None:
    """Nobody knows any more who has lapsed, and these are at fault now."""
    case.dashboard.absent = {"Atlas"}
    case.cycles(4)
    case.world.kill()
    tamper.lose_journal(case.world, garbage=False)
    case.world.begin()
    case.dashboard.absent, case.dashboard.faulty = set(), dict.fromkeys(("Atlas", "Bolt", "Crest"), "NaN")
    case.cycles(2)


def flapping(case: Case) -> None:
    """One is away for too long, and never back for long enough."""
    for _ in range(4):
        case.dashboard.absent = {"Atlas"}
        case.cycles(case.world.rules.membership_grace_cycles + 1)
        case.dashboard.absent = set()
        case.cycles(2)


def releases_wait(case: Case) -> None:
    """For a payload that shows who is there: of one that is away, of one that is well, and of nobody."""
    case.dashboard.absent = {"Atlas"}
    for name in ("Atlas", "Bolt", "Nobody"):
        case.world.order(OrderKind.RELEASE, 86_400.0, agent=name)
    case.odd("fetch_failed", 2)


def all_released(case: Case) -> None:
    """Everybody is gone, and released."""
    case.dashboard.absent = set(case.dashboard.records)
    for name in case.dashboard.records:
        case.world.order(OrderKind.RELEASE, 86_400.0, agent=name)
    case.cycles(4)


def limits_breached(case: Case) -> None:
    """Shares are above the caps of an operator, of agents whose records are at fault."""
    for name in case.dashboard.records:
        case.world.order(OrderKind.LIMIT, None, agent=name, cap=0.01)
    case.dashboard.faulty = dict.fromkeys(("Atlas", "Bolt", "Crest"), "text")
    case.cycles(2)


def tightened_to_nothing(case: Case) -> None:
    """A ceiling of 0 without an end, caps of 0, floors above them, and no payload, in a pause and under STOP."""
    case.dashboard.paused = True
    case.odd("fetch_failed")
    case.world.order(OrderKind.EXPOSURE, None, cap=0.0)
    case.world.order(OrderKind.LIMIT, None, agent="*", cap=0.0)
    case.world.order(OrderKind.LIMIT, None, agent="Atlas", cap=0.0, floor=0.9, share_out=True)
    case.odd("fetch_failed")
    case.world.stop.touch()
    case.cycles(2)


def set_to_nothing(case: Case) -> None:
    """Settings leave nothing to anybody: no group may have anything, and all is reserve."""
    groups = (("one", 0.0, ("Atlas", "B*")), ("rest", 0.0, ("*",)))
    case.world.rules = replace(case.world.rules, groups=groups, min_reserve=1.0, release_after=0)
    case.restart()
    case.odd("stale")
    case.dashboard.absent = {"Atlas"}
    case.cycles(4)


# --- exposure and brakes ----------------------------------------------------------------------------------------------


def no_exposure(case: Case) -> None:
    case.dashboard.multiplier, case.dashboard.drawdown = 0.0, 40.0
    case.cycles(2)
    case.dashboard.lacks = {"regime", "drawdown"}
    case.restart()
    case.cycles()


def hardly_any_exposure(case: Case) -> None:
    for multiplier in (5e-324, 1e-300, 1.1e-6, 1e-6):
        case.dashboard.multiplier = multiplier
        case.dashboard.faulty = {"Atlas": "null"}
        case.cycles()
        case.swing(int(1 / max(multiplier, 1e-9)))


def braked(case: Case) -> None:
    case.world.rules = replace(case.world.rules, cooldown_seconds=90_000.0, confirm_cycles=3, max_step=1e-6)
    case.restart()
    case.swing()
    case.cycles(2)


def braked_and_clock_back(case: Case) -> None:
    """The last move is a year ahead, and so is the last retirement."""
    case.world.rules = replace(case.world.rules, cooldown_seconds=90_000.0)
    case.restart()
    case.world.now += YEAR
    case.dashboard.absent = {"Atlas"}
    case.cycles(case.world.rules.membership_grace_cycles + 2)
    case.world.now -= YEAR
    case.cycles()


# --- the clock --------------------------------------------------------------------------------------------------------


def clock_ahead_once(case: Case) -> None:
    """For one cycle, with orders that expire meanwhile, and it all is of now again."""
    case.world.order(OrderKind.HOLD, 3_600.0)
    case.cycles()
    case.world.now += 10 * YEAR
    case.swing()
    case.cycles()
    case.world.now -= 10 * YEAR
    case.cycles()


def clock_back(case: Case) -> None:
    case.world.now -= 20 * YEAR
    case.swing()
    case.cycles()
    case.restart()


# --- files ------------------------------------------------------------------------------------------------------------


def folders(case: Case) -> None:
    case.swing()
    for path in (case.world.primary, case.world.override, case.world.cycle.paths.status):
        tamper.clear(path)
        path.mkdir()
    case.cycles(2)


def full_disk(name: str) -> Step:
    """Let no file be made in place of this one."""
    told: list[str] = []

    def step(done: str) -> None:
        told.append(done)
        if done == f"before rename {name}":
            raise OSError(errno.ENOSPC, "No space left on device")

    return step


def never_reached(case: Case) -> None:
    """A move is committed, and never gets into the primary file."""
    for seed in (9, 10):
        case.swing(seed)
        case.hears(case.dashboard.payload(case.world.now), full_disk(case.world.primary.name))


def never_reached_and_old(case: Case) -> None:
    never_reached(case)
    case.world.kill()
    case.world.now += 10_000
    case.world.begin()


def killed_in_publication(case: Case) -> None:
    """Right after the commit, and the file has been removed besides."""
    case.swing()

    def step(done: str) -> None:
        if done == "after commit":
            raise Killed

    case.hears(case.dashboard.payload(case.world.now), step)
    case.world.kill()
    tamper.clear(case.world.primary)
    case.world.begin()


def adopted_and_lost(what: str) -> Callable[[Case], None]:
    """The previous program's file was adopted, nothing has moved since, and then it is torn or gone."""

    def state(case: Case) -> None:
        published = case.world.cycle.state.published
        assert published is not None
        shares = {name: share / 1_000_000 for name, share in published.shares.items()}
        case.world.kill()
        for path in (case.world.journal_path, case.world.override):
            tamper.clear(path)
        made = previous(allocations=shares, timestamp=tamper.iso(case.world.now))
        case.world.primary.write_text(json.dumps(made))
        case.world.rules = replace(case.world.rules, cooldown_seconds=90_000.0)
        case.world.begin()
        case.cycles()
        tamper.rival(case.world, f"primary {what}", 0)
        case.restart()

    return state


def signed(generation: int) -> Callable[[Case], None]:
    """A primary file of a huge generation is adopted, and a rival signs the override with as much each time."""

    def state(case: Case) -> None:
        shares = {"Atlas": 0.3, "Bolt": 0.3, "Crest": 0.4}
        made = document(
            allocations=shares,
            reserve=0.0,
            weights=shares,
            exposure=1.0,
            scores={},
            generation=generation,
            timestamp=tamper.iso(case.world.now),
        )
        case.world.kill()
        case.world.primary.write_text(json.dumps(made))
        case.world.begin()
        for seed in (9, 10, 11):
            case.world.override.write_text(json.dumps(made))
            case.swing(seed)
            case.cycles()
            case.restart()

    return state


def removed(*names: str) -> Callable[[Case], None]:
    """A folder of the root is deleted under the running governor, and a move is due."""

    def state(case: Case) -> None:
        case.swing()
        for name in names:
            shutil.rmtree(case.world.root / name)
        tamper.pause(case.world, "on" if "state" not in names else "gone", "")
        case.cycles(2)

    return state


# --- the journal ------------------------------------------------------------------------------------------------------


def journal_lost_each_start(case: Case) -> None:
    """It is damaged before each start, while half of the fleet is gone."""
    case.dashboard.absent = {"Atlas", "Bolt"}
    for _ in range(3):
        case.world.kill()
        tamper.lose_journal(case.world, garbage=True)
        case.world.begin()
        case.cycles()


def spoilt_order(column: str, value: object, kind: OrderKind = OrderKind.LIMIT) -> Callable[[Case], None]:
    """An order in the journal says something impossible."""

    def state(case: Case) -> None:
        agent = "" if kind is OrderKind.EXPOSURE else "Atlas"
        case.world.order(kind, 3_600.0, agent=agent, cap=None if kind is OrderKind.RELEASE else 0.2)
        case.cycles()
        case.write(f"UPDATE orders SET {column} = ?", value)  # noqa: S608 - own words
        case.cycles(2)
        case.restart()
        case.cycles(2)

    return state


def failing(case: Case) -> None:
    """Each cycle ends with an unexpected error."""
    with pytest.MonkeyPatch.context() as breaking:

        def broken(*_: Any) -> None:
            raise ValueError("unexpected")

        breaking.setattr("capital_governor.service.cycle.commit", broken)
        case.swing()
        case.cycles(2)


STATES: Final[dict[str, Callable[[Case], None]]] = {
    state.__name__: state
    for state in (
        paused_without_agents,
        paused_and_lost,
        everybody_says_stop,
        pause_file_expired,
        gone_by_turns,
        gone_nearly_for_good,
        all_faulty,
        nobody_left,
        accept_waits,
        accepted_members_lost,
        all_lapsed,
        lapsed_and_journal_lost,
        flapping,
        releases_wait,
        all_released,
        limits_breached,
        tightened_to_nothing,
        set_to_nothing,
        no_exposure,
        hardly_any_exposure,
        braked,
        braked_and_clock_back,
        clock_ahead_once,
        clock_back,
        folders,
        never_reached,
        never_reached_and_old,
        killed_in_publication,
        journal_lost_each_start,
        failing,
    )
} | {
    "adopted, and torn": adopted_and_lost("torn"),
    "adopted, and gone": adopted_and_lost("gone"),
    "runtime removed": removed("runtime"),
    "runtime and state removed": removed("runtime", "state"),
    "generation 2^52": signed(2**52),
    "generation 2^53 - 1": signed(2**53 - 1),
    "an order until 'soon'": spoilt_order("until", "soon"),
    "an order until 1e300": spoilt_order("until", 1e300),
    "an order until inf": spoilt_order("until", float("inf")),
    "an order given in 1e300": spoilt_order("given_at", 1e300),
    "a cap of 1e300": spoilt_order("cap", 1e300),
    "a cap of -1": spoilt_order("cap", -1.0),
    "a floor of 7": spoilt_order("floor", 7.0),
    "share out 7": spoilt_order("share_out", 7),
    "a ceiling of 1e300": spoilt_order("cap", 1e300, OrderKind.EXPOSURE),
    "a ceiling of -1": spoilt_order("cap", -1.0, OrderKind.EXPOSURE),
    "no ceiling": spoilt_order("cap", None, OrderKind.EXPOSURE),
    "a release of nobody": spoilt_order("agent", "", OrderKind.RELEASE),
    "a release of everybody": spoilt_order("agent", "*", OrderKind.RELEASE),
}
