"""What the operator is told by message: the shares by size, what drove them, in at most one message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from capital_governor.core.model import Inputs, Limit, Rules, State
from capital_governor.core.reason import Reason
from capital_governor.wording.log_events import LogEvent
from capital_governor.wording.notice_texts import alert_text, has_notice, telegram_text
from tests.rigs.builders import PLAIN, cycle, observe, settled

SWAPPED = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}


def told(inputs: Inputs, before: State, rules: Rules = PLAIN) -> list[str]:
    return telegram_text(cycle(inputs, before, rules)[0], before, rules).split("\n")


def test_a_move_is_told_by_falling_share() -> None:
    """The message has a line for each agent by falling share, and a last one that says what drove it."""
    assert told(observe({"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}), settled()) == [
        "🎯 Capital Reallocation:",
        "Cyd: 40.0%",
        "Bob: 36.0%",
        "Ada: 24.0%",
        "Reallocation triggered (change >= 0.10): Ada -0.1600 against 0.1000",
    ]


def test_the_reserve_is_told_where_there_is_one() -> None:
    """What is in no agent's hands has a line of its own, behind the agents."""
    assert told(observe(SWAPPED, risk=0.8), settled())[1:-1] == [
        "Cyd: 32.0%",
        "Bob: 28.8%",
        "Ada: 19.2%",
        "Reserve: 20.0%",
    ]


def test_equal_shares_are_told_by_name_and_zeros_too() -> None:
    """Every member has a line; at exposure 0 all of them are 0, in the order of their names."""
    assert told(observe(risk=0.0), settled()) == [
        "🎯 Capital Reallocation:",
        "Ada: 0.0%",
        "Bob: 0.0%",
        "Cyd: 0.0%",
        "Reserve: 100.0%",
        "Reallocation triggered (exposure is 0)",
    ]


def test_a_cut_is_told_as_one() -> None:
    """A cut under a brake has the same form, and says that it is a cut."""
    text = told(observe(SWAPPED, risk=0.5), settled(), replace(PLAIN, cooldown_seconds=3600.0))
    assert text[0] == "🎯 Capital Reallocation:"
    assert text[-1] == "Shares cut (lower exposure frees >= 0.05): exposure 1.00 to 0.50, 0.5000 more in reserve"


def test_what_is_withheld_is_told_with_its_cause() -> None:
    """A cap's message has the shares, what is withheld from whom and by whom, and the change."""
    inputs = replace(observe(), limits=(Limit("Ada", "night shift", cap=0.1),))
    assert told(inputs, settled()) == [
        "🎯 Capital Reallocation:",
        "Bob: 36.0%",
        "Cyd: 24.0%",
        "Ada: 10.0%",
        "Reserve: 30.0%",
        "Withheld, in the reserve: Ada 30.0% (operator's cap by night shift)",
        "Shares cut (a published share is above its limit): Ada 0.4000 to 0.1000, 0.3000 more in reserve",
    ]


def test_steps_of_a_restore_are_not_sent_and_its_end_is() -> None:
    """With MAX_STEP 0.12 a cap's 0.30 come back as 0.12, 0.12 and 0.06: only the last is for the phone."""
    rules = replace(PLAIN, max_step=0.12)
    decision, state = cycle(replace(observe(), limits=(Limit("Ada", "night shift", cap=0.1),)), settled(), rules)
    assert has_notice(decision, settled())
    sent = []
    for _ in range(3):
        before = state
        decision, state = cycle(observe(), before, rules)
        assert state.published is not None
        sent.append((state.published.shares["Ada"], has_notice(decision, before)))
    assert sent == [(220_000, False), (340_000, False), (400_000, True)]
    assert not has_notice(cycle(observe(), state, rules)[0], state)


def test_a_move_that_changes_only_what_is_withheld_is_not_sent() -> None:
    """Ada has 0.10 by a cap, the others 0.30 each. A limit of 0.30 for all takes 0.10 from Ada's plan, no share."""
    limits = (
        Limit("Ada", "anna", cap=0.1),
        *(Limit(name, "anna", 0.3, 0.3, share_out=True) for name in ("Bob", "Cyd")),
    )
    _, state = cycle(replace(observe(), limits=limits), State())
    decision, after = cycle(replace(observe(), limits=(*limits, Limit("*", "anna", 0.3, share_out=True))), state)
    assert decision.reason is Reason.LIMIT_BREACHED
    assert state.published is not None
    assert after.published is not None
    assert after.published.shares == state.published.shares == {"Ada": 100_000, "Bob": 300_000, "Cyd": 300_000}
    assert (state.published.withheld, after.published.withheld) == ({"Ada": 300_000}, {"Ada": 200_000})
    assert not has_notice(decision, state)
    assert has_notice(cycle(replace(observe(), limits=limits[:1]), State())[0], State())


def test_a_stay_is_nothing_to_tell() -> None:
    """Only what publishes can be told as a move."""
    with pytest.raises(ValueError, match="unchanged"):
        told(observe(), settled())


@pytest.mark.parametrize(
    "name", ["agent-{:04}", "a{}", "🎯🎯🎯-{:04}", "a-name-of-some-forty-characters-for-number-{:04}"]
)
@pytest.mark.parametrize("agents", [40, 150, 1_000])
def test_a_message_of_a_large_fleet_fits(name: str, agents: int) -> None:
    """What does not fit is added up, so that the shares still come to 100 %; the largest are told."""
    fleet = {name.format(number): 0.1 + number / agents / 2 for number in range(agents)}
    free = replace(PLAIN, min_alloc=0.0)
    text = told(observe(fleet), State(), free)
    joined = "\n".join(text)
    assert len(joined.encode("utf-16-le")) // 2 <= 4096
    assert text[-1] == "Reallocation triggered (first allocation)"
    shares = [line for line in text[1:-1] if not line.startswith(("... and", "Reserve: "))]
    rest = [line for line in text if line.startswith("... and")]
    assert text[1].startswith(name.format(agents - 1))
    assert bool(rest) == (len(shares) < agents)
    if rest:
        hidden, share = rest[0].removeprefix("... and ").removesuffix("%").split(" more: ")
        assert len(shares) + int(hidden) == agents
        assert len(joined.encode("utf-16-le")) // 2 > 4096 - 2 * len(name) - 60
        exact = cycle(observe(fleet), State(), free)[0].proposal
        assert exact is not None
        smallest = sorted(exact.shares.values())[: int(hidden)]
        assert float(share) == pytest.approx(sum(smallest) / 10_000, abs=0.051)


def test_alerts_show_which_end_they_are() -> None:
    """A beginning and an end differ at first sight."""
    assert alert_text(LogEvent.GATE_REFUSED.line(message="Guardian paused").begins("paused")) == "⚠️ Guardian paused"
    assert alert_text(LogEvent.HOLD_OVER.line(reason="paused").ends("paused")) == "✅ Hold is over: paused"
