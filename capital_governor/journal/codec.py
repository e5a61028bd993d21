"""What the journal stores, as JSON: equal bytes for equal values, and nothing read that is not of its shape."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

from capital_governor.core.model import Inputs, Publication, Rules, State
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision, Trace
from capital_governor.journal.protocol import JournalCorruptError, Record


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision without its state, which is stored apart."""

    reason: Reason
    proposal: Publication | None
    trace: Trace


if TYPE_CHECKING:
    from pydantic import ConfigDict, TypeAdapter

Storable: TypeAlias = Inputs | State | Rules | Publication | Verdict | Trace | Decision
T = TypeVar("T", bound=Storable)

_CONFIG: Final[ConfigDict] = {
    "strict": True,
    "extra": "forbid",  # a field this version does not know would be lost when the state is written again
    "ser_json_inf_nan": "constants",  # else infinity would become null, and be read as "unknown" where that is allowed
}
_adapters: dict[type[Any], TypeAdapter[tuple[Any]]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[tuple[Any]]:
    """Return the adapter of ``kind``, built on first use (a few milliseconds each).

    It is one of a 1-tuple: pydantic takes no configuration for a bare dataclass, but hands down a container's.
    """
    from pydantic import TypeAdapter  # noqa: PLC0415 - commands that only give or list orders do without

    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(cast("type[tuple[Any]]", GenericAlias(tuple, (kind,))), config=_CONFIG)
    return _adapters[kind]


def encode(value: Storable) -> bytes:
    """Return ``value`` as compact JSON, fields in their order: equal bytes for the same object.

    Raises:
        ValueError: the value is not what its type says, or has text that UTF-8 cannot say (a lone surrogate). That is a
            fault of the caller and not of the storage.
    """
    return _adapter(type(value)).dump_json((value,), warnings="error")[1:-1]


def decode(kind: type[T], blob: bytes) -> T:
    """Return the ``kind`` that ``encode`` made ``blob`` of.

    Raises:
        JournalCorruptError: it is no JSON, or not of that shape.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - as above

    try:
        (value,) = _adapter(kind).validate_json(b"[" + blob + b"]")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the whole"
        raise JournalCorruptError(f"a stored {kind.__name__} cannot be read: {where}: {first['msg']}") from None
    return cast("T", value)


def with_totals(verdict: bytes) -> bytes:
    """Return a stored verdict with each score as its total alone; older programs stored its four parts as well."""
    try:
        document = json.loads(verdict)
        scores = document["trace"]["scores"].items()
        totals = {agent: score[0] if isinstance(score, list) else score for agent, score in scores}
        document["trace"]["scores"] = totals
    except (ValueError, TypeError, LookupError, AttributeError):
        return verdict  # it is none: ``decode`` says what is wrong with it
    return json.dumps(document).encode()


def check_storable(cycle: Record) -> None:
    """Raise ValueError if some part of ``cycle`` cannot be encoded."""
    decision = cycle.decision
    verdict = Verdict(decision.reason, decision.proposal, decision.trace)
    for part in (cycle.inputs, cycle.state, cycle.rules, verdict, decision.after, cycle.after):
        encode(part)
