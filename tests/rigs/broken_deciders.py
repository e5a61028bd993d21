"""Deciders of which one part is wrong, and what the gate has to say of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from capital_governor.core.allocator import Projection
from capital_governor.core.allocator import project as real_project
from capital_governor.core.decision import _publication as real_publication
from capital_governor.core.exposure import expose as real_expose
from capital_governor.core.hold import judge
from capital_governor.core.limits import agent_limits as real_limits
from capital_governor.core.model import (
    Agent,
    Inputs,
    Memory,
    Ppm,
    Rules,
    Snapshot,
    State,
)
from capital_governor.core.publication import integer_shares as real_rounding
from capital_governor.core.reason import Reason
from capital_governor.core.threshold import Cut
from capital_governor.core.trace import AgentLimits
from tests.rigs.builders import NOW, PLAIN, observe, rated, settled, snapshot

SWAPPED = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}


STATE = settled(shares={"Ada": 320_000, "Bob": 288_000, "Cyd": 192_000}, exposure=0.8)


HEARD = observe(SWAPPED, risk=0.8)
"""Ada and Cyd change places."""


RIGHT: Mapping[Agent, Ppm] = {"Ada": 192_000, "Bob": 288_000, "Cyd": 320_000}
"""What is right then, with a reserve of 200,000."""


CORE = "capital_governor.core."


UNWELL = observe({"Ada": 0.2, "Bob": 0.3}, faulty=["Cyd"], risk=0.8)


WELL_ONCE = replace(STATE, agents={**STATE.agents, "Cyd": Memory(rated(0.5), tenured=True)})


STOPPED = replace(HEARD, stopped=True)


BRAKED = replace(PLAIN, confirm_cycles=2)


@dataclass(frozen=True, slots=True)
class Broken:
    """A part of decide() that is wrong, the situation in which that shows, and what the gate must say."""

    part: str
    by: Callable[..., object]
    reason: Reason
    inputs: Inputs = HEARD
    state: State = STATE
    rules: Rules = PLAIN


def _uncapped(members: Collection[Agent], **given: Any) -> dict[Agent, AgentLimits]:
    return {agent: replace(bound, hi=1.0) for agent, bound in real_limits(members, **given).items()}


def _trusting(payload: Snapshot, *others: Any) -> Any:
    """Take the regime as it is, whatever it says of its age."""
    assert payload.regime is not None
    return real_expose(replace(payload, regime=replace(payload.regime, at=None)), *others)


def _of_age(seconds: float) -> Inputs:
    """The regime says 1, and that it is so old; the last known one was 0.8."""
    payload = snapshot(at=NOW, risk=1.0)
    assert payload.regime is not None
    return Inputs(NOW, replace(payload, regime=replace(payload.regime, at=NOW - seconds)))


OLD_REGIME, EARLY_REGIME = _of_age(901.0), _of_age(-61.0)


BROKEN: Final = [
    Broken("allocator.project", lambda *_: Projection([0.2, 0.35, 0.45]), Reason.GATE_LIMIT),
    Broken("allocator.project", lambda s, lo, _: real_project(s, lo, [1.0] * 3), Reason.GATE_LIMIT),
    Broken("allocator.project", lambda *_: Projection([0.24, 0.4, 0.4]), Reason.GATE_EXPOSURE),
    Broken("allocator.project", lambda *_: Projection([0.6, 0.6, 0.6]), Reason.GATE_SUM),
    Broken("allocator.project", lambda *_: Projection([-0.1, 0.3, 0.3]), Reason.GATE_SUM),
    Broken("allocator.step", lambda *_: ([0.2, 0.35, 0.45], 0.5), Reason.GATE_LIMIT),
    Broken("limits.agent_limits", _uncapped, Reason.GATE_LIMIT),
    Broken("decision.integer_shares", lambda *a: {**real_rounding(*a), "Ada": 192_001}, Reason.GATE_EXPOSURE),
    Broken("decision.integer_shares", lambda *a: {**real_rounding(*a), "Zed": 0}, Reason.GATE_STRANGER),
    Broken("decision.integer_shares", lambda *a: {**real_rounding(*a), "Ada": 192_000.0}, Reason.GATE_SUM),
    Broken("decision._gains", lambda *_: {}, Reason.GATE_FAULTY_GAIN, UNWELL, WELL_ONCE),
    Broken("decision.expose", lambda *a: replace(real_expose(*a), value=0.9), Reason.GATE_MULTIPLIER),
    Broken("decision.expose", _trusting, Reason.GATE_MULTIPLIER, OLD_REGIME),
    Broken("decision.expose", _trusting, Reason.GATE_MULTIPLIER, EARLY_REGIME),
    Broken("threshold.brakes", lambda *_: (), Reason.GATE_RISE, rules=BRAKED),
    Broken("threshold.cut", lambda *_: Cut(Reason.CUT_LIMIT, dict(RIGHT), {}, 0.8), Reason.GATE_RISE, rules=BRAKED),
    Broken("decision.judge", lambda *_: judge(HEARD, STATE, PLAIN), Reason.GATE_FORBIDDEN, STOPPED),
    Broken(
        "decision._publication",
        lambda *a, **more: replace(real_publication(*a, **more), generation=1),
        Reason.GATE_GENERATION,
    ),
]
