"""The messages about an end of the governor and its return, whole, as the phone shows them."""

from __future__ import annotations

import pytest

from capital_governor.wording.supervision_texts import GovernorEnd, governor_ended_text, returned_text

AT = 1_762_207_500.0
COMMAND = "/srv/neolight/neo_light_fix.sh"


def test_a_governor_that_was_killed() -> None:
    """With the cause in words, what capital does, what comes next and what to type if that does not come."""
    end = GovernorEnd(AT, 137, 2.0, "Allocations saved", AT + 900.0, 0.2)
    assert governor_ended_text(end, "night fleet", COMMAND).splitlines() == [
        "⚠️ night fleet · 2025-11-03 22:05 UTC",
        "The governor ended (killed, exit 137: often out of memory).",
        "Shares stay as they are: 80 % deployed, 20 % in reserve. While it is gone, nobody cuts risk.",
        "If it is not back by 22:20 UTC, agents count it as dead and use their fallback.",
        "It is started again in 2 s, with a message when it is back.",
        "No action needed, unless that message does not come. Then see why:",
        "/srv/neolight/neo_light_fix.sh logs capital_governor",
    ]


def test_a_governor_that_gave_up_before_it_published() -> None:
    """What is not known is left out; the restart is that of the governor alone."""
    end = GovernorEnd(AT, 78, None, "CAPITAL_GOVERNOR_MAX_ALLOC=7 (.env) is above 1")
    assert governor_ended_text(end, "night fleet", COMMAND).splitlines() == [
        "🛑 night fleet · 2025-11-03 22:05 UTC",
        "The governor gave up (exit 78: a person must act). It is not started again by itself.",
        "Its last line: CAPITAL_GOVERNOR_MAX_ALLOC=7 (.env) is above 1",
        "Shares stay as they are. While it is gone, nobody cuts risk.",
        "Act: see what is wrong, correct it, restart:",
        "/srv/neolight/neo_light_fix.sh check",
        "/srv/neolight/neo_light_fix.sh restart capital_governor",
    ]


@pytest.mark.parametrize(
    ("exit_code", "words"),
    [
        (0, "by itself, exit 0"),
        (1, "exit 1: an error"),
        (127, "exit 127: its command was not found"),
        (129, "ended by SIGHUP, exit 129"),
        (139, "crashed in its own code, exit 139: a fault of the program"),
        (143, "ended by SIGTERM, exit 143: somebody ended it"),
    ],
)
def test_the_cause_of_an_end_is_in_words(exit_code: int, words: str) -> None:
    """Beside the number, for whoever looks it up."""
    told = governor_ended_text(GovernorEnd(AT, exit_code, 2.0), "a", COMMAND)
    assert told.splitlines()[1] == f"The governor ended ({words})."


def test_its_return() -> None:
    """How long it was gone, since when and why."""
    assert returned_text(AT, 137, AT + 840.0, "night fleet").splitlines() == [
        "✅ night fleet · 2025-11-03 22:19 UTC",
        "The governor is back after 14 min: it has completed a cycle.",
        "It had ended at 22:05 UTC (killed, exit 137: often out of memory).",
        "Shares move again as it decides. No action needed.",
    ]
