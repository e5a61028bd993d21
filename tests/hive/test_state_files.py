"""Reading the state files: whatever is there, the answer is a document or a sentence."""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import Final

import pytest

from capital_governor.hive.state_files import MAX_BYTES, PAUSE, PERFORMANCE, Watch, read_all, read_state_file

TEXT: Final = '{\n "paused": true,\n "reason": "Prüfung", "odd": "\\ud83d"\n}\n'


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"decisions": [{"agent": "A"', "torn or no JSON: Expecting ',' delimiter at character 28 of 28"),
        (b"", "torn or no JSON: Expecting value at character 0 of 0"),
        (b"\xff\xff", "torn or no UTF-8: invalid start byte at byte 0: save it as UTF-8"),
        (b'{"a": "caf\xe9"}', "torn or no UTF-8: invalid continuation byte at byte 10: save it as UTF-8"),
        (b"\xff\xfe", "torn or no JSON: Expecting value at character 0 of 0"),
        (b"\xff\xfe{\x00}", "torn or no UTF-16-LE: truncated data at byte 4: save it as UTF-8"),
        (b"\0" * 8, "torn or no JSON: Expecting value at character 0 of 8"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}", "nested too deeply"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "has a number that is too long"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: bytes, problem: str) -> None:
    """A file that is no JSON object has no document and one sentence."""
    path = tmp_path / "file.json"
    path.write_bytes(content)
    found = read_state_file(path)
    assert (found.document, found.problem) == (None, problem)


def test_numbers_that_are_none_stay_texts(tmp_path: Path) -> None:
    """NaN, Infinity and what overflows become texts, and the rest of the file stays readable."""
    path = tmp_path / "file.json"
    path.write_text('{"a": NaN, "b": -Infinity, "c": 1e999, "d": 1.5, "e": 7}')
    assert read_state_file(path).document == {"a": "NaN", "b": "-Infinity", "c": "1e999", "d": 1.5, "e": 7}


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.replace("\n", "\r\n").encode(),
        codecs.BOM_UTF16_LE + TEXT.replace("\n", "\r\n").encode("utf-16-le"),
    ],
)
def test_files_of_other_systems_are_read(tmp_path: Path, content: bytes) -> None:
    """A byte-order mark, UTF-16 and line ends of another system change nothing in what a file says."""
    path = tmp_path / "file.json"
    path.write_bytes(content)
    assert read_state_file(path).document == {"paused": True, "reason": "Prüfung", "odd": "?"}


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    """An escape that is no character becomes a question mark; a whole pair stays what it is."""
    path = tmp_path / "file.json"
    path.write_text('{"a": "\\ud83d\\ude00", "b": "x\\ud83d"}')
    assert read_state_file(path).document == {"a": "\U0001f600", "b": "x?"}


def test_what_is_no_file(tmp_path: Path) -> None:
    """A missing file, a folder, a FIFO and a file that is too large are each said, and none of them blocks."""
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert read_state_file(tmp_path / "nothing").missing
    assert read_state_file(tmp_path).problem == "cannot be read: Is a directory"
    assert read_state_file(tmp_path / "fifo").problem == "cannot be read: not a file"
    assert read_state_file(tmp_path / "large").problem == "larger than 16 MiB"


def test_a_change_is_told_once(tmp_path: Path) -> None:
    """A file's problem is news when it begins and when it ends; a missing pause file is none."""
    watch = Watch()
    for path in (PERFORMANCE, PAUSE):
        (tmp_path / path).parent.mkdir(exist_ok=True)
    first = watch.news(read_all(tmp_path))
    assert len(first) == 4
    assert "state/performance_attribution.json: missing" in first
    assert watch.news(read_all(tmp_path)) == []
    (tmp_path / PERFORMANCE).write_text("{")
    (tmp_path / PAUSE).write_text("{")
    assert [line.partition(":")[0] for line in watch.news(read_all(tmp_path))] == [str(PERFORMANCE), str(PAUSE)]
    (tmp_path / PERFORMANCE).write_text("{}")
    (tmp_path / PAUSE).unlink()
    assert watch.news(read_all(tmp_path)) == [f"{PERFORMANCE}: readable again", f"{PAUSE}: readable again"]
