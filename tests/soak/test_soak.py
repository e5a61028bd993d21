"""The soak's own judgement: what it must find, by hand-made cases and a real journal."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from capital_governor.journal.notices import new_notice
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from tests.rigs.builders import FLEET
from tests.rigs.cycle_rig import CycleRig
from tests.soak.faults import FAULTS, THRICE
from tests.soak.lanes import rounds
from tests.soak.ledger import (
    HEADING,
    TOLD_OF_THE_END,
    Ledger,
    Row,
    Told,
    alerts_account,
    cycles_until_governed,
    head,
    longest_gap,
    moves_account,
    told_head,
)
from tests.soak.reader import Reader, fault_of
from tests.soak.stage import Stage, Window
from tests.soak.verdict import Verdict, hive_line, liveness_line

GOOD: dict[str, Any] = {
    "allocations": {"A": 0.32, "B": 0.4},
    "reserve": 0.28,
    "source": "capital_governor",
    "generation": 3,
    "exposure": 0.8,
    "max_allocation": 0.5,
}
FIRST = (1, (("A", 320_000), ("B", 400_000)), 280_000)
SECOND = (2, (("A", 600_000), ("B", 400_000)), 0)
TEXTS = [
    "🎯 Capital Reallocation:\nB: 40.0%\nA: 32.0%\nReserve: 28.0%\nFirst allocation.\nfleet1",
    "🎯 Capital Reallocation:\nA: 60.0% (was 32.0%)\nB: 40.0%\nReserve: 0.0% (was 28.0%)\nScores changed.\nfleet1",
]
JOURNAL_LOST = "⚠️ fleet1 · 2025-11-03 22:05 UTC\nCannot be written: the journal."
AT_22_05 = 1_762_207_500.0


def test_every_torn_read_is_a_fault() -> None:
    """The whole document is well, and no part of it is."""
    content = json.dumps(GOOD).encode()
    assert fault_of(content, rivals=False) == ""
    assert all(fault_of(content[:length], rivals=True) for length in range(len(content)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"reserve": 0.280001}, "add up to 1000001"),
        ({"reserve": 0.2800005}, "no whole number of millionths"),
        ({"exposure": 0.7}, "more is planned than exposure 0.7"),
        ({"withheld": {"A": 0.080002}}, "more is planned than exposure 0.8"),
        ({"exposure": 1.0, "withheld": {"A": 0.280001}}, "280001 millionths are withheld, the reserve is 280000"),
        ({"max_allocation": 0.49}, "above its limit of 392001"),
        ({"source": "rl_inference"}, "source is 'rl_inference'"),
        ({"allocations": {"A": -0.1, "B": 0.82}}, "no whole number"),
    ],
)
def test_a_document_that_breaks_a_promise_is_a_fault(change: dict[str, Any], says: str) -> None:
    """Whole documents whose shares are wrong, or that another program has written, are found."""
    assert says in fault_of(json.dumps(GOOD | change).encode(), rivals=False)


def test_a_reader_counts_what_is_torn_gone_or_older(tmp_path: Path) -> None:
    """A rival's override is counted apart; all else that is not ours is torn."""
    reader = Reader(tmp_path / "primary", tmp_path / "override")
    reader.look()
    assert (reader.reads, reader.torn) == (0, 0)
    reader.primary.write_text(json.dumps(GOOD))
    reader.override.write_text('{"source": "rl_inference"}')
    reader.look()
    reader.look()
    assert (reader.reads, reader.torn, reader.rivals, reader.backwards) == (4, 0, 1, 0)
    assert reader.generations == {3: ({"A": 320_000, "B": 400_000}, 280_000)}
    reader.primary.write_text(json.dumps(GOOD | {"generation": 2}))
    reader.override.write_text("")
    reader.look()
    assert (reader.torn, reader.backwards) == (1, 1)
    reader.primary.unlink()
    reader.look()
    assert reader.torn == 2
    assert "primary is gone" in reader.bad[-1]


def test_moves_that_nobody_was_told_of_and_those_told_twice_are_found() -> None:
    """One message a move is well; none, two, and one of a move that never was, are not."""
    assert head(FIRST) == "🎯 Capital Reallocation:\nB: 40.0%\nA: 32.0%\nReserve: 28.0%"
    assert [told_head(text) for text in TEXTS] == [head(FIRST), head(SECOND)]
    assert told_head("🎯 Capital Reallocation:\nC: 1.0% (new)\nDeployed 1 -> 2 %.\nD: 2.0%") == f"{HEADING}\nC: 1.0%"
    well = moves_account([FIRST, SECOND, FIRST], ["⚠️ x", *TEXTS])
    assert (well.made, well.sent) == (2, 2)
    assert not well.lost + well.doubled + well.invented
    wrong = moves_account([FIRST, SECOND], [TEXTS[0], TEXTS[0], "🎯 Capital Reallocation:\nC: 1.0%\nwhy"])
    assert list(wrong.lost) == [head(SECOND)]
    assert wrong.doubled.total() == wrong.invented.total() == 1


def test_what_is_withheld_is_told_but_not_a_publication_that_changes_no_share() -> None:
    """A line about what is withheld is no part of the shares, and the same shares again are not to be told."""
    *lines, fleet = TEXTS[0].split("\n")
    texts = ["\n".join([*lines, "Withheld, in the reserve: A 8.0% (operator's cap)", fleet]), TEXTS[1]]
    again = (2, FIRST[1], FIRST[2])
    well = moves_account([(3, *SECOND[1:]), again, FIRST], texts)
    assert (well.made, well.sent) == (2, 2)
    assert not well.lost + well.doubled + well.invented
    assert moves_account([FIRST, (2, *SECOND[1:]), (3, *FIRST[1:])], texts).lost.total() == 1


def test_alerts_are_counted_by_the_journal() -> None:
    """An alert of the journal must arrive; one that no journal has is known only while a journal could not be read."""
    noted = [Told("⚠️ paused", "hold", "sent", 0), Told(TEXTS[0], "", "sent", 0), Told("✅ it is back", "", "sent", 0)]
    well = alerts_account(noted, [], ["⚠️ paused", "✅ it is back", JOURNAL_LOST], [(AT_22_05 + 59, AT_22_05 + 70)])
    assert (well.made, well.sent) == (2, 3)
    assert not well.lost + well.doubled + well.invented
    for other in ([], [(AT_22_05 - 9, AT_22_05 - 1)], [(AT_22_05 + 60, AT_22_05 + 70)]):
        assert list(alerts_account(noted, [], [JOURNAL_LOST], other).invented) == [JOURNAL_LOST]
    wrong = alerts_account(noted, [], ["✅ never", "✅ it is back"] + [JOURNAL_LOST] * 2, [(AT_22_05, AT_22_05)])
    assert list(wrong.lost) == ["⚠️ paused"]
    assert list(wrong.doubled) == [JOURNAL_LOST]
    assert list(wrong.invented) == ["✅ never"]


def test_an_end_that_only_the_log_of_the_supervisor_has_was_not_invented() -> None:
    """The message of an end is sent before the journal has it; one more than the log says is invented."""
    ended = ["⚠️ fleet1 · 2025-11-03 22:05 UTC\nThe governor ended (killed).", "⚠️ fleet1\nThe governor ended (crashed)."]
    noted, log = [Told(ended[1], "", "sent", 0)], ["2025-11-03T22:05:00Z neo_light_fix.sh: " + TOLD_OF_THE_END] * 2
    well = alerts_account(noted, log, ended, [])
    assert not well.lost + well.doubled + well.invented
    assert list(alerts_account(noted, log[:1], ended, []).invented) == [ended[0]]


def test_the_longest_gap_leaves_out_what_a_fault_explains() -> None:
    """Only cycles between which no window was open count."""
    cycles = [Row(at, "unchanged", decided=True) for at in (0.0, 1.0, 5.0, 6.5, 20.0)]
    assert longest_gap(cycles, []) == 13.5
    assert longest_gap(cycles, [(7.0, 8.0)]) == 4.0
    assert longest_gap(cycles, [(7.0, float("inf")), (2.0, 3.0)]) == 1.5
    assert longest_gap([], []) == 0.0


def test_cycles_are_counted_until_one_governs() -> None:
    """By the journal's rows: holds and refusals count, cycles before the dashboard is back do not."""
    reasons = ["threshold", "fetch_failed", "paused", "members_gone", "gate_sum", "unchanged", "paused"]
    decided = {"threshold", "gate_sum", "unchanged"}
    cycles = [Row(float(at), reason, reason in decided) for at, reason in enumerate(reasons)]
    assert cycles_until_governed(cycles, -1.0) == 1
    assert cycles_until_governed(cycles, 0.0) == 4
    assert cycles_until_governed(cycles, 4.0) == 1
    assert cycles_until_governed(cycles, 5.0) is None


@pytest.mark.parametrize(
    ("reasons", "figure", "wrong"),
    [
        (["paused", "unchanged", "stopped", "below_threshold"], "2 / 2", ""),
        (["unchanged", *["members_gone"] * 12, "member_left"], "13 / 1", ""),
        (["unchanged", *["members_gone"] * 13, "member_left"], "14 / 1", "14, at most 13 are due"),
        (["unchanged", "paused", "paused"], "none / 1", "none governed: unchanged, paused, paused"),
    ],
)
def test_a_soak_that_ends_in_a_hold_is_found_wrong(reasons: list[str], figure: str, wrong: str) -> None:
    """A fault is over before the first cycle, the last one when the first that governed has passed."""
    decided = {"unchanged", "below_threshold", "member_left"}
    rows = [Row(float(at), reason, reason in decided) for at, reason in enumerate(reasons)]
    rested = next(row.at for row in rows if row.decided)
    stage = SimpleNamespace(
        ledger=SimpleNamespace(cycles=lambda: rows),
        rested=rested,
        windows=[Window("pause", -2.0, over=-1.0), Window("Telegram: down", -2.0, disturbs=False, over=-1.5)],
    )
    verdict = Verdict()
    liveness_line(verdict, cast("Stage", stage))
    assert verdict.lines[0][1] == figure
    assert [text.partition("after one: ")[2] for text in verdict.wrong] == ([wrong] if wrong else [])


def test_the_ledger_has_every_cycle_also_those_of_a_journal_that_was_lost(tmp_path: Path) -> None:
    """Copied from a real journal while it is open; garbage in the file and a new journal take nothing away."""
    with CycleRig(tmp_path) as rig:
        ledger = Ledger(rig.settings.journal_path)
        ledger.copy()
        rig.see(FLEET)
        rig.see(FLEET)
        ledger.copy()
        ledger.copy()
        assert [(row.reason, row.decided) for row in ledger.cycles()] == [
            ("first_allocation", True),
            ("unchanged", True),
        ]
        ((generation, shares, reserve),) = ledger.moves()
        assert generation == 1
        assert sum(share for _, share in shares) + reserve == 1_000_000
    rig.settings.journal_path.write_bytes(b"garbage" * 2_000)
    ledger.copy(at_rest=True)
    assert ledger.unreadable == 1
    with CycleRig(tmp_path) as rig:
        rig.now += 600
        rig.see(FLEET)
        ledger.copy()
    assert len(ledger.cycles()) == 3
    assert len(ledger.moves()) == 1


def test_what_waits_is_what_the_newest_journal_says(tmp_path: Path) -> None:
    """A notice whose fate went with a damaged journal is remembered, and no longer waits."""
    path = tmp_path / "journal.sqlite3"
    store = open_sqlite(path)
    ledger = Ledger(path)
    store.put_notices([new_notice("⚠️ x", 0.0, topic="x")])
    ledger.copy()
    assert ledger.pending() == 1
    store.close()
    path.unlink()
    store = open_sqlite(path)
    try:
        ledger.copy()
        assert ledger.pending() == 0
        assert [notice.text for notice in ledger.notices()] == ["⚠️ x"]
    finally:
        store.close()


def test_a_round_has_every_kind_and_a_seed_repeats_it() -> None:
    """Each fault comes once in a round, the killed governor three times; the order depends on the seed alone."""
    one, again = (rounds(list(FAULTS), random.Random(7)) for _ in range(2))  # noqa: S311 - weather, not secrets
    assert one == again
    assert sorted(one) == sorted([*FAULTS, THRICE, THRICE])


def test_what_is_wrong_is_named() -> None:
    """A figure that is not acceptable is in the table, and among what is wrong with its name."""
    verdict = Verdict()
    verdict.line("torn reads", 0, 0)
    verdict.line("writes", 3, 3)
    verdict.line("moves", 1, "lost: x")
    assert verdict.wrong == ["writes: 3", "moves: lost: x"]
    assert "torn reads  0" in verdict.text()


@pytest.mark.parametrize(
    ("counts", "wrong"),
    [
        ({"relayed": 40, "changed": 3, "refused": 0, "silent": 2}, ""),
        ({"relayed": 0, "changed": 3, "refused": 0, "silent": 2}, "none was relayed"),
        ({"relayed": 40, "changed": 3, "refused": 1, "silent": 2}, "1 were refused"),
    ],
)
def test_a_soak_without_the_hive_is_found_wrong(counts: dict[str, int], wrong: str) -> None:
    """The hive must have been the source, and have refused nothing; that it is away at times is a fault's doing."""
    verdict = Verdict()
    hive_line(verdict, counts)
    assert [text.partition(": ")[2].rpartition(": ")[2] for text in verdict.wrong] == ([wrong] if wrong else [])
    assert "/ 3 /" in verdict.text()
