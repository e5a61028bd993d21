"""Who belongs to the fleet, record by record."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from capital_governor.core.membership import adopted, attendance_of, enrol, on_probation
from capital_governor.core.model import DAY_SECONDS, Memory, Publication, Rules
from tests.rigs.builders import NOW, publication, rated, snapshot

RULES = Rules(probation_cycles=2, membership_grace_cycles=3)
GOOD = Memory(healthy=2)
RETIRED = Memory(member=False, retired_at=NOW - 1000.0)


LAPSED = GOOD._replace(absent=4, lapsed=True)
ONLY_ADA = publication({"Ada": 500_000})


def _after(
    memory: Memory | None,
    *,
    score: float | None = None,
    faulty: bool = False,
    published: Publication | None = ONLY_ADA,
    accepted: Collection[str] = (),
    rules: Rules = RULES,
) -> Memory:
    """What is remembered of Ada after one cycle with this record of hers."""
    payload = snapshot({} if score is None else {"Ada": score}, faulty=["Ada"] if faulty else [])
    agents = {} if memory is None else {"Ada": memory}
    # The tenured here are known from a file only.
    metrics = {} if memory is None or memory.tenured or not memory.member else {"Ada": rated(0.5)}
    return enrol(payload, agents, metrics, now=NOW, published=published, accepted=accepted, rules=rules).agents["Ada"]


def test_the_roll_sorts_everyone_into_place() -> None:
    """Members, the lapsed, the faulty, the absent, those just gone, newcomers; non-members' faults are nobody's."""
    agents = {
        "Zed": GOOD,
        "Ada": GOOD,
        "Bob": GOOD,
        "Cyd": GOOD._replace(absent=1),
        "Dan": GOOD,
        "Old": RETIRED,
        "Out": RETIRED,
        "Lea": LAPSED,
        "Lou": LAPSED,
        "Lux": LAPSED,
    }
    good = {"Zed": 0.5, "Ada": 0.5, "New": 0.5, "Old": 0.5, "Lux": 0.5}
    payload = snapshot(good, faulty=["Bob", "Lou", "Mad", "Out"])
    present = attendance_of(payload, agents)
    assert present.members == ("Ada", "Bob", "Cyd", "Dan", "Zed")
    assert present.faulty == {"Bob": "sharpe_30d is missing"}
    assert present.absent == ("Cyd", "Dan")
    assert present.gone == ("Dan",)
    assert present.newcomers == ("Lux", "New", "Old")
    assert present.lapsed == ("Lea", "Lou", "Lux")
    assert present.silent == ("Bob", "Cyd", "Dan", "Lea", "Lou")


@pytest.mark.parametrize(
    ("before", "score", "faulty", "expected"),
    [
        pytest.param(None, 0.4, False, Memory(healthy=1), id="a first good record makes a member"),
        pytest.param(GOOD, 0.4, False, Memory(healthy=3), id="so is that of this cycle"),
        pytest.param(Memory(healthy=1), 0.5, False, GOOD, id="health is counted"),
        pytest.param(Memory(tenured=True), 0.5, False, Memory(tenured=True), id="not for the tenured"),
        pytest.param(GOOD._replace(absent=3), 0.5, False, GOOD._replace(healthy=3), id="who is back was never away"),
        pytest.param(GOOD, None, True, GOOD, id="a faulty record changes nothing"),
        pytest.param(GOOD._replace(absent=2), None, True, GOOD, id="a faulty record is a record"),
        pytest.param(GOOD, None, False, GOOD._replace(absent=1), id="absence is counted"),
        pytest.param(GOOD._replace(absent=2), None, False, GOOD._replace(absent=3), id="the last cycle of grace"),
        pytest.param(GOOD._replace(absent=3), None, False, LAPSED, id="lapsed after the grace"),
        pytest.param(GOOD._replace(absent=3), None, True, GOOD, id="a faulty record ends the absence"),
        pytest.param(LAPSED, None, False, LAPSED._replace(absent=5, silent=1), id="silence is counted on"),
        pytest.param(
            LAPSED._replace(silent=7), None, True, LAPSED._replace(absent=0, silent=0), id="a faulty record breaks it"
        ),
        pytest.param(
            LAPSED._replace(silent=7),
            0.4,
            False,
            Memory(healthy=3, lapsed=True, returned=1),
            id="a first good record updates probation, no more",
        ),
        pytest.param(
            Memory(lapsed=True, returned=1),
            0.5,
            False,
            Memory(healthy=1, lapsed=True, returned=2),
            id="nor does a second end a lapse",
        ),
        pytest.param(
            Memory(tenured=True, lapsed=True, returned=2),
            0.4,
            False,
            Memory(tenured=True),
            id="a third in a row does",
        ),
        pytest.param(
            LAPSED._replace(absent=0, returned=2), None, True, LAPSED._replace(absent=0), id="faulty in between"
        ),
        pytest.param(
            LAPSED._replace(absent=0, returned=2), None, False, LAPSED._replace(absent=1, silent=1), id="absent again"
        ),
        pytest.param(Memory(tenured=True), None, True, Memory(tenured=True, pin=0.5), id="no metrics: pinned"),
        pytest.param(RETIRED, None, False, RETIRED, id="the retired stay so"),
        pytest.param(RETIRED, None, True, RETIRED, id="a faulty record brings nobody back"),
        pytest.param(RETIRED, 0.4, False, Memory(healthy=1, retired_at=NOW - 1000.0), id="a return is a new start"),
        pytest.param(
            Memory(member=False, retired_at=NOW + 5000.0),
            None,
            False,
            Memory(member=False, retired_at=NOW),
            id="a retirement in the future, by a clock set back, counts as now",
        ),
        pytest.param(
            GOOD._replace(retired_at=NOW + 5000.0),
            0.5,
            False,
            GOOD._replace(healthy=3, retired_at=NOW),
            id="for members too",
        ),
        pytest.param(
            GOOD._replace(retired_at=NOW + 5000.0), None, True, GOOD._replace(retired_at=NOW), id="for the faulty too"
        ),
        pytest.param(
            GOOD._replace(retired_at=NOW + 5000.0),
            None,
            False,
            GOOD._replace(retired_at=NOW, absent=1),
            id="for the absent too",
        ),
    ],
)
def test_one_record_at_a_time(before: Memory | None, score: float | None, faulty: bool, expected: Memory) -> None:
    """Each kind of record changes what is remembered in its own way."""
    assert _after(before, score=score, faulty=faulty) == expected


def test_a_retirement_is_forgotten_after_a_day() -> None:
    """A day later to the second nothing is remembered; a second before it still is."""
    fresh, old = (Memory(member=False, retired_at=NOW - DAY_SECONDS + left) for left in (1.0, 0.0))
    enrolment = enrol(
        snapshot({}), {"Fay": fresh, "Old": old}, {}, now=NOW, published=ONLY_ADA, accepted=(), rules=RULES
    )
    assert enrolment.agents == {"Fay": fresh}


def test_a_stranger_with_a_faulty_record_is_not_remembered() -> None:
    """Before its first good record an agent is nobody."""
    enrolment = enrol(
        snapshot({"Ada": 0.5}, faulty=["Mad"]), {}, {}, now=NOW, published=ONLY_ADA, accepted=(), rules=RULES
    )
    assert list(enrolment.agents) == ["Ada"]


def test_without_grace_the_absent_lapse_at_once() -> None:
    """MEMBERSHIP_GRACE 0 means no cycle of absence."""
    rules = replace(RULES, membership_grace_cycles=0)
    assert _after(GOOD, rules=rules) == GOOD._replace(absent=1, lapsed=True)


GONE_NOW = Memory(member=False, retired_at=NOW)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(GOOD._replace(absent=3), None, LAPSED, id="never: it lapses"),
        pytest.param(LAPSED._replace(silent=9_999), None, LAPSED._replace(absent=5, silent=10_000), id="never"),
        pytest.param(GOOD._replace(absent=2), 0, GOOD._replace(absent=3), id="0: within the grace"),
        pytest.param(GOOD._replace(absent=3), 0, GONE_NOW, id="0: retired after it, without a lapse"),
        pytest.param(GOOD._replace(absent=3), 2, LAPSED, id="2: lapses first"),
        pytest.param(LAPSED, 2, LAPSED._replace(absent=5, silent=1), id="2: one further cycle"),
        pytest.param(LAPSED._replace(absent=5, silent=1), 2, GONE_NOW, id="2: the second"),
        pytest.param(LAPSED, 0, GONE_NOW, id="0: set after it had lapsed"),
    ],
)
def test_the_lapsed_are_released_after_so_many_further_cycles(
    before: Memory, after: int | None, expected: Memory
) -> None:
    """RELEASE_AFTER counts cycles without any record since the lapse; without it nobody is released by time."""
    assert _after(before, rules=replace(RULES, release_after_cycles=after)) == expected


def test_a_faulty_record_puts_a_release_off() -> None:
    """It is a record, so the cycles without one are counted anew."""
    rules = replace(RULES, release_after_cycles=2)
    again = _after(LAPSED._replace(absent=5, silent=1), faulty=True, rules=rules)
    assert again == LAPSED._replace(absent=0, silent=0)
    assert _after(again, rules=rules) == LAPSED._replace(absent=1, silent=1)


def test_who_is_accepted_is_released_when_its_grace_ends_or_at_once_if_it_has_lapsed() -> None:
    """A good record that comes first keeps it."""
    assert _after(GOOD._replace(absent=2), accepted=["Ada"]) == GOOD._replace(absent=3)
    assert _after(GOOD._replace(absent=3), accepted=["Ada"]) == GONE_NOW
    assert _after(LAPSED, accepted=["Ada"]) == GONE_NOW
    assert _after(LAPSED, faulty=True, accepted=["Ada"]) == GONE_NOW
    assert _after(GOOD._replace(absent=3), faulty=True, accepted=["Ada"]) == GOOD
    assert _after(LAPSED, score=0.5, accepted=["Ada"]) == GOOD._replace(healthy=3, lapsed=True, returned=1)


def test_who_has_no_line_is_retired_instead() -> None:
    """A lapse keeps a plan line; where there is none, there is nothing to keep."""
    others = publication({"Bob": 500_000})
    assert _after(GOOD._replace(absent=3), published=others) == GONE_NOW
    assert _after(LAPSED, published=others) == GONE_NOW
    assert _after(GOOD._replace(absent=3), published=None) == GONE_NOW


def test_a_member_without_metrics_is_pinned_at_the_weight_of_its_plan_line() -> None:
    """Line / exposure, what is withheld included: 150,000 at 0.5 is 0.3. At no exposure it is its weight."""
    found = publication({"Ada": 200_000, "Bob": 100_000}, 0.5, withheld={"Bob": 50_000})
    memory = {"Ada": GOOD}
    assert adopted(memory, {"Ada": rated(0.5)}, found) == {"Ada": GOOD, "Bob": Memory(tenured=True, pin=0.3)}
    nothing = replace(publication({"Bob": 0}, 0.0), weights={"Bob": 0.25})
    assert adopted({}, {}, nothing) == {"Bob": Memory(tenured=True, pin=0.25)}


def test_a_pin_stays_until_the_first_good_record() -> None:
    """It does not follow what is published later, so that it is the same in every cycle."""
    pinned = Memory(tenured=True, pin=0.3)
    assert _after(pinned, faulty=True) == pinned
    assert _after(pinned) == pinned._replace(absent=1)
    assert _after(pinned, score=0.5) == Memory(tenured=True)


def test_probation_lasts_its_cycles_the_first_included() -> None:
    """PROBATION 3 holds a newcomer for the three cycles in which it is first seen healthy; faults do not count."""
    rules = replace(RULES, probation_cycles=3)
    agents: Mapping[str, Memory] = {"Ada": GOOD._replace(healthy=3)}
    held = []
    for score, faulty in ((0.5, False), (None, True), (0.5, False), (0.5, False), (0.5, False)):
        payload = snapshot({"Ada": 0.5} | ({} if score is None else {"New": score}), faulty=["New"] if faulty else [])
        enrolment = enrol(payload, agents, {}, now=NOW, published=ONLY_ADA, accepted=(), rules=rules)
        agents = enrolment.agents
        held.append("New" in enrolment.probation)
        assert "Ada" not in enrolment.probation
    assert held == [True, True, True, True, False]


@pytest.mark.parametrize("before", [0, 2])
def test_a_longer_probation_counts_the_cycles_before_it(before: int) -> None:
    """Who was seen healthy for four cycles has one left of a probation that is raised to five, and no more."""
    agents: Mapping[str, Memory] = {"Ada": GOOD}
    held = []
    for length in (before,) * 4 + (5,) * 2:
        rules = replace(RULES, probation_cycles=length)
        enrolment = enrol(
            snapshot({"Ada": 0.5, "New": 0.5}), agents, {}, now=NOW, published=ONLY_ADA, accepted=(), rules=rules
        )
        agents = enrolment.agents
        held.append("New" in enrolment.probation)
    assert held[4:] == [True, False]


def test_who_returns_is_on_probation_again_and_without_probation_nobody_is() -> None:
    """A retired agent starts anew; a probation of no cycles holds not even a newcomer."""
    back = snapshot({"Ada": 0.5})
    assert enrol(back, {"Ada": RETIRED}, {}, now=NOW, published=ONLY_ADA, accepted=(), rules=RULES).probation == {"Ada"}
    free = replace(RULES, probation_cycles=0)
    assert enrol(back, {}, {}, now=NOW, published=ONLY_ADA, accepted=(), rules=free).probation == frozenset()


def test_founders_and_the_adopted_have_no_probation() -> None:
    """Those of the first allocation and of an adopted file are not new to an existing fleet."""
    founder = _after(None, score=0.5, published=None)
    assert founder == Memory(tenured=True)
    agents = {"Ada": founder} | adopted({}, {}, publication({"Bob": 100_000}))
    assert on_probation(agents, RULES) == set()
    assert (
        enrol(snapshot({"New": 0.5}), {}, {}, now=NOW, published=None, accepted=(), rules=RULES).probation
        == frozenset()
    )


def test_who_is_on_probation() -> None:
    """Members that are neither tenured nor healthy for long enough; nobody if there is no probation."""
    agents = {"Ada": GOOD, "New": GOOD._replace(healthy=1), "Old": RETIRED, "Tim": Memory(tenured=True)}
    assert on_probation(agents, RULES) == {"New"}
    assert on_probation(agents, replace(RULES, probation_cycles=3)) == {"Ada", "New"}
    assert on_probation(agents, replace(RULES, probation_cycles=0)) == set()


def test_memory_is_sorted_and_retirements_are_reported() -> None:
    """Every field comes out by name, whatever the order of the payload."""
    agents = {"Zed": GOOD._replace(absent=3), "Bob": GOOD._replace(absent=3), "Ada": GOOD}
    enrolment = enrol(
        snapshot({"New": 0.1, "Ada": 0.2}), agents, {}, now=NOW, published=ONLY_ADA, accepted=(), rules=RULES
    )
    assert enrolment.retired == ("Bob", "Zed")
    assert list(enrolment.agents) == ["Ada", "Bob", "New", "Zed"]
    assert enrolment.probation == {"New"}


def test_the_last_good_metrics_are_those_of_members() -> None:
    """A good record replaces them, a member without one keeps them, also lapsed, and a retirement forgets them."""
    agents = {"Ada": GOOD, "Bob": GOOD, "Cyd": GOOD, "Dan": GOOD._replace(absent=3), "Lea": LAPSED, "Old": RETIRED}
    metrics = {agent: rated(0.5) for agent in ("Ada", "Bob", "Cyd", "Dan", "Lea")}
    payload = snapshot({"New": 0.1, "Ada": 0.2}, faulty=["Bob"])
    lines = publication(dict.fromkeys(("Ada", "Bob", "Cyd", "Lea"), 100_000))
    enrolment = enrol(payload, agents, metrics, now=NOW, published=lines, accepted=(), rules=RULES)
    assert enrolment.retired == ("Dan",)
    last_good = {"Ada": rated(0.2), "Bob": rated(0.5), "Cyd": rated(0.5), "Lea": rated(0.5), "New": rated(0.1)}
    assert list(enrolment.metrics.items()) == list(last_good.items())
