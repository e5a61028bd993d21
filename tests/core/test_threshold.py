"""Move or stay, the brakes, and the cut that passes them: numbers in millionths, worked out by hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TypedDict

import pytest

from capital_governor.core.model import DAY_SECONDS, WHOLE, Agent, Memory, Ppm, Publication, Rules, State
from capital_governor.core.reason import Reason
from capital_governor.core.threshold import Proposal, brakes, compare, cut
from capital_governor.core.trace import AgentLimits, Brake, LimitSource, Trigger, WeightLimit
from tests.rigs.builders import FLEET_SHARES, NOW, PLAIN, publication, rated

MEMBER = Memory(rated(0.5))


def _bounds(lo: float = 0.05, hi: float = 0.40) -> AgentLimits:
    low, high = WeightLimit(lo, LimitSource.MIN_ALLOC), WeightLimit(hi, LimitSource.MAX_ALLOC)
    return AgentLimits(lo, hi, low, high, (low,), (high,))


class Changes(TypedDict, total=False):
    exposure: float
    limits: Mapping[Agent, AgentLimits]
    floor_scale: float
    unwell: Collection[Agent]


def _proposal(
    shares: Mapping[Agent, Ppm],
    *,
    exposure: float = 1.0,
    cut_off: Ppm = 0,
    limits: Mapping[Agent, AgentLimits] | None = None,
    floor_scale: float = 1.0,
    unwell: Collection[Agent] = (),
) -> Proposal:
    every = dict.fromkeys(shares, _bounds()) | dict(limits or {})
    return Proposal(shares, cut_off, exposure, every, floor_scale, unwell)


def _asked(
    proposal: Proposal,
    published: Publication | None = None,
    agents: Mapping[Agent, Memory] | None = None,
    rules: Rules = PLAIN,
) -> dict[Reason, Trigger]:
    before = publication(FLEET_SHARES) if published is None else published
    known = dict.fromkeys(proposal.shares, MEMBER) | dict(agents or {})
    return {trigger.reason: trigger for trigger in compare(proposal, before, known, NOW, rules)}


def _fired(proposal: Proposal, published: Publication | None = None, rules: Rules = PLAIN) -> list[Reason]:
    return [reason for reason, trigger in _asked(proposal, published, rules=rules).items() if trigger.fired]


def _fleet(**changes: Ppm) -> dict[Agent, Ppm]:
    """The published shares of the fleet (400,000, 360,000, 240,000), changed by so much."""
    return {agent: share + changes.get(agent, 0) for agent, share in FLEET_SHARES.items()}


@pytest.mark.parametrize(
    ("changes", "cut_off", "fired"),
    [
        pytest.param({}, 0, [], id="nothing"),
        pytest.param({"Ada": -99_999, "Cyd": 99_999}, 0, [], id="just less than 10 points"),
        pytest.param({"Ada": -100_000, "Cyd": 100_000}, 0, [Reason.THRESHOLD], id="10 points"),
        pytest.param({"Ada": -49_999}, 0, [], id="just less than 5 points to the reserve"),
        pytest.param({"Ada": -50_000}, 0, [Reason.DERISK], id="5 points to the reserve"),
        pytest.param({"Ada": -60_000}, 10_001, [], id="a faulty agent's cut does not count as its growth"),
        pytest.param({"Ada": -60_000}, 10_000, [Reason.DERISK], id="what is more than the cut does"),
        pytest.param({"Ada": -50_000, "Bob": -50_000}, 0, [Reason.THRESHOLD, Reason.DERISK], id="reserve is a line"),
    ],
)
def test_what_change_is_worth_a_move(changes: dict[str, Ppm], cut_off: Ppm, fired: list[Reason]) -> None:
    """10 points of one line, or 5 points more of reserve; just less is not."""
    assert _fired(_proposal(_fleet(**changes), cut_off=cut_off)) == fired


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
    assert list(_asked(_proposal(_fleet(), cut_off=5)).values()) == [
        Trigger(Reason.LIMIT_BREACHED, False, 0, 0, ""),
        Trigger(Reason.EXPOSURE_ZERO, False, 1_000_000, 0, ""),
        Trigger(Reason.MEMBER_LEFT, False, 0, 1, ""),
        Trigger(Reason.MEMBER_JOINED, False, 0, 1, ""),
        Trigger(Reason.BELOW_FLOOR, False, 0, 0, ""),
        Trigger(Reason.THRESHOLD, False, 0, 100_000, ""),
        Trigger(Reason.DERISK, False, 0, 50_000, "reserve"),
        Trigger(Reason.TURNOVER, False, 0, 200_000, ""),
    ]
    assert _asked(_proposal(_fleet(Ada=-1), cut_off=5))[Reason.DERISK].value == 0


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
    asked = _asked(_proposal({"Ada": 350_000, "Bob": 350_000}, cut_off=7), published)
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
    """A share one millionth above its limit times the published exposure is a breach; at the limit it is none."""
    published = publication({"Ada": 320_001, "Bob": 320_000, "Cyd": 100_000}, 0.8)
    proposal = _proposal({"Ada": 320_000, "Bob": 320_000, "Cyd": 100_000}, exposure=0.8)
    breach = _asked(proposal, published)[Reason.LIMIT_BREACHED]
    assert breach == Trigger(Reason.LIMIT_BREACHED, True, 320_001, 320_000, "Ada")
    capped = _proposal(proposal.shares, exposure=0.8, limits={"Cyd": _bounds(0.0, 0.1)})
    worst = _asked(capped, published)[Reason.LIMIT_BREACHED]
    assert worst == Trigger(Reason.LIMIT_BREACHED, True, 100_000, 80_000, "Cyd")
    assert not _asked(proposal, publication(proposal.shares, 0.8))[Reason.LIMIT_BREACHED].fired
    joining = _proposal({**_fleet(), "New": 0}, limits={"New": _bounds(0.0, 0.0)})
    assert not _asked(joining)[Reason.LIMIT_BREACHED].fired, "who has no line has no share"


def test_an_exposure_that_became_zero_moves() -> None:
    """Once: an exposure that is zero already does not."""
    nothing = _proposal(dict.fromkeys(FLEET_SHARES, 0), exposure=0.0)
    assert _asked(nothing)[Reason.EXPOSURE_ZERO].fired
    assert not _asked(nothing, publication(nothing.shares, 0.0))[Reason.EXPOSURE_ZERO].fired


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
        pytest.param(250_000, Changes(unwell=["Cyd"]), False, id="not healthy"),
        pytest.param(250_000, Changes(exposure=0.9), False, id="above the floor times a smaller new exposure"),
        pytest.param(250_000, Changes(floor_scale=0.9), False, id="above the lowered floor"),
        pytest.param(250_000, Changes(limits={"Cyd": _bounds(0.239999, 0.4)}), False, id="at the floor"),
    ],
)
def test_a_share_below_its_floor_moves(cyd: Ppm, changes: Changes, fired: bool) -> None:
    """A healthy member is lifted to its floor times the smaller exposure if the proposal raises it."""
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


LIMITS = dict.fromkeys(FLEET_SHARES, _bounds())


def _cut(
    published: Publication, exposure: float, limits: Mapping[Agent, AgentLimits] = LIMITS
) -> tuple[object, ...] | None:
    found = cut(published, limits, exposure, PLAIN)
    if found is None:
        return None
    assert sum(found.shares.values()) <= WHOLE - published.reserve
    return found.reason, list(found.shares.values()), found.exposure


@pytest.mark.parametrize(
    ("exposure", "expected"),
    [
        pytest.param(1.0, None, id="no change"),
        pytest.param(0.950003, None, id="just less than 5 points"),
        # 400,000 * 0.95, 360,000 * 0.95, 240,000 * 0.95
        pytest.param(0.95, (Reason.CUT_DERISK, [380_000, 342_000, 228_000], 0.95), id="5 points"),
        pytest.param(0.0, (Reason.CUT_EXPOSURE_ZERO, [0, 0, 0], 0.0), id="zero"),
    ],
)
def test_a_cut_scales_every_share(exposure: float, expected: tuple[object, ...] | None) -> None:
    """It is due when the scaling alone frees 5 points, or nothing may be deployed."""
    assert _cut(publication(FLEET_SHARES), exposure) == expected


def test_a_cut_for_a_breached_limit() -> None:
    """Only the agent above its limit loses, and its weight follows its share; a higher exposure raises nothing."""
    limits = LIMITS | {"Bob": _bounds(0.05, 0.30)}
    published = publication({"Ada": 320_000, "Bob": 288_000, "Cyd": 192_000}, 0.8)
    # Bob's limit is 0.30 * 0.8.
    assert _cut(published, 1.0, limits) == (Reason.CUT_LIMIT, [320_000, 240_000, 192_000], 0.8)
    found = cut(published, limits, 1.0, PLAIN)
    assert found is not None
    assert found.weights == pytest.approx({"Ada": 0.4, "Bob": 0.3, "Cyd": 0.24})


def test_a_cut_scales_first_and_limits_then() -> None:
    """At half the exposure Bob's 0.36 becomes 0.18, and his limit of 0.30 is then 0.15."""
    limits = LIMITS | {"Bob": _bounds(0.05, 0.30)}
    assert _cut(publication(FLEET_SHARES), 0.5, limits) == (Reason.CUT_LIMIT, [200_000, 150_000, 120_000], 0.5)


def test_a_cut_takes_the_lines_of_those_who_left() -> None:
    """Lines without a member become zero, but that alone is no reason to cut."""
    limits = {agent: _bounds() for agent in ("Ada", "Bob")}
    assert _cut(publication(FLEET_SHARES), 1.0, limits) is None
    found = cut(publication(FLEET_SHARES), limits, 0.5, PLAIN)
    assert found is not None
    assert (found.reason, list(found.shares.values())) == (Reason.CUT_DERISK, [200_000, 180_000, 0])
    assert found.weights == {"Ada": 0.4, "Bob": 0.36, "Cyd": 0.0}


def test_a_cut_weight_follows_its_share_and_the_others_stay_to_the_bit() -> None:
    """Weights finer than a millionth are not lost by being scaled, at an exposure of 1 neither."""
    published = replace(publication(FLEET_SHARES), weights={"Ada": 0.4, "Bob": 0.36, "Cyd": 0.2400000001})
    found = cut(published, LIMITS | {"Bob": _bounds(0.05, 0.30)}, 1.0, PLAIN)
    assert found is not None
    assert found.weights == {"Ada": 0.4, "Bob": 0.3, "Cyd": 0.2400000001}


def test_a_threshold_of_zero_cuts_for_one_millionth_but_not_for_none() -> None:
    """A change of exposure too small for any share is no cut."""
    rules = replace(PLAIN, derisk_threshold=0.0)
    assert cut(publication(FLEET_SHARES), LIMITS, 1.0, rules) is None
    found = cut(publication({"Ada": 400_000}), LIMITS, 0.9999975, rules)
    assert found is not None
    assert found.shares == {"Ada": 399_999}


def test_weights_outlive_an_exposure_of_zero() -> None:
    """The split is remembered though nothing is deployed."""
    found = cut(publication(FLEET_SHARES), LIMITS, 0.0, PLAIN)
    assert found is not None
    assert found.weights == pytest.approx({"Ada": 0.4, "Bob": 0.36, "Cyd": 0.24})


def test_an_exposure_that_is_zero_already_is_not_cut_again() -> None:
    """From nothing there is nothing to take."""
    assert _cut(publication(dict.fromkeys(FLEET_SHARES, 0), 0.0), 0.0) is None
    assert _cut(publication(dict.fromkeys(FLEET_SHARES, 0), 0.5), 0.0) is None


def test_a_cut_of_a_large_fleet_never_exceeds_the_new_exposure() -> None:
    """Two hundred shares scaled by just under a half do not round up to a millionth more than exposure allows."""
    shares = {f"A{number:03}": 5_000 for number in range(200)}
    limits = dict.fromkeys(shares, _bounds(0.0, 0.4))
    due = cut(publication(shares), limits, 0.4999999999, PLAIN)
    assert due is not None
    assert sum(due.shares.values()) <= 499_999
