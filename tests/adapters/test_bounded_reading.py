"""A read has an end: neither a FIFO, a device nor a file of any length holds it up."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from capital_governor.adapters.bounded_reading import NotAFile, read_bounded
from tests.rigs.odd_files import make_odd, open_files, within


def test_read_is_none_only_for_what_is_missing(tmp_path: Path) -> None:
    """A missing file is None, an empty one is empty, a folder that is a file is an error."""
    (tmp_path / "empty").write_bytes(b"")
    assert read_bounded(tmp_path / "gone") is None
    assert read_bounded(tmp_path / "empty") == b""
    with pytest.raises(NotADirectoryError):
        read_bounded(tmp_path / "empty" / "x")


def test_read_has_a_bound(tmp_path: Path) -> None:
    """A file of the permitted length is read, one byte more is an error."""
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bounded(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="longer than 4 bytes") as caught:
        read_bounded(tmp_path / "a", 4)
    assert caught.value.errno == errno.EFBIG


def test_read_of_an_endless_device_is_refused() -> None:
    """/dev/zero behind the name is refused rather than read."""
    with within(2), pytest.raises(NotAFile):
        read_bounded(Path("/dev/zero"))


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_read_neither_blocks_nor_leaks(tmp_path: Path, kind: str) -> None:
    """What is no file is refused at once, and its descriptor closed."""
    make_odd(kind, tmp_path / "odd")
    before = open_files()
    with within(2), pytest.raises(NotAFile):
        read_bounded(tmp_path / "odd")
    assert open_files() == before
