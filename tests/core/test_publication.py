"""Rounding by hand, and the two documents to the byte."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.core.model import WHOLE, Publication, ppm
from capital_governor.core.publication import decision_id, documents, integer_shares
from capital_governor.core.reason import Reason
from tests.rigs.builders import NOW, examples, publication

THIRD = 1 / 3


@pytest.mark.parametrize(
    ("weights", "cap", "exposure", "expected"),
    [
        # 333,333.3 each: 1,000,000 deployed, one is left over, the fractions tie, "A" is first.
        pytest.param([THIRD] * 3, 0.4, 1.0, [333_334, 333_333, 333_333], id="a tie goes by name"),
        # 266,666.7 each: floors 799,998 of 800,000, two are left over.
        pytest.param([THIRD] * 3, 0.4, 0.8, [266_667, 266_667, 266_666], id="two left over"),
        # 266,666.64, 233,333.31, 166,666.65: floors 666,665 of 666,666; C has the largest fraction.
        pytest.param([0.4, 0.35, 0.25], 0.4, 0.6666666, [266_666, 233_333, 166_667], id="the largest fraction"),
        # 399,999.96 twice, at their limit of 399,999; 99,999.99. 899,999 deployed, two left over: C takes one, and
        # the other fits nowhere.
        pytest.param([0.4, 0.4, 0.1], 0.4, 0.9999999, [399_999, 399_999, 100_000], id="what fits nowhere is reserve"),
        # 399,999.8 twice, at their limit: 799,999 deployed, and only C has room, though its share is whole.
        pytest.param([0.4, 0.4, 0.0], 0.4, 0.9999995, [399_999, 399_999, 1], id="a whole share may take one too"),
        pytest.param([0.4, 0.4], 0.4, 0.0, [0, 0], id="no exposure"),
        pytest.param([0.0, 0.4], 0.4, 1.0, [0, 400_000], id="a line for a weight of zero"),
        # 0.29 * 0.57 * 1e6 is 165,299.99999999997 in floats: that is not a missing unit.
        pytest.param([0.29], 0.29, 0.57, [165_300], id="a product that is an integer but for its last digit"),
        pytest.param([], 0.4, 1.0, [], id="nobody"),
    ],
)
def test_rounding_by_hand(weights: list[float], cap: float, exposure: float, expected: list[int]) -> None:
    """Floors first, then the largest fractions within their limits, ties by name."""
    names = "ABC"[: len(weights)]
    shares = integer_shares(dict(zip(names, weights, strict=True)), [cap] * len(names), exposure)
    assert list(shares.items()) == list(zip(names, expected, strict=True))


@examples(500)
@given(
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 0.5)), min_size=1, max_size=40),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_rounding_loses_less_than_a_millionth_each(
    agents: list[tuple[float, float]], exposure: float, lower: float
) -> None:
    """No share is above its limit or a millionth off; what is deployed is never too much; less exposure is no gain."""
    total = max(1.0, sum(weight for weight, _ in agents))
    weights = {f"{i:02}": weight / total for i, (weight, _) in enumerate(agents)}
    caps = {name: weights[name] + room for name, (_, room) in zip(weights, agents, strict=True)}
    shares = integer_shares(weights, list(caps.values()), exposure)
    for name, share in shares.items():
        assert share <= ppm(caps[name], exposure)
        assert abs(share - weights[name] * exposure * WHOLE) <= 1.0
    assert sum(shares.values()) <= ppm(1.0, exposure)
    if all(share < ppm(caps[name], exposure) for name, share in shares.items()):
        assert sum(shares.values()) == ppm(sum(weights.values()), exposure)
    reduced = integer_shares(weights, list(caps.values()), min(lower, exposure))
    assert all(reduced[name] <= share + 1 for name, share in shares.items())


def test_a_decision_is_named_by_time_and_generation() -> None:
    """The name is the UTC second and the generation."""
    assert decision_id(NOW + 0.999, 41) == "20251103T220000Z-41"


SMALL = Publication(
    generation=41,
    decision_id="20251103T220000Z-41",
    at=NOW + 0.25,
    reason=Reason.FIRST_ALLOCATION,
    shares={"DropshipAgent": 320_000, "SmartTrader": 80_001},
    reserve=599_999,
    weights={"DropshipAgent": 0.4, "SmartTrader": 0.1},
    exposure=0.8,
    scores={"DropshipAgent": 0.337},
    min_alloc=0.05,
    max_alloc=0.4,
)
PRIMARY = b"""{
  "allocations": {
    "DropshipAgent": 0.32,
    "SmartTrader": 0.080001
  },
  "reserve": 0.599999,
  "source": "capital_governor",
  "timestamp": "2025-11-03T22:00:00Z",
  "generation": 41,
  "decision_id": "20251103T220000Z-41",
  "exposure": 0.8,
  "min_allocation": 0.05,
  "max_allocation": 0.4,
  "floor_scale": 1.0,
  "reason": "first_allocation",
  "weights": {
    "DropshipAgent": 0.4,
    "SmartTrader": 0.1
  },
  "scores": {
    "DropshipAgent": 0.337
  }
}
"""
OVERRIDE = b"""{
  "allocations": {
    "DropshipAgent": 0.32,
    "SmartTrader": 0.080001
  },
  "reserve": 0.599999,
  "source": "capital_governor",
  "timestamp": "2025-11-03T22:00:00Z",
  "generation": 41,
  "decision_id": "20251103T220000Z-41",
  "exposure": 0.8
}
"""


def test_the_documents_to_the_byte() -> None:
    """Primary and override of a small fleet are exactly these bytes."""
    assert documents(SMALL) == (PRIMARY, OVERRIDE)


def test_the_primary_says_what_is_withheld_and_nothing_where_nothing_is() -> None:
    """By agent, as a part of all capital, at its end; the override does not have it."""
    primary, override = documents(replace(SMALL, withheld={"SmartTrader": 12_345}))
    assert primary == PRIMARY[: -len(b"\n}\n")] + b',\n  "withheld": {\n    "SmartTrader": 0.012345\n  }\n}\n'
    assert override == OVERRIDE


def test_an_empty_fleet_is_an_empty_map() -> None:
    """No agents is an empty map, not a broken one."""
    primary, override = documents(replace(SMALL, shares={}, weights={}, scores={}, reserve=WHOLE))
    assert json.loads(primary)["allocations"] == json.loads(override)["allocations"] == {}


def test_no_document_carries_what_json_cannot_say() -> None:
    """A weight that is no number is an error, never a NaN in a file that others parse."""
    with pytest.raises(ValueError, match="Out of range float"):
        documents(replace(SMALL, weights={"SmartTrader": float("nan")}))


NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters=" _.:-"), min_size=1)


@examples(200)
@given(st.dictionaries(NAMES, st.integers(0, 20_000), max_size=40))
def test_documents_are_what_the_json_library_would_write(shares: Mapping[str, int]) -> None:
    """Both documents are byte for byte ``json.dumps(..., indent=2)``, and the shares come back as they were."""
    for document in documents(publication(shares)):
        fields = json.loads(document)
        assert document == (json.dumps(fields, indent=2) + "\n").encode()
        assert {agent: round(share * WHOLE) for agent, share in fields["allocations"].items()} == shares
        assert sum(round(share * WHOLE) for share in (*fields["allocations"].values(), fields["reserve"])) == WHOLE
