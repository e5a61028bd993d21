"""What the parser makes of a payload, good, odd and hostile."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capital_governor.contracts.payload import parse
from capital_governor.contracts.text import clean, escape_name, valid_name
from capital_governor.core.model import Guardian, Metrics, Refusal, Regime, Snapshot
from capital_governor.core.reason import Reason
from tests.rigs.local_time import KOLKATA, NEW_YORK, local_time
from tests.rigs.payloads import PAYLOAD, RECORD, VALUES

METRICS = Metrics(pnl_7d=850.0, sharpe_30d=1.234, winrate_30d=0.65, max_dd_30d=2.5)


NAIVE, ZULU = "2025-11-03T22:00:00", "2025-11-03T22:00:00Z"


class Raw(str):
    """JSON text to stand in a payload as it is, for values that Python's own encoder would not write."""

    __slots__ = ()


def encode(document: object) -> bytes:
    """Encode with ``Raw`` values put in literally."""
    if isinstance(document, Raw):
        return document.encode()
    if isinstance(document, dict):
        return b"{" + b",".join(json.dumps(key).encode() + b":" + encode(document[key]) for key in document) + b"}"
    return json.dumps(document).encode()


def payload(**changes: object) -> bytes:
    return encode({**PAYLOAD, **changes})


def with_record(**changes: object) -> bytes:
    return payload(per_agent={"Good": RECORD, "Bad": {**RECORD, **changes}})


def good(body: bytes) -> Snapshot:
    result = parse(body)
    assert isinstance(result, Snapshot), result
    return result


def refused(body: bytes) -> str:
    result = parse(body)
    assert isinstance(result, Refusal)
    assert result.reason is Reason.PAYLOAD_REFUSED
    assert result.detail
    assert result.detail.isprintable()
    assert len(result.detail) < 400
    return result.detail


def test_a_whole_payload_is_read() -> None:
    """Time, metrics, guardian and regime come out; unknown fields at every level are ignored."""
    assert good(encode(PAYLOAD)) == Snapshot(
        at=1762207200.0,
        metrics={"DropshipAgent": Metrics(350.0, 1.234, 0.65, 2.5), "SmartTrader": METRICS},
        guardian=Guardian(is_paused=False, drawdown_percent=1.5, reason="Normal operation"),
        regime=Regime(name="SIDEWAYS", risk_multiplier=0.8, at=1762207200.0),
    )


def test_metrics_and_faults_come_sorted_by_name() -> None:
    """The order of the payload's agents does not show in what is made of them."""
    agents = dict.fromkeys(("b", "c", "a"), RECORD) | dict.fromkeys(("z", "\n", "x"))
    snapshot = good(payload(per_agent=agents))
    assert list(snapshot.metrics) == ["a", "b", "c"]
    assert list(snapshot.faults) == ["\\n", "x", "z"]


# --- JSON ------------------------------------------------------------------------------------------------------------

DEEP = 5_000
NESTED = 200
"""Lists in each other, in the payload, that the JSON reader just takes, whatever the version of Python."""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param(b"", "not strict JSON", id="empty"),
        pytest.param(b" \n", "not strict JSON", id="blank"),
        pytest.param(b"null", "is null, not an object", id="null"),
        pytest.param(b"[]", "is a list, not an object", id="list"),
        pytest.param(b'"text"', 'is "text", not an object', id="string"),
        pytest.param(b"7", "is 7, not an object", id="number"),
        pytest.param(encode(PAYLOAD) + b"x", "not strict JSON", id="trailing bytes"),
        pytest.param(encode(PAYLOAD) + b"\x00", "not strict JSON", id="trailing NUL"),
        pytest.param(encode(PAYLOAD) * 2, "not strict JSON", id="two documents"),
        pytest.param(b"// hello\n" + encode(PAYLOAD), "not strict JSON", id="comment"),
        pytest.param(payload(mode=Raw("1 /* one */")), "not strict JSON", id="comment inside"),
        pytest.param(payload(mode=Raw("01")), "not strict JSON", id="leading zero"),
        pytest.param(payload(mode=Raw('"a\nb"')), "not strict JSON", id="raw newline in a string"),
        pytest.param(encode(PAYLOAD)[:-9], "not strict JSON", id="truncated"),
        pytest.param(b'{"per_agent":{},"per_agent":{}}', 'duplicate key "per_agent"', id="duplicate at the top"),
        pytest.param(payload(per_agent=Raw('{"A":{},"A":{}}')), 'duplicate key "A"', id="duplicate agent"),
        pytest.param(payload(per_agent={"A": Raw('{"x":1,"x":1}')}), 'duplicate key "x"', id="duplicate metric"),
        pytest.param(payload(other=[{"x": 1}], mode=Raw('[{"y":1,"y":2}]')), 'duplicate key "y"', id="in a list"),
        pytest.param(payload(mode=Raw('{"a":1,"\\u0061":2}')), 'duplicate key "a"', id="duplicate by escape"),
        pytest.param(payload(mode="caf\u00e9")[:-1] + b',"x":"\xe9"}', "invalid unicode", id="Latin-1"),
        pytest.param(payload()[:-1] + b',"x":"\xed\xa0\x80"}', "invalid unicode", id="surrogate in UTF-8"),
        pytest.param(payload()[:-1] + b',"x":"\xc0\xaf"}', "invalid unicode", id="overlong"),
        pytest.param(json.dumps(PAYLOAD).encode("utf-16"), "not strict JSON", id="UTF-16"),
        pytest.param(json.dumps(PAYLOAD).encode("utf-16-le"), "not strict JSON", id="UTF-16 without mark"),
        pytest.param(b"\xef\xbb\xbf" + encode(PAYLOAD), "not strict JSON", id="byte-order mark"),
        pytest.param(payload(mode=Raw('"\\ud800"')), "hex escape", id="lone high surrogate"),
        pytest.param(payload(mode=Raw('"\\uDFFFx"')), "hex escape", id="lone low surrogate"),
        pytest.param(payload(mode=Raw('{"\\udc00":[1]}')), "hex escape", id="lone surrogate in a key"),
        pytest.param(payload(mode=Raw("[" * DEEP + "]" * DEEP)), "recursion limit", id="5,000 lists"),
        pytest.param(payload(mode=Raw('{"a":' * DEEP + "1" + "}" * DEEP)), "recursion limit", id="5,000 objects"),
        pytest.param(b"[" * 1_000_000, "recursion limit", id="a million levels, never closed"),
        pytest.param(payload(mode=Raw("[" * (NESTED + 1))), "recursion limit", id="one level too deep"),
        pytest.param(payload(mode=Raw("9" * 1_000_000)), "number out of range", id="integer of a million digits"),
    ],
)
def test_what_is_not_one_clean_json_object_is_refused(body: bytes, says: str) -> None:
    """One UTF-8 JSON object, each key once, or nothing: a guess about a broken payload could move money."""
    assert says in refused(body)


def test_the_deepest_allowed_nesting_and_true_surrogate_pairs_pass() -> None:
    """The limits refuse what is beyond them and nothing before."""
    assert good(payload(mode=Raw("[" * NESTED + "]" * NESTED)))
    reason = Raw('"\\ud83d\\ude00 \\\\ud800"')
    guardian = good(payload(guardian={"is_paused": False, "reason": reason})).guardian
    assert guardian == Guardian(is_paused=False, reason="\U0001f600 \\ud800")


def test_more_agents_than_allowed_are_refused() -> None:
    """Exactly the limit passes, one more does not."""
    agents = {f"Agent{number}": RECORD for number in range(10_000)}
    assert len(good(payload(per_agent=agents)).metrics) == 10_000
    assert "10001 agents, more than 10000" in refused(payload(per_agent={**agents, "One": RECORD}))
    assert isinstance(parse(payload(), max_agents=1), Refusal)


def test_odd_numbers_in_unread_fields_are_ignored() -> None:
    """What is not scored cannot be a fault."""
    odd = {"pnl_1d": Raw("NaN"), "revenue_24h": Raw("1e400"), "total_decisions": "many", "x": None, "pnl_30d": True}
    assert good(with_record(**odd)) == good(with_record())


# --- values ----------------------------------------------------------------------------------------------------------

NOT_NUMBERS = [
    (Raw("NaN"), "is NaN"),
    (Raw("Infinity"), "is Infinity"),
    (Raw("-Infinity"), "is -Infinity"),
    (Raw("1e400"), "is Infinity"),
    ("NaN", 'is "NaN", not a number'),
    ("1.5", 'is "1.5", not a number'),
    ("1_000", 'is "1_000", not a number'),
    ("0.5\x1b[31m\n", 'is "0.5[31m", not a number'),
    (True, "is true, not a number"),
    (False, "is false, not a number"),
    ([1], "is a list, not a number"),
    ({"a": 1}, "is an object, not a number"),
    (Raw("1" + "0" * 400), "is an integer of more than 40 digits, too large"),
    (Raw("-1" + "0" * 4000), "is an integer of more than 40 digits, too large"),
]


@pytest.mark.parametrize("metric", ["pnl_7d", "sharpe_30d", "winrate_30d", "max_dd_30d"])
@pytest.mark.parametrize(("value", "says"), [*NOT_NUMBERS, (None, "is null, not a number")])
def test_a_metric_that_is_no_number_is_a_fault_of_that_agent(metric: str, value: object, says: str) -> None:
    """The agent is set aside with field and value, and the others go on."""
    snapshot = good(with_record(**{metric: value}))
    assert snapshot.faults == {"Bad": f"{metric} {says}"}
    assert snapshot.metrics == {"Good": METRICS}


@pytest.mark.parametrize(
    ("metric", "value", "says"),
    [
        ("winrate_30d", 65, "winrate_30d is 65, not within 0..1"),
        ("winrate_30d", -0.1, "winrate_30d is -0.1, not within 0..1"),
        ("winrate_30d", 1.0000000000000002, "winrate_30d is 1.0000000000000002, not within 0..1"),
        ("max_dd_30d", -5, "max_dd_30d is -5, not 0 or above"),
        ("pnl_7d", 1.1e12, "pnl_7d is 1100000000000.0, not within -1e12..1e12"),
        ("pnl_7d", -(10**13), "pnl_7d is -10000000000000, not within -1e12..1e12"),
        ("pnl_7d", 10**100, "pnl_7d is an integer of more than 40 digits, not within -1e12..1e12"),
    ],
)
def test_an_impossible_metric_is_a_fault_of_that_agent(metric: str, value: float, says: str) -> None:
    """A number that cannot be is as bad as none."""
    snapshot = good(with_record(**{metric: value}))
    assert snapshot.faults == {"Bad": says}
    assert snapshot.metrics == {"Good": METRICS}


@pytest.mark.parametrize("metric", ["pnl_7d", "sharpe_30d", "winrate_30d", "max_dd_30d"])
def test_a_missing_metric_is_a_fault_of_that_agent(metric: str) -> None:
    """Nothing stands in for what was not sent."""
    record = {name: value for name, value in RECORD.items() if name != metric}
    snapshot = good(payload(per_agent={"Bad": record, "Good": RECORD}))
    assert snapshot.faults == {"Bad": f"{metric} is missing"}
    assert snapshot.metrics == {"Good": METRICS}


@pytest.mark.parametrize(("record", "shown"), [(None, "null"), ([], "a list"), (3, "3"), ("x", '"x"'), (True, "true")])
def test_a_record_that_is_no_object_is_a_fault_of_that_agent(record: object, shown: str) -> None:
    """An agent with something else than metrics is set aside."""
    faults = good(payload(per_agent={"Bad": record, "Good": RECORD})).faults
    assert faults == {"Bad": f"the record is {shown}, not an object"}


@pytest.mark.parametrize(
    "changes",
    [
        {"pnl_7d": 10**12},
        {"pnl_7d": -1e12},
        {"sharpe_30d": -1e300},
        {"winrate_30d": 0},
        {"winrate_30d": 1},
        {"max_dd_30d": 0},
        {"max_dd_30d": 100},
    ],
)
def test_the_edges_of_the_ranges_are_good(changes: dict[str, float]) -> None:
    """The ends of each range belong to it, and integers are numbers."""
    snapshot = good(with_record(**changes))
    assert snapshot.faults == {}
    assert snapshot.warnings == ()
    (name,) = changes
    value = getattr(snapshot.metrics["Bad"], name)
    assert value == changes[name]
    assert type(value) is float


def test_a_drawdown_above_100_percent_is_a_warning_without_its_value() -> None:
    """A producer that sends currency is healthy; the sentence stays the same from day to day."""
    snapshot = good(with_record(max_dd_30d=1234.5))
    assert snapshot.faults == {}
    assert snapshot.metrics["Bad"].max_dd_30d == 1234.5
    assert snapshot.warnings == ("Bad: max_dd_30d is above 100 percent, counted as the worst drawdown",)


# --- guardian, regime, time, schema ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "says"),
    [
        *[({"is_paused": False, "drawdown": value}, f"guardian.drawdown {says}") for value, says in NOT_NUMBERS],
        ({"is_paused": False, "drawdown": -1}, "guardian.drawdown is -1, not 0 or above"),
        ({"is_paused": "false"}, 'guardian.is_paused is "false", not true or false'),
        ({"is_paused": 0}, "guardian.is_paused is 0, not true or false"),
        ({"is_paused": None}, "guardian.is_paused is null, not true or false"),
        ({}, "guardian.is_paused is missing"),
        ([], "guardian is a list, not an object"),
        (False, "guardian is false, not an object"),
        ("paused", 'guardian is "paused", not an object'),
    ],
)
def test_a_faulty_guardian_block_refuses_the_payload(block: object, says: str) -> None:
    """Whether capital may move at all is never guessed."""
    assert refused(payload(guardian=block)) == says


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (None, None),
        ({"is_paused": True}, Guardian(is_paused=True)),
        ({"is_paused": True, "drawdown": None, "reason": None}, Guardian(is_paused=True)),
        ({"is_paused": False, "drawdown": 150, "reason": ["x"]}, Guardian(is_paused=False, drawdown_percent=150.0)),
        (
            {"is_paused": True, "reason": "Loss\x1b[2J\n\u202eback\u200b" + "x" * 300},
            Guardian(is_paused=True, reason=("Loss[2Jback" + "x" * 300)[:200]),
        ),
    ],
)
def test_a_guardian_block_is_read_as_far_as_it_says(block: object, expected: Guardian | None) -> None:
    """An absent drawdown is unknown, not zero; the reason is made fit to print."""
    assert good(payload(guardian=block)).guardian == expected


@pytest.mark.parametrize(
    ("block", "says"),
    [
        *[({"risk_multiplier": value}, f"market_regime.risk_multiplier {says}") for value, says in NOT_NUMBERS],
        ({"risk_multiplier": -0.1}, "market_regime.risk_multiplier is -0.1, not within 0..10"),
        ({"risk_multiplier": 10.5}, "market_regime.risk_multiplier is 10.5, not within 0..10"),
        ([], "market_regime is a list, not an object"),
        ("BULL", 'market_regime is "BULL", not an object'),
    ],
)
def test_a_faulty_regime_refuses_the_payload(block: object, says: str) -> None:
    """A multiplier that is there but wrong is not taken for an absent one."""
    assert refused(payload(market_regime=block)) == says


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (None, None),
        ({}, Regime()),
        ({"regime": "UNKNOWN", "risk_multiplier": None}, Regime(name="UNKNOWN")),
        ({"regime": 5, "risk_multiplier": 0}, Regime(risk_multiplier=0.0)),
        ({"regime": "BULL\u2028\x9b", "risk_multiplier": 10}, Regime(name="BULL", risk_multiplier=10.0)),
    ],
)
def test_a_regime_without_a_multiplier_is_unknown(block: object, expected: Regime | None) -> None:
    """Absent and null say nothing; what is said is kept as sent, above 1 too."""
    assert good(payload(market_regime=block)).regime == expected


@pytest.mark.parametrize("name", ["guardian", "market_regime", "timestamp"])
def test_an_absent_block_is_none(name: str) -> None:
    """What the payload lacks is told apart from what it says."""
    snapshot = good(encode({key: value for key, value in PAYLOAD.items() if key != name}))
    assert {"guardian": snapshot.guardian, "market_regime": snapshot.regime, "timestamp": snapshot.at}[name] is None


@pytest.mark.parametrize(
    ("stamp", "at"),
    [
        ("2025-11-03T22:00:00Z", 1762207200.0),
        ("2025-11-03T23:30:00+01:30", 1762207200.0),
        ("2025-11-03T22:00:00.250000+00:00", 1762207200.25),
        ("0001-01-01T00:00:00+14:00", -62135647200.0),
        (None, None),
    ],
)
def test_a_time_stamp_is_seconds_since_1970(stamp: str | None, at: float | None) -> None:
    """Any ISO 8601 time with a zone is understood."""
    snapshot = good(payload(timestamp=stamp))
    assert snapshot.at == at
    assert snapshot.warnings == ()


@pytest.mark.parametrize("stamp", ["2025-11-03T22:00:00", "2025-11-03 22:00:00.000"])
@pytest.mark.parametrize(
    ("zone", "at", "how", "note"),
    [
        ("UTC0", 1762207200.0, "UTC", ""),
        # 22:00 in New York is 03:00 UTC of the next day: the reading as UTC is five hours older.
        (NEW_YORK, 1762207200.0, "the older of UTC and this machine's local time", "let the producer write its offset"),
        # 22:00 in Kolkata is 16:30 UTC: the reading as local time is five and a half hours older.
        (KOLKATA, 1762187400.0, "the older of UTC and this machine's local time", "or start the governor with TZ=UTC"),
    ],
)
def test_a_time_stamp_without_a_zone_counts_as_the_older_reading(
    monkeypatch: pytest.MonkeyPatch, stamp: str, zone: str, at: float, how: str, note: str
) -> None:
    """It may be UTC or local time: the older counts, so that a dead producer does not look fresh, with a warning."""
    with local_time(monkeypatch, zone):
        snapshot = good(payload(timestamp=stamp))
    assert snapshot.at == at
    assert snapshot.warnings == (
        f"timestamp has no time zone and counts as {how}: let its producer write an offset or Z",
    )
    assert snapshot.at_note.endswith(note)
    assert bool(snapshot.at_note) == bool(note)


def test_the_time_of_the_regime_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a zone as it is, without one as the older reading; what is no time is an unknown age, and no refusal."""
    said = {"regime": "BULL", "risk_multiplier": 1.2}
    with local_time(monkeypatch, KOLKATA):
        stamps = {stamp: good(payload(market_regime={**said, "timestamp": stamp})) for stamp in ("soon", NAIVE, ZULU)}
        number = good(payload(market_regime={**said, "timestamp": 1762207200}))
        none = good(payload(market_regime=said))
    assert stamps[ZULU].regime == Regime("BULL", 1.2, 1762207200.0)
    assert stamps[NAIVE].regime == Regime("BULL", 1.2, 1762187400.0)
    assert stamps["soon"].regime == number.regime == none.regime == Regime("BULL", 1.2)
    assert stamps[ZULU].warnings == none.warnings == ()
    how = "counts as the older of UTC and this machine's local time: let its producer write an offset or Z"
    assert stamps[NAIVE].warnings == (f"market_regime.timestamp has no time zone and {how}",)
    assert stamps["soon"].warnings == ('market_regime.timestamp is "soon", not an ISO 8601 time: its age is unknown',)
    assert number.warnings == ("market_regime.timestamp is 1762207200, not an ISO 8601 time: its age is unknown",)


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ({"sharpe_30d": None}, "sharpe_30d is null: its decisions reach back 20 h, it needs two days"),
        ({"winrate_30d": 65}, "winrate_30d is 65, not within 0..1: its decisions reach back 20 h, it needs two days"),
        ({"sharpe_30d": None, "problem": " \u202e\x00"}, "sharpe_30d is null, not a number"),
        ({"sharpe_30d": None, "problem": {"a": 1}}, "sharpe_30d is null, not a number"),
        ({"sharpe_30d": None, "problem": "x" * 1_000}, "sharpe_30d is null: " + "x" * 160),
    ],
)
def test_the_producer_s_own_word_on_a_fault_travels_with_it(record: dict[str, object], fault: str) -> None:
    """A faulty record that says its problem says it in the fault, printable and cut; a good one has none."""
    said = {"problem": "its decisions\n reach back 20 h, it needs two days"}
    assert good(with_record(**{**said, **record})).faults == {"Bad": fault}
    assert good(with_record(**said)).faults == {}


@pytest.mark.parametrize(
    "stamp",
    ["", "now", "2025-13-01T00:00:00Z", "2025-11-03T25:00:00Z", "99999-01-01", "\x1b", 1762207200, 1.5, True, [], {}],
)
def test_an_unreadable_time_stamp_refuses_the_payload(stamp: object) -> None:
    """A payload of unknown age is no payload."""
    assert refused(payload(timestamp=stamp)).startswith("timestamp is ")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"type": "telemetry", "equity": 1.0}, "per_agent is missing, not an object of agents: another schema"),
        ({**PAYLOAD, "per_agent": None}, "per_agent is null"),
        ({**PAYLOAD, "per_agent": []}, "per_agent is a list"),
        ({"error": "no\x00 cache\n", "timestamp": "now"}, "the dashboard reports an error: no cache"),
        ({**PAYLOAD, "error": "stale"}, "the dashboard reports an error: stale"),
        ({**PAYLOAD, "error": {"code": 5}}, "the dashboard reports an error: an object"),
        ({**PAYLOAD, "error": True}, "the dashboard reports an error: true"),
        ({**PAYLOAD, "error": "x" * 900}, "the dashboard reports an error: " + "x" * 200),
    ],
)
def test_another_schema_or_an_error_is_refused(document: dict[str, object], says: str) -> None:
    """Status 200 is not yet a payload."""
    assert refused(encode(document)).startswith(says)


@pytest.mark.parametrize("error", [None, "", False, 0, [], {}])
def test_an_empty_error_is_none(error: object) -> None:
    """A producer that always sends the field may leave it empty."""
    assert good(payload(error=error)) == good(payload())


def test_no_agents_is_a_payload() -> None:
    """Whether an empty fleet may be decided on is not the parser's question."""
    snapshot = good(payload(per_agent={}))
    assert (snapshot.metrics, snapshot.faults) == ({}, {})


# --- names -----------------------------------------------------------------------------------------------------------

ILL_FORMED = [
    ("Smart\nTrader", "Smart\\nTrader"),
    ("SmartTrader\n", "SmartTrader\\n"),
    ("\x1b[31mRed", "\\x1b[31mRed"),
    ("Nul\x00", "Nul\\x00"),
    ("../x", "../x"),
    ("<b>", "<b>"),
    ("zero\u200bwidth", "zero\\u200bwidth"),
    ("bidi\u202e", "bidi\\u202e"),
    ("\u0405martTrader", "\\u0405martTrader"),
    ("a\\n", "a\\\\n"),
    ("-dash", "-dash"),
    (" space", " space"),
    ("", "\\empty"),
]


@pytest.mark.parametrize(("name", "escaped"), ILL_FORMED)
def test_an_ill_formed_name_is_a_fault_under_its_escaped_name(name: str, escaped: str) -> None:
    """Such an agent never takes part, and what is said of it can be printed."""
    snapshot = good(payload(per_agent={name: RECORD, "Good": RECORD}))
    assert list(snapshot.metrics) == ["Good"]
    assert list(snapshot.faults) == [escaped]
    assert "name" in snapshot.faults[escaped]


@pytest.mark.parametrize("name", ["reserve", "Reserve", "ALLOCATIONS", "allocations"])
def test_a_reserved_name_is_a_fault(name: str) -> None:
    """No agent passes for a line of the files that it is not."""
    snapshot = good(payload(per_agent={name: RECORD, "Good": RECORD}))
    assert snapshot.faults == {name: f"the name {name} is reserved"}
    assert list(snapshot.metrics) == ["Good"]


def test_names_that_differ_only_in_case_are_all_faults() -> None:
    """Which of them is the true one cannot be known; a look-alike of another alphabet accuses nobody."""
    snapshot = good(payload(per_agent=dict.fromkeys(["Alpha", "ALPHA", "alpha", "\u212aelvin", "Kelvin"], RECORD)))
    assert list(snapshot.metrics) == ["Kelvin"]
    assert list(snapshot.faults) == ["ALPHA", "Alpha", "\\u212aelvin", "alpha"]
    assert snapshot.faults["Alpha"] == "another agent has the same name but for case"


@pytest.mark.parametrize("name", ["A", "9", "a" * 64, "BTC-USD", "My Agent_v1.2:x"])
def test_well_formed_names_pass(name: str) -> None:
    """What is used today, and what is near to it, is a name."""
    assert valid_name(name)
    assert escape_name(name) == name
    assert list(good(payload(per_agent={name: RECORD})).metrics) == [name]


def test_long_names_keep_apart() -> None:
    """Names that are equal as far as they are shown are two faults, and none takes a true agent's place."""
    longs = ["a" * 65, "a" * 65 + "b", "\n" * 100, "\n" * 101]
    snapshot = good(payload(per_agent=dict.fromkeys([*longs, "a" * 64], RECORD)))
    assert len(snapshot.faults) == 4
    assert list(snapshot.metrics) == ["a" * 64]
    assert all(len(name) <= 73 for name in snapshot.faults)


@given(st.lists(st.text(st.characters()), unique=True, min_size=2, max_size=6))
def test_no_two_names_share_an_escaped_one(names: list[str]) -> None:
    """Any text has a printable stand-in of its own, which is a valid name only if the text is."""
    escaped = [escape_name(name) for name in names]
    assert len(set(escaped)) == len(names)
    for name, shown in zip(names, escaped, strict=True):
        assert shown
        assert shown.isascii()
        assert shown.isprintable()
        assert valid_name(shown) == valid_name(name)


# --- free text -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("gr\u00fc\u00df dich \U0001f600", "gr\u00fc\u00df dich \U0001f600"),
        ("a\x00\x1b\x7f\x85\x9b\n\r\t\u2028\u2029b", "ab"),
        ("a\u200b\u200d\u2060\ufeff\u061c\u202e\u2066\u2069b", "ab"),
        ("half \ud800", "half "),
        ("no\u00a0break\u3000wide", "no break wide"),
        ("x" * 201, "x" * 200),
        (None, ""),
        (5, ""),
        (["x"], ""),
        (b"x", ""),
    ],
)
def test_free_text_is_made_fit_to_print(text: object, expected: str) -> None:
    """Control, direction and invisible characters go, the rest is cut to length."""
    assert clean(text) == expected


@given(st.text(st.characters(), max_size=300), st.integers(1, 250))
def test_clean_text_is_printable_short_and_stays_clean(text: str, limit: int) -> None:
    """Cleaning twice is cleaning once."""
    once = clean(text, limit)
    assert len(once) <= limit
    assert once.isprintable()
    once.encode("utf-8")
    assert clean(once, limit) == once


# --- anything at all -------------------------------------------------------------------------------------------------


@given(st.sampled_from([*RECORD][1:5]), VALUES)
def test_one_agents_metrics_never_touch_another(metric: str, value: object) -> None:
    """Whatever one record holds, the other agent comes out as if alone."""
    body = json.dumps({**PAYLOAD, "per_agent": {"Good": RECORD, "Bad": {**RECORD, metric: value}}}).encode()
    result = parse(body)
    if isinstance(result, Snapshot):
        assert result.metrics["Good"] == METRICS
        assert ("Bad" in result.metrics) != ("Bad" in result.faults)
    else:
        assert "strict JSON" in result.detail
