"""Cases of silence, faults, caps, ceilings and groups, each with the shares that the rules give in its last cycle."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from tests.oracle.scenarios import DEFAULTS, INTERVAL, QUIET, Result, Scenario, cap, floor, quiet
from tests.oracle.sight import Published

A_DAY: Final = 86_400 // INTERVAL
LAPSES: Final = 5
"""Absent for so many cycles, an agent has lapsed, and the cycle after that has passed."""


def four() -> dict[str, float]:
    return {"A": 0.4, "B": 0.3, "C": 0.2, "D": 0.1}


def lapse(scenario: Scenario, *names: str) -> None:
    """Let these be silent until they have lapsed."""
    scenario.absent |= set(names)
    scenario.cycles(LAPSES)


def small_line_lapses() -> tuple[Scenario, Result]:
    """The smallest of four lapses, and nothing else changes."""
    s = Scenario({"A": 0.08, "B": 0.31, "C": 0.31, "D": 0.3}).cycles()
    lapse(s, "A")
    return s, quiet({"A": 0, "B": 0.31, "C": 0.31, "D": 0.3}, {"A": 0.08})


def silence_leaves_drift() -> tuple[Scenario, Result]:
    """The drift of B is below every threshold; that A falls silent does not publish it."""
    s = Scenario(four()).cycles()
    s.scores["B"] = 0.33
    lapse(s, "A")
    return s, quiet({"A": 0, "B": 0.3, "C": 0.2, "D": 0.1}, {"A": 0.4})


def collapse_beside_a_lapsed_one() -> tuple[Scenario, Result]:
    """B collapses while A has lapsed: what C gets is what it gets beside an A that reports."""
    s = Scenario({"A": 0.4, "B": 0.3, "C": 0.3}, settings=DEFAULTS)
    s.change(max_alloc=1.0)
    s.cycles()
    lapse(s, "A")
    s.scores["B"] = 0.0
    return s.cycles(2), quiet({"A": 0, "B": 0.05, "C": 0.4071}, {"A": 0.5429})


def collapse_beside_a_good_one() -> tuple[Scenario, Result]:
    """The same, and A reports."""
    s = Scenario({"A": 0.4, "B": 0.3, "C": 0.3}, settings=DEFAULTS)
    s.change(max_alloc=1.0)
    s.cycles()
    s.scores["B"] = 0.0
    return s.cycles(2), quiet({"A": 0.5429, "B": 0.05, "C": 0.4071})


def newcomers_where_all_lapsed() -> tuple[Scenario, Result]:
    """All of three fall silent, nobody but a stranger without a good record is left; then two join.

    With nobody left the cycle holds, so the three lapse in the cycle in which the two join.
    """
    s = Scenario({"A": 0.4, "B": 0.3, "C": 0.3}).cycles()
    s.scores["Z"] = 0.1
    s.faulty = {"Z"}
    s.absent = {"A", "B", "C"}
    s.cycles(30)
    s.scores |= {"D": 0.3, "E": 0.3}
    return s.cycles(2), quiet({"A": 0, "B": 0, "C": 0, "D": 0.1875, "E": 0.1875}, {"A": 0.25, "B": 0.1875, "C": 0.1875})


def journal_lost() -> tuple[Scenario, Result]:
    """The journal is lost while A has lapsed; the file tells what is withheld."""
    s = Scenario(four()).cycles()
    lapse(s, "A")
    s.lose_journal()
    return s.cycles(6), quiet({"A": 0, "B": 0.3, "C": 0.2, "D": 0.1}, {"A": 0.4})


def exposure_falls_beside_a_lapsed_one() -> tuple[Scenario, Result]:
    """Exposure falls by 0.1 of the plan; that is a move although the shares fall by little more than half of it."""
    s = Scenario({"A": 0.4, "B": 0.3, "C": 0.3}).cycles()
    lapse(s, "A")
    s.multiplier = 0.9
    return s.cycles(2), quiet({"A": 0, "B": 0.27, "C": 0.27}, {"A": 0.36}, 0.9)


def cap_leaves_drift() -> tuple[Scenario, Result]:
    """A cap on D takes from D, and does not publish the drift of B."""
    s = Scenario(four()).cycles()
    s.scores["B"] = 0.33
    s.cycles()
    s.limit(cap("D", 0.05))
    cut = Result("cut", frozenset({"cut_limit", "cut_lapse"}), {"A": 0.4, "B": 0.3, "C": 0.2, "D": 0.05}, {"D": 0.05})
    return s.cycles(), cut


def cap_without_a_dashboard() -> tuple[Scenario, Result]:
    """A cap is ordered while there is no payload; the regime of before, too small a fall, stays unpublished."""
    s = Scenario(four()).cycles()
    s.multiplier = 0.97
    s.cycles()
    s.payload = "fetch_failed"
    s.cycles()
    s.limit(cap("A", 0.1))
    held = Result("hold", frozenset({"fetch_failed"}), {"A": 0.1, "B": 0.3, "C": 0.2, "D": 0.1}, {"A": 0.3})
    return s.cycles(2), held


def maximum_lowered_without_a_dashboard() -> tuple[Scenario, Result]:
    """MAX_ALLOC is lowered while there is no payload, and then a cap is ordered."""
    s = Scenario(four()).cycles()
    s.payload = "fetch_failed"
    s.cycles()
    s.change(max_alloc=0.3)
    s.cycles(2)
    s.limit(cap("B", 0.1))
    shares, withheld = {"A": 0.3, "B": 0.1, "C": 0.2, "D": 0.1}, {"A": 0.1, "B": 0.2}
    return s.cycles(2), Result("hold", frozenset({"fetch_failed"}), shares, withheld)


def group_set_later() -> tuple[Scenario, Result]:
    """A group is set that is above its cap; the plan goes there in steps, as far as the cap."""
    s = Scenario(four())
    s.change(max_step=0.05)
    s.cycles()
    s.change(groups=(("pair", 0.3, ("A", "B")),))
    return s.cycles(12), quiet({"A": 0.1714, "B": 0.1286, "C": 0.4, "D": 0.3})


def group_and_remainder() -> tuple[Scenario, Result]:
    """The cap of a group in millionths is no whole number; the remainder goes to others."""
    s = Scenario({"A": 0.84, "B": 0.80, "C": 0.85, "D": 0.75, "E": 0.70})
    s.change(groups=(("pair", 1 / 3, ("A", "B")),))
    s.multiplier = 0.7
    shares = {"A": 0.1195, "B": 0.1138, "C": 0.1725, "D": 0.1522, "E": 0.142}
    return s.cycles(), Result("move", frozenset({"first_allocation"}), shares, exposure=0.7)


def reserve_set_later() -> tuple[Scenario, Result]:
    """MIN_RESERVE is below every threshold, and is kept at once."""
    s = Scenario(four()).cycles()
    s.change(min_reserve=0.03)
    return s.cycles(2), quiet({"A": 0.388, "B": 0.291, "C": 0.194, "D": 0.097}, exposure=0.97)


def cap_taken_back() -> tuple[Scenario, Result]:
    """What a cap withheld comes back when it is taken back, below every threshold too."""
    s = Scenario(four()).cycles()
    s.limit(cap("D", 0.02))
    s.cycles(2)
    s.limit()
    return s.cycles(2), quiet(four())


def comes_and_goes() -> tuple[Scenario, Result]:
    """A is away for 4 cycles and there for 1, twenty times, while the score of B creeps up: one cut, and no move."""
    s = Scenario(four()).cycles()
    for _ in range(20):
        for away in (True, True, True, True, False):
            s.absent = {"A"} if away else set()
            s.scores["B"] += 0.001
            s.cycles()
    shares = {"A": 0.0, "B": 0.3, "C": 0.2, "D": 0.1}
    return s, Result("stay", QUIET, shares, {"A": 0.4}, moves=0, publications=1)


def silent_before_it_had_a_line() -> tuple[Scenario, Result]:
    """A joins under a cool-down, and falls silent before anything was published for it: it is retired."""
    s = Scenario({"A": 0.4, "B": 0.3, "C": 0.2, "D": 0.1}, absent={"A"})
    s.change(cooldown_seconds=86_400.0)
    s.cycles()
    s.absent = set()
    s.cycles(2)
    lapse(s, "A")
    return s, quiet({"B": 0.4, "C": 0.4, "D": 0.2})


def ceiling_in_a_pause() -> tuple[Scenario, Result]:
    """The operator's exposure takes effect while Guardian pauses."""
    s = Scenario(four()).cycles()
    s.paused = True
    s.cycles()
    s.orders["ceiling"] = (0.3, inf)
    shares = {"A": 0.12, "B": 0.09, "C": 0.06, "D": 0.03}
    return s.cycles(), Result("cut", frozenset({"cut_ceiling"}), shares, exposure=0.3)


def ceiling_under_stop() -> tuple[Scenario, Result]:
    """Under STOP not even the operator's exposure takes effect."""
    s = Scenario(four()).cycles()
    s.orders |= {"stopped": True, "ceiling": (0.3, inf)}
    return s.cycles(), Result("hold", frozenset({"stopped"}), four())


def pause_does_not_release() -> tuple[Scenario, Result]:
    """RELEASE_AFTER counts decided cycles: a pause of two days releases nobody."""
    s = Scenario(four())
    s.change(release_after=A_DAY)
    s.cycles()
    lapse(s, "A")
    s.paused = True
    s.cycles(2 * A_DAY)
    s.paused = False
    return s.cycles(), quiet({"A": 0, "B": 0.3, "C": 0.2, "D": 0.1}, {"A": 0.4})


OTHERS: Final = [f"b{number:02}" for number in range(13)]


def pinned_and_absent() -> tuple[Scenario, Result]:
    """A has a line in an adopted file and never reports; its pin is the same in every cycle, so there is one move.

    What A still has is withheld when it lapses, which is a second publication.
    """
    s = Scenario(dict.fromkeys(OTHERS, 0.5))
    weights = {"A": 0.4} | dict.fromkeys(OTHERS, 46_153 / 1_000_000)
    lines = {name: round(weight * 1_000_000) for name, weight in weights.items()}
    s.find(Published(0, lines, 1_000_000 - sum(lines.values()), weights, 1.0))
    shares = {"A": 0.0} | dict.fromkeys(OTHERS, 0.0476)
    return s.cycles(60), Result("stay", QUIET, shares, {"A": 0.381}, moves=1, publications=2)


def first_allocation_with_orders() -> tuple[Scenario, Result]:
    """Cap and operator's exposure hold in the first allocation."""
    s = Scenario(four())
    s.limit(cap("A", 0.1))
    s.orders["ceiling"] = (0.5, inf)
    shares, withheld = {"A": 0.05, "B": 0.15, "C": 0.1, "D": 0.05}, {"A": 0.15}
    return s.cycles(), Result("move", frozenset({"first_allocation"}), shares, withheld, 0.5)


def all_lapse_and_return() -> tuple[Scenario, Result]:
    """All four lapse, while a fifth joins; then all return."""
    s = Scenario(four()).cycles()
    s.scores["X"] = 0.3
    s.absent = set(four())
    s.cycles(30)
    s.absent = set()
    return s.cycles(5), quiet({"A": 0.3077, "B": 0.2308, "C": 0.1538, "D": 0.0769, "X": 0.2308})


def floor_and_cap() -> tuple[Scenario, Result]:
    """A floor takes part in the plan, and a cap withholds from it."""
    s = Scenario(four()).cycles()
    s.limit(floor("A", 0.3), cap("A", 0.1))
    return s.cycles(2), quiet({"A": 0.1, "B": 0.3, "C": 0.2, "D": 0.1}, {"A": 0.3})


def group_and_cap() -> tuple[Scenario, Result]:
    """A cap on A does not give the room of its group to B."""
    s = Scenario(four())
    s.change(groups=(("pair", 0.5, ("A", "B")),))
    s.cycles()
    s.limit(cap("A", 0.1))
    return s.cycles(2), quiet({"A": 0.1, "B": 0.2143, "C": 0.3333, "D": 0.1667}, {"A": 0.1857})


def cap_on_everybody() -> tuple[Scenario, Result]:
    """A cap on everybody withholds from each."""
    s = Scenario(four()).cycles()
    s.limit(cap("*", 0.1))
    return s.cycles(2), quiet(dict.fromkeys("ABCD", 0.1), {"A": 0.3, "B": 0.2, "C": 0.1})


def returns_in_steps() -> tuple[Scenario, Result]:
    """With MAX_STEP, one that returns gets its share back in steps; the last cycle is the second step."""
    s = Scenario(four())
    s.change(max_step=0.05)
    s.cycles()
    lapse(s, "A")
    s.absent = set()
    shares, withheld = {"A": 0.1, "B": 0.3, "C": 0.2, "D": 0.1}, {"A": 0.3}
    return s.cycles(4), Result("restore", frozenset({"restore"}), shares, withheld)


# --- clauses that the cases above do not reach ---


THREE: Final = {"B": 0.4, "C": 0.4, "D": 0.2}
"""Shares where A is gone: B, C and D in proportion, B at MAX_ALLOC."""


def group_under_a_brake() -> tuple[Scenario, Result]:
    """A group's cap is set under a cool-down: both lines of it are withheld in part, in proportion."""
    s = Scenario(four())
    s.change(cooldown_seconds=86_400.0)
    s.cycles()
    s.change(groups=(("pair", 0.35, ("A", "B")),))
    shares, withheld = {"A": 0.2, "B": 0.15, "C": 0.2, "D": 0.1}, {"A": 0.2, "B": 0.15}
    return s.cycles(), Result("cut", frozenset({"cut_limit", "cut_lapse"}), shares, withheld)


def group_and_cap_in_a_hold() -> tuple[Scenario, Result]:
    """In a hold, too, a cap on A does not give the room of its group to B."""
    s = Scenario(four()).cycles()
    s.payload = "fetch_failed"
    s.change(groups=(("pair", 0.35, ("A", "B")),))
    s.limit(cap("A", 0.1))
    shares, withheld = {"A": 0.1, "B": 0.15, "C": 0.2, "D": 0.1}, {"A": 0.3, "B": 0.15}
    return s.cycles(), Result("cut", frozenset({"cut_limit"}), shares, withheld)


def released_when_its_grace_ends() -> tuple[Scenario, Result]:
    """A person releases an absent agent: its part is shared out when the grace ends."""
    s = Scenario(four()).cycles()
    s.absent = {"A"}
    s.orders["release"] = frozenset({"A"})
    s.cycles()
    del s.orders["release"]
    return s.cycles(3), Result("move", frozenset({"member_left", "threshold", "turnover"}), THREE)


def released_after_it_lapsed() -> tuple[Scenario, Result]:
    """A person releases one that has lapsed: its part is shared out in the next decided cycle."""
    s = Scenario(four()).cycles()
    lapse(s, "A")
    s.orders["release"] = frozenset({"A"})
    return s.cycles(), Result("move", frozenset({"member_left", "threshold", "turnover"}), THREE)


def good_record_before_the_release() -> tuple[Scenario, Result]:
    """A good record ends a release that has not come about yet: falling silent again, the agent lapses."""
    s = Scenario(four()).cycles()
    s.absent = {"A"}
    s.orders["release"] = frozenset({"A"})
    s.cycles()
    del s.orders["release"]
    s.absent = set()
    s.cycles()
    lapse(s, "A")
    return s, quiet({"A": 0, "B": 0.3, "C": 0.2, "D": 0.1}, {"A": 0.4})


def released_in_time() -> tuple[Scenario, Result]:
    """RELEASE_AFTER 2: it lapses in the 4th cycle of its absence, and its part is shared out in the 6th."""
    s = Scenario(four())
    s.change(release_after=2)
    s.cycles()
    s.absent = {"A"}
    return s.cycles(6), Result("move", frozenset({"member_left", "threshold", "turnover"}), THREE)


def not_yet_released_in_time() -> tuple[Scenario, Result]:
    """The cycle before."""
    s = Scenario(four())
    s.change(release_after=2)
    s.cycles()
    s.absent = {"A"}
    return s.cycles(5), quiet({"A": 0, "B": 0.3, "C": 0.2, "D": 0.1}, {"A": 0.4})


def no_lapse_at_all() -> tuple[Scenario, Result]:
    """RELEASE_AFTER 0: its part is shared out when the grace ends."""
    s = Scenario(four())
    s.change(release_after=0)
    s.cycles()
    s.absent = {"A"}
    return s.cycles(4), Result("move", frozenset({"member_left", "threshold", "turnover"}), THREE)


def two_good_records() -> tuple[Scenario, Result]:
    """Two good records, a faulty one and two good ones again do not end a lapse."""
    s = Scenario(four()).cycles()
    lapse(s, "A")
    s.absent = set()
    s.cycles(2)
    s.faulty = {"A"}
    s.cycles()
    s.faulty = set()
    return s.cycles(2), quiet({"A": 0, "B": 0.3, "C": 0.2, "D": 0.1}, {"A": 0.4})


def three_good_records() -> tuple[Scenario, Result]:
    """The third good record in a row ends a lapse, and all is given back."""
    s = Scenario(four()).cycles()
    lapse(s, "A")
    s.absent = set()
    return s.cycles(3), Result("restore", frozenset({"restore"}), four())


def restore_waits_for_the_cooldown() -> tuple[Scenario, Result]:
    """A cap is taken back within COOLDOWN of the last move."""
    s = Scenario(four())
    s.change(cooldown_seconds=86_400.0)
    s.cycles()
    s.limit(cap("D", 0.02))
    s.cycles()
    s.limit()
    return s.cycles(2), quiet({"A": 0.4, "B": 0.3, "C": 0.2, "D": 0.02}, {"D": 0.08})


def restore_does_not_wait_for_confirmation() -> tuple[Scenario, Result]:
    """A cap is taken back while a move waits for CONFIRM_CYCLES."""
    s = Scenario(four())
    s.change(confirm_cycles=3)
    s.cycles(3)
    s.limit(cap("D", 0.02))
    s.cycles()
    s.limit()
    s.scores["B"] = 0.0
    return s.cycles(), Result("restore", frozenset({"restore"}), four())


def small_ceiling() -> tuple[Scenario, Result]:
    """An operator's exposure is kept at once, however small the fall."""
    s = Scenario(four()).cycles()
    s.orders["ceiling"] = (0.99, inf)
    shares = {"A": 0.396, "B": 0.297, "C": 0.198, "D": 0.099}
    return s.cycles(), Result("cut", frozenset({"cut_ceiling"}), shares, exposure=0.99)


def exposure_falls_in_a_hold_for_agents() -> tuple[Scenario, Result]:
    """Most records are faulty, and exposure falls by more than DERISK_THRESHOLD of the plan."""
    s = Scenario(four()).cycles()
    s.faulty, s.multiplier = {"A", "B", "C"}, 0.5
    shares = {"A": 0.2, "B": 0.15, "C": 0.1, "D": 0.05}
    return s.cycles(), Result("cut", frozenset({"cut_derisk"}), shares, exposure=0.5)


def exposure_falls_little_in_a_hold_for_agents() -> tuple[Scenario, Result]:
    """Most records are faulty, and exposure falls by less."""
    s = Scenario(four()).cycles()
    s.faulty, s.multiplier = {"A", "B", "C"}, 0.96
    return s.cycles(), Result("hold", frozenset({"faulty_majority"}), four())


def lapsed_ones_are_no_faulty_majority() -> tuple[Scenario, Result]:
    """Three of four lapse one after another, then have faulty records; the fourth moves exposure as ever."""
    s = Scenario(four()).cycles()
    for name in "ABC":
        s.absent |= {name}
        s.cycles(20)
    s.absent, s.faulty, s.multiplier = set(), {"A", "B", "C"}, 0.5
    shares, withheld = {"A": 0, "B": 0, "C": 0, "D": 0.05}, {"A": 0.2, "B": 0.15, "C": 0.1}
    return s.cycles(2), quiet(shares, withheld, 0.5)


EXAMPLES: Final[tuple[Callable[[], tuple[Scenario, Result]], ...]] = (
    small_line_lapses,
    silence_leaves_drift,
    collapse_beside_a_lapsed_one,
    collapse_beside_a_good_one,
    newcomers_where_all_lapsed,
    journal_lost,
    exposure_falls_beside_a_lapsed_one,
    cap_leaves_drift,
    cap_without_a_dashboard,
    maximum_lowered_without_a_dashboard,
    group_set_later,
    group_and_remainder,
    reserve_set_later,
    cap_taken_back,
    comes_and_goes,
    silent_before_it_had_a_line,
    ceiling_in_a_pause,
    ceiling_under_stop,
    pause_does_not_release,
    pinned_and_absent,
    first_allocation_with_orders,
    all_lapse_and_return,
    floor_and_cap,
    group_and_cap,
    cap_on_everybody,
    returns_in_steps,
    group_under_a_brake,
    group_and_cap_in_a_hold,
    released_when_its_grace_ends,
    released_after_it_lapsed,
    good_record_before_the_release,
    released_in_time,
    not_yet_released_in_time,
    no_lapse_at_all,
    two_good_records,
    three_good_records,
    restore_waits_for_the_cooldown,
    restore_does_not_wait_for_confirmation,
    small_ceiling,
    exposure_falls_in_a_hold_for_agents,
    exposure_falls_little_in_a_hold_for_agents,
    lapsed_ones_are_no_faulty_majority,
)
