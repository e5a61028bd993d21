"""`status --watch`: the fleet on a terminal, redrawn as it changes, and in order when it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from rich.cells import cell_len
from rich.text import Text

from capital_governor.cli.watch_frame import Seen, frame
from capital_governor.core.model import Metrics
from tests.rigs.commands import NOWHERE, call, command, environment, loaded, run_to_end, tree
from tests.rigs.daemon import Daemon
from tests.rigs.dashboard import FLEET, fresh
from tests.rigs.night import Night
from tests.rigs.ordered_root import Place
from tests.rigs.patience import PATIENCE_SECONDS, wait_until

ON, OFF = "\x1b[?1049h", "\x1b[?1049l"
"""What gives a program a screen of its own, and the terminal its own one back."""
COLOR = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ODD = ("[red]Bot[/red]", "交易機器人" * 6, "A" * 60)


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    with loaded():
        yield


class Watched:
    """`status --watch` of a root on a terminal, whose bytes are kept."""

    def __init__(self, root: Path, *arguments: str, columns: int = 80, rows: int = 24, **env: str) -> None:
        self.got = b""
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        words = command("status", "--root", root, "--watch", *arguments)
        self.process = subprocess.Popen(
            words, env=environment(NOWHERE, env), stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        self._listener.join(PATIENCE_SECONDS)
        os.close(self._master)

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # EIO: nobody is left on its other side
            while part := os.read(self._master, 65_536):
                self.got += part

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def text(self) -> str:
        return self.got.decode(errors="replace")

    def frame(self) -> list[str]:
        """The lines of the last whole frame."""
        *_, before, _ = self.text.split("\x1b[H")
        return ESCAPE.sub("", before).split("\r\n")

    def shows(self, text: str) -> None:
        """Wait until it has shown this, wrapped or not."""
        wait_until(lambda: text in " ".join(ESCAPE.sub("", self.text).split()))

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_SECONDS)
        self._listener.join(PATIENCE_SECONDS)
        return code


def recent(root: Path, fleet: dict[str, Metrics] | None = None, **settings: str) -> Night:
    """A root whose newest cycle is new."""
    given = {f"CAPITAL_GOVERNOR_{name}": value for name, value in {"INTERVAL": "3000", **settings}.items()}
    night = Night(root, given, time.time() - 3_000.0)
    night.pass_by(2, fleet=fleet)
    night.pass_by(1, fleet=fleet, risk=0.5, regime="BEAR")
    return night


def document(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = call(root, "status", "--json").json
    return found


def test_it_follows_the_fleet_until_ctrl_c(place: Place, governor: Daemon) -> None:
    """A cut of the market comes onto the screen; Ctrl-C gives the screen back, and the exit code is 0."""
    assert governor.process.poll() is None
    with Watched(place.root) as watched:
        watched.shows("Running, governing")
        watched.shows("generation 1,")
        place.dashboard.next(fresh(risk=0.5))
        watched.shows("generation 2,")
        watched.shows("exposure 50 %: market SIDEWAYS (risk 0.5)")
        assert watched.end() == 0
    assert watched.text.startswith(ON)
    assert watched.text.endswith(OFF)
    assert "Traceback" not in watched.text


def test_it_writes_over_the_former_frame(place: Place, governor: Daemon) -> None:
    """Nothing is erased before it is drawn, so that nothing flickers; and every frame fills the screen."""
    assert governor.process.poll() is None
    with Watched(place.root) as watched:
        wait_until(lambda: watched.text.count("\x1b[H") > 6)
        lines = watched.frame()
        assert watched.end() == 0
    assert not re.search(r"\x1b\[[0-9]*[JK]", watched.text)
    assert len(lines) == 24
    assert {len(line) for line in lines} == {80}


def test_it_writes_nothing(tmp_path: Path) -> None:
    """It only looks."""
    recent(tmp_path).end()
    before = tree(tmp_path)
    with Watched(tmp_path) as watched:
        watched.shows("Ctrl-C ends this")
        assert watched.end() == 0
    assert tree(tmp_path) == before


def test_colours(tmp_path: Path) -> None:
    """There are some, and none with NO_COLOR."""
    recent(tmp_path).end()
    for value, colored in (("", True), ("1", False)):
        with Watched(tmp_path, NO_COLOR=value) as watched:
            watched.shows("Ctrl-C ends this")
            watched.end()
        assert bool(COLOR.search(watched.text)) == colored


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_screen_back(tmp_path: Path, number: int) -> None:
    """Its own screen is left, and the cursor is shown again."""
    recent(tmp_path).end()
    with Watched(tmp_path) as watched:
        watched.shows("Ctrl-C ends this")
        assert watched.end(number) == 128 + number
    assert watched.text.endswith(f"\x1b[?25h{OFF}")


def test_a_terminal_that_grows(tmp_path: Path) -> None:
    """Too small a terminal is told what is needed; as soon as it has that, the fleet is there."""
    recent(tmp_path).end()
    with Watched(tmp_path, columns=60, rows=10) as watched:
        watched.shows("This needs 80 columns and 24 lines; the terminal has 60 and 10.")
        watched.resize(100, 30)
        watched.shows("Ctrl-C ends this")
        assert watched.end() == 0


def test_it_waits_for_a_governor(place: Place) -> None:
    """Where a governor is at its first cycle, it says so, and shows that cycle when it is completed."""
    place.begin()
    with Watched(place.root) as watched:
        watched.shows("is not a status file of this version")
        with Daemon(place.root, place.dashboard.url) as daemon:
            daemon.says("Allocations saved")
            watched.shows("generation 1,")
        watched.shows("CRASHED OR KILLED")
        assert watched.end() == 0


def test_where_it_cannot_be_shown(tmp_path: Path) -> None:
    """Without a terminal, or with --json, it is a usage error in words; without a governor, 78 as for `status`."""
    recent(tmp_path).end()
    said = run_to_end(command("status", "--watch", "--root", tmp_path))
    needs = "status: --watch needs a terminal that can be redrawn; for a program there is --json"
    assert (said.code, said.out, said.err) == (2, "", f"capital-governor: {needs}\n")
    with Watched(tmp_path, TERM="dumb") as watched:
        assert watched.process.wait(PATIENCE_SECONDS) == 2
    said = run_to_end(command("status", "--watch", "--json", "--root", tmp_path))
    assert (said.code, said.out) == (2, "")
    assert "cannot be given together" in said.err
    (tmp_path / "empty").mkdir()
    said = run_to_end(command("status", "--watch", "--root", tmp_path / "empty"))
    assert said.code == 78


@pytest.mark.parametrize("agents", [1, 4, 50, 500])
def test_a_frame_fits_every_terminal(tmp_path: Path, agents: int) -> None:
    """No line is wider and no frame higher than the terminal, whatever the names; the largest shares are shown."""
    names = [*ODD, *(f"Agent{number:03}" for number in range(agents))][:agents]
    shares = {name: (agents - place) / (agents * agents) for place, name in enumerate(names)}
    recent(tmp_path).end()
    there = document(tmp_path) | {"allocations": shares, "agents_now": []}
    decisions = [{"at": "2025-11-03T22:00:00Z", "outcome": "moved", "line": "moved: " + "why " * 99}] * 50
    for columns, rows in ((80, 24), (81, 25), (100, 30), (120, 50), (300, 100)):
        for seen in (Seen(there), Seen(there, decisions, ": it ends by itself"), Seen(problem="gone " * 100)):
            lines = frame(seen, columns, rows, time.time())
            assert len(lines) <= rows
            assert max(cell_len(line.plain) for line in lines) <= columns
            assert "Ctrl-C ends this" in lines[-1].plain
        text = plain(frame(Seen(there, decisions), columns, rows, time.time()))
        shown = [name for name in names if name[:8] in text]
        assert shown == names[: len(shown)]
        assert len(shown) >= min(agents, 4)
        assert ("more agents" in text) == (len(shown) < agents)


def plain(lines: list[Text]) -> str:
    return "\n".join(line.plain for line in lines)


def test_what_is_wrong_with_an_agent_is_in_its_line(tmp_path: Path) -> None:
    """Faulty, silent, and what is withheld; else the limit that binds."""
    night = recent(tmp_path)
    night.pass_by(1, faults={"NewsScalper": "winrate_30d is 65, not within 0..1"})
    night.end()
    there = document(tmp_path)
    rows = {line.plain.split()[0]: line.plain for line in frame(Seen(there), 80, 24, time.time()) if line.plain}
    assert rows["NewsScalper"].endswith("  faulty")
    assert rows["CryptoTrend"].endswith("  cap 40 %")
    assert "████" in rows["CryptoTrend"]
    ascii_only = plain(frame(Seen(there), 80, 24, time.time(), drawn=False))
    assert "████" not in ascii_only
    assert "####" in ascii_only


def test_an_agent_with_which_something_is_wrong_is_always_shown(tmp_path: Path) -> None:
    """Though its share is the smallest of a large fleet, of which the terminal shows few."""
    recent(tmp_path).end()
    there = document(tmp_path)
    (row, *_) = there["agents_now"]
    names = [f"Agent{number:03}" for number in range(200)]
    rows = [{**row, "agent": name, "fault": "no number" if name == "Agent150" else None} for name in names]
    there |= {"allocations": {name: (200 - at) / 40_000 for at, name in enumerate(names)}, "agents_now": rows}
    lines = [line.plain for line in frame(Seen(there), 80, 24, time.time())]
    agents = [line[:8] for line in lines if line.startswith("Agent")]
    assert agents == [*names[: len(agents) - 1], "Agent150"]
    (head,) = [line for line in lines if line.startswith("agent ")]
    assert " 0 to 1 % " in head  # the largest has 0.5 %
    assert " 0.50%  ██████████ " in next(line for line in lines if line.startswith("Agent000"))


def test_the_fleet_of_the_dashboard_is_the_one_that_is_shown(place: Place, governor: Daemon) -> None:
    """Each agent has its line, with the share of the allocation file."""
    assert governor.process.poll() is None
    with Watched(place.root) as watched:
        watched.shows("ScoutBot")
        wait_until(lambda: all(any(agent in line for line in watched.frame()) for agent in FLEET))
        lines = watched.frame()
        watched.end()
    for agent, share in place.shares().items():
        (line,) = [line for line in lines if line.startswith(f"{agent} ")]
        assert f" {share:.2%} " in line
