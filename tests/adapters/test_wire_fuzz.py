"""The parser against anything: any bytes, and payloads spoilt in any way, in bounded time and memory.

FUZZ_CASES says how many cases in all, FUZZ_SEED which ones.
"""

from __future__ import annotations

import gc
import json
import os
import time
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from capital_governor.adapters.wire import parse
from capital_governor.core.model import Refusal
from tests.adapters.test_wire import PAYLOAD, RECORD, VALUES, hold_to_the_promise

CASES: Final = int(os.environ.get("FUZZ_CASES", "2000"))
SEED: Final = int(os.environ.get("FUZZ_SEED", "0"))
CHUNK: Final = 10_000
"""Cases by one seed: hypothesis keeps a record of all that it tried."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""No body is longer: the fetch ends there."""


@dataclass(slots=True)
class Tally:
    """What came of the cases; times are of the processor, so that a busy machine makes none of them long."""

    answers: Counter[str] = field(default_factory=Counter)
    longest_seconds: float = 0.0

    def parse(self, body: bytes) -> None:
        gc.disable()  # it would go through all that hypothesis remembers, and that is not the parser's time
        try:
            started = time.thread_time()
            answer = parse(body)
            self.longest_seconds = max(self.longest_seconds, time.thread_time() - started)
        finally:
            gc.enable()
        if isinstance(answer, Refusal):
            self.answers["refused as a whole"] += 1
        else:
            self.answers["faults of agents" if answer.faults else "taken"] += 1
        hold_to_the_promise(body)


SPICES: Final = [
    b"NaN", b"-Infinity", b"1e999", b"-0", b"01", b"1_0", b"\\ud800", b"\\u0000", b"\xff", b"\xef\xbb\xbf", b"//x\n",
    b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b'"guardian":{}', b'"per_agent":{},', b"9" * 400,
]  # fmt: skip
GOOD: Final = json.dumps(PAYLOAD).encode()
KEYS: Final = [*PAYLOAD, *RECORD, "is_paused", "drawdown", "reason", "regime", "risk_multiplier", "error", "reserve"]
NAMES: Final = st.sampled_from([*KEYS, "Good", "good", "../x", "\u202e", "a" * 65, ""]) | st.text(max_size=70)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A good payload with parts cut out, doubled, or replaced by what JSON readers stumble over."""
    body = bytearray(GOOD)
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.sampled_from((0, 0, 1, 1, 2, 8, 60, 10_000))))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            body[start:end] = draw(st.sampled_from(SPICES))
        elif kind == 1:
            body[start:end] = draw(st.binary(max_size=6))
        else:
            body[start:start] = body[start:end] * draw(st.integers(1, 3))
    return bytes(body)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A payload with values of any kind in any place, keys renamed, removed, moved and doubled."""
    document: dict[str, Any] = json.loads(GOOD)
    for _ in range(draw(st.integers(1, 6))):
        nodes = [document, *(each for each in document.values() if isinstance(each, dict))]
        nodes += [each for node in nodes[1:] for each in node.values() if isinstance(each, dict)]
        node = draw(st.sampled_from(nodes))
        key = draw(st.sampled_from([*node]) | NAMES) if node else draw(NAMES)
        what = draw(st.integers(0, 3))
        if what == 0 and key in node:
            del node[key]
        elif what == 1 and key in node:
            node[draw(NAMES)] = node[key]
        elif what == 2:
            node[key] = json.loads(json.dumps(draw(st.sampled_from(nodes))))
        else:
            node[key] = draw(VALUES)
    return json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("kind", "bodies", "part"),
    [
        ("any bytes", st.binary(max_size=2_000), 0.2),
        ("damaged bytes", damaged(), 0.4),
        ("mutated payloads", mutated(), 0.4),
    ],
)
def test_whatever_comes_is_answered(kind: str, bodies: st.SearchStrategy[bytes], part: float) -> None:
    """Nothing but a snapshot in range or a refusal, each in well under a second of the processor."""
    tally, cases = Tally(), round(CASES * part)
    for start in range(0, cases, CHUNK):

        @seed(SEED + start)
        @settings(
            max_examples=min(CHUNK, cases - start),
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(bodies)
        def each(body: bytes) -> None:
            tally.parse(body)

        each()
    print(f"{kind}: {tally.answers.total():,} cases, longest {tally.longest_seconds * 1e3:.1f} ms, {tally.answers}")  # noqa: T201
    assert tally.answers.total() >= cases // 2, "most of the cases are the same as others"
    assert tally.longest_seconds < 1.0
    if kind != "any bytes":
        assert len(tally.answers) == 3, tally.answers


def _filled(before: bytes, part: bytes, after: bytes) -> bytes:
    return before + part * ((MOST_BYTES - len(before) - len(after)) // len(part)) + after


def _agents(count: int, record: bytes) -> bytes:
    agents = b",".join(b'"A%d":%s' % (number, record) for number in range(count))
    return b'{"per_agent":{%s}}' % agents


BAD_RECORD: Final = json.dumps(RECORD | {"sharpe_30d": "x" * 1_000}).encode()
LARGEST: Final[dict[str, bytes]] = {
    "spaces": b" " * MOST_BYTES,
    "one text": _filled(b'{"mode":"', b"x", b'"}'),
    "one name": _filled(b'{"per_agent":{"', b"\\u202e", b'":{}}}'),
    "an error that is long": _filled(b'{"error":"', b"\\u200b", b'"}'),
    "digits": _filled(b'{"mode":', b"9", b"}"),
    "fraction digits": _filled(b'{"mode":0.', b"9", b"}"),
    "opened lists": b"[" * MOST_BYTES,
    "empty lists": _filled(b'{"mode":[[]', b",[]", b"]}"),
    "zeros": _filled(b'{"mode":[0', b",0", b"]}"),
    "agents": _agents(10_000, BAD_RECORD),
    "too many agents": _agents(400_000, b"{}"),
    "one key again and again": _filled(b'{"a":0', b',"a":0', b"}"),
}


@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_bodies_take_bounded_time_and_memory(name: str) -> None:
    """What fits under the cap of the fetch is answered within seconds, and makes at most 30 bytes of each byte."""
    body = LARGEST[name]
    assert len(body) <= MOST_BYTES
    started = time.thread_time()
    hold_to_the_promise(body)
    seconds = time.thread_time() - started
    tracemalloc.start()
    try:
        parse(body)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    print(f"{name}: {len(body) / 1e6:.1f} MB, {seconds:.2f} s, at most {most / 1e6:.1f} MB in Python")  # noqa: T201
    assert seconds < 10.0
    assert most < 30 * len(body)
