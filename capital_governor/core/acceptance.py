"""An operator's ``accept``: which hold it is about, and what becomes of it in a cycle. Pure.

It names one hold. It waits while no cycle can tell whether that hold goes on (dashboard down, paused, stopped ...), is
used by the first that would hold for it, and lapses with the first that shows it to be over, or another of the fleet's
in its place; so it never lets pass what the operator has not seen.
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
"""An accept that nothing could use for a day is over."""


def acceptable(decision: Decision) -> Hold | None:
    """Return the hold of this cycle that ``accept`` would end, also behind a pause or another order to keep still."""
    holds = (decision.trace.hold, decision.trace.unusable)
    return next((hold for hold in holds if hold is not None and hold.reason in ACCEPTABLE), None)


def open_hold(newest_first: Iterable[Decision]) -> Hold | None:
    """Return the hold that an ``accept`` given now is about: the newest that no later cycle shows to be over."""
    later: list[Decision] = []
    for cycle in newest_first:
        found = acceptable(cycle)
        if found is not None and not any(_is_over(found.reason, decision) for decision in later):
            return found
        later.append(cycle)
        if cycle.trace.hold is None:
            return None
    return None


def apply_accept(
    order: Order, inputs: Inputs, decide: Callable[[Inputs], Decision]
) -> tuple[Inputs, Decision, tuple[Order, ...]]:
    """Decide with ``order``, an accept, where it is of use, else without it.

    Returns:
        The inputs and the decision that count, and the order as ended if it was used or has lapsed.
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
    """Whether this cycle holds, or would hold but for an earlier hold, for this reason."""
    found = acceptable(decision)
    return found is not None and found.reason is about


def _is_over(about: Reason, decision: Decision) -> bool:
    """Whether this cycle could tell that the hold is over: what is judged before it must not have hidden it."""
    hold, unusable = decision.trace.hold, decision.trace.unusable
    if about in AGENT_HOLDS:
        return hold is None or (hold.reason in AGENT_HOLDS and hold.reason is not about)
    if unusable is None:
        return True
    # The guardian block is looked at before the time stamp, so the loss of the second says that the first is there.
    return unusable.reason not in PAYLOAD_HOLDS and about is Reason.GUARDIAN_LOST and unusable.reason is not about
