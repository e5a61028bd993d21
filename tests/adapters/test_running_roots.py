"""The roots of running governors, from what the kernel shows of processes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from capital_governor.adapters.running_roots import running_roots
from tests.rigs.commands import NOWHERE, command, environment
from tests.rigs.patience import PATIENCE_SECONDS, wait_until


def process(folder: Path, command: str, cwd: str = "/here", environment: str = "HOME=/root") -> None:
    """Write what the kernel shows of a process; words are separated by blanks."""
    folder.mkdir(parents=True)
    for name, text in (("cmdline", command), ("environ", environment)):
        (folder / name).write_bytes(b"".join(word.encode() + b"\0" for word in text.split()))
    (folder / "cwd").symlink_to(cwd)


@pytest.mark.parametrize(
    ("command", "environment", "root"),
    [
        ("python -I -m capital_governor run", "A=1 NEOLIGHT_ROOT=/fleet", "/fleet"),
        ("/venv/python /venv/bin/capital-governor run --root /a --dry-run", "NEOLIGHT_ROOT=/fleet", "/a"),
        ("python -m capital_governor run --root=/a", "", "/a"),
        ("python -m capital_governor run --root below", "", "/here/below"),
        ("python -m capital_governor run", "", "/here"),
        ("python -I -m capital_governor.supervisor bash x.sh --root", "NEOLIGHT_ROOT=/fleet", "/fleet"),
        ("python -m capital_governor status --root /a", "", None),
        ("less capital_governor run", "", None),
        ("vi run capital-governor", "", None),
        ("", "", None),
    ],
)
def test_which_processes_have_a_root(tmp_path: Path, command: str, environment: str, root: str | None) -> None:
    """A governor's is in its command line, its environment, or its current folder; other programs have none."""
    process(tmp_path / "12", command, environment=environment)
    (tmp_path / "self").mkdir()
    (tmp_path / "13").mkdir()  # it has just ended
    assert list(running_roots(tmp_path)) == ([] if root is None else [Path(root)])


def test_without_such_a_folder_there_are_none(tmp_path: Path) -> None:
    """Other systems than Linux have no such folder."""
    assert list(running_roots(tmp_path / "missing")) == []


def test_a_running_governor_is_found(tmp_path: Path) -> None:
    """The real kernel shows the root of a governor that runs, and no longer when it has ended."""
    process = subprocess.Popen(command("run", "--root", tmp_path), env=environment(NOWHERE), stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: tmp_path in running_roots())
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
    assert tmp_path not in running_roots()
