"""The file of the hive's history: it outlives the process, and nothing that is wrong with it stops the hive."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from capital_governor.hive.decisions import DecisionFile, record_of
from capital_governor.hive.past import Past
from capital_governor.hive.past_file import LONGEST_SECONDS, PAST, SHORTEST_SECONDS, HistoryFile, content_of, past_of
from capital_governor.hive.simulation import Fleet
from capital_governor.hive.state_files import PERFORMANCE, StateFile, StateFiles
from tests.rigs.busy_fleet import AGENTS, MIDNIGHT, BusyFleet
from tests.rigs.fleet_files import DAY, NOW, decision, performance
from tests.rigs.patience import PATIENCE_SECONDS, wait_until


class Hive:
    """A memory on a root, and what it says."""

    def __init__(self, root: Path) -> None:
        (root / "state").mkdir(exist_ok=True)
        self.said: list[str] = []
        self._memory = HistoryFile(root, self.said.append)

    def look(self, file: StateFile, now: float) -> tuple[Past | None, list[str]]:
        with self._memory.look(lambda: StateFiles(performance=file), now) as (_, past, warnings):
            return past, warnings


def grown(root: Path) -> BusyFleet:
    """A fleet of two days and a half whose history is in the file."""
    fleet, hive = BusyFleet(MIDNIGHT - 2.5 * DAY), Hive(root)
    while fleet.at < MIDNIGHT:
        fleet.run(0.25)
        assert hive.look(fleet.file(), fleet.at)[1] == []
    return fleet


def test_a_hive_that_is_started_again_goes_on(tmp_path: Path) -> None:
    """What the file holds is the history, byte for byte, and nothing else is left beside it."""
    fleet = grown(tmp_path)
    content = (tmp_path / PAST).read_bytes()
    fleet.run(0.1)
    again = Hive(tmp_path)
    past, warnings = again.look(fleet.file(), fleet.at)
    assert past is not None
    expected = past_of(content)
    expected.look(past.held, fleet.at)
    assert (past, warnings, again.said) == (expected, [], [])
    assert content_of(past) == (tmp_path / PAST).read_bytes() != content
    assert [path.name for path in (tmp_path / "state").iterdir()] == [PAST.name]


def test_what_has_not_changed_is_not_written(tmp_path: Path) -> None:
    """Looks that find nothing new leave the file alone; a file that is gone is written again."""
    fleet, hive = grown(tmp_path), Hive(tmp_path)
    hive.look(fleet.file(), fleet.at)
    before = (tmp_path / PAST).stat()
    hive.look(fleet.file(), fleet.at + 1)
    assert (tmp_path / PAST).stat() == before
    content = (tmp_path / PAST).read_bytes()
    (tmp_path / PAST).unlink()
    hive.look(fleet.file(), fleet.at + 2)
    assert (tmp_path / PAST).read_bytes() == content


def changed(**fields: object) -> bytes:
    return json.dumps(json.loads(content_of(Past())) | fields).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        content_of(Past())[:-20],
        b"\0" * 500,
        b'{"allocations": {"A": 0.4}, "source": "capital_governor"}',
        b"[1, 2]",
        changed(version=0),
        changed(version=2),
        changed(since="2025"),
        changed(held=[[0, "key", 1.0, 1.0, ""]]),
        changed(more=1),
        changed(agents={"A": {"first_at": None, "latest_at": 1.0, "days": {"2025-11-03": [1, 2]}}}),
        changed(since=1e300),
        b'{"source": "capital_governor_hive", "since": NaN}',
        b"[" * 100_000,
    ],
)
def test_a_file_that_is_not_usable_is_set_aside(tmp_path: Path, content: bytes) -> None:
    """Torn, foreign, of an older or a newer version: it is kept beside, said, and the history begins anew."""
    hive, fleet = Hive(tmp_path), BusyFleet(MIDNIGHT)
    fleet.run(0.5)
    (tmp_path / PAST).write_bytes(content)
    past, warnings = hive.look(fleet.file(), fleet.at)
    assert past is not None
    assert len(past.held) == 1_000
    assert warnings == hive.said
    assert "it was set aside as capital_governor_hive.json.corrupt-2025" in warnings[0]
    (aside,) = (tmp_path / "state").glob("*.corrupt-*")
    assert aside.read_bytes() == content
    assert past_of((tmp_path / PAST).read_bytes()) == past


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 4 KiB: the kernel refuses it, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_it_goes_on_in_memory_while_nothing_can_be_written(tmp_path: Path) -> None:
    """The warning names the file and the reason, the log has it once, and all is written when there is room again."""
    fleet, hive = grown(tmp_path), Hive(tmp_path)
    before = (tmp_path / PAST).read_bytes()
    with full_disk():
        for _ in range(4):
            fleet.run(0.25)
            past, (warning,) = hive.look(fleet.file(), fleet.at)
    assert past is not None
    assert len(past.left) == 1_000
    assert warning.startswith(f"{PAST} cannot be written (File too large): the history is kept in memory only")
    assert hive.said == [warning]
    assert (tmp_path / PAST).read_bytes() == before
    assert [path.name for path in (tmp_path / "state").iterdir()] == [PAST.name]
    past, warnings = hive.look(fleet.file(), fleet.at)
    assert warnings == []
    assert hive.said[1:] == ["state/capital_governor_hive.json: readable and writable again"]
    assert past is not None
    assert (tmp_path / PAST).read_bytes() == content_of(past)


def test_what_is_no_file_in_its_place_is_left_there(tmp_path: Path) -> None:
    """A folder or a FIFO of that name is said, never waited for and never replaced."""
    fleet, hive = BusyFleet(MIDNIGHT), Hive(tmp_path)
    fleet.run(0.5)
    (tmp_path / PAST).mkdir()
    assert "cannot be read (Is a directory)" in hive.look(fleet.file(), fleet.at)[1][0]
    (tmp_path / PAST).rmdir()
    os.mkfifo(tmp_path / PAST)
    past, (warning,) = hive.look(fleet.file(), fleet.at)
    assert "cannot be read (not a file)" in warning
    assert past is not None
    assert len(past.held) == 1_000
    assert (tmp_path / PAST).is_fifo()


def test_a_root_without_state_is_borne(tmp_path: Path) -> None:
    """Where the folder is gone, the history goes on in memory."""
    fleet, hive = BusyFleet(MIDNIGHT), Hive(tmp_path)
    fleet.run(0.5)
    (tmp_path / "state").rmdir()
    past, (warning,) = hive.look(fleet.file(), fleet.at)
    assert past is not None
    assert "cannot be written (No such file or directory)" in warning


LOOKS = """
import json, sys
from pathlib import Path
from capital_governor.hive.past_file import HistoryFile
from capital_governor.hive.state_files import StateFile, StateFiles
root = Path(sys.argv[1])
memory = HistoryFile(root, print)
for document in json.loads((root / "documents.json").read_text()):
    with memory.look(lambda: StateFiles(performance=StateFile(document["file"])), document["now"]):
        pass
"""


def test_two_processes_do_not_spoil_each_others_file(tmp_path: Path) -> None:
    """Two hives that look at the same time leave a whole file at every moment, and at the end each decision once.

    One of them may still read an older file of decisions when the other one has read a newer one.
    """
    fleet, documents = BusyFleet(MIDNIGHT - DAY), list[Any]()
    for _ in range(40):
        fleet.run(1 / 80)
        documents.append({"file": fleet.document(), "now": fleet.at})
    (tmp_path / "state").mkdir()
    (tmp_path / "documents.json").write_text(json.dumps(documents))
    command = [sys.executable, "-c", LOOKS, str(tmp_path)]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) for _ in range(2)]
    wait_until((tmp_path / PAST).exists)
    reads = 0
    while any(process.poll() is None for process in both):
        past_of((tmp_path / PAST).read_bytes())
        reads += 1
    assert [(process.communicate(timeout=PATIENCE_SECONDS)[1], process.returncode) for process in both] == [
        (b"", 0)
    ] * 2
    assert reads
    past, warnings = Hive(tmp_path).look(fleet.file(), fleet.at)
    record = record_of(fleet.document(), fleet.at)
    assert past is not None
    assert isinstance(record, DecisionFile)
    found = past.histories(record, fleet.at)
    assert {agent: sum(trade.pnl for trade in each.trades) for agent, each in found.items()} == {
        agent: sum(fleet.attributed(agent)) for agent in AGENTS
    }
    assert warnings == []


def test_a_simulated_fleet_has_no_history(tmp_path: Path) -> None:
    """Its decisions have other times each time they are written: no history is kept, and no file made."""
    hive, fleet = Hive(tmp_path), Fleet(7)
    for now in (NOW, NOW + 5):
        fleet.run_to(fleet.day + 1)
        document = fleet.documents(now)[PERFORMANCE]
        assert hive.look(StateFile(document), now) == (None, [])
    assert not (tmp_path / PAST).exists()


def test_left_overs_of_killed_processes_are_removed(tmp_path: Path) -> None:
    """Half-written files of its own that are an hour old go; a young one may be another process's, and others stay."""
    hive = Hive(tmp_path)
    old, young, other = (
        tmp_path / "state" / f".{name}" for name in (f"{PAST.name}.0a", f"{PAST.name}.0b", "x.json.0a")
    )
    for path in (old, young, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (1.0, 1.0))
    hive.look(StateFile(performance(decision("A", 1, 1.0))), NOW)
    assert [path.exists() for path in (old, young, other)] == [False, True, True]


@pytest.mark.parametrize(
    ("count", "span_seconds", "seconds"),
    [(999, 10, LONGEST_SECONDS), (1_000, 10, SHORTEST_SECONDS), (1_000, 100, 24.975), (1_000, 9_000, LONGEST_SECONDS)],
)
def test_the_next_look_comes_before_the_file_has_turned_over(
    tmp_path: Path, count: int, span_seconds: float, seconds: float
) -> None:
    """A full file is looked at four times in the time that it spans; at most every 5 s, at least every minute."""
    hive = Hive(tmp_path)
    decisions = [decision("A", index * span_seconds / 1_000 / DAY, 1.0) for index in range(count)]
    hive.look(StateFile(performance(*decisions)), NOW)
    assert hive._memory.seconds_to_next() == pytest.approx(seconds)


def test_a_wrong_date_does_not_slow_the_sampling(tmp_path: Path) -> None:
    """A few decisions dated years ago or ahead do not stretch the time that a full file spans."""
    hive = Hive(tmp_path)
    decisions = [decision("A", index * 0.1 / DAY, 1.0) for index in range(996)]
    odd = [decision("A", days, 1.0) for days in (-400, -1, 1, 4_000)]
    hive.look(StateFile(performance(*decisions, *odd)), NOW)
    assert hive._memory.seconds_to_next() == pytest.approx(25.0, rel=0.02)


def test_a_history_too_large_to_be_read_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on in memory, and the file that was good stays."""
    fleet, hive = grown(tmp_path), Hive(tmp_path)
    before = (tmp_path / PAST).read_bytes()
    monkeypatch.setattr("capital_governor.hive.past_file.MOST_BYTES", len(before))
    fleet.run(0.25)
    fleet.every[-1]["agent"] = "A" * len(before)
    past, warnings = hive.look(fleet.file(), fleet.at)
    assert past is not None
    assert warnings == hive.said
    assert warnings[0].startswith(f"{PAST} would be larger than")
    assert (tmp_path / PAST).read_bytes() == before


def test_the_decisions_are_read_while_no_other_look_is_under_way(tmp_path: Path) -> None:
    """Otherwise a slow thread would bring an older reading after a newer one."""
    fleet, memory, locked = grown(tmp_path), HistoryFile(tmp_path, print), list[bool]()

    def find() -> StateFiles:
        locked.append(memory._lock.locked())
        return StateFiles(performance=fleet.file())

    with memory.look(find, fleet.at) as (files, past, _):
        assert memory._lock.locked()
        assert past is not None
        assert files.performance == fleet.file()
    assert (locked, memory._lock.locked()) == ([True], False)
