"""The words of the log: complete, in the wording that operators search for, one line each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.adapters.log_format import Formatter
from capital_governor.adapters.redaction import Redaction
from capital_governor.contracts.payload import parse
from capital_governor.core.decision import decide, refuse
from capital_governor.core.fleet_range import fleet_range
from capital_governor.core.hold import EXITS
from capital_governor.core.model import Guardian, Inputs, Limit, Metrics, Refusal, Rules, Snapshot, State
from capital_governor.core.reason import CUTS, GATE_REFUSALS, HOLDS, MOVES, STAYS, Reason
from capital_governor.core.trace import Decision
from capital_governor.wording.amounts import count_text
from capital_governor.wording.log_events import Line, LogEvent, log_text
from capital_governor.wording.log_lines import (
    SCORE_LINES,
    announcement_lines,
    decided_lines,
    fleet_range_line,
    hold_line,
    lapsed_line,
    shown_shares,
    start_lines,
    unwell_texts,
    withheld_lines,
)
from capital_governor.wording.reason_texts import MESSAGES, Announcement, evidence, message, reason_kind
from tests.rigs.builders import FLEET, NOW, PLAIN, cycle, examples, observe, settled, snapshot

SWAPPED = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}


def lines(decision: Decision, before: State, rules: Rules = PLAIN) -> list[Line]:
    told = [*decided_lines(decision, rules)]
    if decision.proposal is not None:
        announced = Announcement(decision.proposal, before.published, evidence(decision, before))
        told += announcement_lines(announced, rules)
    return told


def texts(decision: Decision, before: State, rules: Rules = PLAIN) -> list[str]:
    return [line.text for line in lines(decision, before, rules)]


def shares_text(shares: dict[str, int]) -> str:
    shown, more = shown_shares(shares)
    return LogEvent.NEW_SHARES.line(shares=shown, more=more, generation=1).text.removeprefix("New: ")


def decided(inputs: Inputs, before: State, rules: Rules = PLAIN) -> list[str]:
    return texts(cycle(inputs, before, rules)[0], before, rules)


# --- complete ---------------------------------------------------------------------------------------------------------


def test_every_reason_has_one_message_of_its_own() -> None:
    """No reason is without a message, and no two share one."""
    assert set(MESSAGES) == set(Reason)
    said = [message(reason, Rules()) for reason in Reason]
    assert len(set(said)) == len(said)
    assert all(text and text.isprintable() and "{" not in text for text in said)


def test_every_hold_has_an_exit_and_nothing_else_has() -> None:
    """Whatever holds says what ends it."""
    assert set(EXITS) == HOLDS
    assert all(EXITS.values())


def test_every_reason_is_of_exactly_one_kind() -> None:
    """Moves, cuts, restores, stays, holds and refusals share no reason and leave none out."""
    kinds = {
        "move": MOVES,
        "cut": CUTS,
        "restore": {Reason.RESTORE},
        "stay": STAYS,
        "hold": HOLDS,
        "refused": GATE_REFUSALS,
    }
    for reason in Reason:
        assert [kind for kind, reasons in kinds.items() if reason in reasons] == [reason_kind(reason)]


# --- wording ----------------------------------------------------------------------------------------------------------


def test_a_start_says_what_it_always_said() -> None:
    """The first lines of a start keep the wording that operators search for."""
    first, second, third = start_lines(Rules(), NOW, telegram=False)
    assert first.text == "Starting Capital Governor Intelligence @ 2025-11-03T22:00:00Z"
    assert second.text == "Config: min_alloc=0.05, max_alloc=0.40, threshold=0.10"
    assert third.text == "Telegram is not set up: no notifications are sent"
    assert third.text not in {line.text for line in start_lines(Rules(), NOW, telegram=True)}
    dry = [line.text for line in start_lines(Rules(), NOW, telegram=True, dry_run=True)]
    assert dry[-1] == "Telegram is set up: a dry run sends nothing"


def test_a_score_line_has_the_familiar_form() -> None:
    """The score of an agent is told with the figures it came from."""
    rules = Rules()
    payload = replace(
        snapshot({}, at=NOW),
        metrics={"SmartTrader": Metrics(850.0, 1.234, 0.65, 2.5), "DropshipAgent": Metrics(350.0, 0.85, 0.72, 1.2)},
    )
    told = decided(Inputs(NOW, payload), State(), rules)
    # 0.40 x 0.085 + 0.30 x 0.411333 + 0.20 x 0.65 + 0.10 x 0.875 = 0.3749; 0.014 + 0.085 + 0.144 + 0.094 = 0.337
    assert "SmartTrader: score=0.3749 (PnL=850.00, Sharpe=1.234, WR=0.650)" in told
    assert "DropshipAgent: score=0.3370 (PnL=350.00, Sharpe=0.850, WR=0.720)" in told


def test_a_move_is_told_with_old_and_new_shares() -> None:
    """A move says why, what was and what is."""
    assert decided(observe(SWAPPED), settled())[-3:] == [
        "Reallocation triggered (change >= 0.10): Ada -0.1600 against 0.1000",
        "Old: {'Ada': 0.40, 'Bob': 0.36, 'Cyd': 0.24}",
        "New: {'Ada': 0.24, 'Bob': 0.36, 'Cyd': 0.40}",
    ]


def test_a_first_allocation_has_no_old_shares() -> None:
    """The first move says so, and that nothing was."""
    assert decided(observe(), State())[-3:-1] == ["Reallocation triggered (first allocation)", "Old: {}"]


def test_a_risk_multiplier_is_told_where_it_cuts() -> None:
    """The multiplier that sets the exposure is named, and not mentioned while it is 1."""
    told = decided(observe(risk=0.8), settled())
    assert "Applied risk multiplier: 0.80 (regime, payload)" in told
    assert "Applied risk multiplier: 0.62 (drawdown, payload)" in decided(observe(drawdown=10.0), settled())
    assert not any("multiplier" in text for text in decided(observe(risk=1.2), settled()))


def test_a_stay_says_how_near_it_was() -> None:
    """What stays is told with the largest change next to its threshold."""
    assert decided(observe(), settled())[-1] == "No reallocation needed (the proposal is what is published)"
    told = decided(observe({"Ada": 0.5, "Bob": 0.3, "Cyd": 0.25}), settled())
    # 0.60 split 0.30 to 0.25 gives Bob 0.327273
    expected = "No reallocation needed (no change is worth a move): largest change 0.0327 (Bob) < 0.10"
    assert told[-1] == expected


def test_a_refused_proposal_has_no_nearest_miss() -> None:
    """What the gate refused had reached its threshold; neither has a proposal missed it that is what is published."""
    before, heard = settled(), observe(SWAPPED)
    refused = refuse(decide(heard, before, PLAIN), before, Reason.GATE_LIMIT)
    told = [line.text for line in decided_lines(refused, PLAIN)]
    assert told[-1] == "Gate refused the proposal (a share is above its limit)"
    # Bob at 0.36 may go 0.001 of the way to 0.4, which rounds to what is published: 0 millionths.
    still = replace(PLAIN, max_step=1e-9)
    assert decided(heard, before, still)[-1] == "No reallocation needed (the proposal is what is published)"


def test_figures_beside_each_other_are_as_different_as_they_are() -> None:
    """No sentence says 0.1000 < 0.10, or that 600 of 600 s have passed, of what has not been reached."""
    near = replace(PLAIN, threshold=0.032728, turnover_threshold=1.0)
    told = decided(observe({"Ada": 0.5, "Bob": 0.3, "Cyd": 0.25}), settled(), near)
    # Bob's change is 0.36 - 0.6 x 6 / 11 = 0.032727.
    assert told[-1].endswith("largest change 0.032727 (Bob) < 0.032728")
    cooling = replace(PLAIN, cooldown_seconds=300.4)
    assert decided(observe(SWAPPED), replace(settled(), moved_at=NOW - 300.3), cooling)[-1].endswith("300 of 300.4 s")
    assert message(Reason.THRESHOLD, replace(PLAIN, threshold=0.125)) == "Reallocation triggered (change >= 0.125)"
    assert message(Reason.THRESHOLD, replace(PLAIN, threshold=0.1)) == "Reallocation triggered (change >= 0.10)"


def test_a_brake_says_how_far_it_is() -> None:
    """A move that has to wait says for what, and how much of it has passed."""
    confirming = replace(PLAIN, confirm_cycles=3)
    told = decided(observe(SWAPPED), settled(), confirming)
    assert told[-1] == "Reallocation wanted, but not yet asked for often enough in a row: 1 of 3 cycles"
    cooling = replace(PLAIN, cooldown_seconds=3600.0)
    told = decided(observe(SWAPPED), settled(), cooling)
    assert told[-1] == "Reallocation wanted, but cooling down since the last move: 300 of 3600 s"


def test_one_is_not_told_as_several() -> None:
    """Things are counted as people count them."""
    assert [count_text(number, "cycle") for number in range(3)] == ["0 cycles", "1 cycle", "2 cycles"]
    assert fleet_range_line(fleet_range(1, Rules()), Rules()).text.startswith("With 1 agent within 0.05 and 0.40, ")


def test_who_comes_and_goes_is_named() -> None:
    """A move for joining or leaving agents names the first and counts the others."""
    joined = decided(observe({**FLEET, "Dan": 0.2, "Eve": 0.2}), settled())
    assert "Reallocation triggered (an agent joined the fleet): Dan and 1 more" in joined
    assert "Reallocation triggered (an agent joined the fleet): Dan" in decided(
        observe({**FLEET, "Dan": 0.2}), settled()
    )


@pytest.mark.parametrize(
    ("inputs", "starts", "ends"),
    [
        (
            replace(observe(), payload=replace(snapshot(), guardian=Guardian(True, 0.0, "Drawdown"))),
            "Guardian paused - maintaining current allocations: the payload says: Drawdown. Ends with: ",
            "both say not paused, in a fresh complete payload",
        ),
        (
            replace(observe(), payload=replace(snapshot(), guardian=Guardian(True, 0.0, "Cooling down."))),
            "Guardian paused - maintaining current allocations: the payload says: Cooling down. Ends with: ",
            "both say not paused, in a fresh complete payload",
        ),
        (
            replace(observe(), stopped=True),
            "STOP file present - writing nothing: the STOP file exists. Ends with: ",
            "remove runtime/capital_governor.STOP",
        ),
        (
            Inputs(NOW, Refusal(Reason.FETCH_FAILED, "connection refused by http://localhost:8100/meta/metrics")),
            "Meta-metrics not fetched - maintaining current allocations: connection refused by ",
            ". Ends with: the next good payload",
        ),
    ],
)
def test_a_hold_says_why_and_what_ends_it(inputs: Inputs, starts: str, ends: str) -> None:
    """The line of a hold has its message, its facts and its exit."""
    line = hold_line(cycle(inputs, settled())[0], PLAIN, visible=settled().published)
    assert line.level == "warning"
    assert line.text.startswith(starts)
    assert line.text.endswith(ends)


def test_a_refusal_of_the_gate_is_an_error() -> None:
    """What the gate refuses is told as an error: it means that the program is wrong."""
    wrong = replace(cycle(observe(SWAPPED), settled())[0], reason=Reason.GATE_SUM, proposal=None)
    assert hold_line(wrong, PLAIN, visible=None).level == "error"
    assert hold_line(wrong, PLAIN, visible=None).text == message(Reason.GATE_SUM, PLAIN)


def test_a_hold_that_begins_with_a_cut_still_says_its_own_message() -> None:
    """Where the first cycle of a hold publishes a cut, the hold's line is that of the hold."""
    decision, _ = cycle(observe({"Ada": 0.5}, risk=0.5), settled())
    assert decision.reason is Reason.CUT_DERISK
    assert hold_line(decision, PLAIN, visible=settled().published).text.startswith("Half of the fleet or more is gone")


def test_a_cut_is_told_with_its_own_figures() -> None:
    """Under a brake, what is said of a line is what happened to it: Bob went from 0.40 to 0.36."""
    before = settled(shares={"Ada": 300_000, "Bob": 400_000, "Cyd": 300_000})
    inputs = observe({"Ada": 0.9, "Bob": 0.1, "Cyd": 0.2}, risk=0.9)
    told = decided(inputs, before, replace(PLAIN, cooldown_seconds=3600.0))
    assert told[-1] == "New: {'Ada': 0.27, 'Bob': 0.36, 'Cyd': 0.27}"
    assert told[-3].startswith("Shares cut (lower exposure frees >= 0.05)")
    assert "Bob -0.2200" not in told[-3]


def test_a_cut_and_a_restore_name_the_agent_and_its_shares() -> None:
    """A cap is told from -> to with what the reserve gains, and its end likewise."""
    capped = replace(observe(), limits=(Limit("Ada", "night shift", cap=0.1),))
    first = settled()
    decision, state = cycle(capped, first)
    assert texts(decision, first)[-4:] == [
        "Shares cut (a published share is above its limit): Ada 0.4000 to 0.1000, 0.3000 more in reserve",
        "Old: {'Ada': 0.40, 'Bob': 0.36, 'Cyd': 0.24}",
        "New: {'Ada': 0.10, 'Bob': 0.36, 'Cyd': 0.24}",
        "Withheld: {'Ada': 0.30}",
    ]
    decision, _ = cycle(observe(), state)
    assert decision.reason is Reason.RESTORE
    assert texts(decision, state)[-3:] == [
        "Shares restored (less is withheld): Ada 0.1000 to 0.4000, 0.3000 less in reserve",
        "Old: {'Ada': 0.10, 'Bob': 0.36, 'Cyd': 0.24}",
        "New: {'Ada': 0.40, 'Bob': 0.36, 'Cyd': 0.24}",
    ]


def test_what_is_withheld_is_logged_when_its_cause_changes() -> None:
    """One line when a cap begins to withhold, none while it does, one when nothing is withheld any more."""
    decision, state = cycle(replace(observe(), limits=(Limit("Ada", "night shift", cap=0.1),)), settled())
    cause = "operator's cap by night shift"
    assert [line.text for line in withheld_lines(decision, {}, PLAIN)] == [
        (
            f"Ada: 0.3000 of its plan 0.4000 is withheld: {cause}. Ends with: the end of the order, or"
            " `capital-governor unlimit Ada`"
        )
    ]
    assert list(withheld_lines(decision, {"Ada": cause}, PLAIN)) == []
    restored, _ = cycle(observe(), state)
    told = [line.text for line in withheld_lines(restored, {"Ada": cause}, PLAIN)]
    assert told == ["Ada: nothing of its plan is withheld any more"]


def test_a_hold_for_gone_members_says_when_their_capital_goes() -> None:
    """3 cycles of grace: 12 held ones from the first on, then 4 decided ones; 15 x 300 s after 22:00 is 23:15."""
    decision, _ = cycle(observe({"Ada": 0.5}), settled())
    text = hold_line(decision, PLAIN, visible=settled().published, now=NOW, interval_seconds=300.0).text
    assert "Without a good record: Bob 36.0%, Cyd 24.0%, in all 60.0% of all capital. " in text
    assert "if nothing changes, they go to the reserve in 15 cycles, at 2025-11-03 23:15:00 UTC, and to nobody" in text
    state = settled()
    for number in range(16):
        decision, state = cycle(observe({"Ada": 0.5}, now=NOW + 300.0 * number), state)
        assert state.published is not None
        assert (state.published.shares["Bob"] == 0) == (number == 15)
    lapsed = lapsed_line(["Bob", "Cyd"], state.published, PLAIN).text
    assert lapsed.startswith("Lapsed, no record in more than 3 decided cycles: Bob 36.0%, Cyd 24.0%. ")
    assert "60.0% of all capital is withheld in the reserve and goes to nobody. Ends with: 3 good records" in lapsed


# --- bounded and unbreakable ------------------------------------------------------------------------------------------


def test_a_large_fleet_does_not_drown_the_log() -> None:
    """Of 300 scores fifty are told, and how many are not."""
    fleet = {f"agent-{number:03}": 0.5 for number in range(300)}
    told = decided(observe(fleet), State())
    assert sum("score=" in text for text in told) == SCORE_LINES == 20
    assert "... and 280 more scores: `explain AGENT` has each" in told


def test_shares_are_printed_with_two_digits_at_least() -> None:
    """Shares look as NeoLight's log has them."""
    assert shares_text({"SmartTrader": 400_000, "DropshipAgent": 350_000}) == (
        "{'SmartTrader': 0.40, 'DropshipAgent': 0.35}"
    )


@given(name=st.text(min_size=1, max_size=40), said=st.text(max_size=80))
@examples(150)
def test_names_and_texts_cannot_break_a_line(name: str, said: str) -> None:
    """Whatever an agent is called and the Guardian says, each line is one printable line in the log."""
    good = {"pnl_7d": 1.0, "sharpe_30d": 1.0, "winrate_30d": 0.5, "max_dd_30d": 1.0}
    body = json.dumps(
        {
            "timestamp": "2025-11-03T22:00:00Z",
            "per_agent": {name: good, "Ada": good, "Bob": good},
            "guardian": {"is_paused": bool(said), "drawdown": 0.0, "reason": said},
        }
    )
    payload = parse(body.encode())
    decision, _ = cycle(Inputs(NOW, payload), State())
    formatter = Formatter("console", color=False, redaction=Redaction(), words=log_text, now=lambda: NOW)
    told = [hold_line(decision, PLAIN, visible=settled().published), *lines(decision, State())]
    if isinstance(payload, Snapshot):
        unwell = unwell_texts(decision, payload)
        told += [LogEvent.AGENT_UNWELL.line(agent=agent, problem=unwell[agent]) for agent in unwell]
    for line in told:
        assert line.text.isprintable()
        shown = formatter.line("info", line.event.key, **line.fields)
        assert shown == f"2025-11-03T22:00:00Z INFO    [capital_governor] {line.text}"


@pytest.mark.parametrize(
    ("agents", "level", "says"),
    [
        (1, "warning", "between 0.4000 and 0.4000; the bounds leave 0.60 in reserve; that is less than any threshold"),
        (2, "warning", "between 0.4000 and 0.4000; the bounds leave 0.20 in reserve; that is less than any threshold"),
        (3, "info", "between 0.2000 and 0.4000"),
        (
            20,
            "warning",
            "between 0.0500 and 0.0500; that is less than any threshold",
        ),
    ],
)
def test_the_leeway_of_scores_is_told(agents: int, level: str, says: str) -> None:
    """How far scores can move a share is said, as a warning where it is too little ever to move anything."""
    line = fleet_range_line(fleet_range(agents, Rules()), Rules())
    assert line.level == level
    assert says in line.text


def test_who_is_unwell_is_told_apart() -> None:
    """Faulty and absent members may not gain; a faulty stranger is not admitted."""
    inputs = observe({"Ada": 0.5}, faulty=("Bob", "Zed"))
    inputs = replace(inputs, accept=True)
    decision, _ = cycle(inputs, settled())
    payload = inputs.payload
    assert isinstance(payload, Snapshot)
    assert unwell_texts(decision, payload) == {
        "Bob": "faulty record, may not gain: sharpe_30d is missing",
        "Cyd": "no record, may not gain",
        "Zed": "faulty record, not admitted: sharpe_30d is missing",
    }


def test_messages_name_the_thresholds_in_force() -> None:
    """Where a message has a number, it is the one that was set."""
    rules = Rules(threshold=0.15, derisk_threshold=0.02, turnover_threshold=0.3)
    says: dict[Reason, Callable[[str], bool]] = {
        Reason.THRESHOLD: lambda text: text.endswith("(change >= 0.15)"),
        Reason.DERISK: lambda text: text.endswith("(reserve must grow >= 0.02)"),
        Reason.TURNOVER: lambda text: text.endswith("(turnover >= 0.30)"),
        Reason.CUT_DERISK: lambda text: text.endswith("(lower exposure frees >= 0.02)"),
    }
    assert all(holds(message(reason, rules)) for reason, holds in says.items())


def test_a_large_fleet_is_cut_to_its_largest_shares_in_a_log_line() -> None:
    """Fifty shares stand in a line as they are; of more, the fifty largest, by name where they are equal."""
    fifty = {f"A{number:02}": 20_000 for number in range(50)}
    assert shares_text(fifty).endswith("'A49': 0.02}")
    text = shares_text({**fifty, "Big": 500_000, "Small": 1})
    assert text.startswith("{'Big': 0.50, 'A00': 0.02, ")
    assert text.endswith("'A48': 0.02} and 2 more")
