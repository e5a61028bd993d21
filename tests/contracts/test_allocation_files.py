"""The two documents to the byte."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.contracts.allocation_files import documents
from capital_governor.core.model import WHOLE, Publication
from capital_governor.core.reason import Reason
from tests.rigs.builders import NOW, examples, publication

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
    """A weight that is no number is an error, never a NaN or null in a file that others parse; nor half a character."""
    for number in (float("nan"), float("inf"), float("-inf")):
        with pytest.raises(ValueError, match="weights has a number that JSON cannot say"):
            documents(replace(SMALL, weights={"DropshipAgent": 0.4, "SmartTrader": number}))
        with pytest.raises(ValueError, match="exposure has a number that JSON cannot say"):
            documents(replace(SMALL, exposure=number))
    with pytest.raises(ValueError, match="surrogates not allowed"):
        documents(replace(SMALL, decision_id="\ud800"))


NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters=" _.:-"), min_size=1)


@examples(200)
@given(
    st.dictionaries(NAMES, st.tuples(st.integers(0, 20_000), st.floats(0.0, 1.0), st.floats(0.0, 1.0)), max_size=40),
    st.floats(0.0, 1.0),
)
def test_documents_have_the_form_of_the_json_library(
    agents: Mapping[str, tuple[int, float, float]], exposure: float
) -> None:
    """One value per line as ``json.dumps(..., indent=2)`` writes it, but for tiny numbers; each reads back the same."""
    shares = {agent: share for agent, (share, _, _) in agents.items()}
    weights = {agent: weight for agent, (_, weight, _) in agents.items()}
    scores = {agent: score for agent, (_, _, score) in agents.items()}
    made = replace(publication(shares), weights=weights, scores=scores, exposure=exposure)
    for document in documents(made):
        fields = json.loads(document)
        wanted = json.dumps(fields, indent=2).splitlines()
        for line, plain in zip(document.decode().splitlines(), wanted, strict=True):
            name, _, value = plain.rpartition(": ")
            assert line == plain or (line.startswith(f"{name}: ") and 0 < float(value.rstrip(",")) < 1e-4)
        assert {agent: round(share * WHOLE) for agent, share in fields["allocations"].items()} == shares
        assert sum(round(share * WHOLE) for share in (*fields["allocations"].values(), fields["reserve"])) == WHOLE
        assert fields["exposure"] == exposure
    primary = json.loads(documents(made)[0])
    assert (primary["weights"], primary["scores"]) == (weights, scores)


def test_a_tiny_share_is_written_in_digits_or_as_a_power_of_ten() -> None:
    """Ten millionths are 0.00001, one is 1e-6: the same numbers as Python's 1e-05 and 1e-06."""
    override = documents(replace(SMALL, shares={"A": 10, "B": 1}, reserve=999_989))[1]
    assert override.splitlines()[2:4] == [b'    "A": 0.00001,', b'    "B": 1e-6']
