"""The parser against anything: any bytes, and payloads spoilt in any way, in bounded time and memory.

FUZZ_CASES says how many cases in all, FUZZ_SEED which ones. The long form parses bodies of the largest size.
"""

from __future__ import annotations

import gc
import json
import os
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from capital_governor.contracts.payload import parse
from capital_governor.core.model import Refusal
from tests.rigs.payloads import PAYLOAD, RECORD, VALUES, hold_to_the_promise

CASES: Final = int(os.environ.get("FUZZ_CASES") or ("2000" if os.environ.get("CI") == "true" else "600"))
SEED: Final = int(os.environ.get("FUZZ_SEED", "0"))
CHUNK: Final = 10_000
"""Cases by one seed: hypothesis keeps a record of all that it tried."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""No body is longer: the fetch ends there."""
TIMES: Final = 16
"""So many times the length may take some so many times the time; the square of it would be far more."""
ROOM: Final = 8


@contextmanager
def without_collector() -> Iterator[None]:
    """Keep the garbage collector from going through all that hypothesis remembers: that is not the parser's time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@dataclass(slots=True)
class Tally:
    """What came of the cases; times are of the processor, so that a busy machine makes none of them long."""

    answers: Counter[str] = field(default_factory=Counter)
    longest_seconds: float = 0.0

    def parse(self, body: bytes) -> None:
        with without_collector():
            started = time.thread_time()
            answer = parse(body)
            self.longest_seconds = max(self.longest_seconds, time.thread_time() - started)
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
    """Nothing but a snapshot in range or a refusal."""
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
    if kind != "any bytes":
        assert len(tally.answers) == 3, tally.answers


def _filled(before: bytes, part: bytes, after: bytes) -> Callable[[int], bytes]:
    return lambda size: before + part * ((size - len(before) - len(after)) // len(part)) + after


def _agents(most: int, record: bytes) -> Callable[[int], bytes]:
    def body(size: int) -> bytes:
        agents = b",".join(b'"A%06d":%s' % (number, record) for number in range(min(most, size // (len(record) + 11))))
        return b'{"per_agent":{%s}}' % agents

    return body


BAD_RECORD: Final = json.dumps(RECORD | {"sharpe_30d": "x" * 1_000}).encode()
LARGE: Final[dict[str, Callable[[int], bytes]]] = {
    "spaces": _filled(b"", b" ", b""),
    "one text": _filled(b'{"mode":"', b"x", b'"}'),
    "one name": _filled(b'{"per_agent":{"', b"\\u202e", b'":{}}}'),
    "an error that is long": _filled(b'{"error":"', b"\\u200b", b'"}'),
    "digits": _filled(b'{"mode":', b"9", b"}"),
    "fraction digits": _filled(b'{"mode":0.', b"9", b"}"),
    "opened lists": _filled(b"", b"[", b""),
    "empty lists": _filled(b'{"mode":[[]', b",[]", b"]}"),
    "zeros": _filled(b'{"mode":[0', b",0", b"]}"),
    "agents": _agents(10_000, BAD_RECORD),
    "too many agents": _agents(400_000, b"{}"),
    "one key again and again": _filled(b'{"a":0', b',"a":0', b"}"),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("size", [MOST_BYTES // 16, pytest.param(MOST_BYTES, marks=pytest.mark.long)])
def test_large_bodies_take_bounded_time_and_memory(name: str, size: int) -> None:
    """Time grows with the length of a body and no faster, and at most 30 bytes are made of each byte."""
    body, part = LARGE[name](size), LARGE[name](size // TIMES)
    assert len(body) <= MOST_BYTES
    with without_collector():
        seconds_of_part, seconds = min(_seconds(part) for _ in range(3)), _seconds(body)
        hold_to_the_promise(body)
        tracemalloc.start()
        try:
            parse(body)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    print(  # noqa: T201
        f"{name}: {len(body) / 1e6:.1f} MB {seconds:.3f} s, {len(part) / 1e6:.2f} MB {seconds_of_part:.4f} s,"
        f" at most {most / 1e6:.1f} MB in Python"
    )
    assert seconds < ROOM * TIMES * seconds_of_part
    assert most < 30 * len(body)


def _seconds(body: bytes) -> float:
    """How long parsing takes the processor."""
    started = time.thread_time()
    parse(body)
    return time.thread_time() - started
