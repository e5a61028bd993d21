"""The ledger itself, and how a run with it ends: in test runs of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.promises.ledger import CHAPTER, PROMISES, REPOSITORY, Account, Ledger, require
from tests.rigs.patience import PATIENCE_SECONDS

SOME_TESTS = """
import pytest
from tests.promises.ledger import require

def test_p01_kept(promise):
    promise.figure("torn / reads = 0 / 7")
    with promise.mutant("in place"):
        require(False, "torn")

def test_p02_broken(promise):
    promise.figure("kill points 3")
    require(False, "a torn file")

def test_p03_not_caught(promise):
    promise.figure("states 9")
    with promise.mutant("no fsync"):
        pass

def test_p04_skipped(promise):
    pytest.skip("no strace here")

@pytest.mark.long
def test_p05_long(promise):
    promise.figure("long form")
"""


def run(folder: Path, *arguments: str, ci: str = "false") -> tuple[int, dict[str, str]]:
    """Run the tests above under the hooks of this project; return the exit code and the table's rows by promise."""
    (folder / "conftest.py").write_text((REPOSITORY / "tests/conftest.py").read_text())
    (folder / "test_some.py").write_text(SOME_TESTS)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\nmarkers =\n    long: long\n")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(folder), *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"CI": ci, "README_REFRESH": "0", "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    rows = [line for line in ended.stdout.partition(" promises ")[2].splitlines() if line.startswith("P")]
    return ended.returncode, {line.split()[0]: line for line in rows}


def test_the_table_tells_promise_by_promise(tmp_path: Path) -> None:
    """Figures and mutants of each are shown; an uncaught mutant breaks a promise; what nobody showed is missing."""
    code, rows = run(tmp_path)
    assert code == 1
    assert len(rows) == len(PROMISES)
    assert rows["P1"].split()[1:3] == ["kept", "1/1"]
    assert rows["P1"].endswith("torn / reads = 0 / 7")
    assert rows["P2"].split()[1:3] == ["BROKEN", "0/0"]
    assert rows["P3"].split()[1:3] == ["BROKEN", "0/1"]
    assert [rows[name].split()[1] for name in ("P4", "P5", "P22")] == ["missing"] * 3


def test_a_skip_fails_and_long_forms_run_where_ci_is_true(tmp_path: Path) -> None:
    """With CI=true nothing is left out: the skipped test counts as broken, and the long form is shown."""
    code, rows = run(tmp_path, "-k", "p04 or p05", ci="true")
    assert (code, rows["P4"].split()[1], rows["P5"].split()[1]) == (1, "BROKEN", "unproven")


def test_a_run_in_two_processes_has_one_table(tmp_path: Path) -> None:
    """What each of xdist's processes has seen of the promises is put together."""
    (together := tmp_path / "together").mkdir()
    (apart := tmp_path / "apart").mkdir()
    assert run(apart, "-n", "2") == run(together)


def test_a_mutant_has_to_break_the_promise_itself() -> None:
    """An error that is not the check's own verdict is no catch, and comes through."""
    account = Account()
    with pytest.raises(AssertionError, match="not within"), account.mutant("slow"):
        raise AssertionError("not within 10 s")
    with account.mutant("torn"):
        require(kept=False, found="3 torn reads")
    assert account.mutants == {"slow": False, "torn": True}


def test_tests_of_other_names_are_no_promises() -> None:
    """Only ``test_pNN_`` names a promise, and a run without any has no table."""
    ledger = Ledger()
    ledger.note("test_paths_are_known", "passed")
    ledger.note("test_p1_short", "passed")
    assert not ledger.used


def shown_promises() -> Ledger:
    """A ledger in which every promise is kept, with one mutant caught each."""
    ledger = Ledger()
    for number, account in ledger.accounts.items():
        account.figure(f"figure of {number}")
        account.passed, account.mutants["worse"] = 1, True
    return ledger


def test_the_chapter_is_refreshed_by_a_run_that_shows_everything() -> None:
    """What an earlier run has shown is replaced, all around it stays; a second time changes nothing."""
    ledger = shown_promises()
    before = "a\n\n## Promises\n\nShown on 2025-11-03: earlier.\n\n- earlier\n\n## After\n\nz\n"
    assert ledger.complete
    after = ledger.refreshed(before)
    assert "earlier" not in after
    every = len(PROMISES)
    assert f"{every} of {every} promises kept, mutants caught / tried {every}/{every}." in after
    assert "- **P7** exactly one governor per root: *figure of 7*; mutants caught 1 of 1\n" in after
    assert (after[:16], after[-14:]) == (before[:16], before[-14:])
    assert ledger.refreshed(after) == after
    last = before.partition("\n## After")[0]
    assert ledger.refreshed(last) == after.partition("\n## After")[0]
    ledger.accounts[7].failed = 1
    assert not ledger.complete


def test_the_chapter_has_every_promise_as_kept() -> None:
    """The chapter lists all promises in the words of the ledger, with a figure and all mutants caught."""
    items = re.findall(r"^- \*\*P(\d+)\*\* (.*(?:\n  .*)*)", CHAPTER.read_text(), re.MULTILINE)
    found = {int(number): " ".join(text.split()) for number, text in items}
    assert list(found) == list(PROMISES)
    for number, text in found.items():
        match = re.fullmatch(re.escape(PROMISES[number]) + r": \*.+\*; mutants caught (\d+) of (\d+)", text)
        assert match, text
        assert match[1] == match[2] != "0"
