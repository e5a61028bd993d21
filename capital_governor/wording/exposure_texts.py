"""What reduces exposure, in words: the market, a drawdown, an order or a setting. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from capital_governor.core.model import DRAWDOWN, MIN_RESERVE, OPERATOR, REGIME, Inputs, Snapshot
from capital_governor.core.trace import Decision, Multiplier
from capital_governor.wording.amounts import percent_text
from capital_governor.wording.message_form import shortened
from capital_governor.wording.moments import minute_text

NOTHING: Final = "nothing reduces it"
_LONGEST_REGIME: Final = 40
_LONGEST_REASON: Final = 200
_NOTES: Final[Mapping[str, str]] = {
    "last known": ", last known: the dashboard does not send it now",
    "stale payload": ", though its detector is silent",
}
"""By origin of a multiplier, what to know about it."""


def exposure_cause(exposure: Mapping[str, Any]) -> str:
    """Return what sets exposure: ``market BEAR (risk 0.5)``.

    Args:
        exposure: plain data, as ``exposure`` of the facts in the journal; see ``facts_of`` in ``journal/turns.py``.
    """
    by, value, raw = exposure.get("by"), exposure["value"], exposure.get("raw")
    if by is None:
        return NOTHING
    if by == OPERATOR:
        return _order_cause(exposure)
    if by == MIN_RESERVE:
        return f"the setting MIN_RESERVE keeps {percent_text(1.0 - value)}"
    origin = exposure.get("origin", "")
    if by == DRAWDOWN:
        said = "Guardian drawdown" + ("" if raw is None else f" {raw:.4g} %")
    elif by == REGIME:
        risk = f"risk {value if raw is None else raw:.4g}"
        name = exposure.get("name")
        said = f"market {name} ({risk})" if name and origin != "last known" else f"market {risk}"
    else:
        said = str(by)
    return said + _NOTES.get(origin, "")


def _order_cause(exposure: Mapping[str, Any]) -> str:
    whose = f"{exposure['author']}'s" if "author" in exposure else "an"
    until = f" until {minute_text(exposure['until'])}" if exposure.get("until") is not None else ""
    reason = f" ({exposure['order_reason']})" if exposure.get("order_reason") else ""
    return f"{whose} order of at most {percent_text(exposure['value'])}{until}{reason}"


def cause_in_cycle(decision: Decision, inputs: Inputs) -> str:
    """Return what sets the exposure that a cycle worked out, short enough for a message.

    Of a cycle that worked out none, such as without a payload, the smallest of what was known last and of an order.
    """
    trace = decision.trace
    multipliers = trace.multipliers or (
        *(Multiplier(name, value, "last known") for name, value in sorted(decision.after.multipliers.items())),
        *_ceiling(inputs),
    )
    lowest = min(multipliers, key=lambda each: (each.value, each.name != trace.exposure_by), default=None)
    if lowest is None or lowest.value >= 1.0:
        return NOTHING
    said = {"value": lowest.value, "by": lowest.name, "origin": lowest.origin, "raw": lowest.raw}
    if isinstance(inputs.payload, Snapshot) and inputs.payload.regime is not None:
        said["name"] = shortened(inputs.payload.regime.name, _LONGEST_REGIME)
    if inputs.ceiling is not None:
        order = inputs.ceiling
        reason = shortened(order.reason, _LONGEST_REASON)
        said |= {"author": order.author, "until": order.until, "order_reason": reason}
    return exposure_cause(said)


def _ceiling(inputs: Inputs) -> Iterator[Multiplier]:
    order = inputs.ceiling
    if order is not None and order.in_force(inputs.now):
        yield Multiplier(OPERATOR, order.value, "order")
