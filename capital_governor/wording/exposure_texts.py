"""What reduces exposure, for messages: the market, a drawdown, an order or a setting. Pure."""

from __future__ import annotations

from typing import Final

from capital_governor.core.model import DRAWDOWN, MIN_RESERVE, OPERATOR, REGIME, Inputs, Snapshot
from capital_governor.core.trace import Decision, Multiplier
from capital_governor.wording.message_form import percent_text, shortened

NOTHING: Final = "nothing reduces it"
_LONGEST_REGIME: Final = 40
_LONGEST_REASON: Final = 200
_PAYLOAD: Final = "payload"


def exposure_cause(decision: Decision, inputs: Inputs) -> str:
    """Return what sets the exposure that a cycle worked out: ``market BEAR (risk 0.5)``.

    Of a cycle that worked out none, such as without a payload, the smallest of what was known last.
    """
    trace = decision.trace
    multipliers = trace.multipliers or tuple(
        Multiplier(name, value, "last known") for name, value in sorted(decision.after.multipliers.items())
    )
    lowest = min(multipliers, key=lambda each: (each.value, each.name != trace.exposure_by), default=None)
    return NOTHING if lowest is None or lowest.value >= 1.0 else _cause(lowest, inputs)


def _cause(lowest: Multiplier, inputs: Inputs) -> str:
    known = "" if lowest.origin in {_PAYLOAD, "order", "setting"} else ", last known"
    if lowest.name == OPERATOR and inputs.ceiling is not None:
        reason = shortened(inputs.ceiling.reason, _LONGEST_REASON)
        order = f"{inputs.ceiling.author}'s order of at most {percent_text(lowest.value)}"
        return order + (f" ({reason})" if reason else "")
    if lowest.name == MIN_RESERVE:
        return f"the setting MIN_RESERVE keeps {percent_text(1.0 - lowest.value)}"
    if lowest.name == DRAWDOWN:
        return "Guardian drawdown" + (f" {lowest.raw:.4g} %" if lowest.raw is not None else "") + known
    if lowest.name == REGIME:
        return f"market{_regime_name(inputs)} (risk {lowest.value:.4g}{known})"
    return lowest.name


def _regime_name(inputs: Inputs) -> str:
    payload = inputs.payload
    name = payload.regime.name if isinstance(payload, Snapshot) and payload.regime is not None else ""
    return f" {shortened(name, _LONGEST_REGIME)}" if name else ""
