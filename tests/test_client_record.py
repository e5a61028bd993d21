"""What an agent records: one whole line, by any number of writers at once, or an error that says why not."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import shutil
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from capital_governor import client
from capital_governor.client import DECISIONS, MOST_DECISION_BYTES, NotRecordedError, record
from capital_governor.contracts.text import RESERVED_NAMES, valid_name
from capital_governor.hive.reported_decisions import ReportedDecisions
from tests.faults.surroundings import with_own_mounts
from tests.rigs.patience import PATIENCE_SECONDS

CLIENT: Final = Path(client.__file__)
NAMES: Final = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 _.:-]{0,63}", fullmatch=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path


def files(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((root / DECISIONS).iterdir())}


def known(root: Path) -> dict[str, list[float | None]]:
    """What the hive knows: the profits and losses by agent."""
    found: dict[str, list[float | None]] = {}
    for each in ReportedDecisions(root).read(time.time(), {}).past.left:
        found.setdefault(each.agent, []).append(each.pnl)
    return found


# --- one line ---------------------------------------------------------------------------------------------------------


def test_the_line_of_a_decision(root: Path) -> None:
    """It is JSON with agent, pnl and time in UTC, in the file of the agent and month; each call adds one."""
    before = datetime.now(UTC)
    record("GridBot", 12.5, root=root)
    record("GridBot", -3, root=str(root), at=datetime(2025, 11, 3, 22, 14, 7, tzinfo=timezone(timedelta(hours=1))))
    record("GridBot", None, root=root, decision_id="order 7")
    found = files(root)
    assert found.keys() <= {f"GridBot.{at:%Y-%m}.jsonl" for at in (before, datetime.now(UTC))}
    first, second, third = map(json.loads, "".join(found.values()).splitlines())
    assert (first.keys(), first["agent"], first["pnl"]) == ({"agent", "pnl", "timestamp"}, "GridBot", 12.5)
    assert before <= datetime.fromisoformat(first["timestamp"]) <= datetime.now(UTC)
    assert first["timestamp"].endswith("Z")
    assert second == {"agent": "GridBot", "pnl": -3, "timestamp": "2025-11-03T21:14:07.000000Z"}
    assert (third["pnl"], third["id"]) == (None, "order 7")


def test_the_root_is_found_as_for_a_share(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``root`` it is NEOLIGHT_ROOT, else the current folder."""
    other = root / "other"
    (other / "state").mkdir(parents=True)
    monkeypatch.chdir(other)
    monkeypatch.setenv("NEOLIGHT_ROOT", str(root))
    record("A", 1.0)
    monkeypatch.delenv("NEOLIGHT_ROOT")
    record("A", 2.0)
    assert (known(root), known(other)) == ({"A": [1.0]}, {"A": [2.0]})


@given(agents=st.lists(NAMES, min_size=2, max_size=8, unique=True))
@example(["Grid Bot", "Grid_Bot", "Grid.Bot", "Grid:Bot", "Grid-Bot", "Grid20Bot"])
def test_no_two_agents_share_a_file(agents: list[str]) -> None:
    """Whatever their names, each agent's file is its own, directly in the folder, and has plain characters only."""
    agents = [agent for agent in agents if agent.lower() not in RESERVED_NAMES]
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "state" / "decisions").mkdir(parents=True)
        for agent in agents:
            record(agent, 1.0, root=place)
        found = files(Path(place))
        assert sorted(json.loads(content)["agent"] for content in found.values()) == sorted(agents)
        assert set("".join(found)) <= set(string.ascii_letters + string.digits + "_-.%")
        assert known(Path(place)) == {agent: [1.0] for agent in agents}


@given(name=st.text(max_size=70) | NAMES | st.sampled_from(("Reserve", "allocations", "reserves")))
def test_the_names_are_those_that_the_governor_takes(name: str) -> None:
    """A name is refused exactly if the governor would not take it."""
    try:
        client._line(name, 1.0, datetime.now(UTC), datetime.now(UTC), "")
        taken = True
    except ValueError:
        taken = False
    assert taken is (valid_name(name) and name.lower() not in RESERVED_NAMES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"agent": "../../etc/passwd"}, "is no name of an agent"),
        ({"agent": ""}, "is no name of an agent"),
        ({"agent": "A\n"}, "is no name of an agent"),
        ({"agent": 5}, "is no name of an agent"),
        ({"pnl": math.nan}, "pnl=nan is neither an amount"),
        ({"pnl": math.inf}, "pnl=inf is neither an amount"),
        ({"pnl": 2e12}, "is neither an amount up to 1e[+]12"),
        ({"pnl": "5"}, "pnl='5' is neither an amount"),
        ({"pnl": True}, "pnl=True is neither an amount"),
        ({"at": datetime(2025, 11, 3)}, "is not a datetime with a time zone"),  # noqa: DTZ001 - that is the point
        ({"at": "2025-11-03"}, "is not a datetime with a time zone"),
        ({"at": datetime.now(UTC) + timedelta(days=1)}, r"is \d+ s in the future"),
        ({"decision_id": "a\nb"}, "is not up to 100 printable characters"),
        ({"decision_id": "x" * 101}, "is not up to 100 printable characters"),
        ({"decision_id": 7}, "is not up to 100 printable characters"),
    ],
)
def test_a_wrong_argument_is_an_error_and_nothing_is_written(root: Path, arguments: Any, said: str) -> None:
    """What the hive could not use is refused where it is made."""
    with pytest.raises(ValueError, match=said):
        record(**({"agent": "A", "pnl": 1.0, "root": root} | arguments))
    assert list((root / "state").iterdir()) == []


# --- what may be wrong ------------------------------------------------------------------------------------------------


def test_a_folder_that_is_no_root_is_an_error(tmp_path: Path) -> None:
    """A decision in a wrong folder would be lost, so none is made there."""
    with pytest.raises(NotRecordedError, match=f"no folder {tmp_path}/state: give the fleet's root") as raised:
        record("A", 1.0, root=tmp_path)
    assert raised.value.errno == errno.ENOENT
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["file for a folder", "folder for a file", "fifo"])
def test_what_is_no_file_is_an_error_at_once(root: Path, what: str) -> None:
    """Something else where the file or its folder belongs is named, and never blocks an agent."""
    folder = root / DECISIONS
    name = f"A.{datetime.now(UTC):%Y-%m}.jsonl"
    if what == "file for a folder":
        folder.write_text("")
    else:
        folder.mkdir()
        (folder / name).mkdir() if what == "folder for a file" else os.mkfifo(folder / name)
    with pytest.raises(NotRecordedError, match=f"the decision of A is not recorded: {folder}/A"):
        record("A", 1.0, root=root)


def test_a_folder_without_the_right_to_write_is_an_error(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The error names the file and what to do; in a shell the exit code is 78."""
    (root / DECISIONS).mkdir()
    (root / DECISIONS).chmod(0o555)
    root.chmod(0o755)
    if (child := os.fork()) == 0:  # for root, of whom no right is asked, as another user
        os.chdir(root)
        if os.geteuid() == 0:
            os.setuid(65_534)
        sys.argv = ["client.py", "record", "A", "1"]
        os._exit(client._main())
    _, status = os.waitpid(child, 0)
    said = capfd.readouterr().err
    assert os.waitstatus_to_exitcode(status) == 78
    assert f"record: the decision of A is not recorded: ./{DECISIONS}/A." in said
    assert "Permission denied: let the agent's user write there, then record it again" in said
    assert files(root) == {}


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Let the system write at most so many bytes to a file: of a line that goes beyond, a part."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("room", [1, 20, 60])
def test_a_line_of_which_only_a_part_has_room_hides_nothing(root: Path, room: int) -> None:
    """It is an error, the decision does not count, and those recorded before and after do."""
    record("A", 1.0, root=root)
    (path,) = (root / DECISIONS).iterdir()
    size = path.stat().st_size
    with files_at_most(size + room), pytest.raises(NotRecordedError, match="make room, then record it again") as raised:
        record("A", 2.0, root=root)
    assert raised.value.errno == errno.ENOSPC
    assert path.stat().st_size == size + room
    record("A", 3.0, root=root)
    assert known(root) == {"A": [1.0, 3.0]}


FILL: Final = """
import sys
sys.path.insert(0, sys.argv[2])
from client import NotRecordedError, record
told = 0
for number in range(100_000):
    try:
        record(sys.argv[3], number, root=sys.argv[1])
    except NotRecordedError as error:
        told += 1
        if told == 200:
            raise SystemExit("full: " + str(error))
    else:
        print(number)
"""


def test_on_a_full_disk_exactly_what_was_recorded_counts(root: Path) -> None:
    """Three processes fill a real file system with lines of one agent; after room is made, the next line counts."""
    python, state, folder = f"{sys.executable} -I", root / "state", root / DECISIONS
    script = f"""
        mount -t tmpfs -o size=256k none {state} && mkdir {folder}
        for writer in 1 2 3; do
            {python} -c "$FILL" {root} {CLIENT.parent} A > {root}/said.$writer 2> {root}/err.$writer &
        done
        wait
        {python} {CLIENT} record A 5 --root {root} 2> {root}/err.4 || echo $? > {root}/code
        mount -o remount,size=1m {state}
        {python} {CLIENT} record A -7 --root {root} && cp -r {folder} {root}/kept
    """
    alone = [*with_own_mounts(), "/bin/sh", "-ec", script]
    subprocess.run(alone, env={"FILL": FILL, "PATH": os.environ["PATH"]}, timeout=PATIENCE_SECONDS, check=True)
    (root / "state").rmdir()
    (root / "state").mkdir()
    shutil.move(root / "kept", root / DECISIONS)
    said = [float(line) for writer in "123" for line in (root / f"said.{writer}").read_text().split()]
    assert len(said) > 1_000
    for writer in "123":
        assert "full: the decision of A is not recorded:" in (root / f"err.{writer}").read_text()
    assert (root / "code").read_text().strip() == "75"
    assert "the disk is full: make room, then record it again" in (root / "err.4").read_text()
    found = known(root)
    assert found.keys() == {"A"}
    assert sorted(pnl for pnl in found["A"] if pnl is not None) == sorted([*said, -7.0])


def test_a_file_that_is_too_large_is_an_error(root: Path) -> None:
    """A file may not grow without end; what does not fit is refused, and said."""
    record("A", 1.0, root=root)
    (path,) = (root / DECISIONS).iterdir()
    os.truncate(path, MOST_DECISION_BYTES - 10)
    with pytest.raises(NotRecordedError, match="may not be larger than 64 MiB"):
        record("A", 2.0, root=root)
    record("B", 2.0, root=root)
    assert path.stat().st_size == MOST_DECISION_BYTES - 10


def test_old_files_are_removed_when_a_month_begins(root: Path) -> None:
    """Of each agent the newest six files stay, which reach back at least 30 days; others' files are left alone."""
    folder = root / DECISIONS
    folder.mkdir()
    months = [f"2025-{month:02}" for month in range(1, 9)]
    others = ["A%2E2025-01.2025-01.jsonl", "AA.2025-01.jsonl", "A.2025-01.jsonl.bak", "A.mine.jsonl"]
    for name in (*others, *(f"A.{month}.jsonl" for month in months)):
        (folder / name).write_text("")
    record("A", 1.0, root=root)
    record("A", 2.0, root=root)
    this = f"A.{datetime.now(UTC):%Y-%m}.jsonl"
    assert files(root).keys() == {*others, *(f"A.{month}.jsonl" for month in months[-5:]), this}


# --- several writers --------------------------------------------------------------------------------------------------

WRITE: Final = """
import sys
sys.path.insert(0, sys.argv[2])
from client import record
for number in range(400):
    record("A", float(number), root=sys.argv[1], decision_id=sys.argv[3] + " " * 60 + str(number))
"""


def test_several_processes_write_at_once(root: Path) -> None:
    """Every line of four processes, two of them shells, is there, and none is mixed with another."""
    shell = 'for i in $(seq 400); do echo "{\\"agent\\":\\"A\\",\\"pnl\\":$i,\\"timestamp\\":\\"$2\\"}" >> "$1"; done'
    (root / DECISIONS).mkdir()
    now = datetime.now(UTC)
    path = root / DECISIONS / f"A.{now:%Y-%m}.jsonl"
    python = [sys.executable, "-I", "-c", WRITE, str(root), str(CLIENT.parent)]
    commands = [[*python, "one"], [*python, "two"], *[["/bin/sh", "-ec", shell, "sh", str(path), now.isoformat()]] * 2]
    running = [subprocess.Popen(command) for command in commands]
    folder = ReportedDecisions(root)
    while any(process.poll() is None for process in running):
        assert folder.read(time.time(), {}).warnings == ()
    assert [process.returncode for process in running] == [0] * 4
    expected = sorted([*map(float, range(400))] * 2 + [*map(float, range(1, 401))] * 2)
    grown = folder.read(time.time(), {}).past.left
    assert sorted(each.pnl for each in grown if each.pnl is not None) == expected
    assert sorted(pnl for pnl in known(root)["A"] if pnl is not None) == expected


# --- in a shell -------------------------------------------------------------------------------------------------------


def run(*words: str, cwd: Path, module: bool = False) -> subprocess.CompletedProcess[str]:
    program = ["-m", "capital_governor.client"] if module else [str(CLIENT)]
    return subprocess.run(
        [sys.executable, "-I", *program, *words],
        cwd=cwd,
        env={},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("module", [True, False])
def test_the_same_in_a_shell(root: Path, module: bool) -> None:
    """The command writes the line that the function writes, says nothing, and its exit code is 0."""
    for words in (("-12.5",), ("3", "--at", "2025-11-03T21:14:07Z", "--id", "7"), ("none", "--root", str(root))):
        ran = run("record", "Grid Bot", *words, cwd=root, module=module)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    found = files(root)
    assert all(name.startswith("Grid%20Bot.") for name in found)
    first, second, third = map(json.loads, "".join(found.values()).splitlines())
    assert (first["agent"], first["pnl"], third["pnl"]) == ("Grid Bot", -12.5, None)
    assert second == {"agent": "Grid Bot", "pnl": 3, "timestamp": "2025-11-03T21:14:07.000000Z", "id": "7"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("record", "A", "much"), 2, "PNL is 'much', and must be an amount such as 12.5 or -3, or none"),
        (("record", "A", "nan"), 2, "pnl=nan is neither an amount"),
        (("record", "A", "1", "--at", "noon"), 2, "--at is 'noon', and must be a time such as 2025-11-03T21:14:07Z"),
        (("record", "A", "1", "--at", "2025-11-03T21:14:07"), 2, "is not a datetime with a time zone"),
        (("record", "Ä", "1"), 2, "is no name of an agent"),
        (("record", "A"), 2, "PNL"),
        ((), 2, "COMMAND"),
        (("record", "A", "1", "--root", "elsewhere"), 78, "there is no folder elsewhere/state"),
    ],
)
def test_errors_in_a_shell(root: Path, words: tuple[str, ...], code: int, said: str) -> None:
    """Exit code 2 is for a wrong argument, 78 for what a person must see to; nothing is written."""
    ran = run(*words, cwd=root)
    assert (ran.returncode, ran.stdout) == (code, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list((root / "state").iterdir()) == []
