"""Deciders of which one part is wrong, and what the gate has to say of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from capital_governor.core.allocator import Projection
from capital_governor.core.allocator import project as real_project
from capital_governor.core.decision import _publication as real_publication
from capital_governor.core.exposure import expose as real_expose
from capital_governor.core.hold import judge
from capital_governor.core.limits import agent_limits as real_limits
from capital_governor.core.model import (
    Agent,
    Ceiling,
    Group,
    Inputs,
    Limit,
    Memory,
    Pause,
    Ppm,
    Rules,
    Snapshot,
    State,
)
from capital_governor.core.publication import integer_shares as real_rounding
from capital_governor.core.reason import Reason
from capital_governor.core.trace import AgentLimits
from capital_governor.core.withholding import Plan
from tests.rigs.builders import NOW, PLAIN, observe, publication, rated, settled, snapshot

SWAPPED = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}


STATE = settled(shares={"Ada": 320_000, "Bob": 288_000, "Cyd": 192_000}, exposure=0.8)


HEARD = observe(SWAPPED, risk=0.8)
"""Ada and Cyd change places."""


RIGHT: Mapping[Agent, Ppm] = {"Ada": 192_000, "Bob": 288_000, "Cyd": 320_000}
"""What is right then, with a reserve of 200,000."""


CORE = "capital_governor.core."


UNWELL = observe({"Ada": 0.2, "Bob": 0.3}, faulty=["Cyd"], risk=0.8)


WELL_ONCE = replace(STATE, metrics={**STATE.metrics, "Cyd": rated(0.5)})


WITHOUT_CYD = observe({"Ada": 0.5, "Bob": 0.3}, risk=0.8)


LAPSES_NOW = replace(
    settled(shares=RIGHT, exposure=0.8),
    agents={**STATE.agents, "Cyd": Memory(tenured=True, absent=PLAIN.membership_grace_cycles)},
    metrics={**STATE.metrics, "Cyd": rated(0.2)},
)
"""Cyd has been absent for the whole grace; what is right for WITHOUT_CYD is 0 for it."""


RETURNS = replace(
    STATE,
    published=publication({"Ada": 320_000, "Bob": 288_000, "Cyd": 0}, 0.8, withheld={"Cyd": 192_000}),
    agents={**STATE.agents, "Cyd": Memory(tenured=True, absent=4, lapsed=True, returned=1)},
    metrics={**STATE.metrics, "Cyd": rated(0.2)},
)
"""Cyd has lapsed, and the next good record is its second."""


PARTLY_WITHHELD = replace(
    STATE, published=publication({"Ada": 320_000, "Bob": 288_000, "Cyd": 92_000}, 0.8, withheld={"Cyd": 100_000})
)


STOPPED = replace(HEARD, stopped=True)


PAUSED = replace(HEARD, pause=Pause(paused=True))


BRAKED = replace(PLAIN, confirm_cycles=2)


COOLING = replace(PLAIN, cooldown_seconds=600.0)


@dataclass(frozen=True, slots=True)
class Broken:
    """A part of decide() that is wrong, the situation in which that shows, and what the gate must say.

    ``too``: other parts that are wrong at the same time, since what is above a limit is withheld otherwise.
    """

    part: str
    by: Callable[..., object]
    reason: Reason
    inputs: Inputs = HEARD
    state: State = STATE
    rules: Rules = PLAIN
    too: Mapping[str, Callable[..., object]] = field(default_factory=dict)


NOTHING_WITHHELD: Final[Mapping[str, Callable[..., object]]] = {"decision.withhold": lambda *_: {}}


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


def _rising(plan: Plan, *_: Any) -> tuple[Plan, Reason]:
    """Raise Cyd in what should be a cut."""
    return replace(plan, lines=dict(RIGHT)), Reason.CUT_DERISK


def _withholding(amounts: Mapping[Agent, Ppm]) -> Callable[..., object]:
    """Say in the publication that this is withheld, whatever is."""
    return lambda *given: replace(real_publication(*given), withheld=amounts)


BROKEN: Final = [
    Broken("allocator.project", lambda *_: Projection([0.2, 0.35, 0.45]), Reason.GATE_LIMIT, too=NOTHING_WITHHELD),
    Broken(
        "allocator.project",
        lambda s, lo, _: real_project(s, lo, [1.0] * 3),
        Reason.GATE_LIMIT,
        too=NOTHING_WITHHELD,
    ),
    Broken("allocator.project", lambda *_: Projection([0.24, 0.4, 0.4]), Reason.GATE_EXPOSURE),
    Broken("allocator.project", lambda *_: Projection([0.6, 0.6, 0.6]), Reason.GATE_EXPOSURE),
    Broken("allocator.project", lambda *_: Projection([0.6, 0.6, 0.6]), Reason.GATE_SUM, too=NOTHING_WITHHELD),
    Broken("allocator.project", lambda *_: Projection([-0.1, 0.3, 0.3]), Reason.GATE_SUM),
    Broken("allocator.step", lambda *_: ([0.2, 0.35, 0.45], 0.5), Reason.GATE_LIMIT, too=NOTHING_WITHHELD),
    Broken("limits.agent_limits", _uncapped, Reason.GATE_LIMIT),
    Broken(
        "limits.withholding_caps",
        lambda *_: {},
        Reason.GATE_LIMIT,
        replace(HEARD, limits=(Limit("Cyd", "ops", cap=0.1),)),
    ),
    Broken(
        "decision.group_indices",
        lambda agents, _: [-1 for _ in agents],
        Reason.GATE_LIMIT,
        rules=replace(PLAIN, groups=(Group("pair", 0.5, ("Bob", "C*")),)),
        too=NOTHING_WITHHELD,
    ),
    Broken("decision.integer_shares", lambda *a: {**real_rounding(*a), "Ada": 192_001}, Reason.GATE_EXPOSURE),
    Broken("decision.integer_shares", lambda *a: {**real_rounding(*a), "Ada": 192_000.0}, Reason.GATE_SUM),
    Broken("decision._publication", _withholding({"Cyd": 1}), Reason.GATE_EXPOSURE),
    Broken("decision._publication", _withholding({"Cyd": -1}), Reason.GATE_SUM),
    Broken("decision._publication", _withholding({"Zed": 0}), Reason.GATE_SUM),
    Broken("withholding._absence", lambda *_: [], Reason.GATE_FAULTY_GAIN, UNWELL, WELL_ONCE),
    Broken("withholding._absence", lambda *_: [], Reason.GATE_STRANGER, WITHOUT_CYD, LAPSES_NOW),
    Broken("withholding._absence", lambda *_: [], Reason.GATE_STRANGER, HEARD, RETURNS),
    Broken("decision.expose", lambda *a: replace(real_expose(*a), value=0.9), Reason.GATE_MULTIPLIER),
    Broken("decision.expose", _trusting, Reason.GATE_MULTIPLIER, OLD_REGIME),
    Broken("decision.expose", _trusting, Reason.GATE_MULTIPLIER, EARLY_REGIME),
    Broken("decision.ceilings", lambda *_: (), Reason.GATE_MULTIPLIER, replace(HEARD, ceiling=Ceiling(0.7, "ops"))),
    Broken("decision.ceilings", lambda *_: (), Reason.GATE_MULTIPLIER, rules=replace(PLAIN, min_reserve=0.3)),
    Broken("threshold.brakes", lambda *_: (), Reason.GATE_RISE, rules=BRAKED),
    Broken("threshold.lowered", _rising, Reason.GATE_RISE, rules=BRAKED),
    Broken(
        "decision._not_restored",
        lambda _, withheld: withheld,
        Reason.GATE_RISE,
        observe(risk=0.8),
        PARTLY_WITHHELD,
        COOLING,
    ),
    Broken("decision.judge", lambda *_: judge(HEARD, STATE, PLAIN), Reason.GATE_FORBIDDEN, STOPPED),
    Broken("decision.judge", lambda *_: judge(HEARD, STATE, PLAIN), Reason.GATE_RISE, PAUSED),
    Broken(
        "decision._publication",
        lambda *a, **more: replace(real_publication(*a, **more), generation=1),
        Reason.GATE_GENERATION,
    ),
]
