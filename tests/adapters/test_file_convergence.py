"""The two files are made equal to what is published, and a stranger's content is never taken for ours."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from capital_governor.adapters.bounded_reading import MAX_BYTES
from capital_governor.adapters.file_convergence import FileOutcome, converge
from capital_governor.adapters.paths import Paths
from tests.rigs.allocation_files import document, encoded
from tests.rigs.odd_files import make_odd, names, never, unprivileged, within

RIVAL = encoded({"allocations": {"BTC-USD": 0.6, "AAPL": 0.4}, "source": "rl_inference"})


def fingerprint(path: Path) -> tuple[int, int, bytes]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, path.read_bytes()


def test_first_publication_writes_both_files_and_makes_their_folder(tmp_path: Path) -> None:
    """With nothing there, both files are written, folder included."""
    paths = Paths(tmp_path, dry_run=True)
    result = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert (result.primary.outcome, result.override.outcome) == (FileOutcome.WRITTEN, FileOutcome.WRITTEN)
    assert (result.found, result.rival) == (None, False)
    assert (paths.primary.read_bytes(), paths.override.read_bytes()) == (b"1", b"2")


def test_equal_files_are_not_touched(paths: Paths) -> None:
    """What is equal already keeps inode and time stamp, and STOP is not even asked for."""
    converge(paths, b"1", b"2", policy="assert", stopped=never)
    before = [fingerprint(path) for path in (paths.primary, paths.override)]
    result = converge(paths, b"1", b"2", policy="assert", stopped=lambda: pytest.fail("nothing is to be written"))
    assert (result.primary.outcome, result.override.outcome) == (FileOutcome.UNCHANGED, FileOutcome.UNCHANGED)
    assert [fingerprint(path) for path in (paths.primary, paths.override)] == before


def test_longer_file_that_begins_like_ours_is_not_equal(paths: Paths) -> None:
    """Content that goes on after what is wanted is rewritten."""
    paths.primary.write_bytes(b"1" + b" ")
    assert converge(paths, b"1", b"2", policy="off", stopped=never).primary.outcome is FileOutcome.WRITTEN
    assert paths.primary.read_bytes() == b"1"


def test_primary_is_written_before_the_override(paths: Paths) -> None:
    """A reader never finds the new override beside the old primary."""
    order: list[tuple[bool, bool]] = []

    def look() -> bool:
        order.append((paths.primary.exists(), paths.override.exists()))
        return False

    converge(paths, b"1", b"2", policy="assert", stopped=look)
    assert order == [(False, False), (False, False), (True, False)]


@pytest.mark.parametrize(("asked", "written"), [(1, []), (2, []), (3, ["primary"]), (4, ["primary", "override"])])
def test_stop_is_heeded_before_writing_and_before_each_rename(paths: Paths, asked: int, written: list[str]) -> None:
    """A STOP that appears at any of the three questions stops everything after it, and leaves no temporary."""
    paths.primary.write_bytes(b"old")
    paths.override.write_bytes(b"old")
    answers = iter([False] * (asked - 1) + [True] + [False] * 9)  # and a STOP that is gone at once still holds
    result = converge(paths, b"1", b"2", policy="assert", stopped=lambda: next(answers))
    found = {"primary": paths.primary.read_bytes() == b"1", "override": paths.override.read_bytes() == b"2"}
    assert [name for name, new in found.items() if new] == written
    assert names(paths.folder) == [paths.override.name, paths.primary.name]
    outcomes = {"primary": result.primary.outcome, "override": result.override.outcome}
    assert {name for name, outcome in outcomes.items() if outcome is FileOutcome.STOPPED} == set(outcomes) - set(
        written
    )


def test_rival_is_overwritten_and_named_under_assert(paths: Paths) -> None:
    """Under assert another writer's override is rewritten, and the result says whose it was."""
    paths.override.write_bytes(RIVAL)
    result = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert (result.override.outcome, result.found, result.rival) == (FileOutcome.WRITTEN, "rl_inference", True)
    assert paths.override.read_bytes() == b"2"


def test_rival_is_only_told_under_report(paths: Paths) -> None:
    """Under report another writer's override stays, as does a missing one; the result says that it differs."""
    missing = converge(paths, b"1", b"2", policy="report", stopped=never)
    assert (missing.override.outcome, missing.found) == (FileOutcome.DIFFERS, None)
    assert not paths.override.exists()
    paths.override.write_bytes(RIVAL)
    result = converge(paths, b"1", b"2", policy="report", stopped=never)
    assert (result.override.outcome, result.found, result.rival) == (FileOutcome.DIFFERS, "rl_inference", True)
    assert paths.override.read_bytes() == RIVAL


def test_override_is_not_even_read_under_off(paths: Paths) -> None:
    """Under off the override may be anything at all."""
    make_odd("fifo", paths.override)
    result = converge(paths, b"1", b"2", policy="off", stopped=never)
    assert (result.primary.outcome, result.override.outcome) == (FileOutcome.WRITTEN, FileOutcome.SKIPPED)


@pytest.mark.parametrize(
    ("content", "found", "rival"),
    [
        (encoded(document(generation=40)), "capital_governor", False),
        (encoded({"source": "strategy_lab\x1b[31m\n" + "x" * 500}), "strategy_lab[31m" + "x" * 24, True),
        (encoded({"source": 7}), "", True),
        (b'{"source": "rl_inf', "", True),
        (b"", "", True),
    ],
    ids=["our own older one", "escapes and length", "no text", "torn", "empty"],
)
def test_other_writers_are_told_from_our_own_older_content(
    paths: Paths, content: bytes, found: str, rival: bool
) -> None:
    """Our previous generation is no rival; everything else is, and its name is short and printable."""
    paths.override.write_bytes(content)
    result = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert (result.found, result.rival, paths.override.read_bytes()) == (found, rival, b"2")


def test_what_is_known_to_be_our_own_is_not_parsed(paths: Paths) -> None:
    """The override as it was written last is ours whatever it says; anything else is told by its content."""
    paths.override.write_bytes(b"no JSON at all")
    result = converge(paths, b"1", b"2", policy="assert", stopped=never, own=b"no JSON at all")
    assert (result.found, result.rival, paths.override.read_bytes()) == ("capital_governor", False, b"2")
    paths.override.write_bytes(b"no JSON either")
    result = converge(paths, b"1", b"2", policy="assert", stopped=never, own=b"no JSON at all")
    assert (result.found, result.rival) == ("", True)


def test_override_of_any_length_is_replaced(paths: Paths) -> None:
    """A file that is too long to be read is a rival's, and is replaced like any other."""
    with paths.override.open("wb") as file:
        file.truncate(MAX_BYTES * 4)
    result = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert (result.override.outcome, result.rival) == (FileOutcome.WRITTEN, True)


@pytest.mark.parametrize("kind", ["folder", "fifo", "loop"])
@pytest.mark.parametrize("bad", ["primary", "override"])
def test_failure_of_one_file_does_not_stop_the_other(paths: Paths, kind: str, bad: str) -> None:
    """What is no file is told in a sentence that names it and the next step, and the other file is written."""
    broken, sound = (paths.primary, paths.override) if bad == "primary" else (paths.override, paths.primary)
    make_odd(kind, broken)
    with within(2):
        result = converge(paths, b"1", b"1", policy="assert", stopped=never)
    failed, written = (result.primary, result.override) if bad == "primary" else (result.override, result.primary)
    assert (failed.outcome, written.outcome, sound.read_bytes()) == (FileOutcome.FAILED, FileOutcome.WRITTEN, b"1")
    assert str(broken) in failed.problem
    assert "not a file" in failed.problem
    assert "move it away" in failed.problem


def test_failure_names_file_error_and_next_step(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is reported with the file's name, the error and what to do; the old files stay."""
    paths.primary.write_bytes(b"old")
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    result = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert result.primary.problem == (
        f"{paths.primary} could not be written: No space left on device (ENOSPC); free some space, "
        "the next cycle tries again."
    )
    assert (result.override.outcome, paths.primary.read_bytes()) == (FileOutcome.FAILED, b"old")
    assert names(paths.folder) == [paths.primary.name]
    monkeypatch.undo()
    assert converge(paths, b"1", b"2", policy="assert", stopped=never).primary.outcome is FileOutcome.WRITTEN


def test_report_tells_an_override_that_cannot_be_read(paths: Paths) -> None:
    """Under report a folder in the override's place is a failure, not a difference."""
    make_odd("folder", paths.override)
    result = converge(paths, b"1", b"2", policy="report", stopped=never)
    assert result.override.outcome is FileOutcome.FAILED
    assert "could not be read" in result.override.problem


def test_runtime_that_is_a_file_is_told(tmp_path: Path) -> None:
    """A file in the place of the folder fails both, and nothing is raised."""
    (tmp_path / "runtime").write_bytes(b"")
    result = converge(Paths(tmp_path), b"1", b"2", policy="assert", stopped=never)
    assert "move away what is in the place of its folder" in result.primary.problem
    assert result.override.outcome is FileOutcome.FAILED


def test_folder_that_may_not_be_written_is_told() -> None:
    """Without the right to write, the sentence says whose right is missing where."""
    root = Path(tempfile.mkdtemp())
    try:
        (root / "runtime").mkdir()
        root.chmod(0o755)
        (root / "runtime").chmod(0o555)
        with unprivileged():
            result = converge(Paths(root), b"1", b"2", policy="assert", stopped=never)
        assert f"(EACCES); let the governor's user write to the folder {root / 'runtime'}," in result.primary.problem
    finally:
        (root / "runtime").chmod(0o755)
        shutil.rmtree(root)


def test_a_name_that_is_too_long_is_told(paths: Paths) -> None:
    """A symlink to a name that leaves the temporary file no room: the sentence says what is to be shorter."""
    paths.primary.symlink_to("x" * 250)
    result = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert "(ENAMETOOLONG); give it, or what its symlink leads to, a shorter name" in result.primary.problem
    assert result.override.outcome is FileOutcome.WRITTEN


def test_an_override_that_may_not_be_read_is_told() -> None:
    """Under report the remedy for a file that cannot be read is the right to read it."""
    with tempfile.TemporaryDirectory() as name:
        paths = Paths(Path(name))
        Path(name).chmod(0o755)
        paths.make_folder()
        paths.folder.chmod(0o777)
        paths.override.write_bytes(b"{}")
        paths.override.chmod(0)
        with unprivileged():
            result = converge(paths, b"1", b"2", policy="report", stopped=never)
        assert (
            "could not be read: Permission denied (EACCES); let the governor's user read it" in result.override.problem
        )


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EROFS, "remount the file system writable"),
        (errno.EDQUOT, "raise the quota"),
        (errno.ELOOP, "remove the loop of symlinks"),
        (errno.ETXTBSY, "end the program that is run from this file"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ESTALE, "mount the network share again"),
        (errno.EXDEV, "on one file system"),
        (errno.ENOTCONN, "mount the file system again"),
        (errno.ENOSYS, "on a local disk"),
        (errno.ENOTSUP, "on a local disk"),
        (errno.EPERM, "lsattr shows them"),
    ],
)
def test_each_refusal_has_its_remedy(paths: Paths, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str) -> None:
    """Whatever the rename is refused with, the sentence names the file and what a person does about that."""

    def refuse(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number), source, None, target)

    monkeypatch.setattr(os, "replace", refuse)
    result = converge(paths, b"1", b"2", policy="assert", stopped=never)
    assert result.primary.problem.startswith(f"{paths.primary} could not be written: {os.strerror(number)} (")
    assert remedy in result.primary.problem
    assert names(paths.folder) == []
