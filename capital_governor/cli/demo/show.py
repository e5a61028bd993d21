"""Runs the demo: the fleet trades, the supervised governor decides, and each scene waits for its cycle."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from rich.console import Console
from rich.live import Live

from capital_governor.cli.demo.demo_root import own_root
from capital_governor.cli.demo.progress import Progress
from capital_governor.cli.demo.scenes import DAYS, SCENES
from capital_governor.cli.demo.supervision import LOG, PROJECT, supervising
from capital_governor.cli.demo.view import demo_frame
from capital_governor.cli.typed import SCRIPT
from capital_governor.contracts.exit_codes import OK, UNEXPECTED
from capital_governor.hive.simulation import FAULTY, Fleet
from capital_governor.journal.protocol import LIVE, Entry, JournalUnavailableError
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite

JOURNAL: Final = Path("state", "capital_governor.sqlite3")
TICK_SECONDS: Final = 0.2
PATIENCE_CYCLES: Final = 60
"""How many cycles a scene may take beyond its planned time; in cycles, so that a busy machine fails no scene."""
SILENCE_SECONDS: Final = 120.0
"""How long there may be no new cycle."""
INTERRUPTED: Final = 130
PICTURE_COLUMNS: Final = 100


@dataclass(slots=True)
class Demo:
    """One demo on one root.

    Args:
        root: the demo's root.
        seconds: the planned length of the demo.
        supervisor: the process that keeps governor and hive running.
        fleet: the simulated fleet.
        progress: the progress of the demo.
        started: when it began, by the monotonic clock.
    """

    root: Path
    seconds: float
    supervisor: subprocess.Popen[bytes]
    fleet: Fleet
    progress: Progress
    started: float
    _seq: int = 0
    _ticked: float = 0.0
    _heard: float = 0.0
    _late_cycles: int = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self.started

    def tick(self) -> str:
        """Let the fleet trade, read the journal, begin the next scene if it is time; return what failed."""
        now = self.elapsed
        self._advance((now - self._ticked) * DAYS / self.seconds)
        self._ticked = now
        self.fleet.write(self.root, time.time())
        for entry in self._new_entries():
            self.progress.hear(entry, self.elapsed)
            self._heard = self.elapsed
            self._late_cycles += self._late
        return self._failure()

    @property
    def _late(self) -> bool:
        """Whether the current scene takes longer than planned."""
        scene = self.progress.scene
        if scene is None or self.progress.seen:
            return False
        return self.elapsed - self.progress.since > (scene.ends_day - scene.begins_day) * self.seconds / DAYS

    def _advance(self, days: float) -> None:
        """Move the fleet's clock, but not beyond the end of a scene whose cycle has not come."""
        progress = self.progress
        if progress.scene is None or (progress.seen and self.fleet.day >= progress.scene.ends_day):
            progress.begin(self.elapsed)
            self._late_cycles = 0
        if progress.scene is not None:
            self.fleet.run_to(min(self.fleet.day + days, progress.scene.ends_day - (0.0 if progress.seen else 1e-6)))
            progress.day = self.fleet.day

    def _new_entries(self) -> list[Entry]:
        """Return the new cycles in the journal; none while there is no journal yet."""
        path = self.root / JOURNAL
        if not path.exists():
            return []
        try:
            with closing(open_sqlite(path, read_only=True)) as journal:
                found = list(journal.entries(LIVE, after_seq=self._seq))
        except JournalUnavailableError:  # it is just being made
            return []
        self._seq = found[-1].seq if found else self._seq
        return found

    def _failure(self) -> str:
        scene = self.progress.scene
        if self.supervisor.poll() is not None:
            said = (self.root / LOG).read_text(errors="replace").strip().rpartition("\n")[2]
            why = f": {said}" if said else ""
            return f"the supervisor ended with exit code {self.supervisor.returncode}{why} (log: {self.root / LOG})"
        silent = self.elapsed - self._heard > SILENCE_SECONDS
        if scene is None or self.progress.seen or not (silent or self._late_cycles > PATIENCE_CYCLES):
            return ""
        logs = self.root / "logs"
        return f"the scene {scene.name!r} failed: {scene.awaits} did not come in time; the logs are in {logs}"


def show(folder: Path | None, seconds: float, seed: int, picture: Path | None) -> int:
    """Show the demo and return the exit code.

    Args:
        folder: the demo's root; None: ``.demo`` of the project.
        seconds: the planned length of the demo.
        seed: of the fleet.
        picture: the file for the last frame as an SVG; None: none.

    Raises:
        DemoError: it cannot be shown.
        OSError: the folder cannot be written.
    """
    console = Console(highlight=False)
    progress = Progress(seed)
    with _interruptible(), own_root((folder or PROJECT / ".demo").absolute()) as root:
        started = time.monotonic()
        try:
            with supervising(root) as supervisor, _ended_undisturbed():
                demo = Demo(root, seconds, supervisor, Fleet(seed), progress, started)
                live = console.is_terminal and not console.is_dumb_terminal
                failure = _on_terminal(demo, console) if live else _in_lines(demo)
        except KeyboardInterrupt:
            print("Ended early. Nothing is left running.", file=sys.stderr)  # noqa: T201 - what a command says
            return INTERRUPTED
    if picture is not None:
        _save(progress, picture)
    if failure:
        print(f"demo: {failure}", file=sys.stderr)  # noqa: T201
        return UNEXPECTED
    console.print("\n".join(farewell(root, time.monotonic() - started)), markup=False, soft_wrap=True)
    return OK


def farewell(root: Path, seconds: float) -> list[str]:
    """Return the last lines of the demo: where to look, and how to try it on a fleet of one's own."""
    governor, name, script = _shown(PROJECT / ".venv/bin/capital-governor"), _shown(root), _shown(SCRIPT)
    where = "this folder" if Path.cwd() == PROJECT else _shown(PROJECT)
    script = script if "/" in script else f"./{script}"
    return [
        f"All {len(SCENES)} scenes were seen in {seconds:.0f} s. Nothing is left running. Look at what it left:",
        f"  {governor} history --root {name}",
        f"  {governor} explain {FAULTY} --root {name}",
        f"Your own fleet (first, if it is not in {where}: export NEOLIGHT_ROOT=its folder):",
        f"  {script} check            is all there?",
        f"  {script} once --dry-run   what would it do now? Nothing is written",
        f"  {script} start            govern, and keep governing",
    ]


def _shown(path: Path) -> str:
    """Return a path for a shell in the current folder."""
    return shlex.quote(str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path))


def _on_terminal(demo: Demo, console: Console) -> str:
    with Live(console=console, auto_refresh=False) as live:
        return _play(demo, lambda: live.update(demo_frame(demo.progress, console.width), refresh=True))


def _in_lines(demo: Demo) -> str:
    told = 0

    def tell() -> None:
        nonlocal told
        for line in demo.progress.said[told:]:
            indent = "" if line.kind == "scene" else "  "
            print(f"{line.seconds:5.1f} s  {indent}{line.text}", flush=True)  # noqa: T201 - what the demo is for
        told = len(demo.progress.said)

    try:
        return _play(demo, tell)
    except BrokenPipeError:
        # The rest of the buffer must not be written again at exit, where the failure could not be caught.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "nobody reads any more what it says"


def _play(demo: Demo, show_it: Callable[[], object]) -> str:
    """Advance the demo and show it until it ends or something fails; return what failed."""
    while True:
        failure = demo.tick()
        show_it()
        if failure or demo.progress.over:
            return failure
        time.sleep(TICK_SECONDS)


def _save(progress: Progress, picture: Path) -> None:
    with Path(os.devnull).open("w") as nowhere:
        console = Console(
            record=True, width=PICTURE_COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor"
        )
        console.print(demo_frame(progress, PICTURE_COLUMNS))
        drawn = console.export_svg(title="./neo_light_fix.sh demo")
    # Without web fonts, so that the picture loads nothing.
    picture.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))


@contextmanager
def _interruptible() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the demo as Ctrl-C does."""

    def interrupt(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    endings = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in endings}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _ended_undisturbed() -> Iterator[None]:
    """Ignore further signals while the demo ends, so that it leaves nothing running."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with suppress(ValueError):
                signal.signal(number, signal.SIG_IGN)
