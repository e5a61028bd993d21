"""Who belongs to the fleet, record by record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from capital_governor.core.membership import adopted, attendance_of, enrol, on_probation
from capital_governor.core.model import DAY_SECONDS, Memory, Rules
from tests.rigs.builders import NOW, rated, snapshot

RULES = Rules(probation_cycles=2, membership_grace_cycles=3)
GOOD = Memory(rated(0.5), healthy=2)
RETIRED = Memory(member=False, retired_at=NOW - 1000.0)


def _after(
    memory: Memory | None, *, score: float | None = None, faulty: bool = False, founding: bool = False
) -> Memory:
    """What is remembered of Ada after one cycle with this record of hers."""
    payload = snapshot({} if score is None else {"Ada": score}, faulty=["Ada"] if faulty else [])
    agents = {} if memory is None else {"Ada": memory}
    return enrol(payload, agents, now=NOW, founding=founding, rules=RULES).agents["Ada"]


def test_the_roll_sorts_everyone_into_place() -> None:
    """Members, the faulty, the absent, those gone since last time, and newcomers; non-members' faults are nobody's."""
    agents = {
        "Zed": GOOD,
        "Ada": GOOD,
        "Bob": GOOD,
        "Cyd": GOOD._replace(absent=1),
        "Dan": GOOD,
        "Old": RETIRED,
        "Out": RETIRED,
    }
    payload = snapshot({"Zed": 0.5, "Ada": 0.5, "New": 0.5, "Old": 0.5}, faulty=["Bob", "Mad", "Out"])
    present = attendance_of(payload, agents)
    assert present.members == ("Ada", "Bob", "Cyd", "Dan", "Zed")
    assert present.faulty == {"Bob": "sharpe_30d is missing"}
    assert present.absent == ("Cyd", "Dan")
    assert present.gone == ("Dan",)
    assert present.newcomers == ("New", "Old")


@pytest.mark.parametrize(
    ("before", "score", "faulty", "expected"),
    [
        pytest.param(None, 0.4, False, Memory(rated(0.4), healthy=1), id="a first good record makes a member"),
        pytest.param(GOOD, 0.4, False, Memory(rated(0.4), healthy=3), id="a good record replaces the last one"),
        pytest.param(Memory(rated(0.5), healthy=1), 0.5, False, GOOD, id="health is counted"),
        pytest.param(Memory(tenured=True), 0.5, False, Memory(rated(0.5), tenured=True), id="not for the tenured"),
        pytest.param(GOOD._replace(absent=3), 0.5, False, GOOD._replace(healthy=3), id="who is back was never away"),
        pytest.param(GOOD, None, True, GOOD, id="a faulty record keeps the last metrics"),
        pytest.param(GOOD._replace(absent=2), None, True, GOOD, id="a faulty record is a record"),
        pytest.param(GOOD, None, False, GOOD._replace(absent=1), id="absence is counted"),
        pytest.param(GOOD._replace(absent=2), None, False, GOOD._replace(absent=3), id="the last cycle of grace"),
        pytest.param(
            GOOD._replace(absent=3), None, False, Memory(member=False, retired_at=NOW), id="retired after the grace"
        ),
        pytest.param(RETIRED, None, False, RETIRED, id="the retired stay so"),
        pytest.param(RETIRED, None, True, RETIRED, id="a faulty record brings nobody back"),
        pytest.param(
            RETIRED, 0.4, False, Memory(rated(0.4), healthy=1, retired_at=NOW - 1000.0), id="a return is a new start"
        ),
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
    enrolment = enrol(snapshot({}), {"Fay": fresh, "Old": old}, now=NOW, founding=False, rules=RULES)
    assert enrolment.agents == {"Fay": fresh}


def test_a_stranger_with_a_faulty_record_is_not_remembered() -> None:
    """Before its first good record an agent is nobody."""
    enrolment = enrol(snapshot({"Ada": 0.5}, faulty=["Mad"]), {}, now=NOW, founding=False, rules=RULES)
    assert list(enrolment.agents) == ["Ada"]


def test_without_grace_the_absent_are_retired_at_once() -> None:
    """MEMBERSHIP_GRACE 0 means no cycle of absence."""
    enrolment = enrol(
        snapshot({}), {"Ada": GOOD}, now=NOW, founding=False, rules=replace(RULES, membership_grace_cycles=0)
    )
    assert enrolment.retired == ("Ada",)


def test_probation_lasts_its_cycles_the_first_included() -> None:
    """PROBATION 3 holds a newcomer for the three cycles in which it is first seen healthy; faults do not count."""
    rules = replace(RULES, probation_cycles=3)
    agents: dict[str, Memory] = {"Ada": GOOD._replace(healthy=3)}
    held = []
    for score, faulty in ((0.5, False), (None, True), (0.5, False), (0.5, False), (0.5, False)):
        payload = snapshot({"Ada": 0.5} | ({} if score is None else {"New": score}), faulty=["New"] if faulty else [])
        enrolment = enrol(payload, agents, now=NOW, founding=False, rules=rules)
        agents = enrolment.agents
        held.append("New" in enrolment.probation)
        assert "Ada" not in enrolment.probation
    assert held == [True, True, True, True, False]


@pytest.mark.parametrize("before", [0, 2])
def test_a_longer_probation_counts_the_cycles_before_it(before: int) -> None:
    """Who was seen healthy for four cycles has one left of a probation that is raised to five, and no more."""
    agents: dict[str, Memory] = {"Ada": GOOD}
    held = []
    for length in (before,) * 4 + (5,) * 2:
        rules = replace(RULES, probation_cycles=length)
        enrolment = enrol(snapshot({"Ada": 0.5, "New": 0.5}), agents, now=NOW, founding=False, rules=rules)
        agents = enrolment.agents
        held.append("New" in enrolment.probation)
    assert held[4:] == [True, False]


def test_who_returns_is_on_probation_again_and_without_probation_nobody_is() -> None:
    """A retired agent starts anew; a probation of no cycles holds not even a newcomer."""
    back = snapshot({"Ada": 0.5})
    assert enrol(back, {"Ada": RETIRED}, now=NOW, founding=False, rules=RULES).probation == {"Ada"}
    free = replace(RULES, probation_cycles=0)
    assert enrol(back, {}, now=NOW, founding=False, rules=free).probation == frozenset()


def test_founders_and_the_adopted_have_no_probation() -> None:
    """Those of the first allocation and of an adopted file are not new to an existing fleet."""
    founder = _after(None, score=0.5, founding=True)
    assert founder == Memory(rated(0.5), tenured=True)
    agents = {"Ada": founder} | adopted({}, ["Bob"])
    assert on_probation(agents, RULES) == set()
    assert enrol(snapshot({"New": 0.5}), {}, now=NOW, founding=True, rules=RULES).probation == frozenset()


def test_who_is_on_probation() -> None:
    """Members that are neither tenured nor healthy for long enough; nobody if there is no probation."""
    agents = {"Ada": GOOD, "New": GOOD._replace(healthy=1), "Old": RETIRED, "Tim": Memory(rated(0.5), tenured=True)}
    assert on_probation(agents, RULES) == {"New"}
    assert on_probation(agents, replace(RULES, probation_cycles=3)) == {"Ada", "New"}
    assert on_probation(agents, replace(RULES, probation_cycles=0)) == set()


def test_memory_is_sorted_and_retirements_are_reported() -> None:
    """Every field comes out by name, whatever the order of the payload."""
    agents = {"Zed": GOOD._replace(absent=3), "Bob": GOOD._replace(absent=3), "Ada": GOOD}
    enrolment = enrol(snapshot({"New": 0.1, "Ada": 0.2}), agents, now=NOW, founding=False, rules=RULES)
    assert enrolment.retired == ("Bob", "Zed")
    assert list(enrolment.agents) == ["Ada", "Bob", "New", "Zed"]
    assert enrolment.probation == {"New"}
