"""What a person tightens beside a running governor: taken in the next cycle of every hold but STOP, and told."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from capital_governor.adapters import atomic_replacement
from capital_governor.core.model import Refusal, Snapshot
from capital_governor.core.orders import OrderEnd, OrderKind
from capital_governor.core.reason import Reason
from capital_governor.journal.notices import NoticeState
from tests.rigs.builders import INTERVAL, snapshot
from tests.rigs.cycle_rig import CycleRig, footprint
from tests.rigs.holds import full_disk
from tests.rigs.order_desk import Restarting, give, kept, published, take_back

SWAPPED: Final = {"Ada": 0.2, "Bob": 0.3, "Cyd": 0.5}
WITHOUT_CYD: Final = {"Ada": 0.5, "Bob": 0.3}
BEFORE: Final = {"Ada": 0.4, "Bob": 0.36, "Cyd": 0.24}
KINDS: Final = {"one process": CycleRig, "a fresh process each cycle": Restarting}
processes = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


@pytest.fixture(params=[*KINDS.values()], ids=[*KINDS])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[CycleRig]:
    """A governor with a chat, with 0.40, 0.36, 0.24 published; in half of the runs each cycle is a process's first."""
    with request.param(tmp_path, notify=True) as made:
        made.see()
        assert published(made) == BEFORE
        yield made


Hear = Callable[[CycleRig], Snapshot | Refusal]


def paused(rig: CycleRig) -> Snapshot:
    """A payload that asks for a move and says paused."""
    return snapshot(SWAPPED, at=rig.now, paused=True)


def down(rig: CycleRig) -> Refusal:
    del rig
    return Refusal(Reason.FETCH_FAILED, "connection refused")


def stale(rig: CycleRig) -> Snapshot:
    return snapshot(SWAPPED, at=rig.now - 5_000)


def emptied(rig: CycleRig) -> Snapshot:
    return snapshot({}, at=rig.now)


def half_gone(rig: CycleRig) -> Snapshot:
    return snapshot({"Ada": 0.5}, at=rig.now)


HOLDS: Final[dict[Reason, Hear]] = {
    Reason.PAUSED: paused,
    Reason.FETCH_FAILED: down,
    Reason.PAYLOAD_STALE: stale,
    Reason.NO_AGENTS: emptied,
    Reason.MEMBERS_GONE: half_gone,
}
holds = pytest.mark.parametrize("hold", HOLDS, ids=lambda reason: reason.value)


@dataclass(frozen=True)
class Tightening:
    """An order and what it makes of 0.40, 0.36, 0.24 in a hold.

    Args:
        kind: the order's.
        order: its fields.
        reason: of the cut.
        shares: after it.
        withheld: after it.
        says: the cause in the message.
    """

    kind: OrderKind
    order: dict[str, Any]
    reason: Reason
    shares: dict[str, float]
    withheld: dict[str, float] = field(default_factory=dict)
    says: str = ""


TIGHTENINGS: Final = {
    "exposure --max 0.5": Tightening(
        OrderKind.EXPOSURE,
        {"cap": 0.5},
        Reason.CUT_CEILING,
        {"Ada": 0.2, "Bob": 0.18, "Cyd": 0.12},
        says="Risk cut: anna's order of at most 50 %. Deployed 100 -> 50 %. Each share halved.",
    ),
    "exposure --max 0": Tightening(
        OrderKind.EXPOSURE,
        {"cap": 0.0},
        Reason.CUT_CEILING,
        dict.fromkeys(BEFORE, 0.0),
        says="Risk cut: anna's order of at most 0 %. Deployed 100 -> 0 %. All capital is in the reserve.",
    ),
    "limit Ada --max 0.1": Tightening(
        OrderKind.LIMIT,
        {"agent": "Ada", "cap": 0.1},
        Reason.CUT_LIMIT,
        {**BEFORE, "Ada": 0.1},
        {"Ada": 0.3},
        "Deployed 100 -> 70 %.\nAda 40 -> 10 %: operator's cap by anna. 30 % waits in the reserve.",
    ),
    "limit Ada --max 0.1 --share-out": Tightening(
        OrderKind.LIMIT,
        {"agent": "Ada", "cap": 0.1, "share_out": True},
        Reason.CUT_LIMIT,
        {**BEFORE, "Ada": 0.1},
        {"Ada": 0.3},
        "Deployed 100 -> 70 %.\nAda 40 -> 10 %: it was above its upper limit. 30 % waits in the reserve.",
    ),
    "limit '*' --max 0.2": Tightening(
        OrderKind.LIMIT,
        {"agent": "*", "cap": 0.2},
        Reason.CUT_LIMIT,
        dict.fromkeys(BEFORE, 0.2),
        {"Ada": 0.2, "Bob": 0.16, "Cyd": 0.04},
        "Deployed 100 -> 60 %.\nAda 40 -> 20 %: operator's cap by anna. 20 % waits in the reserve.\n"
        "Bob 36 -> 20 %: operator's cap by anna. 16 % waits in the reserve.\n"
        "Cyd 24 -> 20 %: operator's cap by anna. 4 % waits in the reserve.",
    ),
}
tightenings = pytest.mark.parametrize("tightening", TIGHTENINGS.values(), ids=TIGHTENINGS.keys())


def withheld(rig: CycleRig) -> dict[str, float]:
    found: dict[str, float] = rig.status()["withheld"]
    return found


# --- in a hold --------------------------------------------------------------------------------------------------------


@holds
@tightenings
def test_a_tightening_in_a_hold_is_published_in_the_next_cycle(
    rig: CycleRig, hold: Reason, tightening: Tightening
) -> None:
    """No cycle late, in both files, with one message; the cycles after it hold as before and write nothing."""
    rig.cycle(HOLDS[hold](rig))
    messages = len(rig.messages())
    give(rig, tightening.kind, **tightening.order)
    outcome = rig.cycle(HOLDS[hold](rig))
    assert (outcome.decision.reason, published(rig)) == (tightening.reason, tightening.shares)
    assert outcome.decision.trace.hold is not None
    assert outcome.decision.trace.hold.reason is hold
    assert withheld(rig) == tightening.withheld
    assert rig.status()["state"] == "holding"
    assert json.loads(rig.override.read_bytes())["allocations"] == tightening.shares
    (told,) = rig.messages()[messages:]
    assert f"\n{tightening.says}\n" in told
    before = footprint(rig.primary, rig.override)
    for _ in range(2):
        assert rig.cycle(HOLDS[hold](rig)).decision.reason is hold
        assert footprint(rig.primary, rig.override) == before
    assert len([text for text in rig.messages() if text.startswith("🎯")]) == 2


@holds
def test_nothing_is_loosened_in_a_hold(rig: CycleRig, hold: Reason) -> None:
    """Orders that are taken back in a hold give nothing back there; the next cycle that decides does."""
    cap, ceiling = give(rig, OrderKind.LIMIT, agent="Ada", cap=0.1), give(rig, OrderKind.EXPOSURE, cap=0.5)
    rig.cycle(HOLDS[hold](rig))
    cut = published(rig)
    assert cut == {"Ada": 0.05, "Bob": 0.18, "Cyd": 0.12}
    take_back(rig, cap)
    take_back(rig, ceiling)
    for _ in range(2):
        assert rig.cycle(HOLDS[hold](rig)).decision.reason is hold
        assert published(rig) == cut
    rig.see()
    assert published(rig) == BEFORE


def test_a_tightening_in_an_operators_hold_is_published(rig: CycleRig) -> None:
    """A hold keeps shares from moving, and does not keep back what the same person takes off."""
    hold = give(rig, OrderKind.HOLD)
    assert rig.see(SWAPPED).decision.reason is Reason.OPERATOR_HOLD
    give(rig, OrderKind.EXPOSURE, cap=0.25)
    assert rig.see(SWAPPED).decision.reason is Reason.CUT_CEILING
    assert published(rig) == {"Ada": 0.1, "Bob": 0.09, "Cyd": 0.06}
    assert rig.see(SWAPPED).decision.reason is Reason.OPERATOR_HOLD
    assert kept(rig, hold).end is None


def test_a_cut_in_a_pause_is_tried_until_both_files_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full keeps it back for as long as it is; a file that is gone afterwards stays so in the pause."""
    with CycleRig(tmp_path, notify=True) as rig:
        rig.see()
        full_disk_in_a_pause(rig, monkeypatch)


def full_disk_in_a_pause(rig: CycleRig, monkeypatch: pytest.MonkeyPatch) -> None:
    real, full = atomic_replacement._make, {"capital_governor_allocations.json", "allocations_override.json"}

    def make(path: Path, *arguments: Any) -> Any:
        if path.name in full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *arguments)

    monkeypatch.setattr(atomic_replacement, "_make", make)
    rig.cycle(paused(rig))
    give(rig, OrderKind.EXPOSURE, cap=0.5)
    for _ in range(2):
        rig.cycle(paused(rig))
        assert published(rig) == BEFORE
        assert "🎯" not in "".join(rig.messages()[1:])
    full.discard("capital_governor_allocations.json")
    rig.cycle(paused(rig))
    assert published(rig) == {"Ada": 0.2, "Bob": 0.18, "Cyd": 0.12}
    assert b"0.36" in rig.override.read_bytes()
    full.clear()
    rig.cycle(paused(rig))
    assert b"0.36" not in rig.override.read_bytes()
    assert [text.partition("\n")[0] for text in rig.messages()].count("🎯 Capital Reallocation:") == 2
    rig.override.unlink()
    rig.cycle(paused(rig))
    assert not rig.override.exists()


# --- under STOP -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hear", [paused, down, lambda rig: snapshot(at=rig.now)], ids=["paused", "down", "all well"])
@tightenings
def test_a_tightening_under_stop_waits_for_its_end_alone(rig: CycleRig, hear: Hear, tightening: Tightening) -> None:
    """Under STOP nothing is written, decided or told; the first cycle without it takes the order, whatever holds."""
    rig.stop_file.touch()
    before = footprint(rig.primary, rig.override)
    order = give(rig, tightening.kind, **tightening.order)
    for _ in range(3):
        outcome = rig.cycle(hear(rig))
        assert (outcome.decision.reason, outcome.decision.proposal) == (Reason.STOPPED, None)
        assert footprint(rig.primary, rig.override) == before
        assert len([text for text in rig.messages() if text.startswith("🎯")]) == 1
    assert [each["key"] for each in rig.status()["orders"]] == [order.key]
    rig.stop_file.unlink()
    rig.cycle(hear(rig))
    shares = published(rig)
    if tightening.order.get("share_out") and rig.status()["state"] == "governing":
        assert shares == {"Ada": 0.1, "Bob": 0.4, "Cyd": 0.4}, "the plan moves, and others get what the cap takes"
    else:
        assert shares == tightening.shares
    assert len([text for text in rig.messages() if text.startswith("🎯")]) == 2


def test_an_order_that_expires_under_stop_is_never_obeyed(rig: CycleRig) -> None:
    """Its time runs while nothing is written."""
    rig.stop_file.touch()
    give(rig, OrderKind.EXPOSURE, INTERVAL, cap=0.5)
    for _ in range(2):
        rig.see()
    rig.stop_file.unlink()
    assert rig.see().decision.reason is Reason.UNCHANGED
    assert published(rig) == BEFORE


# --- release ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held_by", ["a pause", "STOP", "a dashboard that is down"])
def test_a_release_waits_for_a_cycle_that_can_tell_who_is_silent(rig: CycleRig, held_by: str) -> None:
    """It is neither used nor lost in a hold that does not look at the agents; the first decided cycle uses it."""
    for _ in range(4):
        rig.see(WITHOUT_CYD)
    assert published(rig) == {"Ada": 0.4, "Bob": 0.36, "Cyd": 0.0}
    order, before = give(rig, OrderKind.RELEASE, agent="Cyd"), footprint(rig.primary, rig.override)
    if held_by == "STOP":
        rig.stop_file.touch()
    for _ in range(2):
        said = down(rig) if held_by == "a dashboard that is down" else snapshot(WITHOUT_CYD, at=rig.now, paused=True)
        rig.cycle(said)
        assert kept(rig, order).end is None
        assert footprint(rig.primary, rig.override) == before
    rig.stop_file.unlink(missing_ok=True)
    assert rig.see(WITHOUT_CYD).decision.reason is Reason.MEMBER_LEFT
    assert published(rig) == {"Ada": 0.4, "Bob": 0.4}
    assert (kept(rig, order).end, kept(rig, order).end_detail) == (OrderEnd.USED, "Cyd")


# --- the brakes -------------------------------------------------------------------------------------------------------


@processes
def test_cuts_and_restores_start_no_cool_down(tmp_path: Path, kind: type[CycleRig]) -> None:
    """A restore waits for the cool-down of the move, 25 minutes; the next move waits for neither cut nor restore."""
    with kind(tmp_path, COOLDOWN=1_500) as rig:
        moved_at = rig.now
        assert rig.see().decision.reason is Reason.FIRST_ALLOCATION
        cap = give(rig, OrderKind.LIMIT, agent="Ada", cap=0.1)
        assert rig.see().decision.reason is Reason.CUT_LIMIT
        take_back(rig, cap)
        for _ in range(3):
            assert rig.see().decision.reason is Reason.UNCHANGED
        assert rig.now == moved_at + 1_500
        assert rig.see().decision.reason is Reason.RESTORE
        assert published(rig) == BEFORE
        rig.restart()
        assert rig.governor.state.moved_at == moved_at
        assert rig.see(SWAPPED).decision.reason is Reason.THRESHOLD
        rig.restart()
        assert rig.governor.state.moved_at == moved_at + 1_800


@processes
def test_cuts_and_restores_do_not_count_as_asking(tmp_path: Path, kind: type[CycleRig]) -> None:
    """Of three confirmations a cut in a hold takes none and resets none; one of a cycle that does not ask resets."""
    with kind(tmp_path, CONFIRM_CYCLES=3) as rig:
        reasons = [rig.see().decision.reason for _ in range(3)]
        assert reasons == [Reason.CONFIRMING, Reason.CONFIRMING, Reason.FIRST_ALLOCATION]
        assert rig.see(SWAPPED).decision.reason is Reason.CONFIRMING
        cap = give(rig, OrderKind.LIMIT, agent="Ada", cap=0.1)
        assert rig.cycle(down(rig)).decision.reason is Reason.CUT_LIMIT
        assert rig.see(SWAPPED).decision.reason is Reason.CONFIRMING
        take_back(rig, cap)
        assert rig.see().decision.reason is Reason.RESTORE, "it does not wait for CONFIRM_CYCLES"
        assert rig.governor.state.asked == 0
        reasons = [rig.see(SWAPPED).decision.reason for _ in range(3)]
        assert reasons == [Reason.CONFIRMING, Reason.CONFIRMING, Reason.THRESHOLD]


@processes
def test_a_cut_in_a_hold_is_no_confirmation(tmp_path: Path, kind: type[CycleRig]) -> None:
    """Asked for once, then cut without a payload: two more cycles that ask are needed, not one and not three."""
    with kind(tmp_path, CONFIRM_CYCLES=3) as rig:
        for _ in range(3):
            rig.see()
        assert rig.see(SWAPPED).decision.reason is Reason.CONFIRMING
        give(rig, OrderKind.LIMIT, agent="Ada", cap=0.3)
        assert rig.cycle(down(rig)).decision.reason is Reason.CUT_LIMIT
        assert rig.cycle(down(rig)).decision.reason is Reason.FETCH_FAILED
        assert rig.see(SWAPPED).decision.reason is Reason.CONFIRMING
        assert rig.see(SWAPPED).decision.reason is Reason.THRESHOLD
        assert published(rig) == {"Ada": 0.24, "Bob": 0.36, "Cyd": 0.4}


def test_a_pause_gives_up_a_move_that_the_agents_cannot_see_yet(rig: CycleRig) -> None:
    """A move is decided on a full disk, then a pause begins: nobody's share rises in it, by an order neither."""
    with full_disk():
        assert rig.see(SWAPPED).decision.reason is Reason.THRESHOLD
        assert len(rig.messages(NoticeState.HELD)) == 1
    rig.see(SWAPPED, paused=True)
    assert published(rig) == BEFORE
    assert (rig.status()["generation"], rig.messages(NoticeState.HELD)) == (1, [])
    give(rig, OrderKind.EXPOSURE, cap=0.5)
    rig.see(SWAPPED, paused=True)
    assert published(rig) == {agent: share / 2 for agent, share in BEFORE.items()}
    assert rig.status()["generation"] == 3


def test_a_pause_goes_on_writing_a_cut_that_the_agents_cannot_see_yet(rig: CycleRig) -> None:
    """An operator's cut is decided on a full disk, then a pause begins: it is written in it."""
    give(rig, OrderKind.EXPOSURE, cap=0.5)
    with full_disk():
        assert rig.see().decision.reason is Reason.CUT_CEILING
    assert published(rig) == BEFORE
    rig.see(paused=True)
    assert published(rig) == {agent: share / 2 for agent, share in BEFORE.items()}
    assert rig.status()["generation"] == 2
