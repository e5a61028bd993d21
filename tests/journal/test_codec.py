"""The codec: whatever is stored comes back the same, and nothing else is taken for it."""

from __future__ import annotations

import json
import math
import struct
import types
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capital_governor import __version__
from capital_governor.core.model import (
    Inputs,
    Latches,
    Limit,
    Memory,
    Metrics,
    Publication,
    Refusal,
    Rules,
    State,
)
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Brake, Decision, Trace
from capital_governor.journal.codec import decode, encode, pack
from capital_governor.journal.protocol import (
    JournalCorruptError,
    JournalRefusedError,
)
from tests.rigs.journal_cycles import NOW, say, seeded


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of ``kind``, by its annotations: extreme floats, any text but lone surrogates, empty and full maps."""
    simple: dict[Any, st.SearchStrategy[Any]] = {
        float: st.floats(allow_nan=False),
        int: st.integers(-(2**70), 2**70),
        bool: st.booleans(),
        str: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        type(None): st.none(),
    }
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in simple:
        found = simple[kind]
    elif origin is types.UnionType:
        found = st.one_of([values(each) for each in arguments])
    elif origin is tuple:
        found = st.lists(values(arguments[0]), max_size=2).map(tuple)
    elif origin is not None and issubclass(origin, Mapping):
        found = st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    elif isinstance(kind, type) and issubclass(kind, Enum):
        found = st.sampled_from(list(kind))
    else:
        assert is_dataclass(kind) or issubclass(kind, tuple), kind
        found = st.builds(kind, **{name: values(hint) for name, hint in get_type_hints(kind).items()})
    return found


@pytest.mark.parametrize("kind", [Inputs, State, Rules, Trace, Publication, Decision])
def test_whatever_is_encoded_comes_back_the_same(kind: Any) -> None:
    """A value and what is decoded of its bytes are equal, signs of zero and order of keys included."""
    seen = 0

    @settings(max_examples=60)
    @given(values(kind))
    def same(value: Any) -> None:
        nonlocal seen
        seen += 1
        blob = encode(value)
        back = decode(kind, blob)
        assert back == value
        assert repr(back) == repr(value)
        assert encode(back) == blob
        json.loads(blob)

    same()
    say(f"{kind.__name__}: {seen} values")


def test_a_publication_from_which_nothing_is_withheld_is_stored_as_before() -> None:
    """It keeps the bytes that older schemas gave it, and with them the digest by which it counts as in the files."""
    old = (
        b'{"generation":1,"decision_id":"d","at":1.0,"reason":"threshold","shares":{"a":400000},"reserve":600000,'
        b'"weights":{"a":0.4},"exposure":1.0,"scores":{"a":0.5},"min_alloc":0.05,"max_alloc":0.4,"floor_scale":1.0}'
    )
    publication = decode(Publication, old)
    assert publication.withheld == {}
    assert encode(publication) == old
    assert encode(replace(publication, withheld={"a": 1})) == old[:-1] + b',"withheld":{"a":1}}'


def test_what_is_known_of_ten_thousand_agents_takes_little_more_room() -> None:
    """Lapse, counts and pin are at their defaults in nearly all agents, and add at most a twentieth once packed."""
    rng = seeded(9)
    metrics = {
        f"Agent{number:05}": Metrics(*(round(rng.uniform(0, 1), 4) for _ in range(4))) for number in range(10_000)
    }
    state = State(agents=dict.fromkeys(metrics, Memory(tenured=True)), metrics=metrics)
    doc = encode(state)
    former = doc.replace(b",false,0,0,null]", b"]")
    assert decode(State, former) == state
    assert len(doc) - len(former) == 16 * 10_000 - 10_000
    assert len(pack(doc)) < 1.05 * len(pack(former))


def test_a_hundred_thousand_floats_come_back_bit_for_bit() -> None:
    """No float of any exponent changes a bit on its way through the journal."""
    rng = seeded(7)
    floats = [value for value in (struct.unpack("d", rng.randbytes(8))[0] for _ in range(100_000)) if value == value]  # noqa: PLR0124 - leaves out NaN
    state = State(multipliers={str(number): value for number, value in enumerate(floats)})
    back = decode(State, encode(state))
    assert struct.pack(f"{len(floats)}d", *back.multipliers.values()) == struct.pack(f"{len(floats)}d", *floats)


def test_an_infinity_is_not_taken_for_unknown() -> None:
    """Infinity stays infinity, also where None would be allowed."""
    limit = Limit("a", "me", cap=math.inf, until=-math.inf)
    inputs = Inputs(NOW, Refusal(Reason.FETCH_FAILED, ""), limits=(limit,))
    assert decode(Inputs, encode(inputs)).limits == (limit,)
    trace = Trace(brakes=(Brake(Reason.COOLDOWN, active=False, value=math.inf, limit=0.0),))
    assert decode(Trace, encode(trace)) == trace


@pytest.mark.parametrize(
    ("kind", "blob"),
    [
        (State, b""),
        (State, b"null"),
        (State, b"[]"),
        (State, b"{}, {}"),
        (State, encode(State())[:-1]),
        (State, b'{"asked": "1"}'),
        (State, b'{"asked": true}'),
        (State, b'{"asked": 1.5}'),
        (State, b'{"moved_at": "soon"}'),
        (State, b"\xff\xfe"),
        (Inputs, b'{"now": 1.0, "payload": {}}'),
        (Inputs, b'{"now": 1.0, "payload": {"reason": "no_such_reason", "detail": ""}}'),
        (Publication, b"{}"),
    ],
)
def test_a_damaged_document_is_a_typed_error(kind: type[State], blob: bytes) -> None:
    """What is not of the shape is damaged."""
    with pytest.raises(JournalCorruptError, match=kind.__name__):
        decode(kind, blob)


@pytest.mark.parametrize(
    ("kind", "blob"),
    [
        (State, b'{"unheard_of": 1}'),
        (State, b'{"latches": {"unheard_of": 1}}'),
        (Inputs, b'{"now": 1.0, "payload": {"at": 1.0, "metrics": {}, "unheard_of": {}}}'),
        (Inputs, b'{"now": 1.0, "payload": {"reason": "fetch_failed", "detail": "", "unheard_of": {}}}'),
        (Inputs, b'{"now": 1.0, "payload": {"reason": "no_such_reason", "detail": ""}, "unheard_of": 7}'),
    ],
)
def test_an_unknown_field_is_a_newer_versions(kind: type[State], blob: bytes) -> None:
    """A field that would be lost when the state is written again is refused, and both versions are named."""
    with pytest.raises(JournalRefusedError, match=rf"{kind.__name__}.*version 9.*this is version {__version__}"):
        decode(kind, blob, "9")


@pytest.mark.parametrize("wrong", [State(asked="1"), State(latches=Latches(accepted=("\ud800",)))])  # type: ignore[arg-type]
def test_what_cannot_be_stored_is_the_callers_fault(wrong: State) -> None:
    """A value of a wrong type, or text that has no UTF-8, is a ValueError and not a storage failure."""
    with pytest.raises(ValueError, match="erializ"):
        encode(wrong)
