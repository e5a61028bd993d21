"""Each hold with its exit, their order, and what they remember."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from capital_governor.core.hold import EXITS, Verdict, judge
from capital_governor.core.model import Inputs, Latches, Memory, OperatorHold, Pause, Refusal, Snapshot, State
from capital_governor.core.reason import HOLDS, Reason
from tests.rigs.builders import NOW, PLAIN, observe, publication, settled, snapshot

WATCHED = Latches(guardian_seen=True, timestamp_seen=True)
STATE = replace(settled(dict.fromkeys(("Ada", "Bob", "Cyd", "Dan"), 0.5)), latches=WATCHED)
FULL = dict.fromkeys(STATE.agents, 0.5)
OPEN = Pause(paused=False)
SHUT = Pause(paused=True, reason="cooldown")
OVER = Pause(paused=True, until=NOW, reason="cooldown")
TORN = Pause(paused=False, problem="it is empty")
STILL = OperatorHold("kim")
LOST = Refusal(Reason.FETCH_FAILED, "connection refused")


def _of(payload: Snapshot | Refusal | None = None, **changes: object) -> Inputs:
    """Inputs of a full and healthy fleet, but for what is said."""
    heard = Inputs(NOW, snapshot(FULL) if payload is None else payload)
    return replace(heard, **changes)  # type: ignore[arg-type]  # each test names fields of Inputs


def _verdict(inputs: Inputs, state: State = STATE) -> Verdict:
    return judge(inputs, state, PLAIN)


def _reason(inputs: Inputs, state: State = STATE) -> Reason | None:
    hold = _verdict(inputs, state).hold
    return None if hold is None else hold.reason


def _present(*names: str, faulty: Iterable[str] = ()) -> Snapshot:
    return snapshot(dict.fromkeys(names, 0.5), faulty=faulty)


@pytest.mark.parametrize(
    ("held", "reason", "released"),
    [
        (_of(stopped=True), Reason.STOPPED, _of()),
        (_of(pause=SHUT), Reason.PAUSED, _of(pause=OPEN)),
        (_of(pause=TORN), Reason.PAUSED, _of(pause=None)),
        (_of(pause=replace(OVER, until=NOW + 1)), Reason.PAUSED, _of(pause=OVER)),
        (_of(snapshot(FULL, paused=True)), Reason.PAUSED, _of()),
        (_of(snapshot(FULL, paused=True, said="drawdown"), pause=OVER), Reason.PAUSED, _of(pause=OVER)),
        (_of(snapshot(FULL, paused=True), pause=replace(OVER, reason="")), Reason.PAUSED, _of()),
        (_of(hold=STILL), Reason.OPERATOR_HOLD, _of(hold=None)),
        (_of(hold=replace(STILL, until=NOW + 1)), Reason.OPERATOR_HOLD, _of(hold=replace(STILL, until=NOW))),
        (_of(files_problem="the primary is a FIFO"), Reason.FILES_UNWRITABLE, _of()),
        (_of(LOST), Reason.FETCH_FAILED, _of()),
        (_of(Refusal(Reason.PAYLOAD_REFUSED, "not JSON")), Reason.PAYLOAD_REFUSED, _of()),
        (_of(snapshot(FULL, at=NOW - 901)), Reason.PAYLOAD_STALE, _of(snapshot(FULL, at=NOW - 900))),
        (_of(snapshot(FULL, at=NOW + 61)), Reason.PAYLOAD_FUTURE, _of(snapshot(FULL, at=NOW + 60))),
        (_of(replace(snapshot(FULL), guardian=None)), Reason.GUARDIAN_LOST, _of()),
        (_of(replace(snapshot(FULL), guardian=None)), Reason.GUARDIAN_LOST,
         _of(replace(snapshot(FULL), guardian=None), accept=True)),
        (_of(snapshot(FULL, at=None)), Reason.TIMESTAMP_LOST, _of()),
        (_of(snapshot(FULL, at=None)), Reason.TIMESTAMP_LOST, _of(snapshot(FULL, at=None), accept=True)),
        (_of(snapshot({})), Reason.NO_AGENTS, _of()),
        (_of(snapshot({})), Reason.NO_AGENTS, _of(snapshot({}), accept=True)),
        # 3 of 4 faulty is more than half, 2 of 4 is not; with a newcomer 3 of 5 still is, with two 3 of 6 is not.
        (_of(_present("Ada", faulty=["Bob", "Cyd", "Dan"])), Reason.FAULTY_MAJORITY,
         _of(_present("Ada", "Bob", faulty=["Cyd", "Dan"]))),
        (_of(_present("Ada", "New", faulty=["Bob", "Cyd", "Dan"])), Reason.FAULTY_MAJORITY,
         _of(_present("Ada", "New", "Too", faulty=["Bob", "Cyd", "Dan"]))),
        (_of(_present("Ada", faulty=["Bob", "Cyd", "Dan"])), Reason.FAULTY_MAJORITY,
         _of(_present("Ada", faulty=["Bob", "Cyd", "Dan"]), accept=True)),
        # 2 of 4 gone is half, 1 of 4 is not.
        (_of(_present("Ada", "Bob")), Reason.MEMBERS_GONE, _of(_present("Ada", "Bob", "Cyd"))),
        (_of(_present("Ada", "Bob")), Reason.MEMBERS_GONE, _of(_present("Ada", "Bob"), accept=True)),
    ],
)  # fmt: skip
def test_each_hold_and_its_exit(held: Inputs, reason: Reason, released: Inputs) -> None:
    """What holds does hold, and what ends it does: the same from scratch, and right after the hold."""
    verdict = _verdict(held)
    assert verdict.hold is not None
    assert verdict.hold.reason is reason
    assert verdict.hold.detail
    assert _reason(released) is None
    assert _reason(released, replace(STATE, latches=verdict.latches)) is None


def test_every_hold_has_an_exit_in_words() -> None:
    """The operator is told for each hold what ends it."""
    assert EXITS.keys() == HOLDS


def test_the_order_of_the_holds() -> None:
    """STOP, pause, operator, files, payload, blocks, agents: of several the first speaks."""
    broken = replace(snapshot({}, at=None), guardian=None)
    layers: list[tuple[dict[str, object], Reason]] = [
        ({"stopped": True}, Reason.STOPPED),
        ({"pause": SHUT}, Reason.PAUSED),
        ({"hold": STILL}, Reason.OPERATOR_HOLD),
        ({"files_problem": "the primary is a FIFO"}, Reason.FILES_UNWRITABLE),
        ({"payload": LOST}, Reason.FETCH_FAILED),
        ({"payload": replace(broken, at=NOW - 5000)}, Reason.PAYLOAD_STALE),
        ({"payload": broken}, Reason.GUARDIAN_LOST),
        ({"payload": replace(broken, guardian=snapshot().guardian)}, Reason.TIMESTAMP_LOST),
        ({"payload": snapshot({})}, Reason.NO_AGENTS),
    ]
    for first, (_, reason) in enumerate(layers):
        fields: dict[str, object] = {}
        for layer, _ in layers[first:]:
            fields = layer | fields
        assert _reason(_of(**fields)) is reason  # type: ignore[arg-type]  # fields of Inputs


def test_an_expired_pause_file_silences_a_payload_that_only_repeats_it() -> None:
    """The producer ignores ``until``: the same reason, not empty, after it is over."""
    repeated = snapshot(FULL, paused=True, said="cooldown")
    assert _reason(_of(repeated, pause=OVER)) is None
    assert _reason(_of(repeated, pause=replace(OVER, until=NOW + 1))) is Reason.PAUSED
    assert _reason(_of(repeated, pause=replace(OVER, paused=False))) is Reason.PAUSED
    assert _reason(_of(repeated)) is Reason.PAUSED


def test_faulty_records_are_records_enough_to_end_a_pause() -> None:
    """A fresh payload in which all agents are faulty is complete: it holds for another reason."""
    state = replace(STATE, latches=replace(WATCHED, paused=True))
    assert _reason(_of(_present(faulty=FULL)), state) is Reason.FAULTY_MAJORITY


def test_a_pause_in_a_stale_payload_is_a_pause() -> None:
    """What could be read and says paused is believed however old it is."""
    assert _reason(_of(snapshot(FULL, at=NOW - 5000, paused=True))) is Reason.PAUSED


@pytest.mark.parametrize(
    "incomplete",
    [
        pytest.param(_of(LOST), id="no payload"),
        pytest.param(_of(snapshot(FULL, at=NOW - 901)), id="stale"),
        pytest.param(_of(snapshot(FULL, at=NOW + 61)), id="from the future"),
        pytest.param(_of(replace(snapshot(FULL), guardian=None)), id="guardian block lost"),
        pytest.param(_of(snapshot(FULL, at=None)), id="time stamp lost"),
        pytest.param(_of(snapshot({})), id="no agents"),
        pytest.param(_of(snapshot({}), accept=True), id="no agents, accepted"),
        pytest.param(_of(pause=TORN), id="pause file unreadable"),
        pytest.param(_of(snapshot(FULL, paused=True), pause=OPEN), id="only the file says not paused"),
    ],
)
def test_a_pause_ends_only_in_a_fresh_complete_payload(incomplete: Inputs) -> None:
    """Whatever is less keeps the pause on, and the latch with it."""
    state = replace(STATE, latches=_verdict(_of(pause=SHUT)).latches)
    verdict = _verdict(incomplete, state)
    assert verdict.hold is not None
    assert verdict.hold.reason is Reason.PAUSED
    assert verdict.latches.paused
    after = _verdict(_of(), replace(STATE, latches=verdict.latches))
    assert (after.hold, after.latches.paused) == (None, False)


def test_a_pause_that_begins_behind_a_stop_is_remembered() -> None:
    """The latch is kept up to date behind an earlier hold: the payload may fail when the STOP file goes."""
    latches = _verdict(_of(stopped=True, pause=SHUT)).latches
    assert _reason(_of(LOST), replace(STATE, latches=latches)) is Reason.PAUSED


def test_a_first_cycle_may_find_no_payload() -> None:
    """With nothing known at all a refusal is a hold like any other."""
    assert _reason(_of(LOST), State()) is Reason.FETCH_FAILED


def test_what_is_wrong_with_the_payload_is_told_behind_other_holds() -> None:
    """A STOP, a pause, an operator's hold and files that cannot be written do not hide a failing dashboard."""
    lost = _of(LOST)
    for held in (
        replace(lost, stopped=True),
        replace(lost, pause=SHUT),
        replace(lost, hold=STILL),
        replace(lost, files_problem="the primary is a FIFO"),
        lost,
    ):
        unusable = _verdict(held).unusable
        assert unusable is not None
        assert (unusable.reason, unusable.detail) == (Reason.FETCH_FAILED, "connection refused")
    assert _verdict(_of(stopped=True)).unusable is None
    assert _verdict(_of(snapshot({}))).unusable is None


def test_a_hold_says_what_the_operator_needs_to_know() -> None:
    """Who holds and why; how old; how many of how many; which cycle of how many."""
    details: list[tuple[Inputs, str]] = [
        (_of(pause=SHUT), "the pause file says: cooldown"),
        (_of(pause=Pause(paused=True)), "the pause file says: paused"),
        (_of(pause=TORN), "the pause file cannot be read, which counts as paused: it is empty"),
        (_of(snapshot(FULL, paused=True, said="drawdown")), "the payload says: drawdown"),
        (_of(snapshot(FULL, paused=True)), "the payload says: paused"),
        (_of(hold=STILL), "held by kim"),
        (_of(hold=replace(STILL, reason="broker migration")), "held by kim: broker migration"),
        (_of(snapshot(FULL, at=NOW - 901)), "the payload is 901 s old, more than 900 s"),
        (_of(snapshot(FULL, at=NOW + 61)), "the payload's time stamp is 61 s in the future"),
        (_of(_present("Ada", faulty=["Bob", "Cyd", "Dan"])), "3 of 4 agents have a faulty record"),
        (_of(_present("Ada", "Bob")), "2 of 4 members are gone at once, cycle 1 of 12"),
    ]
    for inputs, detail in details:
        hold = _verdict(inputs).hold
        assert hold is not None
        assert hold.detail == detail


def test_blocks_never_seen_are_not_missed() -> None:
    """A dashboard without guardian and time stamp is held for neither, until it has once sent them."""
    bare = _of(replace(snapshot(FULL, at=None), guardian=None))
    unseen = replace(STATE, latches=Latches())
    assert _verdict(bare, unseen) == Verdict(None, Latches(), attendance=_verdict(bare, unseen).attendance)
    assert _verdict(_of(), unseen).latches == WATCHED


def test_an_accepted_loss_is_forgotten() -> None:
    """``accept`` is for one cycle, but what it accepted holds nothing again until it has been seen anew."""
    bare = replace(snapshot(FULL, at=None), guardian=None)
    verdict = _verdict(_of(bare, accept=True))
    assert verdict.accepted == ("guardian block", "time stamp")
    assert _verdict(_of(bare), replace(STATE, latches=verdict.latches)).hold is None


def test_a_stale_payload_shows_blocks_but_loses_none() -> None:
    """What it has counts as seen; what it lacks is neither lost nor accepted."""
    stale = snapshot(FULL, at=NOW - 5000)
    assert _verdict(_of(stale), replace(STATE, latches=Latches())).latches == WATCHED
    verdict = _verdict(_of(replace(stale, guardian=None), accept=True))
    assert (verdict.latches, verdict.accepted) == (WATCHED, ())
    assert _verdict(_of(replace(stale, at=None, guardian=None))).latches == WATCHED


def test_gone_members_are_waited_for() -> None:
    """12 cycles of this hold (4 x grace 3), other holds not counting; then the next such cycle is let through."""
    gone, state = _of(_present("Ada", "Bob")), STATE
    for count in range(1, 13):
        verdict = _verdict(gone, state)
        assert verdict.hold is not None
        assert verdict.hold.reason is Reason.MEMBERS_GONE
        assert verdict.latches.gone_cycles == count
        state = replace(state, latches=verdict.latches)
        for other in (_of(LOST), _of(stopped=True), _of(snapshot({})), _of(_present(faulty=FULL))):
            state = replace(state, latches=_verdict(other, state).latches)
        assert state.latches.gone_cycles == count
    verdict = _verdict(gone, state)
    assert (verdict.hold, verdict.latches.gone_cycles) == (None, 0)


def test_without_a_grace_the_gone_are_still_waited_for() -> None:
    """MEMBERSHIP_GRACE=0 is about one agent; half of the fleet gone at once holds for 4 cycles whatever it is."""
    rules, state = replace(PLAIN, membership_grace_cycles=0), STATE
    for count in range(1, 5):
        verdict = judge(_of(_present("Ada", "Bob")), state, rules)
        assert verdict.hold is not None
        assert verdict.hold.reason is Reason.MEMBERS_GONE
        assert verdict.hold.detail == f"2 of 4 members are gone at once, cycle {count} of 4"
        state = replace(state, latches=verdict.latches)
    assert judge(_of(_present("Ada", "Bob")), state, rules).hold is None


def test_a_stale_payload_says_what_its_missing_zone_has_to_do_with_it() -> None:
    """Where the time stamp says no zone, the sentence names the reading that counts and the remedy."""
    note = "timestamp has no time zone, and it is so old if taken as local time: let the producer write Z or +00:00"
    verdict = _verdict(_of(replace(snapshot(FULL, at=NOW - 19_805), at_note=note)))
    assert verdict.hold is not None
    assert verdict.hold.detail == f"the payload is 19805 s old, more than 900 s: {note}"


def test_a_pause_says_how_its_end_was_read() -> None:
    """Where the pause file says no zone, the sentence has the time that counts."""
    note = "`until` has no time zone and counts as UTC, 2025-11-03 12:00:00 UTC: write an offset or Z"
    verdict = _verdict(_of(pause=replace(SHUT, until=NOW + 1, note=note)))
    assert verdict.hold is not None
    assert verdict.hold.detail == f"the pause file says: cooldown ({note})"


def test_the_return_of_the_gone_ends_the_count() -> None:
    """A cycle in which agents are judged and not too many are gone starts the count anew."""
    state = replace(STATE, latches=replace(WATCHED, gone_cycles=7))
    assert _verdict(_of(), state).latches.gone_cycles == 0


def test_only_who_left_since_the_last_accepted_payload_is_gone_at_once() -> None:
    """Members that are already counted absent are no surprise, but they still count as members."""
    agents = {**STATE.agents, "Cyd": Memory(absent=1)}
    assert _reason(_of(_present("Ada", "Bob")), replace(STATE, agents=agents)) is None
    assert _reason(_of(_present("Ada")), replace(STATE, agents=agents)) is Reason.MEMBERS_GONE
    assert _reason(observe({"Ada": 0.5, "Bob": 0.5}), settled()) is None, "one of three is less than half"


def test_accepted_members_are_excused_until_they_are_well() -> None:
    """The faulty and absent of an accepted payload are counted again only after a good record."""
    gone = _of(_present("Ada", "Bob", faulty=["Cyd"]), accept=True)
    verdict = _verdict(gone)
    assert (verdict.accepted, verdict.latches.accepted) == (("Cyd", "Dan"), ("Cyd", "Dan"))
    state = replace(STATE, latches=verdict.latches)
    again = _verdict(replace(gone, accept=False), state)
    assert (again.accepted, again.latches.accepted) == ((), ("Cyd", "Dan"))
    assert _reason(_of(_present("Ada", faulty=["Bob", "Cyd", "Dan"])), state) is None
    well = replace(state, latches=_verdict(_of(), state).latches)
    assert well.latches.accepted == ()
    assert _reason(_of(_present("Ada", faulty=["Bob", "Cyd", "Dan"])), well) is Reason.FAULTY_MAJORITY


def test_the_first_payload_counts_all_its_agents() -> None:
    """With no members yet, more than half of all records must be good; an accepted one may be worse."""
    empty = State()
    assert _reason(_of(_present("Ada", faulty=["Bob"])), empty) is None
    assert _reason(_of(_present("Ada", faulty=["Bob", "Cyd"])), empty) is Reason.FAULTY_MAJORITY
    assert _reason(_of(_present("Ada", faulty=["Bob", "Cyd"]), accept=True), empty) is None
    assert _reason(_of(_present(faulty=["Bob"]), accept=True), empty) is Reason.NO_AGENTS


def test_the_last_member_is_not_retired_unless_that_is_accepted() -> None:
    """A stranger's record is no fleet: where the last members would be retired, nobody is left to decide about."""
    agents = dict.fromkeys(FULL, Memory(absent=3))
    leaving, stranger = replace(STATE, agents=agents), _present(faulty=["Mad"])
    at_once = replace(PLAIN, release_after_cycles=0)

    def reason(inputs: Inputs, state: State) -> Reason | None:
        hold = judge(inputs, state, at_once).hold
        return None if hold is None else hold.reason

    assert reason(_of(stranger), leaving) is Reason.NO_AGENTS
    assert reason(_of(stranger), replace(leaving, agents={**agents, "Dan": Memory(absent=2)})) is None
    assert reason(_of(_present("New", faulty=["Mad"])), leaving) is None
    assert reason(_of(stranger, accept=True), leaving) is None
    assert reason(_of(stranger, accept=True), replace(leaving, published=None)) is Reason.NO_AGENTS
    assert reason(_of(snapshot({})), replace(STATE, agents={})) is Reason.NO_AGENTS


def test_members_that_lapse_are_still_there() -> None:
    """The grace of all members ends: those with a line lapse, which is no hold; without any line nobody is left."""
    agents = dict.fromkeys(FULL, Memory(absent=3))
    leaving, stranger = _of(_present(faulty=["Mad"])), replace(STATE, agents=agents)
    lined = publication({"Ada": 200_000})
    assert _reason(leaving, replace(stranger, published=lined)) is None
    assert _reason(leaving, replace(stranger, published=None)) is Reason.NO_AGENTS
    lapsed = dict.fromkeys(FULL, Memory(absent=9, lapsed=True))
    assert _reason(leaving, replace(STATE, agents=lapsed, published=lined)) is None
    # Released, the lapsed leave at once.
    assert _reason(_of(_present(faulty=["Mad"]), released=("Ada",)), replace(STATE, agents=lapsed)) is None


def test_the_lapsed_are_no_members_in_holds_about_agents() -> None:
    """Their silence and faults count for nothing, their good records as those of healthy newcomers."""
    lapsed = Memory(absent=9, lapsed=True)
    two = replace(STATE, agents={**STATE.agents, "Cyd": lapsed, "Dan": lapsed})
    # Of the two members one is faulty, which is half; of the two members one is gone, which is half.
    assert _reason(_of(_present("Ada", faulty=["Bob", "Cyd", "Dan"])), two) is None
    assert _reason(_of(_present("Ada")), two) is Reason.MEMBERS_GONE
    assert _reason(_of(_present(faulty=["Ada", "Bob"])), two) is Reason.FAULTY_MAJORITY
    # Two faulty members of two members and two newcomers are half.
    assert _reason(_of(_present("Cyd", "Dan", faulty=["Ada", "Bob"])), two) is None
    assert _reason(_of(_present("Cyd", faulty=["Ada", "Bob"])), two) is Reason.FAULTY_MAJORITY


def test_an_accept_ends_a_hold_without_agents_where_some_have_lapsed() -> None:
    """An accept is about all members, and who has lapsed is none; where all have lapsed, a release is."""
    lapsed = Memory(absent=9, lapsed=True)
    one = replace(STATE, agents={**STATE.agents, "Dan": lapsed})
    assert _reason(_of(snapshot({})), one) is Reason.NO_AGENTS
    assert _reason(_of(snapshot({}), accept=True), one) is None
    all_of_them = replace(STATE, agents=dict.fromkeys(FULL, lapsed))
    assert _reason(_of(snapshot({}), accept=True), all_of_them) is Reason.NO_AGENTS
    assert _reason(_of(snapshot({}), released=("Ada", "Bob", "Cyd")), all_of_them) is Reason.NO_AGENTS
    assert _reason(_of(snapshot({}), released=tuple(FULL)), all_of_them) is None


def test_a_release_excuses_one_agent() -> None:
    """A released agent that is gone or faulty counts no more in its hold; with a good record nothing is released."""
    verdict = _verdict(_of(_present("Ada", "Bob"), released=("Cyd",)))
    assert (verdict.hold, verdict.accepted, verdict.latches.accepted) == (None, ("Cyd",), ("Cyd",))
    assert _verdict(_of(released=("Cyd", "Zed"))).latches.accepted == ()


def test_strangers_with_faulty_records_are_nobodys_majority() -> None:
    """Once there are members, any number of made-up faulty names holds nothing."""
    strangers = [f"Mad{i}" for i in range(50)]
    assert _reason(_of(_present(*FULL, faulty=strangers))) is None
    assert _reason(observe(FULL, faulty=strangers), STATE) is None
