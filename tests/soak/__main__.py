"""The real supervisor, hive and governor among faults, and a table: ``./neo_light_fix.sh test --soak --help``.

The fleet that the hive tells of is the simulation's, on a fast clock.

Exit code 0 if every promise was kept, else 1, with what was found and the folder that has everything.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tests.soak.chat import ChatStation
from tests.soak.faults import FAULTS, NEEDS, SMALL_DISK
from tests.soak.fleet import FleetStation
from tests.soak.lanes import ENOUGH_SECONDS, lane, main_lane, rival_lane, telegram_lane
from tests.soak.ledger import COPY_SECONDS, Ledger
from tests.soak.orders import knows
from tests.soak.plant import GOVERNOR, Beat, Burden, Plant
from tests.soak.stage import PATIENCE_SECONDS, Stage
from tests.soak.station import Station
from tests.soak.verdict import MOST_CYCLES, Findings, Verdict, differ, judge

PROGRESS_SECONDS: Final = 10.0
SETTLE_SECONDS: Final = 20.0
NAMESPACE: Final = "--in-a-mount-namespace"
UNSHARE: Final = ("unshare", "--mount", "--propagation", "private")


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a program's output


class Soak:
    """One soak below ``home``."""

    def __init__(self, home: Path, minutes: float, seed: int, kinds: list[str], *, small_disk: bool) -> None:
        self._home = home
        self._kinds = kinds
        self._minutes = minutes
        self._seed = seed
        self._small_disk = small_disk
        self._began = time.monotonic()
        self._now = ""

    def run(self) -> Verdict:
        """Have it all, from start to table."""
        with ExitStack() as stack:
            fleet = stack.enter_context(FleetStation(self._seed))
            chat = stack.enter_context(ChatStation())
            environment = {"NEOLIGHT_DASHBOARD_URL": fleet.url} | chat.environment
            plant = Plant(self._home, environment, fleet.hive_url, small_disk=self._small_disk)
            stack.callback(plant.clear)
            reader = stack.enter_context(Station("tests.soak.reader", str(plant.primary), str(plant.override)))
            dice = random.Random(self._seed)  # noqa: S311 - weather, not secrets
            stage, burden = Stage(plant, Ledger(plant.journal), fleet, chat, dice), Burden()
            try:
                with fleet.feeding(plant.root):
                    verdict = self._soak(stage, burden, reader)
            except BaseException:
                self._keep(plant)
                raise
            if verdict.wrong:
                self._keep(plant)
            return verdict

    def _soak(self, stage: Stage, burden: Burden, reader: Station) -> Verdict:
        plant = stage.plant
        plant.start()
        with beating(stage, burden, partial(self._progress, stage, reader)):
            if not stage.until(lambda: plant.primary.exists() and plant.override.exists()):
                raise RuntimeError(f"nothing was published at the start: {plant.site.log('capital_governor')}")
            skipped = self._weather(stage)
            pending = self._settle(stage)
        plant.stop()
        stage.ledger.copy(at_rest=True)
        findings = Findings(
            minutes=(time.monotonic() - self._began) / 60,
            seed=self._seed,
            read=reader.order("stats"),
            taken=stage.chat.order("taken"),
            hive=stage.fleet.order("counts"),
            differ=differ(stage),
            pending=pending,
            logged=plant.logged(),
            troubles=plant.troubles(),
            left=list(plant.site.processes().values()),
            skipped=skipped,
        )
        return judge(stage, burden, findings)

    def _weather(self, stage: Stage) -> dict[str, str]:
        """Have the faults, and return which could not be had, and why."""
        skipped = {kind: f"no command '{word}'" for kind, word in NEEDS.items() if not knows(word)}
        if not self._small_disk:
            skipped[SMALL_DISK] = "needs root and 'unshare' for a small disk of its own"
        kinds = [kind for kind in self._kinds if kind not in skipped]
        seconds = max(30.0, self._minutes * 60 - SETTLE_SECONDS - (time.monotonic() - self._began))
        part = min(1.0, seconds / ENOUGH_SECONDS)
        lanes = [
            threading.Thread(target=lane, args=(stage, partial(work, stage, random.Random(seed), part)))  # noqa: S311
            for seed, work in enumerate((telegram_lane, rival_lane), start=self._seed + 1)
        ]
        for each in lanes:
            each.start()
        try:
            lane(stage, partial(main_lane, stage, kinds, seconds, self._have))
        finally:
            stage.over.set()
            for each in lanes:
                each.join(PATIENCE_SECONDS)
            stage.over.clear()
        had = {window.kind for window in stage.windows}
        return skipped | {kind: "the soak was too short for it" for kind in kinds if kind not in had}

    def _settle(self, stage: Stage) -> int:
        """Let the sky clear and all that is to be told arrive; return how much did not."""
        self._have("settling")
        stage.fleet.order("still")
        stage.rested = time.time()

        def done() -> bool:
            rows = stage.ledger.since(stage.rested)
            return len(rows) > MOST_CYCLES or (len(rows) > 5 and rows[-1].governed)

        if not stage.until(done):
            stage.found.append("no five cycles within a minute under a clear sky")
        stage.delivered()
        return int(stage.plant.standing()["notices_pending"])

    def _have(self, kind: str) -> None:
        self._now = kind

    def _progress(self, stage: Stage, reader: Station) -> None:
        read = reader.order("stats")
        figures = (
            f"cycles {len(stage.ledger.cycles())}, moves {len(stage.ledger.moves())}, pending {stage.ledger.pending()},"
            f" reads {read['reads']}, torn {read['torn']}, faults {len(stage.windows)}, wrong {len(stage.found)}"
        )
        say(f"{time.monotonic() - self._began:5.0f} s  {figures}" + (f", now: {self._now}" if self._now else ""))

    def _keep(self, plant: Plant) -> None:
        """Copy what the small disk has, for it goes with this process."""
        plant.free()
        shutil.copytree(plant.root, self._home / "root at the end", symlinks=True)


@contextmanager
def beating(stage: Stage, burden: Burden, progress: partial[None]) -> Iterator[None]:
    """Copy the journal, measure the governor and say how it goes, for as long as the block lasts."""

    def measure() -> None:
        pid = stage.plant.pid(GOVERNOR)
        if pid is not None:
            burden.sample(pid)

    beats = [Beat(COPY_SECONDS, stage.ledger.copy), Beat(1.0, measure), Beat(PROGRESS_SECONDS, progress)]
    for beat in beats:
        beat.start()
    try:
        yield
    finally:
        for beat in beats:
            beat.end()


def arguments(words: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="neo_light_fix.sh test --soak", allow_abbrev=False)
    parser.add_argument("minutes", type=float, metavar="MINUTES", help="about how long, from 1 on")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the weather; default 1")
    known = ", ".join(f"'{kind}'" for kind in FAULTS)
    parser.add_argument(
        "--only", action="append", choices=list(FAULTS), metavar="KIND", help=f"may be given again: {known}"
    )
    parser.add_argument(NAMESPACE, action="store_true", help=argparse.SUPPRESS)
    found = parser.parse_args(words)
    if not 1 <= found.minutes <= 10_080:
        parser.error(f"MINUTES is {found.minutes}: it takes 1 to 10080")
    return found


def may_mount() -> bool:
    """Whether a mount namespace of our own can be had."""
    if os.geteuid() != 0 or shutil.which(UNSHARE[0]) is None:
        return False
    return subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode == 0


def main(words: list[str]) -> int:
    """Soak, show the table, and return the exit code."""
    told = arguments(words)
    inside = bool(told.in_a_mount_namespace)
    if not inside and may_mount():
        os.execvp(UNSHARE[0], [*UNSHARE, sys.executable, "-m", "tests.soak", NAMESPACE, *words])  # noqa: S606
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that no process is left
    home = Path(tempfile.mkdtemp(prefix="soak-"))
    say(f"soaking for {told.minutes:g} minutes with seed {told.seed} below {home}")
    verdict = Soak(home, told.minutes, told.seed, told.only or list(FAULTS), small_disk=inside).run()
    say(f"\n{verdict.text()}\n")
    if not verdict.wrong:
        shutil.rmtree(home)
        say("all promises kept")
        return 0
    for wrong in verdict.wrong:
        say(f"WRONG  {wrong}")
    say(f"everything is in {home}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
