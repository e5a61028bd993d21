"""What an allocation file stands for: ours, the previous program's, or nobody's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.contracts.allocations import NotOurs, generation_of, read_primary, source_of
from capital_governor.contracts.instants import instant
from capital_governor.core.model import Publication
from capital_governor.core.reason import Reason
from tests.rigs.allocation_files import NOON, document, encoded, previous


def test_our_primary_is_read_back_in_full() -> None:
    """Every field of a publication comes back from the file, shares and reserve in millionths."""
    assert read_primary(encoded(document(extra={"unknown": [1]}))) == Publication(
        generation=41,
        decision_id="d-41",
        at=NOON,
        reason=Reason.THRESHOLD,
        shares={"SmartTrader": 320_000, "DropshipAgent": 200_000},
        reserve=480_000,
        weights={"SmartTrader": 0.4, "DropshipAgent": 0.25},
        exposure=0.8,
        scores={"SmartTrader": 0.7, "DropshipAgent": 0.35},
        min_alloc=0.05,
        max_alloc=0.40,
    )


def test_what_is_withheld_is_read_back() -> None:
    """In millionths, by agent; 0 is nothing, and so is a file that does not say."""
    content = document(
        allocations={"SmartTrader": 0.32, "DropshipAgent": 0.1}, reserve=0.58, withheld={"DropshipAgent": 0.1}
    )
    publication = read_primary(encoded(content))
    assert isinstance(publication, Publication)
    assert publication.withheld == {"DropshipAgent": 100_000}
    assert publication.plan == {"SmartTrader": 320_000, "DropshipAgent": 200_000}
    nothing = read_primary(encoded(document(withheld={"SmartTrader": 0})))
    assert isinstance(nothing, Publication)
    assert nothing == read_primary(encoded(document()))


@given(
    st.lists(st.integers(0, 1_000_000), min_size=0, max_size=40).map(lambda cuts: sorted([*cuts, 1_000_000])),
    st.integers(1, 2**53 - 1),
)
def test_any_split_into_millionths_is_read_back_exactly(cuts: list[int], generation: int) -> None:
    """Whatever adds up to a million comes back as the same integers, for the next generation to build on."""
    parts = [cut - before for before, cut in zip([0, *cuts], cuts, strict=False)]
    shares = {f"a{number}": part for number, part in enumerate(parts[1:])}
    content = document(
        allocations={name: share / 1_000_000 for name, share in shares.items()},
        weights={name: share / 1_000_000 for name, share in shares.items()},
        reserve=parts[0] / 1_000_000,
        exposure=1.0,
        generation=generation,
    )
    publication = read_primary(encoded(content))
    assert isinstance(publication, Publication)
    assert (publication.shares, publication.reserve, publication.generation) == (shares, parts[0], generation)


def test_primary_of_the_previous_program_is_adopted() -> None:
    """Without a generation: number 0, shares rounded down to millionths, the rest is reserve, exposure 1."""
    assert read_primary(encoded(previous())) == Publication(
        generation=0,
        decision_id="adopted",
        at=NOON,
        reason=Reason.FIRST_ALLOCATION,
        shares={"SmartTrader": 400_000, "DropshipAgent": 123_456},
        reserve=476_544,
        weights={"SmartTrader": 0.4, "DropshipAgent": 0.1234567},
        exposure=1.0,
        scores={},
        min_alloc=0.05,
        max_alloc=0.45,
    )


@pytest.mark.parametrize(
    ("changes", "low", "high", "at"),
    [
        ({"min_allocation": "0.05", "max_allocation": True}, 0.0, 1.0, NOON),
        ({"min_allocation": 0.5, "max_allocation": 0.4}, 0.0, 1.0, NOON),
        ({"min_allocation": float("nan"), "max_allocation": 10**400}, 0.0, 1.0, NOON),
        ({"min_allocation": ..., "max_allocation": 1, "timestamp": "2025-11-03T13:00:00+01:00"}, 0.0, 1.0, NOON),
        ({"timestamp": "yesterday"}, 0.05, 0.45, 0.0),
        ({"timestamp": ...}, 0.05, 0.45, 0.0),
    ],
)
def test_what_else_the_previous_program_says_may_be_missing(
    changes: dict[str, object], low: float, high: float, at: float
) -> None:
    """Limits and time of an adopted file fall back where they are unusable; the shares are what counts."""
    publication = read_primary(encoded(previous(**changes)))
    assert isinstance(publication, Publication)
    assert (publication.min_alloc, publication.max_alloc, publication.at) == (low, high, at)


@pytest.mark.parametrize(
    ("allocations", "shares", "reserve"),
    [
        ({"A": 0.6000009999995, "B": 0.4}, {"A": 600_000, "B": 400_000}, 0),
        ({"A": 0.1, "B": 0.7, "C": 0.2}, {"A": 100_000, "B": 700_000, "C": 200_000}, 0),
        ({"A": 1 / 3, "B": 1 / 3, "C": 1 / 3}, {"A": 333_333, "B": 333_333, "C": 333_333}, 1),
        ({"A": 1, "B": 0}, {"A": 1_000_000, "B": 0}, 0),
    ],
    ids=["a millionth too much", "float dust", "thirds", "integers"],
)
def test_adopted_shares_always_add_up(allocations: dict[str, float], shares: dict[str, int], reserve: int) -> None:
    """The sum's tolerance is taken off the largest share, so that shares and reserve make exactly a million."""
    publication = read_primary(encoded(previous(allocations=allocations)))
    assert isinstance(publication, Publication)
    assert (publication.shares, publication.reserve) == (shares, reserve)


AGENTS = {"SmartTrader": 0.32, "DropshipAgent": 0.2}


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "rl_inference"},
        {"source": ...},
        {"source": None},
        {"allocations": ...},
        {"allocations": [0.5]},
        {"allocations": {"BTC/USD": 0.32, "DropshipAgent": 0.2}},
        {"allocations": {"SmartTrader\n": 0.32, "DropshipAgent": 0.2}},
        {"allocations": {"../x": 0.32}},
        {"allocations": {"": 0.32}},
        {"allocations": {"a" * 65: 0.32}},
        {"allocations": AGENTS | {"DropshipAgent": True}},
        {"allocations": AGENTS | {"DropshipAgent": "0.2"}},
        {"allocations": AGENTS | {"DropshipAgent": None}},
        {"allocations": AGENTS | {"DropshipAgent": {"share": 0.2}}},
        {"allocations": AGENTS | {"DropshipAgent": float("nan")}},
        {"allocations": AGENTS | {"DropshipAgent": float("inf")}},
        {"allocations": AGENTS | {"DropshipAgent": -0.1}},
        {"allocations": AGENTS | {"DropshipAgent": 1.1}},
        {"allocations": AGENTS | {"DropshipAgent": 10**400}},
        {"allocations": {"A": 0.6, "B": 0.400102}},
        {"allocations": {f"a{number}": 0.0 for number in range(10_001)}},
    ],
)
@pytest.mark.parametrize("build", [document, previous])
def test_foreign_or_impossible_allocations_are_never_taken_for_ours(
    build: Callable[..., dict[str, Any]], changes: dict[str, object]
) -> None:
    """A stranger's source, odd names and impossible shares are refused, with or without a generation."""
    whole = build(**changes)
    if build is document and isinstance(whole.get("allocations"), dict):
        whole["weights"] = dict.fromkeys(whole["allocations"], 0.1)
    refusal = read_primary(encoded(whole))
    assert isinstance(refusal, NotOurs)
    assert refusal.detail.isprintable()
    assert refusal.detail


@pytest.mark.parametrize(
    "changes",
    [
        *({key: ...} for key in document() if key != "generation"),
        *({"generation": bad} for bad in (0, -1, 2**53, 41.0, "41", True, None)),
        *({"reserve": bad} for bad in (0.479999, 0.480001, -0.1, None, "0.48")),
        *({"exposure": bad} for bad in (1.1, -0.1, None, True, 0.5)),
        *({"floor_scale": bad} for bad in (1.1, -0.1, None)),
        *({"reason": bad} for bad in ("because", None, 3)),
        *({"decision_id": bad} for bad in ("", None, 41, "d\n41", "\ud800", "x" * 201)),
        *({"timestamp": bad} for bad in ("yesterday", None, 1_762_171_200)),
        {"weights": {"SmartTrader": 0.4}},
        {"weights": {"SmartTrader": 0.4, "Stranger": 0.25}},
        {"weights": {"SmartTrader": 0.4, "DropshipAgent": float("nan")}},
        {"weights": {"SmartTrader": 0.4, "DropshipAgent": -0.1}},
        {"scores": {"SmartTrader": 1.5}},
        {"scores": {"Smart/Trader": 0.5}},
        {"min_allocation": 0.5},
        {"max_allocation": 1.5},
        {"allocations": {"SmartTrader": 0.3200004, "DropshipAgent": 0.1999996}},
        {"allocations": {"SmartTrader": 0.33, "DropshipAgent": 0.2}},
        {"withheld": {"SmartTrader": -0.1}},
        {"withheld": {"SmartTrader": 0.0000004}},
        {"withheld": {"SmartTrader": None}},
        {"withheld": {"Stranger": 0.1}},
        {"withheld": {"SmartTrader": 0.280001}},
        {"withheld": [0.1]},
        {"withheld": None},
    ],
)
def test_inconsistent_primary_with_a_generation_is_torn(changes: dict[str, object]) -> None:
    """A file that claims a generation has all of the rest, sound and consistent, or it is not taken for ours."""
    assert isinstance(read_primary(encoded(document())), Publication)
    assert isinstance(read_primary(encoded(document(**changes))), NotOurs)


def test_previous_program_that_allocated_nothing_is_not_adopted() -> None:
    """An empty map is nothing to build on: what follows is a first allocation, not a fleet of newcomers."""
    assert read_primary(encoded(previous(allocations={}))) == NotOurs(
        "allocations are empty: there is nothing to adopt"
    )


NOT_AN_OBJECT = [
    b"",
    b"null",
    b"[]",
    b'"capital_governor"',
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf" + encoded(document()),
    encoded(document()) + b"x",
    encoded(document()) * 2,
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"generation": ' + b"9" * 100_000 + b"}",
    b'{"source": "rl_inference", ' + encoded(document())[1:],
    encoded(document()).replace(b'"DropshipAgent": 0.2}', b'"SmartTrader": 0.2}'),
    document()["source"].encode("utf-16"),
]


@pytest.mark.parametrize("content", NOT_AN_OBJECT, ids=range(len(NOT_AN_OBJECT)))
def test_what_is_no_plain_json_object_is_nobodys(content: bytes) -> None:
    """Empty, not an object, not UTF-8, trailing bytes, too deep, too large a number, a key twice: refused."""
    assert isinstance(read_primary(content), NotOurs)
    assert generation_of(content) == 0
    assert source_of(content) == ""


def test_every_torn_prefix_is_refused() -> None:
    """No beginning of one of our files can be taken for a publication, or for a generation."""
    whole = encoded(document())
    assert all(isinstance(read_primary(whole[:length]), NotOurs) for length in range(len(whole)))
    assert not any(generation_of(whole[:length]) for length in range(len(whole)))


TEXT = st.text("aZ0 ._\n\x00\x1b\u202e\ud800é😀", max_size=20)  # all of Unicode takes seconds to set up
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.binary() | st.dictionaries(st.sampled_from(sorted(document())), JSON).map(lambda bad: encoded(document(**bad)))
)
def test_no_content_raises(content: bytes) -> None:
    """Whatever the bytes are, the answer is a publication that adds up or a printable refusal."""
    answer = read_primary(content)
    if isinstance(answer, NotOurs):
        assert answer.detail.isprintable()
    else:
        assert sum(answer.shares.values()) + answer.reserve == 1_000_000
    assert 0 <= generation_of(content) <= 2**52
    assert source_of(content).isprintable()


@pytest.mark.parametrize(
    ("content", "generation"),
    [
        ({"source": "capital_governor", "generation": 7}, 7),
        ({"source": "capital_governor", "generation": 2**52}, 2**52),
        ({"source": "capital_governor", "generation": 2**52 + 1}, 0),
        ({"source": "capital_governor", "generation": 0}, 0),
        ({"source": "capital_governor", "generation": -3}, 0),
        ({"source": "capital_governor", "generation": 7.0}, 0),
        ({"source": "capital_governor", "generation": True}, 0),
        ({"source": "capital_governor", "generation": "7"}, 0),
        ({"source": "capital_governor"}, 0),
        ({"source": "rl_inference", "generation": 7}, 0),
        ({"generation": 7}, 0),
    ],
)
def test_generation_is_read_from_any_file_of_ours(content: dict[str, object], generation: int) -> None:
    """Primary and override alike give their number, if they are ours and it is one."""
    assert generation_of(encoded(content)) == generation


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2025-11-03T12:00:00Z", NOON),
        ("2025-11-03T12:00:00", NOON),
        ("2025-11-03T14:00:00+02:00", NOON),
        ("2025-11-03T12:00:00.5Z", NOON + 0.5),
        ("soon", None),
        ("", None),
        (None, None),
        (NOON, None),
    ],
)
def test_instants_are_utc_seconds(text: object, seconds: float | None) -> None:
    """A time with or without zone becomes seconds since 1970 UTC; anything else is no time."""
    assert instant(text) == seconds
