"""Rules that span cycles, as scripts: played in one process, and again with a restart between any two cycles."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from capital_governor.contracts.allocation_files import documents
from capital_governor.core.adoption import abandon, adopt
from capital_governor.core.model import (
    DAY_SECONDS,
    Agent,
    Ceiling,
    Inputs,
    Limit,
    OperatorHold,
    Pause,
    Ppm,
    Refusal,
    Rules,
    Snapshot,
    State,
)
from capital_governor.core.reason import CUTS, HOLDS, MOVES, STAYS, Reason
from capital_governor.journal.protocol import LIVE, Record
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from tests.rigs.builders import FLEET, NOW, PLAIN, cycle, publication, settled, shares_of, snapshot

R = Reason


@dataclass(frozen=True, slots=True)
class Step:
    """What is heard, and what must come of it; ``shares`` None: what was published stands."""

    inputs: Inputs
    reason: Reason
    shares: Mapping[Agent, Ppm] | None


@dataclass(frozen=True, slots=True)
class Script:
    steps: list[Step]
    rules: Rules = PLAIN
    start: State = State()  # noqa: RUF009 - immutable


def _at(  # noqa: PLR0913 - a line of a script says all that is special about its cycle
    minutes: float,
    reason: Reason,
    shares: Mapping[Agent, Ppm] | None = None,
    scores: Mapping[Agent, float] = FLEET,
    *,
    faulty: Iterable[Agent] = (),
    risk: float | None = 1.0,
    drawdown: float | None = 0.0,
    payload: Snapshot | Refusal | None = None,
    **told: object,
) -> Step:
    now = NOW + 60 * minutes
    heard = payload or snapshot(scores, at=now, faulty=faulty, risk=risk, drawdown=drawdown)
    return Step(replace(Inputs(now, heard), **told), reason, shares)  # type: ignore[arg-type]  # fields of Inputs


def _k(**thousands: float) -> dict[Agent, Ppm]:
    return {agent: round(share * 1000) for agent, share in thousands.items()}


FOUNDED = _k(Ada=400, Bob=360, Cyd=240)
SWAPPED = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}
TURNED = _k(Ada=240, Bob=360, Cyd=400)
FOUR = dict.fromkeys(("Ada", "Bob", "Cyd", "Dan"), 0.4)
QUARTERS = dict.fromkeys(FOUR, 250_000)
LOST = Refusal(R.FETCH_FAILED, "connection refused")
THREE = ["Bob", "Cyd", "Dan"]
ONE = {"Ada": 0.4}
# Dan at his floor of 0.05, 0.95 for the other three; two of three thirds of a millionth are left over for the first.
WEAK_DAN = FOUR | {"Dan": 0.0}
WEAK_SHARES = {"Ada": 316_667, "Bob": 316_667, "Cyd": 316_666, "Dan": 50_000}
WITHOUT_DAN = {"Ada": 0.4, "Bob": 0.4, "Cyd": 0.4}
THIRDS = {"Ada": 333_334, "Bob": 333_333, "Cyd": 333_333}
HALF_FLEET = {"Ada": 0.4, "Bob": 0.4}
DAY_MINUTES = DAY_SECONDS / 60
TEN = [f"A{i}" for i in range(10)]
STALE = snapshot(at=NOW - 5000)
BLIND = replace(snapshot(FOUR), guardian=None)
CAP_ADA = (Limit("Ada", "ops", cap=0.25),)
CAP_BOB = (Limit("Bob", "ops", cap=0.30),)
SHARE_OUT_ADA = (Limit("Ada", "ops", cap=0.25, share_out=True),)
SHARE_OUT_BOB = (Limit("Bob", "ops", cap=0.30, share_out=True),)
SHUT = Pause(paused=True)
WITHOUT_DANS = WEAK_SHARES | {"Dan": 0}
FLOOR_DAN = (Limit("Dan", "ops", floor=0.10),)
UNEVEN = {agent: 140_000 if i % 2 else 60_000 for i, agent in enumerate(TEN)}

SCRIPTS: dict[str, Script] = {
    # Absent for the one cycle of grace, then lapsed: its share goes to nobody, and comes back with the third good
    # record in a row.
    "grace, lapse, return": Script(
        [
            _at(0, R.FIRST_ALLOCATION, WEAK_SHARES, WEAK_DAN),
            _at(5, R.UNCHANGED, None, WITHOUT_DAN),
            _at(10, R.CUT_LAPSE, WITHOUT_DANS, WITHOUT_DAN),
            _at(15, R.UNCHANGED, None, WITHOUT_DAN),
            _at(20, R.UNCHANGED, None, WEAK_DAN),
            _at(25, R.UNCHANGED, None, WEAK_DAN),
            _at(30, R.UNCHANGED, None, WITHOUT_DAN, faulty=["Dan"]),
            _at(35, R.UNCHANGED, None, WEAK_DAN),
            _at(40, R.UNCHANGED, None, WEAK_DAN),
            _at(45, R.FETCH_FAILED, None, payload=LOST),
            _at(50, R.RESTORE, WEAK_SHARES, WEAK_DAN),
        ],
        replace(PLAIN, membership_grace_cycles=1),
    ),
    # Released after two further cycles without any record: only now the others get its part.
    "a release by time": Script(
        [
            _at(0, R.FIRST_ALLOCATION, WEAK_SHARES, WEAK_DAN),
            _at(5, R.UNCHANGED, None, WITHOUT_DAN),
            _at(10, R.CUT_LAPSE, WITHOUT_DANS, WITHOUT_DAN),
            _at(15, R.UNCHANGED, None, WITHOUT_DAN),
            _at(20, R.MEMBER_LEFT, THIRDS, WITHOUT_DAN),
        ],
        replace(PLAIN, membership_grace_cycles=1, release_after_cycles=2),
    ),
    # Released by a person: when its grace ends, or, lapsed, in the next decided cycle.
    "a release by a person": Script(
        [
            _at(0, R.FIRST_ALLOCATION, WEAK_SHARES, WEAK_DAN),
            _at(5, R.UNCHANGED, None, WITHOUT_DAN, released=("Dan",)),
            _at(10, R.MEMBER_LEFT, THIRDS, WITHOUT_DAN),
        ],
        replace(PLAIN, membership_grace_cycles=1),
    ),
    "a release of a lapsed agent": Script(
        [
            _at(0, R.FIRST_ALLOCATION, WEAK_SHARES, WEAK_DAN),
            _at(5, R.UNCHANGED, None, WITHOUT_DAN),
            _at(10, R.CUT_LAPSE, WITHOUT_DANS, WITHOUT_DAN),
            _at(15, R.MEMBER_LEFT, THIRDS, WITHOUT_DAN, released=("Dan",)),
        ],
        replace(PLAIN, membership_grace_cycles=1),
    ),
    # RELEASE_AFTER 0: absent for the one cycle of grace, then retired; back within a day it waits, a day after that it
    # joins.
    "grace, retirement, return": Script(
        [
            _at(0, R.FIRST_ALLOCATION, WEAK_SHARES, WEAK_DAN),
            _at(5, R.UNCHANGED, None, WITHOUT_DAN),
            _at(10, R.UNCHANGED, None, WEAK_DAN),
            _at(15, R.UNCHANGED, None, WITHOUT_DAN),
            _at(20, R.MEMBER_LEFT, THIRDS, WITHOUT_DAN),
            _at(25, R.BELOW_THRESHOLD, None, WEAK_DAN),
            _at(19 + DAY_MINUTES, R.BELOW_THRESHOLD, None, WEAK_DAN),
            _at(20 + DAY_MINUTES, R.MEMBER_JOINED, WEAK_SHARES, WEAK_DAN),
        ],
        replace(PLAIN, membership_grace_cycles=1, release_after_cycles=0),
    ),
    # Three requests in a row; holds neither count nor reset, a cycle that asks for nothing resets.
    "confirmation": Script(
        [
            _at(0, R.CONFIRMING, None),
            _at(5, R.FETCH_FAILED, None, payload=LOST),
            _at(10, R.CONFIRMING, None),
            _at(15, R.FIRST_ALLOCATION, FOUNDED),
            _at(20, R.CONFIRMING, None, SWAPPED),
            _at(25, R.UNCHANGED, None),
            _at(30, R.CONFIRMING, None, SWAPPED),
            _at(35, R.STOPPED, None, SWAPPED, stopped=True),
            _at(40, R.CONFIRMING, None, SWAPPED),
            _at(45, R.THRESHOLD, TURNED, SWAPPED),
        ],
        replace(PLAIN, confirm_cycles=3),
    ),
    # 15 minutes; a clock that is set back makes it wait once more, not for ever.
    "cool-down": Script(
        [
            _at(0, R.FIRST_ALLOCATION, FOUNDED),
            _at(5, R.COOLDOWN, None, SWAPPED),
            _at(14, R.COOLDOWN, None, SWAPPED),
            _at(15, R.THRESHOLD, TURNED, SWAPPED),
            _at(-80, R.COOLDOWN, None),
            _at(-66, R.COOLDOWN, None),
            _at(-65, R.THRESHOLD, FOUNDED),
        ],
        replace(PLAIN, cooldown_seconds=900.0),
    ),
    # Dan has 0.05 for two healthy cycles, the faulty one between not counting. 0.55 is split 3 to 2 beside Ada's 0.40;
    # then Dan is at 0.40 and 0.60 is split 5 to 3 to 2.
    "probation": Script(
        [
            _at(0, R.FIRST_ALLOCATION, FOUNDED),
            _at(5, R.MEMBER_JOINED, _k(Ada=400, Bob=330, Cyd=220, Dan=50), {**FLEET, "Dan": 1.0}),
            _at(10, R.UNCHANGED, None, faulty=["Dan"]),
            _at(15, R.UNCHANGED, None, {**FLEET, "Dan": 1.0}),
            _at(20, R.THRESHOLD, _k(Ada=300, Bob=180, Cyd=120, Dan=400), {**FLEET, "Dan": 1.0}),
        ],
        replace(PLAIN, probation_cycles=2),
    ),
    # A pause outlives its file until a fresh and complete payload; then what was missed is done.
    "pause": Script(
        [
            _at(0, R.FIRST_ALLOCATION, FOUNDED),
            _at(5, R.PAUSED, None, SWAPPED, pause=Pause(paused=True)),
            _at(10, R.PAUSED, None, payload=LOST),
            _at(15, R.PAUSED, None, payload=STALE),
            _at(20, R.PAUSED, None, payload=replace(snapshot(SWAPPED, at=NOW + 1200), guardian=None)),
            _at(25, R.PAUSED, None, {}),
            _at(30, R.STOPPED, None, {}, stopped=True),
            _at(35, R.THRESHOLD, TURNED, SWAPPED),
            _at(40, R.PAUSED, None, payload=snapshot(SWAPPED, at=NOW, paused=True)),
            _at(45, R.UNCHANGED, None, SWAPPED, pause=Pause(paused=True, until=NOW + 2700)),
        ]
    ),
    "all other holds": Script(
        [
            _at(0, R.NO_AGENTS, None, {}),
            _at(5, R.FIRST_ALLOCATION, FOUNDED),
            _at(10, R.OPERATOR_HOLD, None, SWAPPED, hold=OperatorHold("kim", until=NOW + 601)),
            _at(11, R.FILES_UNWRITABLE, None, SWAPPED, files_problem="the primary is a directory"),
            _at(15, R.PAYLOAD_REFUSED, None, payload=Refusal(R.PAYLOAD_REFUSED, "not JSON")),
            _at(20, R.PAYLOAD_STALE, None, payload=STALE),
            _at(25, R.PAYLOAD_FUTURE, None, payload=snapshot(at=NOW + 9000)),
            _at(30, R.TIMESTAMP_LOST, None, payload=snapshot(SWAPPED, at=None)),
            _at(35, R.THRESHOLD, TURNED, payload=snapshot(SWAPPED, at=None), accept=True, known_generation=41),
            _at(40, R.UNCHANGED, None, payload=snapshot(SWAPPED, at=None)),
        ]
    ),
    # 4 x grace 1 cycles of waiting, others not counting; then the grace itself; then both lapse, and nobody gains.
    "half of the members gone": Script(
        [
            _at(0, R.FIRST_ALLOCATION, QUARTERS, FOUR),
            _at(5, R.MEMBERS_GONE, None, HALF_FLEET),
            _at(10, R.MEMBERS_GONE, None, HALF_FLEET),
            _at(15, R.FETCH_FAILED, None, payload=LOST),
            _at(20, R.NO_AGENTS, None, {}),
            _at(25, R.MEMBERS_GONE, None, HALF_FLEET),
            _at(30, R.MEMBERS_GONE, None, HALF_FLEET),
            _at(35, R.UNCHANGED, None, HALF_FLEET),
            _at(40, R.CUT_LAPSE, _k(Ada=250, Bob=250, Cyd=0, Dan=0), HALF_FLEET),
            _at(45, R.UNCHANGED, None, HALF_FLEET),
            _at(50, R.UNCHANGED, None, FOUR),
            _at(55, R.UNCHANGED, None, FOUR),
            _at(60, R.RESTORE, QUARTERS, FOUR),
        ],
        replace(PLAIN, membership_grace_cycles=1),
    ),
    # Accepted once, excused until well again: for faulty members and for a lost block.
    "accept": Script(
        [
            _at(0, R.FIRST_ALLOCATION, QUARTERS, FOUR),
            _at(5, R.FAULTY_MAJORITY, None, ONE, faulty=THREE),
            _at(10, R.UNCHANGED, None, ONE, faulty=THREE, accept=True),
            _at(15, R.UNCHANGED, None, ONE, faulty=THREE),
            _at(20, R.UNCHANGED, None, FOUR),
            _at(25, R.FAULTY_MAJORITY, None, ONE, faulty=THREE),
            _at(6, R.GUARDIAN_LOST, None, payload=BLIND),
            _at(7, R.UNCHANGED, None, payload=BLIND, accept=True),
            _at(8, R.UNCHANGED, None, payload=BLIND),
            _at(9, R.UNCHANGED, None, FOUR),
            _at(10, R.GUARDIAN_LOST, None, payload=BLIND),
        ]
    ),
    # What is not said is what was last said, of the regime and of the drawdown: 1 - 0.75 * 5 / 10 = 0.625.
    "last known multipliers": Script(
        [
            _at(0, R.FIRST_ALLOCATION, _k(Ada=320, Bob=288, Cyd=192), risk=0.8),
            _at(5, R.UNCHANGED, None, risk=None),
            _at(10, R.THRESHOLD, FOUNDED, risk=1.2),
            _at(15, R.UNCHANGED, None, risk=None),
            _at(20, R.THRESHOLD, _k(Ada=250, Bob=225, Cyd=150), risk=None, drawdown=10.0),
            _at(25, R.UNCHANGED, None, drawdown=None),
            _at(30, R.FETCH_FAILED, None, payload=LOST),
            _at(35, R.UNCHANGED, None, risk=None, drawdown=None),
        ]
    ),
    # What is compared is what was published, so a slow drift adds up: 4 points are too few, 6 are not.
    "exposure": Script(
        [
            _at(0, R.FIRST_ALLOCATION, FOUNDED),
            _at(5, R.BELOW_THRESHOLD, None, risk=0.96),
            _at(10, R.DERISK, {"Ada": 376_000, "Bob": 338_400, "Cyd": 225_600}, risk=0.94),
            _at(15, R.EXPOSURE_ZERO, _k(Ada=0, Bob=0, Cyd=0), risk=0.0),
            _at(20, R.UNCHANGED, None, risk=0.0),
            _at(25, R.THRESHOLD, FOUNDED, risk=1.0),
        ]
    ),
    # 16 points to go by 5: 0.05/0.16 of the way for all, then 0.05/0.11; what is left then is worth no move.
    "MAX_STEP": Script(
        [
            _at(0, R.FIRST_ALLOCATION, FOUNDED),
            _at(5, R.THRESHOLD, _k(Ada=350, Bob=360, Cyd=290), SWAPPED),
            _at(10, R.THRESHOLD, _k(Ada=300, Bob=360, Cyd=340), SWAPPED),
            _at(15, R.BELOW_THRESHOLD, None, SWAPPED),
        ],
        replace(PLAIN, max_step=0.05),
    ),
    # An operator's floor moves though little changes. A cap withholds: nobody else gets it, and it comes back. A cap
    # that is to be shared out moves.
    "an operator's limits": Script(
        [
            _at(0, R.FIRST_ALLOCATION, WEAK_SHARES, WEAK_DAN),
            _at(5, R.BELOW_FLOOR, _k(Ada=300, Bob=300, Cyd=300, Dan=100), WEAK_DAN, limits=FLOOR_DAN),
            _at(10, R.BELOW_THRESHOLD, None, WEAK_DAN),
            _at(15, R.CUT_LIMIT, _k(Ada=250, Bob=300, Cyd=300, Dan=100), WEAK_DAN, limits=CAP_ADA),
            _at(20, R.BELOW_THRESHOLD, None, WEAK_DAN, limits=CAP_ADA),
            _at(25, R.RESTORE, _k(Ada=300, Bob=300, Cyd=300, Dan=100), WEAK_DAN),
            _at(30, R.LIMIT_BREACHED, _k(Ada=250, Bob=350, Cyd=350, Dan=50), WEAK_DAN, limits=SHARE_OUT_ADA),
        ]
    ),
    # What a person tightens is published in a hold too, and nothing is loosened there.
    "a person's tightening": Script(
        [
            _at(0, R.FIRST_ALLOCATION, FOUNDED),
            _at(5, R.CUT_CEILING, _k(Ada=360, Bob=324, Cyd=216), ceiling=Ceiling(0.9, "ops")),
            _at(10, R.STOPPED, None, stopped=True, ceiling=Ceiling(0.5, "ops")),
            _at(
                15, R.CUT_CEILING, _k(Ada=200, Bob=180, Cyd=120), pause=Pause(paused=True), ceiling=Ceiling(0.5, "ops")
            ),
            _at(20, R.PAUSED, None, payload=LOST),
            _at(25, R.THRESHOLD, FOUNDED),
            _at(30, R.CUT_LIMIT, _k(Ada=400, Bob=300, Cyd=240), payload=LOST, limits=CAP_BOB),
            _at(35, R.FETCH_FAILED, None, payload=LOST),
            _at(40, R.RESTORE, FOUNDED),
        ]
    ),
    # Many small changes that add up to 20 points.
    "turnover": Script(
        [
            _at(0, R.FIRST_ALLOCATION, dict.fromkeys(TEN, 100_000), dict.fromkeys(TEN, 0.5)),
            _at(5, R.TURNOVER, UNEVEN, {agent: share / 200_000 for agent, share in UNEVEN.items()}),
        ]
    ),
    # Within the cool-down only cuts: 10 points less exposure; a cap, which touches no other line; nothing at all. Then
    # in full, but for what Bob's cap withholds of 0.36; its end does not give that back within the cool-down.
    "cuts under a brake": Script(
        [
            _at(0, R.FIRST_ALLOCATION, FOUNDED),
            _at(5, R.CUT_DERISK, _k(Ada=360, Bob=324, Cyd=216), SWAPPED, risk=0.9),
            _at(10, R.COOLDOWN, None, SWAPPED, risk=0.88),
            _at(15, R.CUT_LIMIT, _k(Ada=360, Bob=270, Cyd=216), SWAPPED, risk=0.88, limits=CAP_BOB),
            _at(20, R.COOLDOWN, None, SWAPPED, limits=CAP_BOB),
            _at(25, R.CUT_EXPOSURE_ZERO, _k(Ada=0, Bob=0, Cyd=0), SWAPPED, risk=0.0, limits=CAP_BOB),
            _at(59, R.COOLDOWN, None, SWAPPED, limits=CAP_BOB),
            _at(60, R.THRESHOLD, _k(Ada=240, Bob=300, Cyd=400), SWAPPED, limits=CAP_BOB),
            _at(61, R.COOLDOWN, None),
        ],
        replace(PLAIN, cooldown_seconds=3600.0),
    ),
    # A cap to be shared out withholds within the cool-down, and moves after it: Cyd at 0.40, Bob at his cap, Ada has
    # the rest.
    "a cap to be shared out under a brake": Script(
        [
            _at(0, R.FIRST_ALLOCATION, FOUNDED),
            _at(5, R.CUT_LIMIT, _k(Ada=400, Bob=300, Cyd=240), SWAPPED, limits=SHARE_OUT_BOB),
            _at(59, R.COOLDOWN, None, SWAPPED, limits=SHARE_OUT_BOB),
            _at(60, R.LIMIT_BREACHED, _k(Ada=300, Bob=300, Cyd=400), SWAPPED, limits=SHARE_OUT_BOB),
        ],
        replace(PLAIN, cooldown_seconds=3600.0),
    ),
    # A cycle that may only cut has asked; cutting neither grants that request nor forgets it.
    "a cut counts as a request": Script(
        [
            _at(0, R.CONFIRMING, None),
            _at(5, R.FIRST_ALLOCATION, FOUNDED),
            _at(10, R.CUT_DERISK, _k(Ada=360, Bob=324, Cyd=216), SWAPPED, risk=0.9),
            _at(15, R.THRESHOLD, _k(Ada=216, Bob=324, Cyd=360), SWAPPED, risk=0.9),
        ],
        replace(PLAIN, confirm_cycles=2),
    ),
    # Agents are faulty, guardian and regime are not: exposure falls with them, and rises only once agents are well.
    "cuts in an agents' hold": Script(
        [
            _at(0, R.FIRST_ALLOCATION, QUARTERS, FOUR),
            _at(5, R.CUT_DERISK, dict.fromkeys(FOUR, 200_000), ONE, faulty=THREE, risk=0.8),
            _at(10, R.FAULTY_MAJORITY, None, ONE, faulty=THREE, risk=0.8),
            _at(15, R.FAULTY_MAJORITY, None, ONE, faulty=THREE),
            _at(20, R.THRESHOLD, QUARTERS, FOUR),
        ]
    ),
    # Bob has a line but no metrics yet: held at 0.30, scaled with the exposure, and once cut, not raised with it.
    "an adopted file": Script(
        [
            _at(0, R.THRESHOLD, _k(Ada=400, Bob=300), ONE, faulty=["Bob"], risk=None),
            _at(5, R.THRESHOLD, _k(Ada=200, Bob=150), ONE, faulty=["Bob"], risk=0.5),
            _at(10, R.THRESHOLD, _k(Ada=400, Bob=150), ONE, faulty=["Bob"]),
            _at(15, R.UNCHANGED, None, ONE, faulty=["Bob"]),
            _at(20, R.THRESHOLD, _k(Ada=400, Bob=400), HALF_FLEET),
        ],
        start=adopt(State(), publication(_k(Ada=300, Bob=300), generation=7)),
    ),
    # No agent ever saw the abandoned generation: what was published before it is compared, its number stays used.
    "an abandoned generation": Script(
        [_at(0, R.UNCHANGED, None), _at(5, R.THRESHOLD, TURNED, SWAPPED)],
        start=abandon(adopt(settled(), publication(TURNED, generation=9)), publication(FOUNDED), None),
    ),
}


def _outcomes(script: Script, journal: Path, *, restart: bool) -> list[tuple[Reason, bytes, bytes]]:
    """Play a script through a journal; with ``restart`` every cycle knows only what the journal tells it."""
    outcomes: list[tuple[Reason, bytes, bytes]] = []
    state, opened, previous = script.start, open_sqlite(journal), ""
    for step in script.steps:
        if restart and outcomes:
            opened.close()
            opened = open_sqlite(journal)
            stored = opened.head(LIVE)
            assert stored is not None
            state, previous = stored.state, stored.key
        decision, after = cycle(step.inputs, state, script.rules)
        record = Record(
            book=LIVE,
            previous=previous,
            inputs=step.inputs,
            state=state,
            rules=script.rules,
            decision=decision,
            after=after,
        )
        opened.record(record)
        expected = shares_of(state) if step.shares is None else step.shares
        assert (decision.reason, shares_of(after)) == (step.reason, expected), f"cycle {len(outcomes)}"
        assert (decision.proposal is None) == (step.shares is None), f"cycle {len(outcomes)}"
        state, previous = after, record.key
        files = (b"", b"") if state.published is None else documents(state.published)
        outcomes.append((decision.reason, *files))
    stored = opened.head(LIVE)
    assert stored is not None
    assert stored.state == state
    opened.close()
    return outcomes


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_comes_out_as_written_with_and_without_restarts(name: str, tmp_path: Path) -> None:
    """Every reason and share is as written down, and restarts between all cycles change no byte of either file."""
    straight = _outcomes(SCRIPTS[name], tmp_path / "straight.sqlite3", restart=False)
    assert _outcomes(SCRIPTS[name], tmp_path / "restarted.sqlite3", restart=True) == straight


def test_the_scripts_end_in_every_way_a_decision_can() -> None:
    """Every move, cut, restore, stay and hold that decide() knows occurs."""
    reached = {step.reason for script in SCRIPTS.values() for step in script.steps}
    assert (MOVES | CUTS | STAYS | HOLDS | {R.RESTORE}) - reached == {R.INTERNAL_ERROR}


def test_generations_count_publications_and_skip_what_was_used(tmp_path: Path) -> None:
    """One more for each move and cut, none for a hold or stay; never a number that a file or the journal knows."""

    def generations(name: str) -> list[int]:
        found = _outcomes(SCRIPTS[name], tmp_path / f"{name}.sqlite3", restart=True)
        return [json.loads(primary)["generation"] if primary else 0 for _, primary, _ in found]

    assert generations("cuts in an agents' hold") == [1, 2, 2, 2, 3]
    assert generations("all other holds")[-3:] == [1, 42, 42]
    assert generations("an abandoned generation") == [1, 10]
