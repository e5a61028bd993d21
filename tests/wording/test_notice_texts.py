"""What the operator is told by message: the shares by size, what drove them, in at most one message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from capital_governor.core.model import Inputs, Limit, Rules, State
from capital_governor.core.reason import Reason
from capital_governor.wording.message_form import Sender
from capital_governor.wording.notice_texts import has_notice, taken_back_text, telegram_text
from tests.rigs.builders import FLEET, NOW, PLAIN, cycle, observe, settled

SENDER = Sender("fleet1", program="cg")
LAST = ["No action needed. Next decision at 22:05 UTC.", "fleet1 · 2025-11-03 22:00 UTC · generation 2"]
SWAPPED = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}


def told(inputs: Inputs, before: State, rules: Rules = PLAIN) -> list[str]:
    return telegram_text(cycle(inputs, before, rules)[0], before, rules, inputs, SENDER).split("\n")


def test_a_move_is_told_by_falling_share() -> None:
    """A line for each agent by falling share, what it was if it changed, then the cause, what to do, fleet and time."""
    assert told(observe({"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}), settled()) == [
        "🎯 Capital Reallocation:",
        "Cyd: 40.0% (was 24.0%)",
        "Bob: 36.0%",
        "Ada: 24.0% (was 40.0%)",
        "Scores changed. Largest change: Ada 40 -> 24 %; 10 % is enough for a move.",
        *LAST,
    ]


def test_the_first_allocation_is_told_as_one() -> None:
    """Nothing was before, so no share has a former figure."""
    assert told(observe(risk=0.8), State())[1:-1] == [
        "Ada: 32.0%",
        "Bob: 28.8%",
        "Cyd: 19.2%",
        "Reserve: 20.0%",
        "First allocation: nothing was published before. Deployed 80 %.",
        "Exposure is 80 %: market SIDEWAYS (risk 0.8).",
        LAST[0],
    ]


def test_the_reserve_is_told_where_there_is_one() -> None:
    """What is in no agent's hands has a line of its own, behind the agents; scores that change as well are told."""
    assert told(observe(SWAPPED, risk=0.8), settled())[1:-2] == [
        "Cyd: 32.0% (was 24.0%)",
        "Bob: 28.8% (was 36.0%)",
        "Ada: 19.2% (was 40.0%)",
        "Reserve: 20.0% (was 0.0%)",
        "Risk cut: market SIDEWAYS (risk 0.8). Deployed 100 -> 80 %.",
        "Scores changed. Largest change: Ada 40 -> 19.2 %; 10 % is enough for a move.",
    ]


def test_equal_shares_are_told_by_name_and_zeros_too() -> None:
    """Every member has a line; at exposure 0 all of them are 0, in the order of their names."""
    assert told(observe(risk=0.0), settled()) == [
        "🎯 Capital Reallocation:",
        "Ada: 0.0% (was 40.0%)",
        "Bob: 0.0% (was 36.0%)",
        "Cyd: 0.0% (was 24.0%)",
        "Reserve: 100.0% (was 0.0%)",
        "Risk cut: market SIDEWAYS (risk 0). Deployed 100 -> 0 %. All capital is in the reserve.",
        *LAST,
    ]


def test_a_cut_is_told_with_what_brakes_the_way_back() -> None:
    """A cut under a brake names the cause, the end of the cool-down, and that nothing has to be done."""
    text = told(observe(SWAPPED, risk=0.5), settled(), replace(PLAIN, cooldown_seconds=3600.0))
    assert text[0] == "🎯 Capital Reallocation:"
    assert text[5:] == [
        "Risk cut: market SIDEWAYS (risk 0.5). Deployed 100 -> 50 %. Each share halved.",
        "Shares rise again with the next move, once the cause is over.",
        "The cool-down lets shares move again from 22:55 UTC on.",
        *LAST,
    ]


def test_a_drawdown_and_a_return_are_told_by_their_cause() -> None:
    """Guardian's drawdown is in percent, and so is what it does to capital; the way back has its cause too."""
    assert "Risk cut: Guardian drawdown 20 %. Deployed 100 -> 25 %. All shares fall in proportion." in told(
        observe(drawdown=20.0), settled()
    )
    half = settled(shares={"Ada": 200_000, "Bob": 180_000, "Cyd": 120_000}, exposure=0.5)
    lines = told(observe(), half)
    assert "More may be deployed: nothing reduces exposure any more. Deployed 50 -> 100 %. Each share doubled." in lines
    lines = told(observe(risk=0.8), half)
    assert (
        "More may be deployed: now market SIDEWAYS (risk 0.8). Deployed 50 -> 80 %. All shares rise in proportion."
        in lines
    )


def test_who_joins_and_leaves_is_told_with_shares() -> None:
    """A newcomer's line says so, and who left has a sentence, since it has no line any more."""
    text = told(observe({**FLEET, "Dan": 0.5}), settled())
    assert "Dan: 33.3% (new)" in text
    assert "New in the fleet: Dan 33.3 %." in text
    inputs = replace(observe({"Ada": 0.5, "Bob": 0.3}), released=("Cyd",))
    text = told(inputs, settled(), replace(PLAIN, membership_grace_cycles=0))
    assert "No longer in the fleet: Cyd 24 %. The others share it out." in text


def test_what_is_withheld_is_told_with_its_cause() -> None:
    """A cap's message has the shares, what is withheld from whom and by whom, and how that is taken back."""
    inputs = replace(observe(), limits=(Limit("Ada", "night shift", cap=0.1),))
    assert told(inputs, settled()) == [
        "🎯 Capital Reallocation:",
        "Bob: 36.0%",
        "Cyd: 24.0%",
        "Ada: 10.0% (was 40.0%)",
        "Reserve: 30.0% (was 0.0%)",
        "Deployed 100 -> 70 %.",
        "Ada 40 -> 10 %: operator's cap by night shift. 30 % waits in the reserve.",
        "No action needed. To take the order back:",
        "cg unlimit Ada",
        LAST[1],
    ]


@pytest.mark.parametrize(
    ("limits", "commands"),
    [
        ((Limit("*", "anna", cap=0.1),), ["No action needed. To take the order back:", "cg unlimit '*'"]),
        (
            (Limit("*", "anna", cap=0.2), Limit("Bob", "bert", cap=0.1), Limit("Cyd", "bert", floor=0.1)),
            ["No action needed. To take the orders back:", "cg unlimit '*'", "cg unlimit Bob"],
        ),
        ((Limit("*", "anna", cap=0.2, until=NOW - 1), Limit("Ada", "anna", cap=0.3)), ["cg unlimit Ada"]),
    ],
)
def test_a_cap_is_taken_back_for_whom_it_was_given(limits: tuple[Limit, ...], commands: list[str]) -> None:
    """The command names the agent as a shell takes it, or * if the cap that withholds was given for all."""
    lines = told(replace(observe(), limits=limits), settled())
    assert lines[-1 - len(commands) : -1] == commands


def test_what_stays_withheld_in_a_move_is_told() -> None:
    """A move that a cap keeps from an agent names the agent, the part and the cap."""
    limits = (Limit("Cyd", "anna", cap=0.1),)
    _, state = cycle(replace(observe(), limits=limits), State())
    text = told(replace(observe(SWAPPED), limits=limits), state)
    assert "Withheld, in the reserve: Cyd 30 % (operator's cap by anna)" in text


def test_what_is_taken_back_names_what_agents_have() -> None:
    """The message names the generation that is off, the shares in force, fleet and time."""
    state = settled()
    assert state.published is not None
    text = taken_back_text(replace(state.published, generation=2), state.published, NOW, SENDER)
    assert text.split("\n") == [
        "↩️ Capital Reallocation taken back: generation 2 of 2025-11-03 21:55 UTC is not in force. Agents have:",
        "Ada: 40.0%",
        "Bob: 36.0%",
        "Cyd: 24.0%",
        "It never reached the agents, and is too old to be published now. The next cycle decides anew.",
        "No action needed.",
        "fleet1 · 2025-11-03 22:00 UTC",
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
    assert text[-1] == "fleet1 · 2025-11-03 22:00 UTC · generation 1"
    assert text[-3].startswith("First allocation: ")
    shares = [line for line in text[1:-3] if not line.startswith(("... and", "Reserve: "))]
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
