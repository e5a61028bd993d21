"""Reads the newest entry of a book for a command that only looks: quickly, and with one query."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from capital_governor.core.decision import commit, resolve
from capital_governor.core.model import Inputs, Publication, Rules, State
from capital_governor.core.reason import Reason
from capital_governor.core.trace import Decision, Trace
from capital_governor.journal.codec import unpack
from capital_governor.journal.driver import Driver
from capital_governor.journal.protocol import Entry, JournalCorruptError
from capital_governor.journal.quick_reading import read_quickly
from capital_governor.journal.stored_metrics import with_metrics, with_metrics_apart

_NEWEST: Final = """SELECT one.seq, one.reason, one.generation, one.inputs, one.unseen, one.version, rules.doc,
        before.doc, (SELECT doc FROM publications WHERE id = before.published),
        after.doc, (SELECT doc FROM publications WHERE id = after.published)
    FROM cycles AS one JOIN rules ON rules.id = one.rules
    JOIN states AS before ON before.id = one.state_before JOIN states AS after ON after.id = one.state_after
    WHERE one.seq = (SELECT max(seq) FROM cycles WHERE book = ?{})"""


def newest_entry(db: Driver, book: str, *, decided: bool) -> Entry | None:
    """Return the newest entry, or the newest with scores; None if there is none. See ``Entry.derived``."""
    found = db.rows(_NEWEST.format(" AND decided = 1" if decided else ""), book)
    if not found:
        return None
    ((seq, reason, generation, inputs, unseen, version, rules, *states),) = found
    before, after = _state(*states[:2]), _state(*states[2:])
    seen = read_quickly(Inputs, unpack(inputs))
    if unseen is not None:
        seen = with_metrics(seen, after, json.loads(unseen))
    settings = read_quickly(Rules, unpack(rules))
    decision = resolve(seen, before, settings)
    again = None if decision.proposal is None else decision.proposal.generation
    derived = (decision.reason.value, again) == (reason, generation) and commit(decision) == after
    if not derived:
        try:
            decision = Decision(Reason(reason), None if generation is None else after.published, after, Trace())
        except ValueError as error:
            raise JournalCorruptError(f"{db.place} has an entry of an unknown reason: {error}") from None
    return Entry(
        seq=seq,
        book=book,
        inputs=seen,
        state=before,
        rules=settings,
        decision=decision,
        after=after,
        version=version,
        derived=derived,
    )


def _state(doc: bytes | str, published: bytes | str | None) -> State:
    state = read_quickly(State, with_metrics_apart(unpack(doc)))
    if published is None:
        return state
    return replace(state, published=read_quickly(Publication, unpack(published)))
