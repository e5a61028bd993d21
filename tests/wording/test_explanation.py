"""An agent's line of a decision in plain words: every figure is there, and the arithmetic adds up."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given

from capital_governor.core.allocator import Projection
from capital_governor.core.decision import decide
from capital_governor.core.model import WHOLE, Ceiling, Inputs, Limit, Metrics, Refusal, Rules, State
from capital_governor.core.orders import Order, OrderKind, limits_of
from capital_governor.core.reason import Reason
from capital_governor.wording.explanation import explanation_document, explanation_lines, hold_cut_lines, limits_to_come
from tests.rigs.builders import (
    FLEET,
    FLEET_SHARES,
    NOW,
    PLAIN,
    SITUATIONS,
    Situation,
    cycle,
    examples,
    observe,
    publication,
    settled,
    shares_of,
    snapshot,
)

SWAPPED = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}


def lines(agent: str, inputs: Inputs, before: State, rules: Rules = PLAIN) -> list[str]:
    return list(explanation_lines(agent, before, rules, cycle(inputs, before, rules)[0]))


def document(agent: str, inputs: Inputs, before: State, rules: Rules = PLAIN) -> dict[str, Any]:
    found = explanation_document(agent, before, rules, cycle(inputs, before, rules)[0])
    assert found is not None
    return cast("dict[str, Any]", json.loads(json.dumps(found)))


@pytest.mark.parametrize(
    ("weights", "agent", "says"),
    [
        ([0.7, 0.2, 0.1], "Ada", "weight     0.700000, above its cap"),
        ([0.4, 0.36, 0.24], "Ada", "weight     0.400000, at its cap"),
        ([0.4, 0.36, 0.24], "Bob", "weight     0.360000, between its limits"),
        ([0.4, 0.4, 0.05], "Cyd", "weight     0.050000, at its floor"),
        ([0.4, 0.4, 0.01], "Cyd", "weight     0.010000, below its floor"),
    ],
)
def test_a_weight_is_where_it_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch, weights: list[float], agent: str, says: str
) -> None:
    """A weight that a broken allocator puts beyond its limits is not said to stand at them."""
    monkeypatch.setattr("capital_governor.core.allocator.project", lambda *_: Projection(weights))
    decision = decide(observe(), settled(), PLAIN)
    assert says in list(explanation_lines(agent, settled(), PLAIN, decision))


def test_a_lowered_floor_binds() -> None:
    """Where the floors do not fit, the lowered one is where the weight stands."""
    fleet = {f"A{number:02}": 0.5 for number in range(25)}
    told = lines("A00", observe(fleet), State())
    # 25 floors of 0.05 add up to 1.25, so each is lowered to 0.8 of itself: 0.04.
    assert "floor      0.0500 MIN_ALLOC (binds)" in told
    assert "weight     0.040000, at its floor" in told


def test_an_exposure_of_1_is_set_by_nothing() -> None:
    """Nothing is named as what reduces exposure where nothing does."""
    told = lines("Ada", observe(risk=1.2), settled())
    assert "exposure   100 %: nothing reduces it" in told


def test_a_move_is_explained_from_score_to_share() -> None:
    """An explanation leads from the metrics to the share, and says which threshold was passed."""
    told = lines("Ada", observe(SWAPPED, risk=0.8), settled())
    assert told[:2] == [
        "Ada: 40.0000 % before, 19.2000 % after",
        "outcome    Reallocation triggered (change >= 0.10)",
    ]
    assert "             win rate: 1.00 x 0.200" in told
    assert "floor      0.0500 MIN_ALLOC" in told
    assert "cap        0.4000 MAX_ALLOC" in told
    assert "weight     0.240000, between its limits" in told
    assert "exposure   80 %: set by regime, the smallest of regime 80 % (payload), drawdown 100 % (payload)" in told
    assert "plan       0.240000 x 0.8 = 19.2000 %" in told
    assert "threshold  one share or the reserve changes by 10 %?  yes: 20.8 %, Ada" in told
    assert "threshold  the reserve rises by 5 %?  yes: 20 %" in told
    assert "threshold  an agent left?  no" in told
    assert "brake      cooldown: off" in told
    assert "brake      confirming: off" in told


def test_a_brake_is_explained_with_how_far_it_is() -> None:
    """A move that has to wait is explained with each brake and what has passed of it."""
    told = lines("Ada", observe(SWAPPED), settled(), replace(PLAIN, cooldown_seconds=3600.0, confirm_cycles=3))
    assert told[0] == "Ada: 40.0000 % before, 40.0000 % after"
    assert "threshold  one share or the reserve changes by 10 %?  yes: 16 %, Ada" in told
    assert "brake      cooldown: on: 300 of 3600 s" in told
    assert "brake      confirming: on: 1 of 3 cycles" in told


def test_a_score_is_explained_part_by_part() -> None:
    """Under the default weights the four parts of a score are shown with what they came from."""
    payload = replace(snapshot({}, at=NOW), metrics={"SmartTrader": Metrics(850.0, 1.234, 0.65, 2.5)})
    told = lines("SmartTrader", Inputs(NOW, payload), State(), Rules())
    at = next(number for number, line in enumerate(told) if line.startswith("score "))
    assert told[at : at + 5] == [
        "score      0.3749 = PnL 0.0340 + Sharpe 0.1234 + win rate 0.1300 + drawdown 0.0875",
        "             PnL: 0.40 x 850.00 / 10000, in 0..1",
        "             Sharpe: 0.30 x 1.234 / 3, in 0..1",
        "             win rate: 0.20 x 0.650",
        "             drawdown: 0.10 x (1 - 2.50 % / 20 %), in 0..1",
    ]


def test_a_share_that_stays_on_paper_says_so() -> None:
    """Under a brake the computed share is not the published one, and its line says that."""
    told = lines("Ada", observe(SWAPPED), settled(), replace(PLAIN, cooldown_seconds=9e9))
    assert "plan       0.240000 x 1 = 24.0000 %, not published" in told
    assert "             published: 40.0000 %" in told
    assert told[0] == "Ada: 40.0000 % before, 40.0000 % after"


def test_the_limit_that_binds_is_marked() -> None:
    """Every limit that spoke is listed, with author and reason, and the one that set the weight is marked."""
    inputs = replace(observe(), limits=(Limit("Ada", "night shift", cap=0.3, reason="odd fills", share_out=True),))
    told = lines("Ada", inputs, settled())
    assert "cap        0.4000 MAX_ALLOC" in told
    assert "cap        0.3000 operator's cap by night shift: odd fills (binds)" in told
    assert "weight     0.300000, at its cap" in told


def test_limits_to_come_are_those_that_the_decision_did_not_know() -> None:
    """A limit on the agent that was not decided with is to come; the known one, another agent's and a hold are not."""
    known = Order(key="a", kind=OrderKind.LIMIT, author="night shift", given_at=NOW, agent="Ada", cap=0.3, reason="odd")
    inputs = replace(observe(), limits=(Limit("Ada", "night shift", cap=0.3, reason="odd"),))
    lower = replace(known, key="b", cap=0.2, given_at=NOW + 60)
    others = (replace(known, key="c", agent="Bob"), replace(known, key="d", kind=OrderKind.HOLD, agent="", cap=None))
    assert limits_to_come("Ada", (known, *others), inputs) == ()
    assert limits_to_come("Ada", (lower, *others), inputs) == (lower,)
    assert limits_to_come("Ada", (known,), observe()) == (known,)


def test_a_cap_that_a_cut_in_a_hold_has_obeyed_is_not_to_come() -> None:
    """A floor and a cap that is to be shared out change the plan, which waits for the next decision."""
    given: dict[str, Any] = {"kind": OrderKind.LIMIT, "author": "anna", "given_at": NOW, "agent": "Ada"}
    cap, shared = Order(key="1", cap=0.1, **given), Order(key="2", cap=0.1, share_out=True, **given)
    both = Order(key="3", cap=0.3, floor=0.2, **given)
    for order, to_come in ((cap, ()), (shared, (shared,)), (both, (both,))):
        cut = replace(observe(), limits=limits_of((order,)))
        assert limits_to_come("Ada", (order,), observe(), cut) == to_come
        assert limits_to_come("Ada", (order,), observe(), observe()) == (order,)


def test_floors_that_do_not_fit_are_explained() -> None:
    """Where the floors add up to more than all, it is said how far they were lowered."""
    fleet = {f"agent-{number:02}": 0.5 for number in range(25)}
    assert "floors     do not fit: all are lowered to 0.8000 of themselves" in lines(
        "agent-00", observe(fleet), State()
    )


def test_a_step_is_explained() -> None:
    """Where MAX_STEP stops short of the projected weight, both weights are shown."""
    told = lines("Ada", observe(SWAPPED), settled(), replace(PLAIN, max_step=0.08))
    assert "weight     0.240000, between its limits" in told
    assert "step       MAX_STEP allows 50 % of the way: 0.320000" in told


def test_a_faulty_agent_is_told_why_it_may_not_gain() -> None:
    """The fault is quoted, and what is withheld from its plan line, why, and what ends that."""
    before = settled({"Ada": 0.3, "Bob": 0.5, "Cyd": 0.2}, {"Ada": 300_000, "Bob": 460_000, "Cyd": 240_000})
    told = lines("Ada", observe({"Bob": 0.1, "Cyd": 0.1}, faulty=("Ada",)), before)
    assert "record     faulty, so it may not gain: sharpe_30d is missing" in told
    # Ada's last good score is three times the others': it would be at its cap of 0.40, and has 0.30
    at = told.index("plan       0.400000 x 1 = 40.0000 %")
    assert told[at + 1 : at + 4] == [
        "withheld   10.0000 %: its record is faulty or missing",
        "             ends with: its next good record",
        "share      40.0000 % - 10.0000 % = 30.0000 %; the reserve has the difference",
    ]
    assert told[0] == "Ada: 30.0000 % before, 30.0000 % after"


def test_a_cap_that_withholds_names_who_ordered_it() -> None:
    """A cap that is not shared out is no limit of the weight; it withholds, and its end is named."""
    inputs = replace(observe(), limits=(Limit("Ada", "night shift", cap=0.1, reason="odd fills"),))
    told = lines("Ada", inputs, settled())
    assert told[0] == "Ada: 40.0000 % before, 10.0000 % after"
    assert "withheld   30.0000 %: operator's cap by night shift: odd fills" in told
    assert "             ends with: the end of the order, or `capital-governor unlimit Ada`" in told
    found = document("Ada", inputs, settled())
    assert (found["plan"], found["plan_published"], found["withheld"], found["share_after"]) == (0.4, 0.4, 0.3, 0.1)
    assert found["withheld_by"] == "operator's cap by night shift: odd fills"
    assert document("Bob", inputs, settled())["withheld_by"] is None


def test_a_lapsed_agent_is_told_what_ends_that() -> None:
    """After the grace the whole plan line is withheld, until three good records or a release."""
    state = settled()
    for _ in range(4):
        before = state
        decision, state = cycle(observe({"Ada": 0.5, "Bob": 0.3}), before)
    told = list(explanation_lines("Cyd", before, PLAIN, decision))
    assert told[0] == "Cyd: 24.0000 % before, 0.0000 % after"
    assert (
        "record     lapsed after more than 3 cycles without one: 0 decided cycles without a record since then" in told
    )
    assert "withheld   24.0000 %: lapsed" in told
    assert "             ends with: 3 good records in a row, or `capital-governor release Cyd`" in told
    before = state
    decision, _ = cycle(observe(), before)
    told = list(explanation_lines("Cyd", before, PLAIN, decision))
    assert any(line.endswith("1 of 3 good records in a row to end that") for line in told)


def test_an_absent_agent_is_told_how_long_it_may_stay_away() -> None:
    """The cycles of absence are counted against the grace."""
    told = lines("Cyd", observe({"Ada": 0.5, "Bob": 0.3}), settled())
    assert "record     absent for 1 of 3 cycles: it may not gain" in told


def test_a_hold_explains_itself() -> None:
    """Where a hold came first, an agent's line is its published share and the hold."""
    told = lines("Ada", Inputs(NOW, Refusal(Reason.FETCH_FAILED, "connection refused")), settled())
    assert told == [
        "Ada: 40.0000 % before, 40.0000 % after",
        "outcome    Meta-metrics not fetched - maintaining current allocations",
        "hold       connection refused",
    ]
    found = document("Ada", Inputs(NOW, Refusal(Reason.FETCH_FAILED, "connection refused")), settled())
    assert (found["reason"], found["hold"], found["score"], found["limits"]) == (
        "fetch_failed",
        "connection refused",
        None,
        None,
    )


DOWN = Inputs(NOW, Refusal(Reason.FETCH_FAILED, "connection refused"))


def test_a_cut_in_a_hold_is_explained_with_what_it_withholds() -> None:
    """A cap without a payload: the hold, the plan that stays, what is withheld by whom, and what ends that."""
    inputs = replace(DOWN, limits=(Limit("Ada", "anna", cap=0.1, reason="odd fills"),))
    told = lines("Ada", inputs, settled())
    assert told == [
        "Ada: 40.0000 % before, 10.0000 % after",
        "outcome    Shares cut (a published share is above its limit)",
        "hold       connection refused",
        "plan       40.0000 % at an exposure of 1",
        "withheld   30.0000 %: operator's cap by anna: odd fills",
        "             ends with: the end of the order, or `capital-governor unlimit Ada`",
        "share      40.0000 % - 30.0000 % = 10.0000 %; the reserve has the difference",
    ]
    found = document("Ada", inputs, settled())
    assert (found["hold"], found["plan_published"], found["withheld"]) == ("connection refused", 0.4, 0.3)
    assert found["withheld_by"] == "operator's cap by anna: odd fills"
    assert found["withheld_ends"] == "the end of the order, or `capital-governor unlimit Ada`"


def test_a_later_cut_in_a_hold_is_told_in_a_few_lines() -> None:
    """By a ceiling: the shares from -> to, the ceiling, the plan; what was withheld before stays, to be worked out."""
    state = replace(settled(), published=publication({**FLEET_SHARES, "Ada": 300_000}, withheld={"Ada": 100_000}))
    inputs = replace(DOWN, ceiling=Ceiling(0.5, "anna"))
    decision, _ = cycle(inputs, state)
    assert list(hold_cut_lines("Ada", state, PLAIN, decision)) == [
        "cut        30.0000 % to 15.0000 % in a hold: Shares cut (exposure is above its ceiling)",
        "exposure   50 %: set by operator, the smallest of operator 50 % (order)",
        "plan       20.0000 % at an exposure of 0.5",
        "withheld   5.0000 %: since before this hold",
        "             ends with: the end of the hold, when it is worked out again",
        "share      20.0000 % - 5.0000 % = 15.0000 %; the reserve has the difference",
    ]
    assert list(hold_cut_lines("Bob", state, PLAIN, decision)) == [
        "cut        36.0000 % to 18.0000 % in a hold: Shares cut (exposure is above its ceiling)",
        "exposure   50 %: set by operator, the smallest of operator 50 % (order)",
        "plan       18.0000 % at an exposure of 0.5",
    ]


def test_an_agent_that_played_no_part_has_no_explanation() -> None:
    """A name that neither is a member nor has a share is answered with None."""
    assert explanation_document("Zed", settled(), PLAIN, cycle(observe(), settled())[0]) is None


def test_a_newcomer_is_explained_though_it_has_no_line_yet() -> None:
    """Who joins goes from no line to a share."""
    told = lines("Dan", observe({**FLEET, "Dan": 0.2}), settled())
    assert told[0].startswith("Dan: no line before, ")


def test_the_document_is_the_whole_arithmetic() -> None:
    """As data, shares are 0..1 and every limit, multiplier, threshold and brake is listed."""
    found = document("Ada", observe(SWAPPED, risk=0.8), settled())
    assert (found["share_before"], found["share_wanted"], found["share_after"]) == (0.4, 0.192, 0.192)
    assert found["weight"] == pytest.approx(0.24)
    assert found["score"]["total"] == found["score"]["winrate"] == 0.2
    assert [cap["value"] for cap in found["limits"]["caps"]] == [0.4]
    assert [(each["name"], each["value"]) for each in found["multipliers"]] == [("regime", 0.8), ("drawdown", 1.0)]
    assert {each["reason"] for each in found["triggers"] if each["fired"]} == {"threshold", "derisk", "turnover"}
    assert [each["reason"] for each in found["brakes"]] == ["cooldown", "confirming"]
    assert found["message"] == "Reallocation triggered (change >= 0.10)"


@given(SITUATIONS)
@examples(150)
def test_whatever_was_decided_can_be_explained(situation: Situation) -> None:
    """Every agent with a line, before or after, has an explanation whose shares are those of the decision."""
    inputs, before, rules = situation.inputs, situation.state, situation.rules
    decision = decide(inputs, before, rules)
    after = shares_of(before) if decision.proposal is None else decision.proposal.shares
    for agent in shares_of(before).keys() | decision.trace.limits.keys():
        found = explanation_document(agent, before, rules, decision)
        assert found is not None
        json.dumps(found, allow_nan=False)
        share = after.get(agent)
        assert found["share_after"] == (None if share is None else share / WHOLE)
        told = list(explanation_lines(agent, before, rules, decision))
        assert all(line.isprintable() for line in told)
        end = "no line after" if share is None else f"{100 * share / WHOLE:.4f} % after"
        assert told[0].endswith(end)
        for line in told:
            compared = re.search(r": (-?[0-9.]+) (>=|<) (-?[0-9.]+): (yes|no)$", line)
            if compared is not None:
                value, sign, limit = float(compared[1]), compared[2], float(compared[3])
                assert (value >= limit) == (sign == ">=")
                if line.startswith(("threshold  threshold", "threshold  derisk", "threshold  turnover")):
                    assert (sign == ">=") == (compared[4] == "yes"), line
