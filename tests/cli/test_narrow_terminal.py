"""All that commands show, on the terminal of a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from capital_governor.cli.wrapping import wrapped
from capital_governor.core.orders import OrderKind
from tests.rigs.commands import loaded, on_terminal
from tests.rigs.night import Night

LOOKS = (
    *("status", "history", "history SmartTrader", "history --moves", "decisions", "explain SmartTrader"),
    *("limits", "exposure", "limit SmartTrader", "show-config", "check", "once --dry-run"),
)


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    with loaded():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a cut, a cap, a ceiling on exposure and a fault. Tests only read it."""
    folder = tmp_path_factory.mktemp("r")
    night = Night(folder)
    night.pass_by(2)
    night.pass_by(2, risk=0.5, regime="BEAR")
    night.order(OrderKind.LIMIT, agent="SmartTrader", cap=0.1, reason="new strategy of the night shift")
    night.order(OrderKind.EXPOSURE, cap=0.3, reason="election night")
    night.pass_by(3, risk=0.5, regime="BEAR", faults={"NewsScalper": "winrate_30d is 65, not within 0..1"})
    night.end()
    return folder


@pytest.mark.parametrize("columns", [80, 45])
@pytest.mark.parametrize("words", LOOKS)
def test_no_line_is_too_long_and_no_figure_is_cut(root: Path, words: str, columns: int) -> None:
    """A figure is on the line of its unit, a change on one line, and every word is whole."""
    since = ("--since", "9999d") if words.startswith(("history", "decisions")) else ()
    shown = on_terminal(root, *words.split(), *since, columns=columns, env={"NO_COLOR": "1"})
    lines = shown.splitlines()
    assert len(lines) > 1
    assert [line for line in lines if len(line) > columns] == []
    assert re.findall(r"[0-9]\n +(?:s|min|h|d|%|->)(?![A-Za-z])|[0-9] ->\n", shown) == []
    assert [line for line in lines if re.fullmatch(r" +\S", line)] == []  # a column of single letters


def test_what_stays_together() -> None:
    """Numbers with units, changes, options, and names with hyphens; all else may be broken at a blank."""
    text = "exposure 28.2 -> 14.1 % for 2 h 5 min: limit my-agent --share-out"
    assert wrapped(text, 24, 2).splitlines() == [
        "exposure 28.2 -> 14.1 %",
        "  for 2 h 5 min: limit",
        "  my-agent --share-out",
    ]
