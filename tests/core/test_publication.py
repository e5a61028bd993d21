"""Rounding by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.core.model import WHOLE, ppm
from capital_governor.core.publication import decision_id, integer_shares
from tests.rigs.builders import NOW, examples

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
