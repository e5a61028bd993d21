"""The messages that the manual shows are those that a chat shows, and its table names every delay."""

from __future__ import annotations

import re

from capital_governor.settings.variables import VARIABLES
from tests.manual.pages import blocks, section
from tests.service.test_messages import WRITTEN


def test_the_messages_as_shown() -> None:
    """Each is one of those that tests/service/test_messages.py has seen arrive, with the program's own name."""
    arrived = WRITTEN.read_text(encoding="utf-8").replace("\ncg ", "\ncapital-governor ")
    shown = [
        *blocks(section("operating", "What messages look like"), "text"),
        *blocks(section("operating", "Daily digest"), "text"),
    ]
    assert len(shown) == 4
    for message in shown:
        assert f"\n\n{message.strip()}\n\n" in f"{arrived}\n\n", message


def test_the_delays_as_shown() -> None:
    """The table has each setting of a delay, with its default in minutes."""
    told = section("operating", "When messages come")
    delays = {
        variable.name.removeprefix("CAPITAL_GOVERNOR_"): variable.default
        for variable in VARIABLES.values()
        if variable.name.startswith("CAPITAL_GOVERNOR_ALERT_")
    }
    found = re.findall(r"after `(ALERT_[A-Z]+)` minutes \(([0-9]+)\)", told)
    assert {name: float(minutes) for name, minutes in found} == delays
