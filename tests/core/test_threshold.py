"""Move or stay, and the brakes: numbers in millionths, worked out by hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TypedDict

import pytest

from capital_governor.core.model import DAY_SECONDS, Agent, Group, Memory, Ppm, Publication, Rules, State
from capital_governor.core.reason import Reason
from capital_governor.core.threshold import Proposal, brakes, compare
from capital_governor.core.trace import AgentLimits, Brake, LimitSource, Trigger, WeightLimit
from capital_governor.core.withholding import plan_of
from tests.rigs.builders import FLEET_SHARES, NOW, PLAIN, publication

MEMBER = Memory()


def _bounds(lo: float = 0.05, hi: float = 0.40) -> AgentLimits:
    low, high = WeightLimit(lo, LimitSource.MIN_ALLOC), WeightLimit(hi, LimitSource.MAX_ALLOC)
    return AgentLimits(lo, hi, low, high, (low,), (high,))


class Changes(TypedDict, total=False):
    exposure: float
    limits: Mapping[Agent, AgentLimits]
    floor_scale: float
    pinned: Collection[Agent]


def _proposal(
    lines: Mapping[Agent, Ppm],
    *,
    exposure: float = 1.0,
    limits: Mapping[Agent, AgentLimits] | None = None,
    floor_scale: float = 1.0,
    pinned: Collection[Agent] = (),
) -> Proposal:
    every = dict.fromkeys(lines, _bounds()) | dict(limits or {})
    return Proposal(lines, exposure, every, [limit.lo * floor_scale for limit in every.values()], pinned)


def _asked(
    proposal: Proposal,
    published: Publication | None = None,
    agents: Mapping[Agent, Memory] | None = None,
    rules: Rules = PLAIN,
) -> dict[Reason, Trigger]:
    before = publication(FLEET_SHARES) if published is None else published
    known = dict.fromkeys(proposal.lines, MEMBER) | dict(agents or {})
    return {trigger.reason: trigger for trigger in compare(proposal, plan_of(before), known, NOW, rules)}


def _fired(proposal: Proposal, published: Publication | None = None, rules: Rules = PLAIN) -> list[Reason]:
    return [reason for reason, trigger in _asked(proposal, published, rules=rules).items() if trigger.fired]


def _fleet(**changes: Ppm) -> dict[Agent, Ppm]:
    """The published lines of the fleet (400,000, 360,000, 240,000), changed by so much."""
    return {agent: share + changes.get(agent, 0) for agent, share in FLEET_SHARES.items()}


@pytest.mark.parametrize(
    ("changes", "fired"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"Ada": -99_999, "Cyd": 99_999}, [], id="just less than 10 points"),
        pytest.param({"Ada": -100_000, "Cyd": 100_000}, [Reason.THRESHOLD], id="10 points"),
        pytest.param({"Ada": -49_999}, [], id="just less than 5 points to the reserve"),
        pytest.param({"Ada": -50_000}, [Reason.DERISK], id="5 points to the reserve"),
        pytest.param({"Ada": -50_000, "Bob": -50_000}, [Reason.THRESHOLD, Reason.DERISK], id="reserve is a line"),
    ],
)
def test_what_change_is_worth_a_move(changes: dict[str, Ppm], fired: list[Reason]) -> None:
    """10 points of one line, or 5 points more of reserve; just less is not."""
    assert _fired(_proposal(_fleet(**changes))) == fired


@pytest.mark.parametrize(
    ("changes", "fired"),
    [
        pytest.param({}, [], id="nothing"),
        pytest.param({"Cyd": -49_999}, [], id="just less than 5 points to the reserve"),
        pytest.param({"Cyd": -50_000}, [Reason.DERISK], id="5 points to the reserve"),
        pytest.param({"Ada": -99_999, "Bob": 99_999}, [], id="just less than 10 points"),
        pytest.param({"Ada": -100_000, "Bob": 100_000}, [Reason.THRESHOLD], id="10 points"),
    ],
)
def test_what_is_withheld_plays_no_part(changes: dict[str, Ppm], fired: list[Reason]) -> None:
    """All of Ada's line and a quarter of Bob's are withheld: lines are compared, and the reserve is 1 less the plan.

    By the shares, each of these would change Ada's line by at least 30 points.
    """
    shares = {"Ada": 0, "Bob": 270_000, "Cyd": 240_000}
    published = publication(shares, withheld={"Ada": 400_000, "Bob": 90_000})
    assert _fired(_proposal(_fleet(**changes)), published) == fired


def test_thresholds_show_their_arithmetic() -> None:
    """Each says how large the change was, how large it had to be, and of which line; equal ones go by name."""
    asked = _asked(_proposal(_fleet(Bob=-70_000, Ada=-30_000, Cyd=70_000)))
    assert asked[Reason.THRESHOLD] == Trigger(Reason.THRESHOLD, False, 70_000, 100_000, "Bob")
    assert asked[Reason.DERISK] == Trigger(Reason.DERISK, False, 30_000, 50_000, "reserve")
    # 70,000 + 30,000 + 70,000 and 30,000 of reserve are 200,000, of which half moves.
    assert asked[Reason.TURNOVER] == Trigger(Reason.TURNOVER, False, 100_000, 200_000)
    reserve = _asked(_proposal(_fleet(Ada=-20_000, Bob=-20_000)))[Reason.THRESHOLD]
    assert (reserve.value, reserve.subject) == (40_000, "reserve")
    line = _asked(_proposal(_fleet(Ada=-20_000)))[Reason.THRESHOLD]
    assert (line.value, line.subject) == (20_000, "Ada")


def test_what_did_not_fire_shows_nothing() -> None:
    """Where nothing changes every question is answered with no, and names nobody."""
    assert list(_asked(_proposal(_fleet())).values()) == [
        Trigger(Reason.LIMIT_BREACHED, False, 0, 0, ""),
        Trigger(Reason.EXPOSURE_ZERO, False, 1_000_000, 0, ""),
        Trigger(Reason.MEMBER_LEFT, False, 0, 1, ""),
        Trigger(Reason.MEMBER_JOINED, False, 0, 1, ""),
        Trigger(Reason.BELOW_FLOOR, False, 0, 0, ""),
        Trigger(Reason.THRESHOLD, False, 0, 100_000, ""),
        Trigger(Reason.DERISK, False, 0, 50_000, "reserve"),
        Trigger(Reason.TURNOVER, False, 0, 200_000, ""),
    ]
    assert _asked(_proposal(_fleet(Ada=-1)))[Reason.DERISK].value == 1


def test_lines_that_come_and_go_count_in_full() -> None:
    """A line that goes changes by what it had, one that comes by what it gets."""
    asked = _asked(_proposal({"Ada": 400_000, "Bob": 360_000, "New": 150_000}))
    assert asked[Reason.THRESHOLD] == Trigger(Reason.THRESHOLD, True, 240_000, 100_000, "Cyd")
    # 240,000 of Cyd, 150,000 of New and 90,000 of reserve are 480,000, of which half moves.
    assert asked[Reason.TURNOVER].value == 240_000


def test_a_large_fleet_moves_by_turnover() -> None:
    """Ten agents change by 4 points each: no line moves far, but 20 points of capital do; 2 millionths less do not."""
    names = [f"A{i}" for i in range(10)]
    published = publication(dict.fromkeys(names, 100_000))
    shares = {name: 140_000 if i % 2 else 60_000 for i, name in enumerate(names)}
    assert _asked(_proposal(shares), published)[Reason.THRESHOLD].subject == "A0"
    assert _fired(_proposal(shares), published) == [Reason.TURNOVER]
    assert _fired(_proposal(shares | {"A0": 60_001, "A1": 139_999}), published) == []


def test_a_reserve_that_shrinks_is_a_change_but_no_derisking() -> None:
    """From a reserve of 40 points: a rise of 10 points in one line moves, and says so of that line."""
    published = publication({"Ada": 300_000, "Bob": 300_000})
    asked = _asked(_proposal({"Ada": 350_000, "Bob": 350_000}), published)
    assert asked[Reason.THRESHOLD] == Trigger(Reason.THRESHOLD, True, 100_000, 100_000, "reserve")
    assert asked[Reason.DERISK] == Trigger(Reason.DERISK, False, -100_000, 50_000, "reserve")
    assert asked[Reason.TURNOVER].value == 100_000


def test_a_threshold_of_zero_still_wants_a_change() -> None:
    """No setting makes a move of nothing; one millionth is something."""
    rules = replace(PLAIN, threshold=0.0, derisk_threshold=0.0, turnover_threshold=0.0)
    assert _fired(_proposal(_fleet()), rules=rules) == []
    every = [Reason.THRESHOLD, Reason.DERISK, Reason.TURNOVER]
    assert _fired(_proposal(_fleet(Ada=-1)), rules=rules) == every


def test_nothing_published_is_a_first_allocation() -> None:
    """Then no other question is asked."""
    (trigger,) = compare(_proposal(_fleet()), None, {}, NOW, PLAIN)
    assert (trigger.reason, trigger.fired) == (Reason.FIRST_ALLOCATION, True)


def test_a_breached_limit_moves_whatever_its_size() -> None:
    """A line one millionth above its limit times the published exposure is a breach; at the limit it is none."""
    published = publication({"Ada": 320_001, "Bob": 320_000, "Cyd": 100_000}, 0.8)
    proposal = _proposal({"Ada": 320_000, "Bob": 320_000, "Cyd": 100_000}, exposure=0.8)
    breach = _asked(proposal, published)[Reason.LIMIT_BREACHED]
    assert breach == Trigger(Reason.LIMIT_BREACHED, True, 320_001, 320_000, "Ada")
    capped = _proposal(proposal.lines, exposure=0.8, limits={"Cyd": _bounds(0.0, 0.1)})
    worst = _asked(capped, published)[Reason.LIMIT_BREACHED]
    assert worst == Trigger(Reason.LIMIT_BREACHED, True, 100_000, 80_000, "Cyd")
    assert not _asked(proposal, publication(proposal.lines, 0.8))[Reason.LIMIT_BREACHED].fired
    joining = _proposal({**_fleet(), "New": 0}, limits={"New": _bounds(0.0, 0.0)})
    assert not _asked(joining)[Reason.LIMIT_BREACHED].fired, "who has no line has no share"


def test_a_line_above_its_limit_is_a_breach_though_all_of_it_is_withheld() -> None:
    """Ada's line is 400,000, and her limit of 0.25 allows 250,000: the plan is what has to fit."""
    published = publication({"Ada": 0, "Bob": 360_000, "Cyd": 240_000}, withheld={"Ada": 400_000})
    breach = _asked(_proposal(_fleet(), limits={"Ada": _bounds(0.05, 0.25)}), published)[Reason.LIMIT_BREACHED]
    assert breach == Trigger(Reason.LIMIT_BREACHED, True, 400_000, 250_000, "Ada")


def test_a_group_above_its_cap_moves_whatever_its_size() -> None:
    """Ada and Bob have 608,000 together at an exposure of 0.8: a cap of 0.76 allows that, one of 0.759999 does not."""
    published = publication({"Ada": 320_000, "Bob": 288_000, "Cyd": 192_000}, 0.8)
    proposal = _proposal(published.shares, exposure=0.8)

    def breach(*groups: Group, limits: Mapping[Agent, AgentLimits] | None = None) -> Trigger:
        asked = _proposal(published.shares, exposure=0.8, limits=limits) if limits else proposal
        return _asked(asked, published, rules=replace(PLAIN, groups=groups))[Reason.LIMIT_BREACHED]

    assert not breach(Group("pair", 0.76, ("Ada", "B*"))).fired
    pair = breach(Group("pair", 0.759999, ("Ada", "B*")))
    assert pair == Trigger(Reason.LIMIT_BREACHED, True, 608_000, 607_999, "group pair")
    # Bob is above his own cap of 0.2 by 128,000, the pair above its cap of 0.7 by 48,000, Cyd's group by 112,000.
    alone = (Group("pair", 0.7, ("Ada", "B*")), Group("rest", 0.1, ("*",)))
    worst = breach(*alone, limits={"Bob": _bounds(0.05, 0.2)})
    assert worst == Trigger(Reason.LIMIT_BREACHED, True, 288_000, 160_000, "Bob")
    assert breach(*alone) == Trigger(Reason.LIMIT_BREACHED, True, 192_000, 80_000, "group rest")


def test_a_group_counts_the_lines_of_those_who_left() -> None:
    """Cyd is no member any more; its line of 240,000 still stands beside Bob's 360,000."""
    rules = replace(PLAIN, groups=(Group("pair", 0.5, ("Bob", "Cyd")),))
    remaining = _proposal({"Ada": 400_000, "Bob": 360_000})
    breach = _asked(remaining, rules=rules)[Reason.LIMIT_BREACHED]
    assert breach == Trigger(Reason.LIMIT_BREACHED, True, 600_000, 500_000, "group pair")


def test_an_exposure_that_became_zero_moves() -> None:
    """Once: an exposure that is zero already does not."""
    nothing = _proposal(dict.fromkeys(FLEET_SHARES, 0), exposure=0.0)
    assert _asked(nothing)[Reason.EXPOSURE_ZERO].fired
    assert not _asked(nothing, publication(nothing.lines, 0.0))[Reason.EXPOSURE_ZERO].fired


def test_a_line_without_a_member_moves() -> None:
    """Whoever has left takes its line with it, of zero too."""
    left = _asked(_proposal(_fleet()), publication({**FLEET_SHARES, "Zed": 0}))[Reason.MEMBER_LEFT]
    assert left == Trigger(Reason.MEMBER_LEFT, True, 1, 1, "Zed")


@pytest.mark.parametrize(
    ("retired_seconds_ago", "fired"), [(None, True), (0.0, False), (DAY_SECONDS - 1, False), (DAY_SECONDS, True)]
)
def test_a_member_without_a_line_moves_unless_it_has_just_returned(
    retired_seconds_ago: float | None, fired: bool
) -> None:
    """One that was retired less than a day ago waits for another reason."""
    left = None if retired_seconds_ago is None else NOW - retired_seconds_ago
    asked = _asked(_proposal({**_fleet(), "New": 0}), agents={"New": MEMBER._replace(retired_at=left)})
    assert asked[Reason.MEMBER_JOINED] == Trigger(Reason.MEMBER_JOINED, fired, int(fired), 1, "New" if fired else "")


@pytest.mark.parametrize(
    ("cyd", "changes", "fired"),
    [
        pytest.param(250_000, Changes(), True, id="one millionth below 0.24, and raised"),
        pytest.param(239_999, Changes(), False, id="not raised"),
        pytest.param(239_998, Changes(), False, id="lowered"),
        pytest.param(250_000, Changes(pinned=["Cyd"]), False, id="pinned"),
        pytest.param(250_000, Changes(exposure=0.9), False, id="above the floor times a smaller new exposure"),
        pytest.param(250_000, Changes(floor_scale=0.9), False, id="above the lowered floor"),
        pytest.param(250_000, Changes(limits={"Cyd": _bounds(0.239999, 0.4)}), False, id="at the floor"),
    ],
)
def test_a_line_below_its_floor_moves(cyd: Ppm, changes: Changes, fired: bool) -> None:
    """A member is lifted to its floor times the smaller exposure if the proposal raises it, unless it is pinned."""
    published = publication({"Ada": 400_000, "Bob": 360_000, "Cyd": 239_999})
    with_floor: Changes = {"limits": {"Cyd": _bounds(0.24, 0.4)}}
    proposal = _proposal({"Ada": 400_000, "Bob": 350_000, "Cyd": cyd}, **(with_floor | changes))
    assert _asked(proposal, published)[Reason.BELOW_FLOOR].fired is fired


def test_the_floor_is_taken_times_the_smaller_exposure() -> None:
    """After a cut to half the exposure, shares below the floors of the full one lack nothing when it rises again."""
    published = publication({"Ada": 200_000, "Cyd": 25_000}, 0.5)
    whole = _proposal({"Ada": 400_000, "Cyd": 50_000})
    assert not _asked(whole, published)[Reason.BELOW_FLOOR].fired
    lacking = _asked(whole, publication({"Ada": 200_000, "Cyd": 24_999}, 0.5))[Reason.BELOW_FLOOR]
    assert lacking == Trigger(Reason.BELOW_FLOOR, True, 24_999, 25_000, "Cyd")


def test_of_several_below_their_floors_the_one_that_lacks_most_is_named() -> None:
    """Bob lacks 7 millionths, Ada and Cyd 5 each."""
    published = publication({"Ada": 49_995, "Bob": 49_993, "Cyd": 49_995})
    lacking = _asked(_proposal(dict.fromkeys(published.shares, 60_000)), published)[Reason.BELOW_FLOOR]
    assert lacking == Trigger(Reason.BELOW_FLOOR, True, 49_993, 50_000, "Bob")


def test_a_line_at_its_floor_does_not_move_though_less_is_given() -> None:
    """Of Cyd's line of 240,000 only 100,000 is given: its floor is for the line."""
    published = publication({"Ada": 400_000, "Bob": 360_000, "Cyd": 100_000}, withheld={"Cyd": 140_000})
    proposal = _proposal({"Ada": 400_000, "Bob": 350_000, "Cyd": 250_000}, limits={"Cyd": _bounds(0.24, 0.4)})
    assert not _asked(proposal, published)[Reason.BELOW_FLOOR].fired


@pytest.mark.parametrize(
    ("since", "asked", "active"),
    [
        (None, 2, []),
        (599.0, 2, [Reason.COOLDOWN]),
        (600.0, 2, []),
        (-5000.0, 2, [Reason.COOLDOWN]),
        (None, 1, [Reason.CONFIRMING]),
        (599.0, 0, [Reason.COOLDOWN, Reason.CONFIRMING]),
    ],
)
def test_the_brakes(since: float | None, asked: int, active: list[Reason]) -> None:
    """600 s since the last move, a clock set back included; the third cycle that asks in a row moves."""
    rules = replace(PLAIN, cooldown_seconds=600.0, confirm_cycles=3)
    state = State(asked=asked, moved_at=None if since is None else NOW - since)
    cooldown, confirm = brakes(state, NOW, rules)
    waited = 600.0 if since is None else max(0.0, since)
    assert cooldown == Brake(Reason.COOLDOWN, Reason.COOLDOWN in active, waited, 600.0)
    assert confirm == Brake(Reason.CONFIRMING, Reason.CONFIRMING in active, asked + 1, 3)


def test_without_settings_no_brake_is_ever_on() -> None:
    """The defaults brake nothing, right after a move either."""
    assert not any(brake.active for brake in brakes(State(moved_at=NOW), NOW, PLAIN))
