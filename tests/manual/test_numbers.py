"""The numbers of the manual against the decision that the program makes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import pytest

from capital_governor.contracts.payload import parse
from capital_governor.core.decision import commit, decide
from capital_governor.core.model import Guardian, Inputs, Limit, Metrics, Refusal, Regime, Rules, Snapshot, State
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision
from tests.manual.pages import (
    EXAMPLE,
    FLEET_OF_EXAMPLE,
    blocks,
    flat,
    section,
    tables,
)
from tests.rigs.builders import NOW


def decided(
    fleet: Mapping[str, Metrics],
    state: State | None = None,
    *,
    risk: float = 1.0,
    drawdown: float = 0.0,
    now: float = NOW,
    limits: tuple[Limit, ...] = (),
) -> Decision:
    payload = Snapshot(
        now, fleet, guardian=Guardian(is_paused=False, drawdown_percent=drawdown), regime=Regime("", risk)
    )
    return decide(Inputs(now, payload, limits=limits), state or State(), Rules())


def test_the_figures_of_the_readme() -> None:
    """The percentages by which README.md explains shares are those of the default rules."""
    text, rules = flat(section("README", "How shares come about")), Rules()
    found = [float(figure) / 100 for figure in re.findall(r"(\d+) (?:%|points)", text)]
    parts = [rules.pnl_weight, rules.sharpe_weight, rules.winrate_weight, rules.drawdown_weight]
    limits = [rules.min_alloc, rules.max_alloc]
    assert found == [*parts, *limits, rules.drawdown_cut_start_percent / 100, rules.threshold]


def sums(block: str) -> dict[str, tuple[float, str]]:
    """By name, what an expression of the manual comes to, and what the manual says it comes to."""
    found = {}
    for name, expression, result in re.findall(r"^(\w+) +(.+?) += ([0-9.]+)$", block, re.MULTILINE):
        assert re.fullmatch(r"[0-9.+*/() -]+", expression), expression
        found[name] = (float(eval(expression)), result)  # noqa: S307 - arithmetic of our own, nothing but digits and signs
    assert len(found) == len(block.splitlines())
    return found


def test_worked_example() -> None:
    """Every line of the worked example's arithmetic is right, and the program comes to the same numbers."""
    decision = decided(FLEET_OF_EXAMPLE, risk=0.8)
    published = decision.proposal
    assert published is not None
    scores, weights, shares = (sums(block) for block in blocks(EXAMPLE, "text"))
    for value, result in (*scores.values(), *weights.values(), *shares.values()):
        assert f"{value:.{len(result.partition('.')[2])}f}" == result
    assert {agent: float(result) for agent, (_, result) in scores.items()} == {
        agent: round(score, 4) for agent, score in decision.trace.scores.items()
    }
    del weights["t"]
    assert {agent: float(result) for agent, (_, result) in weights.items()} == {
        agent: round(weight, 7) for agent, weight in published.weights.items()
    }
    assert float(shares.pop("reserve")[1]) * 1_000_000 == published.reserve
    assert {agent: round(float(result) * 1_000_000) for agent, (_, result) in shares.items()} == published.shares


def test_what_a_cap_withholds() -> None:
    """The manual's cap on the worked example withholds what it says, from that agent alone; shared out, others gain."""
    text = section("deciding", "Withheld")
    match = re.search(r"`limit (\w+) --max ([0-9.]+)`:", text)
    assert match
    agent, cap = match[1], float(match[2])
    found = sums(blocks(text, "text")[1])
    for value, result in found.values():
        assert f"{value:.{len(result.partition('.')[2])}f}" == result
    before = decided(FLEET_OF_EXAMPLE, risk=0.8)
    capped, shared = (
        decided(FLEET_OF_EXAMPLE, commit(before), risk=0.8, limits=(Limit(agent, "anna", cap, share_out=share_out),))
        for share_out in (False, True)
    )
    assert before.proposal is not None
    assert capped.proposal is not None
    assert shared.proposal is not None
    told = {name: round(float(result) * 1_000_000) for name, (_, result) in found.items()}
    new, old = capped.proposal, before.proposal.shares
    assert (new.plan[agent], new.shares[agent]) == (told["plan"], told["cap"])
    assert (dict(new.withheld), new.reserve) == ({agent: told["withheld"]}, told["reserve"])
    assert {name: new.shares[name] for name in old if name != agent} == {n: old[n] for n in old if n != agent}
    assert sum(shared.proposal.shares[name] - old[name] for name in old if name != agent) == told["withheld"]
    assert f"would give the {told['withheld'] / 1e6:g} to them" in flat(text)


def test_what_the_example_does_next() -> None:
    """The example's small change moves nothing and its change of regime does, by the numbers it says."""
    text = flat(EXAMPLE)
    match = re.search(
        r"Sharpe ratio rises to ([0-9.]+), hence its score to ([0-9.]+)\. The largest.* be ([0-9.]+), ", text
    )
    assert match
    state = commit(decided(FLEET_OF_EXAMPLE, risk=0.8))
    fleet = FLEET_OF_EXAMPLE | {"DropshipAgent": FLEET_OF_EXAMPLE["DropshipAgent"]._replace(sharpe_30d=float(match[1]))}
    small = decided(fleet, state, risk=0.8)
    change = next(trigger.value for trigger in small.trace.triggers if trigger.reason is Reason.THRESHOLD)
    assert small.reason is Reason.BELOW_THRESHOLD
    assert (match[2], match[3]) == (f"{small.trace.scores['DropshipAgent']:.4f}", f"{change / 1e6:.4f}")
    match = re.search(
        r"`risk_multiplier` ([0-9.]+)\): .* from ([0-9.]+) to ([0-9.]+)\. That is ([0-9.]+) and moves", text
    )
    assert match
    bear = decided(FLEET_OF_EXAMPLE, state, risk=float(match[1]))
    assert bear.reason is Reason.THRESHOLD
    assert state.published is not None
    assert bear.proposal is not None
    old, new = state.published.reserve / 1e6, bear.proposal.reserve / 1e6
    assert [float(match[i]) for i in (2, 3, 4)] == [old, new, pytest.approx(new - old)]


BEST: Final = Metrics(10_000.0, 3.0, 1.0, 0.0)


WORST: Final = Metrics(0.0, 0.0, 0.0, 20.0)


def test_small_and_large_fleets() -> None:
    """The lowest and highest weights in the manual are those of the worst agent among best and the best among worst."""
    for row in tables(section("deciding", "Small and large fleets"))[0]:
        agents, lowest, highest, reserve = int(row[0]), *map(float, row[1:])
        others = [f"Other{number}" for number in range(agents - 1)]
        low = decided(dict.fromkeys(others, BEST) | {"One": WORST})
        high = decided(dict.fromkeys(others, WORST) | {"One": BEST})
        assert low.proposal is not None
        assert (low.trace.weights["One"], high.trace.weights["One"]) == pytest.approx((lowest, highest)), row
        assert low.proposal.reserve / 1e6 == pytest.approx(reserve), row


@pytest.mark.parametrize(
    ("first", "others", "risk", "reason"),
    [
        (0.900, 0.700, 1.0, Reason.THRESHOLD),
        (0.930, 0.690, 1.0, Reason.BELOW_THRESHOLD),
        (0.825, 0.725, 0.8, Reason.THRESHOLD),
        (0.840, 0.720, 0.8, Reason.BELOW_THRESHOLD),
    ],
)
def test_the_last_step_to_the_cap(first: float, others: float, risk: float, reason: Reason) -> None:
    """A share of 0.30 rises to 0.40 when its agent excels, and from 0.31 the threshold stops that; likewise at 0.8."""

    def fleet(one: float, other: float) -> dict[str, Metrics]:
        return {name: WORST._replace(winrate_30d=one if name == "One" else other) for name in ("One", "B", "C", "D")}

    state = commit(decided(fleet(first, others), risk=risk))
    assert state.published is not None
    assert state.published.shares["One"] == round(first / 3 * risk * 1_000_000)
    later = decided(fleet(1.0, 0.1), state, risk=risk)
    assert later.trace.target["One"] == round(0.4 * risk * 1_000_000)
    assert later.reason is reason


def test_exposure_under_drawdown() -> None:
    """Guardian's drawdown lowers exposure as the manual says."""
    text = flat(section("deciding", "How shares are decided"))
    match = re.search(
        r"1 up to (\d+) % Guardian drawdown, ([0-9.]+) from (\d+) % on, .* \((\d+) % gives ([0-9.]+)\)", text
    )
    assert match
    start, floor, end, between, value = map(float, match.groups())
    for percent, exposure in ((start, 1.0), (end, floor), (between, value)):
        assert decided(FLEET_OF_EXAMPLE, drawdown=percent).trace.exposure == pytest.approx(exposure)


def test_the_payload_that_is_shown_is_what_is_read() -> None:
    """The payload in the manual is a good one; nothing in it can be left out unnoticed, and nothing else is noticed."""
    (shown,) = blocks(section("dashboard", "What the dashboard serves"), "json")

    def read(document: dict[str, Any]) -> Snapshot:
        found = parse(json.dumps(document).encode())
        assert isinstance(found, Snapshot)
        return found

    def without(*path: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(shown)
        block = document
        for key in path[:-1]:
            block = block[key]
        del block[path[-1]]
        return document

    whole = json.loads(shown)
    good = read(whole)
    assert good.faults == {}
    assert good.warnings == ()
    assert good.metrics == {"SmartTrader": FLEET_OF_EXAMPLE["SmartTrader"]}
    assert isinstance(parse(json.dumps(without("per_agent")).encode()), Refusal)
    for metric in whole["per_agent"]["SmartTrader"]:
        assert set(read(without("per_agent", "SmartTrader", metric)).faults) == {"SmartTrader"}
    assert isinstance(parse(json.dumps(without("guardian", "is_paused")).encode()), Refusal)
    optional = [(key,) for key in whole if key != "per_agent"]
    inside = [(block, key) for block in ("guardian", "market_regime") for key in whole[block] if key != "is_paused"]
    for path in (*optional, *inside):
        assert read(without(*path)) != good, path
    assert read(whole | {"mode": "TEST_MODE"}) == good
