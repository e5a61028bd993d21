"""The pause file and the STOP file: what cannot be read means "do not move"."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.adapters.interlocks import PAUSE_MAX_BYTES, read_pause, stop_present
from capital_governor.core.model import Pause
from tests.rigs.allocation_files import NOON
from tests.rigs.local_time import KOLKATA, NEW_YORK, local_time
from tests.rigs.odd_files import NOBODY, make_odd, within


@contextmanager
def forbidden(folder: Path) -> Iterator[None]:
    """Take away the right to enter a folder, from root too."""
    mode, root = folder.stat().st_mode, os.geteuid() == 0
    folder.chmod(0)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(mode)


@pytest.fixture
def pause_file(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "guardian_pause.json"


def assert_unknown(pause: Pause | None, path: Path) -> None:
    assert pause is not None
    assert (pause.paused, pause.until, pause.reason) == (True, None, "")
    assert pause.problem.startswith(str(path))
    assert pause.problem.endswith("paused until it is readable or gone")
    assert pause.problem.isprintable()


# --- the pause file ---------------------------------------------------------------------------------------------------


def test_no_file_is_no_pause(pause_file: Path) -> None:
    """Without the file, and without its folder, there is nothing to say."""
    assert read_pause(pause_file) is None
    pause_file.parent.rmdir()
    assert read_pause(pause_file) is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"paused": True}, Pause(paused=True)),
        ({"paused": True, "until": None, "reason": None, "updated_at": 5}, Pause(paused=True)),
        (
            {"paused": True, "reason": "Auto rate-limit cooldown", "until": "2025-11-03T12:00:00Z"},
            Pause(paused=True, until=NOON, reason="Auto rate-limit cooldown"),
        ),
        ({"paused": True, "until": "2025-11-03T13:00:00+01:00"}, Pause(paused=True, until=NOON)),
        ({"paused": False, "reason": "over"}, Pause(paused=False, reason="over")),
        ({"paused": False, "until": "whenever"}, Pause(paused=False)),
    ],
)
def test_pause_is_read_as_it_stands(pause_file: Path, content: dict[str, object], expected: Pause) -> None:
    """Whether, until when and why; a broken end of no pause does not matter."""
    pause_file.write_text(json.dumps(content))
    assert read_pause(pause_file) == expected


@pytest.mark.parametrize(
    ("zone", "until", "note"),
    [
        ("UTC0", NOON, "UTC, 2025-11-03 12:00:00 UTC"),
        (NEW_YORK, NOON + 5 * 3_600, "the later of UTC and this machine's local time, 2025-11-03 17:00:00 UTC"),
        (KOLKATA, NOON, "the later of UTC and this machine's local time, 2025-11-03 12:00:00 UTC"),
    ],
)
def test_an_end_without_a_zone_is_the_later_reading(
    monkeypatch: pytest.MonkeyPatch, pause_file: Path, zone: str, until: float, note: str
) -> None:
    """UTC or local time, nobody can tell: the pause lasts until the later, and says so; no pause says nothing."""
    with local_time(monkeypatch, zone):
        pause_file.write_text('{"paused": true, "until": "2025-11-03T12:00:00"}')
        said = f"`until` has no time zone and counts as {note}: write an offset or Z"
        assert read_pause(pause_file) == Pause(paused=True, until=until, note=said)
        pause_file.write_text('{"paused": false, "until": "2025-11-03T12:00:00"}')
        assert read_pause(pause_file) == Pause(paused=False, until=until)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("paused", [True, False])
def test_what_an_editor_of_windows_writes_is_read(pause_file: Path, encoding: str, paused: bool) -> None:
    """With a byte-order mark, in UTF-16, with CRLF: the file says what it says."""
    text = json.dumps({"paused": paused, "reason": "Wartung über Nacht"}, indent=1)
    pause_file.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert read_pause(pause_file) == Pause(paused=paused, reason="Wartung über Nacht")


def test_a_broken_encoding_says_what_to_do(pause_file: Path) -> None:
    """What begins as UTF-16 and is none is a pause that names the file and the remedy."""
    pause_file.write_bytes('{"paused": false}'.encode("utf-16")[:-1])
    pause = read_pause(pause_file)
    assert_unknown(pause, pause_file)
    assert pause is not None
    assert "save it as UTF-8" in pause.problem


def test_reason_is_cut_and_freed_of_control_characters(pause_file: Path) -> None:
    """Guardian's text cannot colour, break or flood a line."""
    pause_file.write_text(json.dumps({"paused": True, "reason": "a\x1b[31mb\nc\u202ed\x00" + "x" * 1_000}))
    pause = read_pause(pause_file)
    assert pause is not None
    assert pause.reason.startswith("a[31mb")
    assert pause.reason.isprintable()
    assert len(pause.reason) == 200


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"   ",
        b'{"paused": tr',
        b'{"paused": true',
        b"[]",
        b"null",
        b"false",
        b"{}",
        b'{"paused": null}',
        b'{"paused": "false"}',
        b'{"paused": 0}',
        b'{"paused": true, "paused": false}',
        b'{"paused": false} x',
        b'\xef\xbb\xbf\xef\xbb\xbf{"paused": false}',
        '{"paused": false}'.encode("utf-16")[:-1],
        b'{"paused": false, "reason": "\xff"}',
        b"[" * 100_000,
        b'{"paused": true, "until": "soon"}',
        b'{"paused": true, "until": ""}',
        b'{"paused": true, "until": 1762171200}',
        b'{"paused": true, "until": "2025-11-03T25:00:00Z"}',
        b'{"paused": true, "until": {"\\u001b": 1}}',
        b'{"paused": false, "reason": "' + b"x" * PAUSE_MAX_BYTES + b'"}',
    ],
)
def test_unreadable_file_is_a_pause_that_says_why(pause_file: Path, content: bytes) -> None:
    """Torn, empty, not an object, `paused` or the pause's end not understandable, too long: paused."""
    pause_file.write_bytes(content)
    assert_unknown(read_pause(pause_file), pause_file)


def test_longest_permitted_file_is_read(pause_file: Path) -> None:
    """A file of exactly one mebibyte still counts."""
    head = b'{"paused": false}'
    pause_file.write_bytes(head + b" " * (PAUSE_MAX_BYTES - len(head)))
    assert read_pause(pause_file) == Pause(paused=False)


@pytest.mark.parametrize("kind", ["folder", "fifo", "dangling", "loop"])
def test_what_is_no_file_is_a_pause(pause_file: Path, kind: str) -> None:
    """Folder, FIFO and symlinks to nothing or to themselves are paused, and do not block."""
    make_odd(kind, pause_file)
    with within(2):
        assert_unknown(read_pause(pause_file), pause_file)


def test_file_that_may_not_be_read_is_a_pause(pause_file: Path) -> None:
    """Neither a missing permission nor a file in the folder's place is taken for "no pause"."""
    pause_file.write_text('{"paused": false}')
    with forbidden(pause_file.parent):
        assert_unknown(read_pause(pause_file), pause_file)
    assert_unknown(read_pause(pause_file / "x"), pause_file / "x")


def test_symlink_to_a_pause_file_is_followed(pause_file: Path) -> None:
    """A pause file on another disk is a pause file."""
    (pause_file.parent / "real").write_text('{"paused": false}')
    pause_file.symlink_to("real")
    assert read_pause(pause_file) == Pause(paused=False)


TEXT = st.text("aZ0 :-T\n\x00\x1b\u202e\ud800é😀", max_size=20)  # all of Unicode takes seconds to set up
VALUES = st.none() | st.booleans() | st.floats() | TEXT
OBJECTS = st.dictionaries(st.sampled_from(["paused", "until", "reason"]), VALUES)


@given(st.binary() | OBJECTS.map(lambda content: json.dumps(content).encode()))
def test_only_a_plain_false_is_not_paused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever the bytes are: nothing is raised, and only `"paused": false` lets the governor move."""
    path = tmp_path_factory.getbasetemp() / "any_pause.json"
    path.write_bytes(content)
    pause = read_pause(path)
    assert pause is not None
    assert pause.reason.isprintable()
    if not pause.paused:
        assert json.loads(content)["paused"] is False  # which takes every Unicode encoding too


# --- the STOP file ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "folder", "fifo", "dangling", "loop"])
def test_anything_at_the_path_is_a_stop(tmp_path: Path, kind: str) -> None:
    """A file, a folder, a FIFO, a symlink to nothing or to itself: whoever put it there wants a stop."""
    path = tmp_path / "capital_governor.STOP"
    assert not stop_present(path)
    if kind == "file":
        path.touch()
    else:
        make_odd(kind, path)
    with within(2):
        assert stop_present(path)


def test_stop_that_cannot_be_looked_for_counts_as_present(tmp_path: Path) -> None:
    """A folder that may not be entered, or is a file, is a stop; a folder that is not there has no STOP file."""
    folder = tmp_path / "runtime"
    assert not stop_present(folder / "capital_governor.STOP")
    folder.mkdir()
    with forbidden(folder):
        assert stop_present(folder / "capital_governor.STOP")
    folder.rmdir()
    folder.touch()
    assert stop_present(folder / "capital_governor.STOP")
