"""`diff`: two generations side by side, read from the journal alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from capital_governor.core.model import Metrics
from tests.rigs.commands import call, loaded, on_terminal, tree
from tests.rigs.night import EVENING, FLEET, Night, whole_night

CUT = """\
Generation 1 and 2; times are UTC
1          2025-11-03 22:00  first allocation
2          2025-11-03 22:20  market BEAR (risk 0.5), exposure 100 -> 50 %

agent                1        2   points
────────────────────────────────────────
CryptoTrend     40.00%   20.00%   -20.00
SmartTrader     28.23%   14.11%   -14.11
DropshipAgent   25.37%   12.69%   -12.69
NewsScalper      6.40%    3.20%    -3.20
────────────────────────────────────────
reserve          0.00%   50.00%   +50.00
exposure   100 -> 50 %, -50.00 points

orders     none between
"""


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    with loaded():
        yield


def test_a_cut_by_the_market(night: Path) -> None:
    """Each share with its change, reserve and exposure, and why; nothing is written."""
    before = tree(night)
    said = call(night, "diff", "1", "2")
    assert (said.code, said.err) == (0, "")
    *lines, fleet = said.out.splitlines(keepends=True)
    assert "".join(lines) == CUT
    assert fleet.endswith(f"root {night}\n")
    assert tree(night) == before


def test_orders_between_are_told(night: Path) -> None:
    """A cap was given after generation 2, and taken back when generation 5 was published; what is withheld, too."""
    told = [
        "2025-11-03 23:35  order: limit SmartTrader --max 0.1 by anna: new strategy",
        "2025-11-04 00:55  order taken back by bob: limit SmartTrader --max 0.1 by anna: new strategy",
    ]
    for words in (("2", "5"), ("5", "2")):
        lines = call(night, "diff", *words).out.splitlines()
        place = lines.index("Orders between:")
        assert lines[place + 1 : place + 3] == told
    assert told[1] not in call(night, "diff", "2", "4").out
    # Of 14.11 % the cap of 0.1 at exposure 0.5 leaves 5 %.
    assert "withheld   0 -> 9.1 %, +9.11 points" in call(night, "diff", "2", "3").out.splitlines()
    assert "exposure   100 %" in call(night, "diff", "5", "6").out.splitlines()


def test_the_other_way_round(night: Path) -> None:
    """Changes are from the first that is named to the second."""
    there, back = (call(night, "diff", *words, "--json").json for words in (("1", "3"), ("3", "1")))
    assert (there["before"], there["after"]) == (back["after"], back["before"])
    changes = {row["agent"]: row["change"] for row in there["agents"]}
    assert {row["agent"]: -row["change"] for row in back["agents"]} == changes
    assert there["exposure_change"] == -back["exposure_change"] == -0.5
    assert sum(changes.values()) == pytest.approx(-there["reserve_change"])
    assert [abs(row["change"]) for row in there["agents"]] == sorted(map(abs, changes.values()), reverse=True)


def test_who_joined_and_who_left(tmp_path: Path) -> None:
    """An agent that only one of the generations has: no share there, and its name below the table."""
    night = Night(tmp_path, {"CAPITAL_GOVERNOR_RELEASE_AFTER": "0", "CAPITAL_GOVERNOR_MEMBERSHIP_GRACE": "2"})
    night.pass_by(2)
    newcomer = {**FLEET, "LateJoiner": Metrics(900.0, 1.5, 0.6, 3.0)}
    night.pass_by(2, fleet=newcomer)
    del newcomer["NewsScalper"]
    night.pass_by(6, fleet=newcomer)
    night.end()
    document = call(tmp_path, "diff", "1", "2", "--json").json
    assert (document["joined"], document["left"]) == (["LateJoiner"], [])
    last = call(tmp_path, "status", "--json").json["generation"]
    document = call(tmp_path, "diff", "1", str(last), "--json").json
    assert (document["joined"], document["left"]) == (["LateJoiner"], ["NewsScalper"])
    rows = {row["agent"]: row for row in document["agents"]}
    assert (rows["LateJoiner"]["before"], rows["NewsScalper"]["after"]) == (None, None)
    assert rows["NewsScalper"]["change"] == -rows["NewsScalper"]["before"] < 0
    lines = call(tmp_path, "diff", "1", str(last)).out.splitlines()
    assert {"joined     LateJoiner", "left       NewsScalper"} <= set(lines)


def test_a_generation_that_is_not_there(night: Path) -> None:
    """Exit code 2, with the range that is there."""
    said = call(night, "diff", "1", "99")
    there = "the journal has 1 to 6"
    assert (said.code, said.out) == (2, "")
    assert said.err == f"capital-governor: there is no generation 99 that agents have seen: {there}\n"
    said = call(night, "diff", "0", "1")
    assert said.err == f"capital-governor: generation 0 is not in the journal any more, or never was: {there}\n"
    for word in ("x", "-1", "1.5", "²", "9" * 30):
        said = call(night, "diff", "1", word)
        assert (said.code, said.out) == (2, "")
        assert "Traceback" not in said.err


def test_a_generation_that_was_pruned(tmp_path: Path) -> None:
    """After the history was deleted, the newest generation is left."""
    night = whole_night(tmp_path)
    assert night.now > EVENING
    again = Night(tmp_path, now=night.now + 200 * 86_400.0)
    while again.journal.prune(again.now, 90.0):
        pass
    again.end()
    said = call(tmp_path, "diff", "1", "6")
    assert said.code == 2
    assert re.search(r"generation 1 is not in the journal any more, or never was: the journal has only 6$", said.err)
    assert call(tmp_path, "diff", "6", "6").code == 0


def test_nothing_is_published_yet(tmp_path: Path) -> None:
    """A journal without a generation, and no journal."""
    assert call(tmp_path, "diff", "1", "2").code == 78
    Night(tmp_path).end()
    said = call(tmp_path, "diff", "1", "2")
    assert said.err == "capital-governor: there is no generation 1: agents have not seen any yet\n"
    assert said.code == 2


def test_it_fits_a_terminal(night: Path) -> None:
    """No line is wider than the terminal, and without NO_COLOR the changes have colours."""
    plain = on_terminal(night, "diff", "1", "2", columns=60, env={"NO_COLOR": "1"})
    assert all(len(line) <= 60 for line in plain.splitlines())
    assert "\x1b[33m" in on_terminal(night, "diff", "1", "2")
    assert "\x1b" not in plain
