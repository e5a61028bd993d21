"""The gate: whatever decide() or its parts do wrong is refused for that reason, and what they do right is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from capital_governor.core.decision import decide
from capital_governor.core.gate import gate
from capital_governor.core.hold import judge
from capital_governor.core.model import (
    DRAWDOWN,
    REGIME,
    Agent,
    Ceiling,
    Group,
    Inputs,
    Latches,
    Limit,
    Memory,
    OperatorHold,
    Pause,
    Ppm,
    Refusal,
    Rules,
    Snapshot,
    State,
)
from capital_governor.core.reason import GATE_REFUSALS, Reason
from tests.rigs.broken_deciders import HEARD, RIGHT, STATE, SWAPPED
from tests.rigs.builders import (
    FLEET,
    INTERVAL,
    NOW,
    PLAIN,
    SITUATIONS,
    Situation,
    examples,
    observe,
    publication,
    snapshot,
)


def _judged(inputs: Inputs = HEARD, state: State = STATE, rules: Rules = PLAIN, **wrong: Any) -> Reason | None:
    """What the gate says, in this situation, of the right proposal for the plain one with these fields changed."""
    found = decide(HEARD, STATE, PLAIN)
    assert found.proposal is not None
    return gate(replace(found, proposal=replace(found.proposal, **wrong)), inputs, state, rules)


def _lines(**changes: Ppm) -> dict[str, Any]:
    """The right shares but for these, and the reserve that goes with them."""
    shares = {**RIGHT, **changes}
    return {"shares": shares, "reserve": 1_000_000 - sum(shares.values())}


def test_the_right_proposal_passes() -> None:
    """The numbers that the others are tampered from are what decide() proposes."""
    proposal = decide(HEARD, STATE, PLAIN).proposal
    assert proposal is not None
    assert (proposal.shares, proposal.reserve, proposal.exposure, proposal.generation) == (RIGHT, 200_000, 0.8, 2)
    assert _judged() is None


def test_a_decision_without_a_proposal_has_nothing_to_check() -> None:
    """A hold passes, whatever it holds for."""
    stopped = replace(HEARD, stopped=True)
    assert gate(decide(stopped, STATE, PLAIN), stopped, STATE, PLAIN) is None


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"reserve": 200_001}, id="one too many"),
        pytest.param({"reserve": 199_999}, id="one too few"),
        pytest.param(_lines(Ada=-1), id="a negative share"),
        pytest.param({"shares": dict.fromkeys(RIGHT, 333_334), "reserve": -2}, id="a negative reserve"),
        pytest.param({"shares": {**RIGHT, "Ada": 192_000.0}}, id="no integer"),
        pytest.param({"shares": {**RIGHT, "Ada": True}, "reserve": 391_999}, id="a truth value"),
        pytest.param({"withheld": {"Cyd": -1}}, id="less than nothing withheld"),
        pytest.param({"withheld": {"Cyd": 0.0}}, id="no integer withheld"),
        pytest.param({"withheld": {"Zed": 0}}, id="withheld from nobody"),
    ],
)
def test_lines_that_do_not_add_up_are_refused(wrong: dict[str, Any]) -> None:
    """Shares and reserve are whole millionths, none negative, and add up to one million."""
    assert _judged(**wrong) is Reason.GATE_SUM


def test_more_than_the_exposure_is_refused() -> None:
    """One millionth deployed beyond the exposure is too much, though every agent is within its limit."""
    assert _judged(**_lines(Ada=192_001)) is Reason.GATE_EXPOSURE


def test_what_is_withheld_counts_as_deployed() -> None:
    """Shares and withheld parts together are at most the exposure: what is withheld may come back without a move."""
    less = _lines(Cyd=300_000)
    assert _judged(**less, withheld={"Cyd": 20_000}) is None
    assert _judged(**less, withheld={"Cyd": 20_001}) is Reason.GATE_EXPOSURE


@pytest.mark.parametrize(
    ("orders", "wrong"),
    [
        pytest.param((), _lines(Cyd=320_001, Ada=191_999), id="MAX_ALLOC times the exposure"),
        pytest.param((Limit("Bob", "ops", cap=0.3599),), {}, id="an operator's cap"),
        pytest.param((Limit("Bob", "a", cap=0.3599), Limit("Bob", "b", cap=0.9)), {}, id="the lower of two caps"),
        pytest.param((Limit("Bob", "ops", cap=0.3599, share_out=True),), {}, id="a cap that is shared out"),
        pytest.param((Limit("*", "ops", cap=0.3999),), {}, id="a cap for everybody"),
        pytest.param((Limit("*", "ops", cap=0.9), Limit("Bob", "ops", cap=0.3599)), {}, id="one beside it"),
        pytest.param((Limit("Bob", "a", cap=0.9), Limit("Bob", "b", cap=0.3599, until=NOW + 1)), {}, id="not expired"),
    ],
)
def test_a_share_above_its_limit_is_refused(orders: tuple[Limit, ...], wrong: dict[str, Any]) -> None:
    """Nobody gets more than its limit times the exposure, by as little as a millionth."""
    assert _judged(replace(HEARD, limits=orders), **wrong) is Reason.GATE_LIMIT


def test_limits_that_do_not_bind_refuse_nothing() -> None:
    """An expired cap, a floor and one that is just met are no objection."""
    orders = (
        Limit("Bob", "ops", cap=0.1, until=NOW),
        Limit("Ada", "ops", floor=0.9),
        Limit("Bob", "ops", cap=0.36),
    )
    assert _judged(replace(HEARD, limits=orders)) is None


@pytest.mark.parametrize(
    ("groups", "refusal"),
    [
        # Bob and Cyd have 608,000 at an exposure of 0.8.
        pytest.param([Group("pair", 0.76, ("Bob", "C*"))], None, id="at its cap"),
        pytest.param([Group("pair", 0.759999, ("Bob", "C*"))], Reason.GATE_LIMIT, id="a millionth above"),
        pytest.param(
            [Group("bob", 0.36, ("B*",)), Group("pair", 0.4, ("Bob", "Cyd"))], None, id="Bob is in the first only"
        ),
        pytest.param(
            [Group("all", 1.0, ("Ada",)), Group("pair", 0.7, ("?ob", "[C]yd"))], Reason.GATE_LIMIT, id="the second"
        ),
    ],
)
def test_a_group_above_its_cap_is_refused(groups: list[Group], refusal: Reason | None) -> None:
    """The shares of a group, as the first that matches has it, add up to at most its cap times the exposure."""
    assert _judged(rules=replace(PLAIN, groups=tuple(groups))) is refusal


def test_what_is_withheld_from_a_group_does_not_count() -> None:
    """A group's shares are within its cap, though its plan lines are not: a person's tightening waits for no move."""
    rules = replace(PLAIN, groups=(Group("pair", 0.5, ("Bob", "Cyd")),))
    half = _lines(Bob=200_000, Cyd=200_000)
    assert _judged(rules=rules, **half, withheld={"Bob": 88_000, "Cyd": 120_000}) is None


@pytest.mark.parametrize("faulty", [["Cyd"], []])
def test_a_gain_without_a_good_record_is_refused(faulty: list[Agent]) -> None:
    """Cyd, faulty or absent, may not rise; had it not risen, nothing would be wrong."""
    unwell = observe({"Ada": 0.2, "Bob": 0.3}, risk=0.8, faulty=faulty)
    assert _judged(unwell, **_lines(Cyd=192_001)) is Reason.GATE_FAULTY_GAIN
    assert _judged(unwell, **_lines(Cyd=192_000)) is None
    unpublished = replace(STATE, agents={**STATE.agents, "Dan": Memory()})
    assert _judged(HEARD, unpublished, **_lines(Cyd=319_999, Dan=1)) is Reason.GATE_FAULTY_GAIN


AT_70_PERCENT = replace(STATE, published=publication({"Ada": 280_000, "Bob": 252_000, "Cyd": 168_000}, 0.7))


@pytest.mark.parametrize(
    ("inputs", "multipliers"),
    [
        pytest.param(observe(SWAPPED, risk=0.799), {}, id="the regime"),
        # 1 - 0.75 * 2.7 / 10 = 0.7975
        pytest.param(observe(SWAPPED, drawdown=7.7), {}, id="the drawdown"),
        pytest.param(observe(SWAPPED, drawdown=15.0), {}, id="a deep drawdown"),
        pytest.param(observe(SWAPPED, risk=None), {REGIME: 0.799}, id="the last known regime"),
        pytest.param(observe(SWAPPED, drawdown=None), {DRAWDOWN: 0.799}, id="the last drawdown"),
    ],
)
def test_an_exposure_above_any_multiplier_is_refused(inputs: Inputs, multipliers: dict[str, float]) -> None:
    """The most cautious multiplier bounds a rise, missing ones being the last known."""
    assert _judged(inputs, replace(AT_70_PERCENT, multipliers=multipliers)) is Reason.GATE_MULTIPLIER


def test_the_published_exposure_is_above_no_multiplier() -> None:
    """A multiplier that has just fallen forces no publication to follow, but 0.800001 would be a rise."""
    fallen = observe(SWAPPED, risk=0.5)
    assert _judged(fallen) is None
    assert _judged(fallen, exposure=0.800001) is Reason.GATE_MULTIPLIER


@pytest.mark.parametrize(
    ("inputs", "rules", "refusal"),
    [
        pytest.param(replace(HEARD, ceiling=Ceiling(0.799, "ops")), PLAIN, Reason.GATE_MULTIPLIER, id="an order"),
        pytest.param(replace(HEARD, ceiling=Ceiling(0.8, "ops")), PLAIN, None, id="at the order"),
        pytest.param(
            replace(HEARD, ceiling=Ceiling(0.5, "ops", until=NOW + 1)), PLAIN, Reason.GATE_MULTIPLIER, id="in force"
        ),
        pytest.param(replace(HEARD, ceiling=Ceiling(0.5, "ops", until=NOW)), PLAIN, None, id="expired"),
        pytest.param(HEARD, replace(PLAIN, min_reserve=0.201), Reason.GATE_MULTIPLIER, id="MIN_RESERVE"),
        pytest.param(HEARD, replace(PLAIN, min_reserve=0.2), None, id="at MIN_RESERVE"),
    ],
)
def test_an_exposure_above_a_ceiling_is_refused(inputs: Inputs, rules: Rules, refusal: Reason | None) -> None:
    """What a person has set bounds every publication, the published exposure being no excuse."""
    assert _judged(inputs, rules=rules) is refusal


def test_a_ceiling_bounds_a_cut_in_a_hold_too() -> None:
    """A cut under a pause that leaves the exposure above the operator's ceiling is refused."""
    paused = replace(HEARD, pause=Pause(paused=True), ceiling=Ceiling(0.7, "ops"))
    cut = _lines(Ada=100_000, Bob=100_000, Cyd=100_000)
    assert _judged(paused, **cut) is Reason.GATE_MULTIPLIER
    assert _judged(paused, **cut, exposure=0.7) is None


def test_an_exposure_above_1_is_refused() -> None:
    """A regime above 1 is no leverage."""
    assert _judged(observe(risk=1.2), exposure=1.1) is Reason.GATE_MULTIPLIER


def test_a_share_for_a_stranger_is_refused() -> None:
    """An agent that is no member has a line of 0 at most, whatever it had before."""
    assert _judged(**_lines(Zed=0)) is None
    retired = replace(STATE, agents={**STATE.agents, "Bob": Memory(member=False, retired_at=NOW)})
    without = observe({"Ada": 0.2, "Cyd": 0.5}, risk=0.8)
    assert _judged(without, retired) is Reason.GATE_STRANGER
    assert _judged(without, retired, **_lines(Bob=1)) is Reason.GATE_STRANGER
    assert _judged(without, retired, **_lines(Bob=0)) is None


WITHOUT_CYD = observe({"Ada": 0.2, "Bob": 0.3}, risk=0.8)


@pytest.mark.parametrize(
    ("inputs", "memory", "refusal"),
    [
        pytest.param(WITHOUT_CYD, Memory(absent=2), None, id="the last cycle of grace"),
        pytest.param(WITHOUT_CYD, Memory(absent=3), Reason.GATE_STRANGER, id="lapses now"),
        pytest.param(WITHOUT_CYD, Memory(absent=4, lapsed=True), Reason.GATE_STRANGER, id="has lapsed"),
        pytest.param(
            observe({"Ada": 0.2, "Bob": 0.3}, faulty=["Cyd"], risk=0.8),
            Memory(lapsed=True, returned=2),
            Reason.GATE_STRANGER,
            id="a faulty record is no return",
        ),
        pytest.param(
            observe({"Ada": 0.2, "Bob": 0.3}, faulty=["Cyd"], risk=0.8),
            Memory(absent=3),
            None,
            id="a faulty record is no absence",
        ),
        pytest.param(HEARD, Memory(lapsed=True), Reason.GATE_STRANGER, id="its first good record"),
        pytest.param(HEARD, Memory(lapsed=True, returned=1), Reason.GATE_STRANGER, id="its second"),
        pytest.param(HEARD, Memory(lapsed=True, returned=2), None, id="its third in a row"),
    ],
)
def test_a_share_for_the_lapsed_is_refused(inputs: Inputs, memory: Memory, refusal: Reason | None) -> None:
    """Absent for longer than the grace, an agent has 0 until its third good record in a row."""
    state = replace(STATE, agents={**STATE.agents, "Cyd": memory})
    assert _judged(inputs, state, **_lines(Cyd=192_000)) is refusal
    assert _judged(inputs, state, **_lines(Cyd=0)) is None


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(replace(PLAIN, confirm_cycles=2), id="confirmation"),
        pytest.param(replace(PLAIN, cooldown_seconds=INTERVAL + 1), id="cool-down"),
    ],
)
def test_a_rise_under_a_brake_is_refused(rules: Rules) -> None:
    """Under a brake a proposal may only cut."""
    assert _judged(rules=rules) is Reason.GATE_RISE
    assert _judged(rules=rules, **_lines(Cyd=192_000)) is None
    joining = observe({**SWAPPED, "New": 0.1}, risk=0.8)
    assert _judged(joining, rules=rules, **_lines(Cyd=191_999, New=1)) is Reason.GATE_RISE


PARTLY = publication({"Ada": 320_000, "Bob": 288_000, "Cyd": 92_000}, 0.8, withheld={"Cyd": 100_000})
RESTORED: dict[str, Any] = {"shares": {"Ada": 320_000, "Bob": 288_000, "Cyd": 192_000}, "reserve": 200_000}


def test_what_was_withheld_comes_back_within_no_cooldown_but_needs_no_confirmation() -> None:
    """A restore is a rise within COOLDOWN; before CONFIRM_CYCLES only what is above the published plan is one."""
    state, heard = replace(STATE, published=PARTLY), observe(FLEET, risk=0.8)
    cooling = replace(PLAIN, cooldown_seconds=INTERVAL + 1)
    assert _judged(heard, state, cooling, **RESTORED) is Reason.GATE_RISE
    assert _judged(heard, state, replace(PLAIN, cooldown_seconds=INTERVAL), **RESTORED) is None
    confirming = replace(PLAIN, confirm_cycles=2)
    assert _judged(heard, state, confirming, **RESTORED) is None
    above: dict[str, Any] = {"shares": {"Ada": 319_999, "Bob": 288_000, "Cyd": 192_001}, "reserve": 200_000}
    assert _judged(heard, state, confirming, **above) is Reason.GATE_RISE
    assert _judged(heard, replace(state, asked=1), confirming, **above) is None


def test_the_first_allocation_waits_for_confirmation_too() -> None:
    """Where nothing is published everything is above the published plan."""
    first = replace(STATE, published=None, moved_at=None)
    rules = replace(PLAIN, confirm_cycles=2)
    assert _judged(state=first, rules=rules) is Reason.GATE_RISE
    assert _judged(state=replace(first, asked=1), rules=rules) is None


def test_a_rise_when_the_brakes_are_off_again_is_not() -> None:
    """The second request of two, and the first second after the cool-down."""
    rules = replace(PLAIN, confirm_cycles=2, cooldown_seconds=INTERVAL)
    assert _judged(rules=rules, state=replace(STATE, asked=1)) is None


MOST_FAULTY = observe({"Cyd": 0.5}, faulty=["Ada", "Bob"], risk=0.8)
HALF_GONE = observe({"Cyd": 0.5, "New": 0.2}, risk=0.8)
GONE_BEFORE = {**STATE.agents, "Ada": Memory(absent=1)}
NO_MEMBERS = replace(STATE, agents={})


@pytest.mark.parametrize(
    ("inputs", "state"),
    [
        pytest.param(MOST_FAULTY, STATE, id="most are faulty"),
        pytest.param(HALF_GONE, STATE, id="two of three have gone"),
        pytest.param(MOST_FAULTY, NO_MEMBERS, id="most of a first payload are faulty"),
    ],
)
def test_a_rise_in_an_agents_hold_is_refused(inputs: Inputs, state: State) -> None:
    """Where agents are faulty or gone only a cut may be published, whatever the decision says of a hold."""
    assert judge(inputs, state, PLAIN).hold is not None
    rise = _lines(Ada=0, Bob=0, Cyd=192_001)
    assert _judged(inputs, state, **rise) is Reason.GATE_RISE
    if state is STATE:
        assert _judged(inputs, state, **_lines(Ada=0, Bob=0, Cyd=192_000)) is None


def test_without_a_grace_a_rise_is_refused_while_half_are_gone() -> None:
    """The wait of four cycles does not depend on MEMBERSHIP_GRACE, here as in the hold."""
    rules = replace(PLAIN, membership_grace_cycles=0)
    rise = _lines(Ada=0, Bob=0, Cyd=192_001)
    for cycles, refusal in ((0, Reason.GATE_RISE), (3, Reason.GATE_RISE), (4, None)):
        waited = replace(STATE, latches=replace(STATE.latches, gone_cycles=cycles))
        assert _judged(HALF_GONE, waited, rules, **rise) is refusal


@pytest.mark.parametrize(
    ("faulty", "release_after"),
    [
        pytest.param([], None, id="no agents"),
        pytest.param(["Mad"], 0, id="a stranger's record only, and all members would be retired"),
    ],
)
def test_a_cut_passes_where_there_is_nobody_to_decide_about(faulty: list[Agent], release_after: int | None) -> None:
    """All have been absent for long: the hold keeps them as they are, and the operator's exposure takes its part."""
    state = replace(STATE, agents={agent: memory._replace(absent=9) for agent, memory in STATE.agents.items()})
    inputs = replace(observe({}, faulty=faulty), ceiling=Ceiling(0.5, "ops"))
    rules = replace(PLAIN, release_after_cycles=release_after)
    found = decide(inputs, state, rules)
    assert found.trace.hold is not None
    assert (found.reason, found.trace.hold.reason) == (Reason.CUT_CEILING, Reason.NO_AGENTS)
    assert gate(found, inputs, state, rules) is None


@pytest.mark.parametrize(
    ("inputs", "state"),
    [
        pytest.param(replace(MOST_FAULTY, accept=True), STATE, id="the operator accepts"),
        pytest.param(
            MOST_FAULTY, replace(STATE, latches=Latches(accepted=("Ada",))), id="the operator has accepted one of them"
        ),
        pytest.param(
            HALF_GONE, replace(STATE, latches=Latches(gone_cycles=4 * PLAIN.membership_grace_cycles)), id="waited"
        ),
        pytest.param(HALF_GONE, replace(STATE, agents=GONE_BEFORE), id="one had gone before"),
        pytest.param(
            observe({"Cyd": 0.5, "N1": 0.1, "N2": 0.1}, faulty=["Ada", "Bob"], risk=0.8), STATE, id="newcomers count"
        ),
    ],
)
def test_what_is_no_agents_hold_lets_others_rise(inputs: Inputs, state: State) -> None:
    """The exits of that hold, and what is too little for one."""
    assert judge(inputs, state, PLAIN).hold is None
    assert _judged(inputs, state, **_lines(Ada=0, Bob=0, Cyd=192_001)) is None


PAUSED = snapshot(paused=True, said="cooldown")
SEEN = snapshot(SWAPPED, risk=0.8)


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param(replace(HEARD, pause=Pause(paused=True)), id="pause file"),
        pytest.param(replace(HEARD, pause=Pause(paused=True, until=NOW + 1)), id="pause file not yet over"),
        pytest.param(replace(HEARD, pause=Pause(paused=False, problem="torn")), id="pause file unreadable"),
        pytest.param(replace(HEARD, pause=Pause(paused=False, until=NOW - 1, problem="torn")), id="and expired"),
        pytest.param(replace(HEARD, payload=PAUSED), id="payload paused"),
        pytest.param(replace(HEARD, payload=PAUSED, pause=Pause(paused=True, until=NOW)), id="for no known reason"),
        pytest.param(
            replace(HEARD, payload=PAUSED, pause=Pause(paused=True, until=NOW, reason="drawdown")), id="another reason"
        ),
        pytest.param(
            replace(HEARD, payload=snapshot(paused=True), pause=Pause(paused=True, until=NOW)), id="both without reason"
        ),
        pytest.param(replace(HEARD, payload=PAUSED, pause=Pause(paused=False, reason="cooldown")), id="file ended"),
        pytest.param(replace(HEARD, payload=Refusal(Reason.FETCH_FAILED, "refused")), id="no payload"),
        pytest.param(replace(HEARD, hold=OperatorHold("ops")), id="operator's hold"),
        pytest.param(replace(HEARD, hold=OperatorHold("ops", until=NOW + 1)), id="operator's hold not yet over"),
        pytest.param(replace(HEARD, payload=replace(SEEN, at=NOW - PLAIN.max_age_seconds - 1)), id="stale"),
        pytest.param(replace(HEARD, payload=replace(SEEN, at=NOW + 61)), id="from the future"),
    ],
)
def test_nothing_rises_in_a_hold(inputs: Inputs) -> None:
    """Under a pause, an operator's hold, or without a usable payload only what does not rise passes."""
    assert judge(inputs, STATE, PLAIN).hold is not None
    assert _judged(inputs) is Reason.GATE_RISE
    assert _judged(inputs, **_lines(Cyd=192_001)) is Reason.GATE_RISE
    assert _judged(inputs, **_lines(Cyd=192_000)) is None
    assert _judged(inputs, **_lines(Cyd=192_000), exposure=0.800001) is Reason.GATE_MULTIPLIER


def test_in_a_hold_no_first_allocation_is_published() -> None:
    """Where nothing is published there is nothing to cut, not even lines of zero."""
    nothing: dict[str, Any] = {"shares": dict.fromkeys(RIGHT, 0), "reserve": 1_000_000}
    paused = replace(HEARD, pause=Pause(paused=True))
    assert _judged(paused, replace(STATE, published=None), **nothing) is Reason.GATE_FORBIDDEN


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param(replace(HEARD, stopped=True), id="STOP"),
        pytest.param(replace(HEARD, files_problem="it is a folder"), id="files"),
    ],
)
def test_nothing_is_published_while_forbidden(inputs: Inputs) -> None:
    """Under a STOP, or where the files cannot be written, not even a cut passes."""
    assert _judged(inputs) is Reason.GATE_FORBIDDEN
    assert _judged(inputs, **_lines(Cyd=192_000)) is Reason.GATE_FORBIDDEN


@pytest.mark.parametrize(
    ("payload", "latches", "accept"),
    [
        pytest.param(replace(SEEN, guardian=None), Latches(guardian_seen=True), False, id="guardian lost"),
        pytest.param(replace(SEEN, at=None), Latches(timestamp_seen=True), False, id="time stamp lost"),
        pytest.param(replace(SEEN, metrics={}), Latches(paused=True), False, id="paused, and no agents"),
        pytest.param(replace(SEEN, metrics={}), Latches(paused=True), True, id="which cannot be accepted"),
    ],
)
def test_what_is_remembered_holds_too(payload: Snapshot, latches: Latches, accept: bool) -> None:
    """A block that was once there, and a pause that only a complete payload ends."""
    inputs, state = replace(HEARD, payload=payload, accept=accept), replace(STATE, latches=latches)
    assert judge(inputs, state, PLAIN).hold is not None
    assert _judged(inputs, state) is Reason.GATE_RISE
    assert _judged(inputs, state, **_lines(Cyd=192_000)) is None


@pytest.mark.parametrize(
    ("inputs", "latches"),
    [
        pytest.param(replace(HEARD, hold=OperatorHold("ops", until=NOW)), Latches(), id="operator's hold is over"),
        pytest.param(replace(HEARD, payload=replace(SEEN, at=NOW - 900)), Latches(), id="not yet stale"),
        pytest.param(replace(HEARD, payload=replace(SEEN, at=NOW + 60)), Latches(), id="just not from the future"),
        pytest.param(HEARD, Latches(paused=True, guardian_seen=True, timestamp_seen=True), id="complete again"),
        pytest.param(
            replace(HEARD, payload=replace(SEEN, guardian=None), accept=True),
            Latches(guardian_seen=True),
            id="accepted",
        ),
    ],
)
def test_what_is_over_forbids_nothing(inputs: Inputs, latches: Latches) -> None:
    """Each of these holds has ended."""
    state = replace(STATE, latches=latches)
    assert judge(inputs, state, PLAIN).hold is None
    assert _judged(inputs, state) is None


def test_a_pause_that_is_over_forbids_nothing() -> None:
    """An expired pause file, also one that the payload repeats, does not."""
    over = Pause(paused=True, until=NOW, reason="cooldown")
    assert _judged(replace(HEARD, pause=over)) is None
    assert _judged(replace(HEARD, pause=Pause(paused=False))) is None
    repeats = snapshot(SWAPPED, risk=0.8, paused=True, said="cooldown")
    assert _judged(replace(HEARD, payload=repeats, pause=over)) is None


@pytest.mark.parametrize(("generation", "known", "used"), [(1, 0, 1), (3, 0, 1), (2, 2, 1), (2, 0, 2)])
def test_a_wrong_generation_is_refused(generation: int, known: int, used: int) -> None:
    """It is one more than the largest that journal or any readable file knows."""
    inputs, state = replace(HEARD, known_generation=known), replace(STATE, generation=used)
    assert _judged(inputs, state, generation=generation) is Reason.GATE_GENERATION
    assert _judged(inputs, state, generation=1 + max(known, used)) is None


# --- all of it --------------------------------------------------------------------------------------------------------


def test_every_reason_to_refuse_is_tested_here() -> None:
    """A new check of the gate needs a proposal that breaks it."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert not [reason for reason in GATE_REFUSALS if f"Reason.{reason.name}" not in text]


@examples(800)
@given(SITUATIONS)
def test_what_decide_proposes_is_never_refused(situation: Situation) -> None:
    """In any situation that can be reached by deciding, the gate has nothing to say."""
    found = decide(situation.inputs, situation.state, situation.rules)
    assert gate(found, situation.inputs, situation.state, situation.rules) is None


@pytest.mark.parametrize("faults", [{}, {"Zoe": "sharpe_30d is NaN"}])
def test_a_persons_cut_passes_where_nobody_is_left(faults: dict[Agent, str]) -> None:
    """Also where MEMBERS_GONE has lasted its time, and where each silent member would be retired at once."""
    rules = replace(PLAIN, membership_grace_cycles=0, release_after_cycles=0)
    latches = replace(STATE.latches, gone_cycles=4)
    state = replace(STATE, latches=latches)
    inputs = Inputs(NOW, replace(snapshot({}), faults=faults), ceiling=Ceiling(0.3, "anna"))
    found = decide(inputs, state, rules)
    assert found.trace.hold is not None
    assert (found.trace.hold.reason, found.reason) == (Reason.NO_AGENTS, Reason.CUT_CEILING)
    assert gate(found, inputs, state, rules) is None
