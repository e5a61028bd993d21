"""Governors in which one part of what a hold lets through is wrong, and what a check of P24 has to find in each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from capital_governor.core import decision
from capital_governor.core.exposure import ceilings as real_ceilings
from capital_governor.core.hold import Verdict
from capital_governor.core.limits import shared_caps as real_shared_caps
from capital_governor.core.limits import withholding_caps as real_withholding_caps
from capital_governor.core.model import (
    EVERYBODY,
    OPERATOR,
    Agent,
    Inputs,
    Limit,
    Ppm,
    Publication,
    Refusal,
    Rules,
    State,
)
from capital_governor.core.reason import CUTS, SILENT_HOLDS, Reason
from capital_governor.core.trace import Decision, Multiplier, WeightLimit
from capital_governor.core.withholding import Facts, Plan, plan_of, scaled
from capital_governor.core.withholding import within_limits as real_within_limits

CORE: Final = "capital_governor.core.decision."
NO_GATE: Final[Mapping[str, Callable[..., object]]] = {"capital_governor.service.cycle.gate": lambda *_: None}
"""The gate refuses most of these; without it the check has to find them by itself."""
_real_hold, _real_publication = decision._hold, decision._publication
_real_allocate, _real_facts, _real_under_ceilings = decision._allocate, decision._facts, decision._under_ceilings


@dataclass(frozen=True, slots=True)
class BrokenHold:
    """One wrong part.

    Args:
        name: what is wrong.
        found: what is in the verdict of a check that finds it.
        parts: what is put in the place of what.
        holds: names of the holds and brakes in which it shows.
        origin: what is published before.
    """

    name: str
    found: str
    parts: Mapping[str, Callable[..., object]]
    holds: tuple[str, ...] = ("payload fetch_failed",)
    origin: str = "ours"


def deaf_to_ceilings(hold: Reason) -> Callable[..., Decision]:
    """Return a decision that ignores ceilings on exposure in this hold."""

    def held(
        inputs: Inputs, state: State, rules: Rules, verdict: Verdict, above: tuple[Multiplier, ...], exposure: Any
    ) -> Decision:
        deaf = verdict.hold is not None and verdict.hold.reason is hold
        return _real_hold(inputs, state, rules, verdict, () if deaf else above, exposure)

    return held


def deaf_to_caps(hold: Reason) -> Callable[..., Decision]:
    """Return a decision that ignores the operator's limits in this hold."""

    def held(inputs: Inputs, state: State, rules: Rules, verdict: Verdict, *others: Any) -> Decision:
        deaf = verdict.hold is not None and verdict.hold.reason is hold
        return _real_hold(replace(inputs, limits=()) if deaf else inputs, state, rules, verdict, *others)

    return held


def _undeterred(inputs: Inputs, *others: Any) -> Decision:
    return _real_hold(replace(inputs, stopped=False, files_problem=""), *others)


def _with_payload_only(inputs: Inputs, *others: Any) -> Decision:
    found = _real_hold(inputs, *others)
    return replace(found, proposal=None) if isinstance(inputs.payload, Refusal) else found


def _shared_out(
    inputs: Inputs, state: State, rules: Rules, reason: Reason, plan: Plan, shares: Mapping[Agent, Ppm]
) -> Publication:
    """Give what is taken from the others to Cyd."""
    if reason in CUTS and state.published is not None:
        taken = sum(state.published.shares.values()) - sum(shares.values())
        shares = {**shares, "Cyd": shares["Cyd"] + taken}
    return _real_publication(inputs, state, rules, reason, plan, shares)


def _raised_to_ceiling(plan: Plan, above: tuple[Multiplier, ...]) -> tuple[Plan, Reason | None]:
    lowest = min((each.value for each in above), default=1.0)
    return (plan, None) if lowest == plan.exposure else (scaled(plan, lowest), Reason.CUT_LIMIT)


def _large_falls_only(plan: Plan, above: tuple[Multiplier, ...]) -> tuple[Plan, Reason | None]:
    fallen, reason = _real_under_ceilings(plan, above)
    freed = sum(plan.lines.values()) - sum(fallen.lines.values())
    return (fallen, reason) if freed >= 50_000 else (plan, None)


def _given_back(published: Publication) -> Plan:
    return replace(plan_of(published), before=published.plan)


def _delayed_by(brake: Reason) -> Callable[..., Decision]:
    def allocated(case: Any) -> Decision:
        found = _real_allocate(case)
        active = [each for each in found.trace.brakes if each.active and each.reason is brake]
        return replace(found, reason=brake, proposal=None) if active else found

    return allocated


def _facts_without_limits(*arguments: Any) -> Facts:
    facts = _real_facts(*arguments)
    return replace(facts, caps=dict.fromkeys(facts.caps, 1.0))


def _same_cap_for_all(agents: Collection[Agent], orders: Collection[Limit], now: float) -> Mapping[Agent, WeightLimit]:
    caps = real_withholding_caps(agents, orders, now)
    lowest = min(caps.values(), key=lambda cap: cap.value, default=None)
    return {} if lowest is None else dict.fromkeys(agents, lowest)


def _named_only(orders: Collection[Limit]) -> list[Limit]:
    return [order for order in orders if order.agent != EVERYBODY]


STOPPED: Final = ("STOP, payload fetch_failed",)
PAUSES: Final = ("pause file, good payload",)
BROKEN_HOLDS: Final = (
    BrokenHold("a cut needs a payload", "late", {CORE + "_hold": _with_payload_only}),
    BrokenHold("a cut is shared out, and the gate refuses it", "late", {CORE + "_publication": _shared_out}),
    BrokenHold("a cut is shared out", "raised", {CORE + "_publication": _shared_out, **NO_GATE}),
    BrokenHold("a cap falls on everybody", "took more", {CORE + "limits.withholding_caps": _same_cap_for_all}),
    BrokenHold(
        "a cap for everybody is not heard",
        "late",
        {
            CORE + "limits.withholding_caps": lambda agents, orders, now: real_withholding_caps(
                agents, _named_only(orders), now
            )
        },
    ),
    BrokenHold(
        "a cap to be shared out waits for a move",
        "late",
        {CORE + "limits.shared_caps": lambda agents, _, now, rules: real_shared_caps(agents, (), now, rules)},
    ),
    BrokenHold(
        "MAX_ALLOC waits for a move",
        "late",
        {
            CORE + "limits.shared_caps": lambda agents, orders, now, rules: real_shared_caps(
                agents, orders, now, replace(rules, max_alloc=1.0)
            )
        },
    ),
    BrokenHold(
        "GROUPS wait for a move",
        "late",
        {CORE + "within_limits": lambda lines, exposure, caps, _: real_within_limits(lines, exposure, caps, ())},
    ),
    BrokenHold(
        "MIN_RESERVE waits for a move",
        "late",
        {
            CORE + "ceilings": lambda inputs, rules: tuple(
                each for each in real_ceilings(inputs, rules) if each.name == OPERATOR
            )
        },
    ),
    BrokenHold("a small fall of exposure waits", "late", {CORE + "_under_ceilings": _large_falls_only}),
    BrokenHold(
        "exposure rises in a hold", "before anything", {CORE + "_under_ceilings": _raised_to_ceiling, **NO_GATE}
    ),
    BrokenHold(
        "what is withheld is given back in a hold",
        "before anything",
        {CORE + "plan_of": _given_back, **NO_GATE},
        origin="withheld",
    ),
    BrokenHold("a cap's end is published in a hold", "loosened", {CORE + "plan_of": _given_back, **NO_GATE}),
    BrokenHold("a cut under STOP", "nobody may see", {CORE + "_hold": _undeterred, **NO_GATE}, STOPPED),
    BrokenHold(
        "a cut while a folder is in the place of a file",
        "none may be written",
        {CORE + "_hold": _undeterred, **NO_GATE},
        ("folder for a file, payload fetch_failed",),
    ),
    BrokenHold(
        "a pause keeps a cut from the files",
        "late",
        {
            "capital_governor.service.cycle.Cycle._may_write": lambda _, found: (
                found.trace.hold is None or found.trace.hold.reason not in SILENT_HOLDS
            )
        },
        PAUSES,
    ),
    BrokenHold("a cool-down delays a cut", "late", {CORE + "_allocate": _delayed_by(Reason.COOLDOWN)}, ("cool-down",)),
    BrokenHold(
        "CONFIRM_CYCLES delay a cut",
        "late",
        {CORE + "_allocate": _delayed_by(Reason.CONFIRMING)},
        ("not yet confirmed",),
    ),
    BrokenHold(
        "a limit is not withheld under a brake",
        "late",
        {CORE + "_facts": _facts_without_limits, **NO_GATE},
        ("cool-down",),
    ),
)
