"""What the model must find: programs that break one rule of plan and withholding each, without a gate behind them.

Each is found in one night that is written down, and in the long form by the random sequences too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from capital_governor.contracts.allocation_files import documents
from capital_governor.core import decision, limits, membership, withholding
from capital_governor.core.exposure import ceilings
from capital_governor.core.limits import agent_limits, withholding_caps
from capital_governor.core.model import EVERYBODY, WHOLE
from capital_governor.core.orders import OrderKind
from capital_governor.core.reason import Reason
from tests.model import tamper
from tests.model.course import Tally
from tests.model.machine import Loop
from tests.model.running import run_mutant
from tests.model.world import World
from tests.promises.ledger import BrokenPromiseError

pytestmark = pytest.mark.no_cover  # many sequences, which tracing slows down several times

Mutant = Callable[[pytest.MonkeyPatch], None]


def _facts(**changed: Any) -> Mutant:
    """Let what is withheld be found from other facts."""

    def mutate(mutating: pytest.MonkeyPatch) -> None:
        find = withholding.withhold
        mutating.setattr(decision, "withhold", lambda plan, facts, old: find(plan, replace(facts, **changed), old))

    return mutate


def _silence_releases(mutating: pytest.MonkeyPatch) -> None:
    """Who is silent for too long is retired at once, and its part shared out."""
    leaves = membership.leaves

    def too_soon(*arguments: Any, rules: Any, **more: Any) -> bool:
        return leaves(*arguments, rules=replace(rules, release_after_cycles=0), **more)

    mutating.setattr(membership, "leaves", too_soon)


def _every_cap_is_shared_out(mutating: pytest.MonkeyPatch) -> None:
    def shared(members: Any, *, orders: Any, **more: Any) -> Any:
        return agent_limits(members, orders=[replace(order, share_out=True) for order in orders], **more)

    mutating.setattr(limits, "agent_limits", shared)


def _holds_delay(mutating: pytest.MonkeyPatch) -> None:
    held = decision._hold

    def late(*arguments: Any) -> Any:
        found = held(*arguments)
        hold = found.trace.hold
        return found if hold is None else replace(found, reason=hold.reason, proposal=None)

    mutating.setattr(decision, "_hold", late)


def _brakes_delay(mutating: pytest.MonkeyPatch) -> None:
    """What is to be withheld waits for the brakes as a move does."""
    decided = decision.decide

    def late(inputs: Any, state: Any, rules: Any) -> Any:
        found = decided(inputs, state, rules)
        braked = any(brake.active for brake in found.trace.brakes)
        delayed = braked and found.proposal is not None
        return replace(found, reason=Reason.COOLDOWN, proposal=None) if delayed else found

    mutating.setattr("capital_governor.service.cycle.decide", late)


def _holds_give_back(mutating: pytest.MonkeyPatch) -> None:
    """In a hold each share is its plan line, whatever was withheld."""
    held = decision._hold

    def generous(inputs: Any, state: Any, *arguments: Any) -> Any:
        found, old = held(inputs, state, *arguments), state.published
        if old is None or not old.withheld:
            return found
        whole, generation = old.plan, state.generation + 1
        rest = WHOLE - sum(whole.values())
        given = replace(old, generation=generation, at=inputs.now, shares=whole, withheld={}, reserve=rest)
        return replace(found, reason=Reason.CUT_LIMIT, proposal=given)

    mutating.setattr(decision, "_hold", generous)


def _stop_lets_cuts_through(mutating: pytest.MonkeyPatch) -> None:
    held = decision._hold

    def forced(inputs: Any, *arguments: Any) -> Any:
        return held(replace(inputs, stopped=False), *arguments)

    mutating.setattr(decision, "_hold", forced)


def _caps_of_everybody_bind_nobody(mutating: pytest.MonkeyPatch) -> None:
    def single(agents: Any, orders: Any, now: float) -> Any:
        return withholding_caps(agents, [order for order in orders if order.agent != EVERYBODY], now)

    mutating.setattr(limits, "withholding_caps", single)


def _groups_bind_the_plan_only(mutating: pytest.MonkeyPatch) -> None:
    within = withholding.within_limits

    def alone(lines: Any, exposure: float, caps: Any, _: Any) -> Any:
        return within(lines, exposure, caps, ())

    mutating.setattr(decision, "within_limits", alone)
    mutating.setattr(withholding, "within_limits", alone)


def _no_ceiling_in_a_hold(mutating: pytest.MonkeyPatch) -> None:
    mutating.setattr(decision, "ceilings", lambda inputs, rules: ceilings(replace(inputs, ceiling=None), rules))


def _restores_wait_for_nothing(mutating: pytest.MonkeyPatch) -> None:
    mutating.setattr(decision, "_not_restored", lambda _, withheld: withheld)


def _a_restore_counts_as_a_move(mutating: pytest.MonkeyPatch) -> None:
    decided = decision.decide

    def counted(inputs: Any, state: Any, rules: Any) -> Any:
        found = decided(inputs, state, rules)
        restored = found.reason is Reason.RESTORE
        return replace(found, after=replace(found.after, moved_at=inputs.now)) if restored else found

    mutating.setattr("capital_governor.service.cycle.decide", counted)


def _lapses_never_end(mutating: pytest.MonkeyPatch) -> None:
    mutating.setattr(membership, "RETURN_CYCLES", 1_000)


def _files_do_not_say_it(mutating: pytest.MonkeyPatch) -> None:
    mutating.setattr(
        "capital_governor.service.publisher.documents", lambda published: documents(replace(published, withheld={}))
    )


def _starts_do_not_read_it(mutating: pytest.MonkeyPatch) -> None:
    mutating.setattr("capital_governor.contracts.allocations._withheld", lambda _: {})


def _releases_are_never_used_up(mutating: pytest.MonkeyPatch) -> None:
    mutating.setattr("capital_governor.service.cycle.ended_releases", lambda *_: ())


MUTANTS: Final[dict[str, tuple[Mutant, str]]] = {
    "faulty agents may gain": (_facts(unwell=()), "no good record and rises"),
    "lapsed agents keep their shares": (_facts(lapsed=()), "has lapsed or is no member, and has"),
    "silence releases": (_silence_releases, "had good records"),
    "every cap is shared out": (_every_cap_is_shared_out, "'its upper limit' leaves it"),
    "a hold delays a person's cut": (_holds_delay, "limit"),
    "a brake delays a person's cut": (_brakes_delay, "limit"),
    "a hold gives back": (_holds_give_back, "rise while"),
    "STOP lets a cut through": (_stop_lets_cuts_through, "under stopped"),
    "caps of everybody bind nobody": (_caps_of_everybody_bind_nobody, "its limit is"),
    "groups bind the plan only": (_groups_bind_the_plan_only, "the limit of their group"),
    "an operator's ceiling binds nobody": (_no_ceiling_in_a_hold, "the ceiling"),
    "a restore waits for no cool-down": (_restores_wait_for_nothing, "within a cool-down"),
    "a restore counts as a move": (_a_restore_counts_as_a_move, "counts as a move"),
    "a lapse never ends": (_lapses_never_end, "Atlas has 0"),
    "the files do not say what is withheld": (_files_do_not_say_it, "says withheld"),
    "a start does not read what is withheld": (_starts_do_not_read_it, "started with"),
    "a release is never used up": (_releases_are_never_used_up, "has the orders"),
}
"""Each with words of what is to be found."""


GOOD: Final = {"pnl_7d": 9_000.0, "sharpe_30d": 3.0, "winrate_30d": 0.8, "max_dd_30d": 0.0}
POOR: Final = {"pnl_7d": 500.0, "sharpe_30d": 0.5, "winrate_30d": 0.4, "max_dd_30d": 10.0}
RULES: Final = replace(tamper.DEFAULTS, cooldown_seconds=1_000.0)
TIGHTER: Final = replace(RULES, groups=(("pair", 0.1, ("Atlas", "B*")),))


class Night(Loop):
    """A sequence that is written down; a mutant may go on without the oracle."""

    parts_with_oracle = True


def have_a_night() -> None:
    """Four agents, of whom one is at fault, falls silent, and is back; caps and ceilings in a pause and under STOP."""
    night = Night()
    night.world = World(RULES)
    night.dashboard.records = dict.fromkeys(("Atlas", "Bolt", "Crest", "Drop Ship"), GOOD)
    night._cycles(5)
    night.dashboard.faulty = {"Atlas": "NaN"}
    night.dashboard.records |= {"Bolt": POOR, "Crest": POOR}
    night._cycles(2)
    night.dashboard.faulty = {}
    night._cycles(4)
    night.dashboard.absent = {"Atlas"}
    night._cycles(4)
    night.restarted(0, graceful=False, settings=None, meanwhile="deleted", seed=0)
    night._cycles(5)
    night.held(None)
    night.taken_back(OrderKind.HOLD, None)
    night.dashboard.records |= {"Bolt": GOOD}
    night._cycles(1)
    night.limited(None, "Bolt", (0.05, None), share_out=False, cycles=1)
    night.dashboard.absent = set()
    night._cycles(4)
    night.says_paused("losses", on=True)
    night.exposure_limited(None, 0.8)
    night.limited(None, "*", (0.15, None), share_out=False, cycles=1)
    night._start_with(TIGHTER)
    night._cycles(1)
    night.says_paused("losses", on=False)
    night.taken_back(OrderKind.LIMIT, None)
    night.stop(on=True)
    night.exposure_limited(None, 0.5)
    night.stop(on=False)
    night.dashboard.absent = {"Crest"}
    night.on.order(OrderKind.RELEASE, 86_400.0, agent="Crest")
    night._cycles(3)
    night.teardown()


def test_a_night_that_is_written_down() -> None:
    """The program itself breaks no rule in it, answers as the oracle does, and meets each of the new reasons."""
    Night.tally = Tally()
    have_a_night()
    met = {Reason(reason) for reason in Night.tally.reasons}
    assert met >= {Reason.CUT_CEILING, Reason.CUT_LIMIT, Reason.CUT_LAPSE, Reason.RESTORE, Reason.MEMBER_LEFT}
    assert Night.tally.cuts["paused"] == 3
    assert Night.tally.undecided == 0


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each of these is found in that night by what the rule is about."""
    mutate, found = MUTANTS[name]
    monkeypatch.setattr("capital_governor.service.cycle.gate", lambda *_: None)
    mutate(monkeypatch)
    with pytest.raises(BrokenPromiseError, match=found):
        have_a_night()


@pytest.mark.long
@pytest.mark.parametrize("name", MUTANTS)
def test_random_sequences_find_a_broken_rule(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each of these is found by the random sequences, by whichever check comes first."""
    monkeypatch.setattr("capital_governor.service.cycle.gate", lambda *_: None)
    MUTANTS[name][0](monkeypatch)
    with pytest.raises(BrokenPromiseError):
        run_mutant(2_000)
