"""Where the files of one root are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from capital_governor.adapters.paths import Paths
from tests.rigs.odd_files import names


def test_paths_are_those_that_the_readers_know() -> None:
    """The three files lie in runtime/ under the root, and those of a dry run in a folder of their own."""
    live, dry = Paths(Path("/nl")), Paths(Path("/nl"), dry_run=True)
    assert [str(path) for path in (live.primary, live.override, live.status)] == [
        "/nl/runtime/capital_governor_allocations.json",
        "/nl/runtime/allocations_override.json",
        "/nl/runtime/capital_governor_status.json",
    ]
    assert {path.parent for path in (dry.primary, dry.override, dry.status)} == {Path("/nl/runtime/dry_run")}


def test_missing_folders_are_made_but_not_the_root(tmp_path: Path) -> None:
    """runtime/ and runtime/dry_run/ are created; a root that is gone (a disk not mounted) is an error."""
    Paths(tmp_path, dry_run=True).make_folder()
    assert (tmp_path / "runtime" / "dry_run").is_dir()
    with pytest.raises(FileNotFoundError):
        Paths(tmp_path / "gone").make_folder()


def test_new_folder_is_synced_into_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder that had to be made survives a power loss; one that is there already costs nothing."""
    real, synced = os.fsync, []

    def spy(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        real(fd)

    monkeypatch.setattr(os, "fsync", spy)
    paths = Paths(tmp_path, dry_run=True)
    paths.make_folder()
    paths.make_folder()
    assert synced == [tmp_path.stat().st_ino, (tmp_path / "runtime").stat().st_ino]


def test_sweep_of_a_root_goes_where_the_real_files_are(paths: Paths, tmp_path: Path) -> None:
    """Temporaries lie beside a symlink's real file, under its real name, and are found there."""
    (tmp_path / "real").mkdir()
    paths.override.symlink_to(tmp_path / "real" / "target.json")
    leftovers = (
        paths.folder / ".capital_governor_allocations.json.0123456789abcdef.tmp",
        tmp_path / "real" / ".target.json.0123456789abcdef.tmp",
        paths.folder / ".capital_governor_status.json.0123456789abcdef.tmp",
    )
    for leftover in leftovers:
        leftover.write_bytes(b"")
    assert paths.sweep() == (leftovers, "")
    assert names(tmp_path / "real") == []
