"""How long the commands take that an operator types in a hurry, from the shell's start of them to their end."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
import time
import zlib
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.benchmarks.measures import Table, dashboard_apart, medians_in_turn
from tests.rigs.night import whole_night

pytestmark = pytest.mark.bench

TURNS: Final = 15
AIM_SECONDS: Final = 0.3
PYTHON: Final = [sys.executable, "-P"]
COMMANDS: Final = ("status", "hold --for 1h", "limits", "resume", "limit Agent00001 --max 0.1", "unlimit Agent00001")


def seconds(words: list[str], environment: dict[str, str]) -> float:
    """Return how long a process takes; ``status`` ends with 75 where no governor runs."""
    start = time.perf_counter()
    done = subprocess.run([*PYTHON, *words], env=environment, capture_output=True, check=False)
    taken = time.perf_counter() - start
    assert done.returncode in {0, 75}, done.stderr
    return taken


def processor_seconds(words: list[str], environment: dict[str, str]) -> float:
    """Return the processor time of a process: at rest this is how long it takes, and other load adds little."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds(words, environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_commands(table: Table, tmp_path: Path) -> None:
    """Each command as a whole on a root of three agents, its bytecode cached as it is for everybody."""
    environment = {"PATH": os.defpath, "PYTHONPYCACHEPREFIX": str(tmp_path / "cache")}
    root = tmp_path / "root"
    root.mkdir()
    program = ["-m", "capital_governor"]
    with dashboard_apart(3) as dashboard:
        once = [*program, "once", "--root", str(root)]
        seconds(once, environment | {"NEOLIGHT_DASHBOARD_URL": dashboard.url})
    measured = [partial(seconds, [*program, *words.split(), "--root", str(root)], environment) for words in COMMANDS]
    bare = partial(seconds, ["-c", "pass"], environment)
    for each in (bare, *measured):
        each()
    base, *medians = medians_in_turn(bare, *measured, turns=TURNS)
    table.add("start of Python alone", base, "s")
    for words, median in zip(COMMANDS, medians, strict=True):
        table.add(f"`{words.split()[0]}` as a whole command", median, "s", AIM_SECONDS)


DAYS: Final = 347
"""So many days of 288 cycles are 100,000 cycles."""
LOOKS: Final = (
    *("status", "history", "history SmartTrader", "decisions"),
    *("history --since 9999d", "history SmartTrader --since 9999d", "decisions --since 9999d"),
)


def year(root: Path) -> None:
    """Fill a journal with 100,000 cycles: each day has the events of one night, and then repeats its last cycle."""
    night = whole_night(root)
    plain = sqlite3.connect(root / "state" / "capital_governor.sqlite3")
    names = [row[1] for row in plain.execute("PRAGMA table_info(cycles)") if row[1] != "seq"]
    cycles = [dict(zip(names, row, strict=True)) for row in plain.execute(f"SELECT {', '.join(names)} FROM cycles")]  # noqa: S608 - own words
    published = plain.execute("SELECT book, generation, at, reached, digest, doc FROM publications").fetchall()
    plain.execute("DELETE FROM cycles")
    plain.execute("UPDATE states SET published = NULL")
    plain.execute("DELETE FROM publications")
    fill = f"INSERT INTO cycles ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - own words
    for day in range(DAYS):
        earlier, first = 86_400.0 * (DAYS - 1 - day) + night.now - time.time(), day * len(published)
        rows = [dict(cycle) for cycle in cycles]
        rows += [cycles[-1] | {"at": cycles[-1]["at"] + 300.0 * n, "facts": None} for n in range(1, 289 - len(cycles))]
        for row in rows:
            row |= {"at": row["at"] - earlier, "published": row["published"] + first}
            row["generation"] = None if row["generation"] is None else row["generation"] + first
        plain.executemany(fill, [[*row.values()] for row in rows])
        for book, generation, at, reached, digest, doc in published:
            said = json.loads(zlib.decompress(doc)) | {"generation": generation + first, "at": at - earlier}
            new = (book, generation + first, at - earlier, reached, digest, zlib.compress(json.dumps(said).encode(), 1))
            insert = "INSERT INTO publications (book, generation, at, reached, digest, doc) VALUES (?, ?, ?, ?, ?, ?)"
            plain.execute(insert, new)
    plain.commit()
    plain.close()


def test_looks_at_a_long_journal(table: Table, tmp_path: Path) -> None:
    """Each command as a whole on a journal of 100,000 cycles, of which one in 15 differs from the one before."""
    environment = {"PATH": os.defpath, "PYTHONPYCACHEPREFIX": str(tmp_path / "cache")}
    root = tmp_path / "root"
    root.mkdir()
    year(root)
    program = ["-m", "capital_governor"]
    looks = [[*program, *words.split(), "--root", str(root)] for words in LOOKS]
    measured = [partial(processor_seconds, look, environment) for look in looks]
    for each in measured:
        each()
    for words, median in zip(LOOKS, medians_in_turn(*measured, turns=5), strict=True):
        aim = AIM_SECONDS if "since" not in words else None
        table.add(f"`{words}` on 100,000 cycles, processor time", median, "s", aim)
