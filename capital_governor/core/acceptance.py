"""An operator's ``accept`` and ``release``: what they are for, and whether a cycle uses them. Pure.

An accept names one hold. The first cycle that would hold for it uses the accept. The accept waits while a cycle cannot
tell whether the hold goes on (dashboard down, paused, stopped). It lapses when the hold is over or another hold for
agents has come instead, so that nothing is accepted that the operator has not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from capital_governor.core.model import Inputs
from capital_governor.core.orders import Order, OrderEnd
from capital_governor.core.reason import AGENT_HOLDS, PAYLOAD_HOLDS, Reason
from capital_governor.core.trace import Decision, Hold

ACCEPTABLE: Final = AGENT_HOLDS | {Reason.GUARDIAN_LOST, Reason.TIMESTAMP_LOST}
"""The holds that ``accept`` ends."""
EXPIRES_SECONDS: Final = 86_400.0
"""An accept that no cycle has used for a day ends."""


def acceptable(decision: Decision) -> Hold | None:
    """Return the hold of this cycle that ``accept`` would end, also behind a pause or an operator's hold."""
    holds = (decision.trace.hold, decision.trace.unusable)
    return next((hold for hold in holds if hold is not None and hold.reason in ACCEPTABLE), None)


def open_hold(newest_first: Iterable[Decision]) -> Hold | None:
    """Return the hold that an ``accept`` given now is for: the newest that is not over in a later cycle."""
    later: list[Decision] = []
    for cycle in newest_first:
        found = acceptable(cycle)
        if found is not None and not any(_is_over(found.reason, decision) for decision in later):
            return found
        later.append(cycle)
        if cycle.trace.hold is None:
            return None
    return None


def ended_releases(releases: Iterable[Order], inputs: Inputs, decision: Decision) -> tuple[Order, ...]:
    """Return the releases that this cycle has used, or that have lapsed since there is nothing to release.

    They wait while a cycle cannot tell which members have a good record.
    """
    hold = decision.trace.hold
    if hold is not None and hold.reason not in AGENT_HOLDS:
        return ()
    ended = []
    for order in releases:
        if order.agent in decision.after.latches.accepted:
            ended.append(order.ended(inputs.now, OrderEnd.USED, "governor", order.agent))
        else:
            why = f"{order.agent} has a good record, or is no member"
            ended.append(order.ended(inputs.now, OrderEnd.LAPSED, "governor", why))
    return tuple(ended)


def apply_accept(
    order: Order, inputs: Inputs, decide: Callable[[Inputs], Decision]
) -> tuple[Inputs, Decision, tuple[Order, ...]]:
    """Decide with ``order``, an accept, if its hold applies; else without it.

    Returns:
        The inputs and the decision, and the ended order if it was used or has lapsed.
    """
    decision = decide(inputs)
    about = Reason(order.accepts)
    if _stands(about, decision):
        accepting = replace(inputs, accept=True, accept_only=about)
        accepted = decide(accepting)
        if not _stands(about, accepted):
            used = order.ended(inputs.now, OrderEnd.USED, "governor", ", ".join(accepted.trace.accepted))
            return accepting, accepted, (used,)
    elif _is_over(about, decision):
        instead = acceptable(decision)
        why = f"{about.value} is over" + (f", {instead.reason.value} came instead" if instead is not None else "")
        return inputs, decision, (order.ended(inputs.now, OrderEnd.LAPSED, "governor", why),)
    return inputs, decision, ()


def _stands(about: Reason, decision: Decision) -> bool:
    """Whether this cycle holds for this reason, or would without an earlier hold."""
    found = acceptable(decision)
    return found is not None and found.reason is about


def _is_over(about: Reason, decision: Decision) -> bool:
    """Whether this cycle shows that the hold is over; an earlier hold may hide that."""
    hold, unusable = decision.trace.hold, decision.trace.unusable
    if about in AGENT_HOLDS:
        return hold is None or (hold.reason in AGENT_HOLDS and hold.reason is not about)
    if unusable is None:
        return True
    # The guardian block is checked before the time stamp: if the latter is lost, the former is there.
    return unusable.reason not in PAYLOAD_HOLDS and about is Reason.GUARDIAN_LOST and unusable.reason is not about
