"""The ledger of the promises: what each promise test measured, and which mutants of the product it caught.

A test of a promise is called ``test_pNN_...`` and takes the fixture ``promise``:

    def check_reads(replace):                              # one check, for the product and for its mutants
        ...
        require(torn == 0, f"{torn} torn reads")
        return reads

    def test_p01_no_read_is_torn(promise):
        promise.figure(f"torn / reads = 0 / {check_reads(replace):,}")
        with promise.mutant("written in place"):           # the same check has to break here, and by ``require``
            check_reads(in_place)

After the run a table shows promise by promise the figures and the mutants caught and tried. What no test has shown is
"missing", what no mutant was tried on is "unproven", and what a failed test belongs to is "BROKEN".

README_REFRESH=1 in the environment puts what a run has shown into docs/promises.md, if that is every promise.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).resolve().parents[2]
PROMISES: Final[Mapping[int, str]] = {
    1: "a read is the whole old or the whole new file",
    2: "kill -9 before any system call leaves valid files",
    3: "power loss leaves old or new",
    4: "both files converge within one cycle of a crash",
    5: "a failing disk leaves the old files, and nothing else",
    6: "mode, owner and symlink survive",
    7: "exactly one governor per root",
    8: "an outage of Telegram delays no cycle",
    9: "every reallocation is told at least once",
    10: "bad data adds capital to nobody, and a missing regime no exposure",
    11: "paused means no new generation and no write, but for an operator's cut",
    12: "STOP stops publication right before the rename",
    13: "the gate refuses what the allocator got wrong",
    14: "no more moves than the brakes allow, and what is given back waits for COOLDOWN",
    15: "a fetch ends within its deadline and byte cap",
    16: "SIGTERM ends it within 2 s in any phase",
    17: "a clock jump or a suspend is one cycle to catch up",
    18: "a failing log or journal stops no cycle",
    19: "liveness follows completed cycles",
    20: "secrets appear nowhere",
    21: "a rival writer is overruled once a cycle at most",
    22: "a permanent error has exit code 78 and no restart loop",
    23: "after the last fault it governs again within a stated number of cycles",
    24: "what a person tightens is published in the next cycle of every hold but STOP, and raises nobody",
    25: "a move is told when agents can see it, and when it is off",
    26: "no reader of output stops a cycle or a signal",
    27: "silence gives capital to nobody until a person says so or RELEASE_AFTER is over",
}
CHAPTER: Final = REPOSITORY / "capital_governor" / "docs" / "promises.md"
CHAPTER_WIDTH: Final = 120
_NAME: Final = re.compile(r"test_p(\d\d)_")
_SHOWN: Final = re.compile(r"^Shown on .*?(?=\n## |\Z)", re.MULTILINE | re.DOTALL)


class BrokenPromiseError(AssertionError):
    """A check found that a promise is not kept."""


def require(kept: object, found: str) -> None:
    """Go on if ``kept``, else break the promise with what was ``found``."""
    if not kept:
        raise BrokenPromiseError(found)


def number_of(test: str) -> int | None:
    """Return the number of the promise that a test of this name is about; None if it is about none."""
    match = _NAME.match(test)
    return int(match[1]) if match else None


@dataclass(slots=True)
class Account:
    """What the tests of one promise have reported."""

    figures: list[str] = field(default_factory=list)
    mutants: dict[str, bool] = field(default_factory=dict)
    passed: int = 0
    failed: int = 0

    @property
    def verdict(self) -> str:
        if self.failed:
            return "BROKEN"
        if not (self.passed and self.figures):
            return "missing"
        return "kept" if self.mutants else "unproven"

    def figure(self, text: str) -> None:
        """Report a figure of this promise, with its unit; also print it."""
        print(text)  # noqa: T201 - what a promise test is for
        self.figures.append(text)

    @contextmanager
    def mutant(self, name: str, found: str = "") -> Iterator[None]:
        """Run a check on a mutant of the product: it must break the promise, and by nothing else than ``require``.

        ``found`` has to be in what was found, so that it was caught for its own fault.
        """
        self.mutants[name] = False
        try:
            yield
        except BrokenPromiseError as broken:
            if found not in str(broken):
                pytest.fail(f"the mutant {name!r} was caught for another fault: {broken}")
            print(f"mutant {name!r} caught: {broken}")  # noqa: T201 - shows that it was caught for its own fault
            self.mutants[name] = True
        else:
            pytest.fail(f"the mutant {name!r} keeps the promise as far as this check sees")


@dataclass(slots=True)
class Ledger:
    """The accounts of all promises over a test run."""

    accounts: dict[int, Account] = field(default_factory=lambda: {number: Account() for number in PROMISES})
    used: bool = False

    def note(self, test: str, outcome: str) -> None:
        """Note how a test ended; tests of no promise are ignored."""
        number = number_of(test)
        if number is None:
            return
        self.used = True
        if outcome == "passed":
            self.accounts[number].passed += 1
        elif outcome == "failed":
            self.accounts[number].failed += 1

    def add(self, other: Ledger) -> None:
        """Add what another process has noted in the same run."""
        self.used = self.used or other.used
        for number, account in other.accounts.items():
            own = self.accounts[number]
            own.figures += account.figures
            own.mutants |= account.mutants
            own.passed += account.passed
            own.failed += account.failed

    def to_json(self) -> str:
        """Return this ledger in a form that another process can read."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Ledger:
        """Return the ledger that ``to_json`` wrote."""
        fields = json.loads(text)
        return cls({int(number): Account(**account) for number, account in fields["accounts"].items()}, fields["used"])

    def lines(self) -> list[str]:
        """Return the table, promise by promise."""
        rows = []
        for number, account in self.accounts.items():
            mutants = f"{sum(account.mutants.values())}/{len(account.mutants)}"
            figures = "; ".join(account.figures)
            rows.append((f"P{number}", account.verdict, mutants, PROMISES[number], figures))
        head = ("", "", "mutants", "promise", "figure")
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(4)]
        table = [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
            for row in [head, *rows]
        ]
        return [_when_and_what(), *table, self._sum()]

    @property
    def complete(self) -> bool:
        """Whether every promise was shown to be kept."""
        return all(account.verdict == "kept" for account in self.accounts.values())

    def refreshed(self, chapter: str) -> str:
        """Return the text of the promises' chapter with what this run has shown in place of what an earlier one had."""
        items = [
            textwrap.fill(
                f"- **P{number}** {PROMISES[number]}: *{'; '.join(account.figures)}*; mutants caught"
                f" {sum(account.mutants.values())} of {len(account.mutants)}",
                width=CHAPTER_WIDTH,
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            for number, account in self.accounts.items()
        ]
        shown = "\n".join([f"Shown on {_when_and_what()}: {self._sum()}.", "", *items, ""])
        found = _SHOWN.subn(lambda _: shown, chapter)
        assert found[1] == 1, "docs/promises.md has no place for what was shown"
        return found[0]

    def _sum(self) -> str:
        caught = sum(sum(account.mutants.values()) for account in self.accounts.values())
        tried = sum(len(account.mutants) for account in self.accounts.values())
        kept = sum(account.verdict == "kept" for account in self.accounts.values())
        return f"{kept} of {len(self.accounts)} promises kept, mutants caught / tried {caught}/{tried}"


def _when_and_what() -> str:
    """Return the date and, where git knows it, the commit."""
    today, git = f"{datetime.now(UTC):%Y-%m-%d}", shutil.which("git")
    if git is None:
        return today
    asked = subprocess.run(
        [git, "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    return f"{today}, commit {asked.stdout.strip()}" if asked.returncode == 0 else today
