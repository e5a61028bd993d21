"""Reading without pydantic gives what the codec gives, and what is damaged is told as such."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from capital_governor.core.model import Inputs, Publication, Rules, State
from capital_governor.journal.codec import decode, encode
from capital_governor.journal.protocol import LIVE, JournalCorruptError
from capital_governor.journal.quick_reading import read_quickly
from capital_governor.journal.sqlite.sqlite_driver import in_memory, open_sqlite
from tests.journal.test_codec import values
from tests.rigs.journal_cycles import chain, tell
from tests.rigs.stored_roots import unpack, unpack_schema_4


@pytest.mark.parametrize("kind", [Inputs, State, Rules, Publication])
def test_a_stored_value_is_read_as_the_codec_reads_it(kind: Any) -> None:
    """Types, signs of zero and order of keys included."""

    @settings(max_examples=60)
    @given(values(kind))
    def same(value: Any) -> None:
        blob = encode(value)
        assert repr(read_quickly(kind, blob)) == repr(decode(kind, blob)) == repr(value)

    same()


@pytest.mark.parametrize("blob", [b"", b"[]", b'{"unheard_of": 1}', b'{"published": 7}', b'{"agents": {"a": 3}}'])
def test_what_is_no_value_is_damage(blob: bytes) -> None:
    """The error names the kind."""
    with pytest.raises(JournalCorruptError, match="a stored State cannot be read"):
        read_quickly(State, blob)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_the_newest_entry_is_the_one_that_entries_yield(count: int) -> None:
    """The newest of all, and the newest with scores, with the whole decision."""
    journal = in_memory()
    tell(journal, *chain(count))
    for quick, whole in (
        (journal.newest_entry(LIVE), list(journal.entries(LIVE))[-1]),
        (journal.newest_entry(LIVE, decided=True), journal.last_decided(LIVE)),
    ):
        assert quick is not None
        assert whole is not None
        assert quick.derived
        for name in ("seq", "inputs", "state", "rules", "decision", "after", "version"):
            assert repr(getattr(quick, name)) == repr(getattr(whole, name)), name


def test_an_empty_journal_has_no_newest_entry() -> None:
    """Neither of all, nor with scores."""
    journal = in_memory()
    assert journal.newest_entry(LIVE) is None
    assert journal.newest_entry(LIVE, decided=True) is None


@pytest.mark.parametrize("older", [unpack, unpack_schema_4])
def test_the_newest_entry_of_an_older_schema(tmp_path: Path, older: Any) -> None:
    """It is read as it is, and says whether this version would decide the same."""
    older(tmp_path)
    journal = open_sqlite(tmp_path / "state" / "capital_governor.sqlite3", read_only=True)
    quick, whole = journal.newest_entry(LIVE), list(journal.entries(LIVE))[-1]
    assert quick is not None
    assert (quick.seq, quick.reason, quick.derived) == (whole.seq, whole.reason, whole.derived)
    assert quick.after == whole.after
    journal.close()
