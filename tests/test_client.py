"""What an agent reads: a share while the governor vouches for it, and the agent's own choice in every other state."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from capital_governor import client
from capital_governor.client import FLOOR, HOLD, Allocations, read_allocations, share
from tests.rigs.builders import FLEET_SHARES, examples
from tests.rigs.cycle_rig import CycleRig

PRIMARY: Final = "capital_governor_allocations.json"
STATUS: Final = "capital_governor_status.json"
SHARES: Final = {"Ada": 0.3, "Bob": 0.15, "Cyd": 0.05}
FLOORS: Final = {"Ada": 0.04, "Bob": 0.04, "Cyd": 0.04}
"""MIN_ALLOC 0.05 at exposure 0.8."""


def iso(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


def primary(**more: Any) -> dict[str, Any]:
    head = {"allocations": SHARES, "reserve": 0.5, "source": "capital_governor", "timestamp": "2025-11-03T22:00:00Z"}
    return head | {"generation": 7, "min_allocation": 0.05, "floor_scale": 1.0, "exposure": 0.8} | more


def status(age_seconds: float = 1.0, left_seconds: float = 300.0, **more: Any) -> dict[str, Any]:
    now = time.time()
    said = {"state": "governing", "reason": "unchanged", "generation": 7, "timestamp": iso(now - age_seconds)}
    return said | {"valid_until": iso(now + left_seconds)} | more


def put(root: Path, name: str, content: object) -> Path:
    path = root / "runtime" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


@pytest.fixture(autouse=True)
def forgetful() -> None:
    client._last_read.clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root whose governor is well."""
    put(tmp_path, PRIMARY, primary())
    put(tmp_path, STATUS, status())
    return tmp_path


# --- the governor vouches ---------------------------------------------------------------------------------------------


def test_a_share_of_a_governor_that_is_well(root: Path) -> None:
    """Share, reserve and generation are those of the primary, and nothing is said against them."""
    found = read_allocations(root, fallback=0.9)
    assert found.shares == SHARES
    assert (found.reserve, found.generation, found.stale, found.source) == (0.5, 7, False, "capital_governor")
    assert found.reason == ""
    assert found.age is not None
    assert 0 <= found.age < 60
    assert share("Ada", root=root) == share("Ada", root=str(root)) == found.share("Ada") == 0.3


def test_a_name_without_a_line_has_nothing(root: Path) -> None:
    """While the governor vouches, a name that it gives nothing has nothing, whatever the fallback."""
    assert share("Nobody", root=root, fallback=0.5) == 0.0


@pytest.mark.parametrize("reason", ["fetch_failed", "stopped", "operator_hold", "payload_stale", "files_unwritable"])
def test_a_hold_keeps_the_shares(root: Path, reason: str) -> None:
    """A governor that holds vouches for what is published; the record says why it holds."""
    put(root, STATUS, status(state="holding", reason=reason))
    found = read_allocations(root, fallback=0.0, paused=0.0)
    assert (found.share("Ada"), found.stale, found.reason) == (0.3, False, f"holding: {reason}")


@pytest.mark.parametrize(("paused", "shares"), [(HOLD, SHARES), (FLOOR, FLOORS), (0.0, {}), (0.25, {})])
def test_a_pause_is_answered_as_the_agent_chooses(root: Path, paused: float | str, shares: dict[str, float]) -> None:
    """Under Guardian's pause the answer is the paused fallback, by default the shares that are maintained."""
    put(root, STATUS, status(state="holding", reason="paused"))
    found = read_allocations(root, fallback=0.9, paused=paused)
    assert found.shares == pytest.approx(shares)
    assert (found.stale, found.reason) == (False, "holding: paused")
    assert found.share("Nobody") == (0.0 if isinstance(paused, str) else paused)
    assert share("Ada", root=root, fallback=0.9) == 0.3


def test_an_ended_governor_vouches_until_its_time(root: Path) -> None:
    """An orderly end is no alarm before `valid_until`, so that a restart changes nothing; afterwards it is one."""
    put(root, STATUS, status(state="ended"))
    found = read_allocations(root)
    assert (found.share("Ada"), found.stale, found.reason) == (0.3, False, "the governor was ended")
    put(root, STATUS, status(age_seconds=400, left_seconds=-100, state="ended"))
    found = read_allocations(root)
    assert (found.share("Ada"), found.stale) == (0.0, True)
    assert found.reason.startswith("the governor was ended: its last cycle was 40")


@pytest.mark.parametrize(
    ("generation", "reason"), [(8, "the file has generation 7, the governor published 8"), (6, "")]
)
def test_the_primary_is_the_truth_for_shares(root: Path, generation: int, reason: str) -> None:
    """Where the status names another generation the shares are the primary's; one that lags behind is told."""
    put(root, STATUS, status(generation=generation))
    found = read_allocations(root)
    assert (found.shares, found.generation, found.stale, found.reason) == (SHARES, 7, False, reason)


def test_the_previous_programs_file_counts_once_a_governor_vouches(tmp_path: Path) -> None:
    """An adopted file has no reserve, generation or exposure: the rest is reserve, and the number 0."""
    old = {"allocations": {"Ada": 0.6, "Bob": 0.1}, "source": "capital_governor", "min_allocation": 0.05}
    put(tmp_path, PRIMARY, old)
    put(tmp_path, STATUS, status(generation=0))
    found = read_allocations(tmp_path)
    assert (found.shares, found.generation, found.reason) == (old["allocations"], 0, "")
    assert found.reserve == pytest.approx(0.3)
    put(tmp_path, STATUS, status(left_seconds=-1))
    assert share("Ada", root=tmp_path, fallback=FLOOR) == 0.05


def test_what_the_real_program_writes_is_read(tmp_path: Path) -> None:
    """Files of a real cycle are understood, with the numbers that were published."""
    with CycleRig(tmp_path) as rig:
        rig.now = time.time()
        rig.see()
        found = read_allocations(tmp_path)
        assert {name: round(part * 1e6) for name, part in found.shares.items()} == dict(FLEET_SHARES)
        assert (found.reserve, found.generation, found.stale, found.reason) == (0.0, 1, False, "")
        rig.stop_file.touch()
        rig.see()
        late = read_allocations(tmp_path)
        assert late.stale
        assert late.reason.endswith("s in the future: a clock is wrong")


def test_what_is_withheld_is_in_the_reserve_and_changes_no_other_answer(root: Path) -> None:
    """The client ignores the field: a share is what the file says, and its floor is at most that."""
    before = json.loads((root / "runtime" / PRIMARY).read_bytes())
    shares = before["allocations"] | {"Ada": 0.02}
    reserve = round(1.0 - sum(shares.values()), 6)
    withheld = {"Ada": before["allocations"]["Ada"] - 0.02}
    put(root, PRIMARY, before | {"allocations": shares, "reserve": reserve, "withheld": withheld})
    found = read_allocations(root)
    assert (found.shares, found.reserve, found.reason) == (shares, reserve, "")
    put(root, STATUS, status(left_seconds=-1))
    assert share("Ada", root=root, fallback=FLOOR) == 0.02


# --- the governor is dead ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fallback", "ada", "nobody"),
    [(0.0, 0.0, 0.0), (0.1, 0.1, 0.1), (1, 1.0, 1.0), (HOLD, 0.3, 0.0), (FLOOR, 0.04, 0.0)],
)
def test_a_dead_governor_is_answered_as_the_agent_chooses(
    root: Path, fallback: float | str, ada: float, nobody: float
) -> None:
    """Past `valid_until` the share is a number, the last one or its floor, as the agent chose."""
    put(root, STATUS, status(age_seconds=900, left_seconds=-1))
    found = read_allocations(root, fallback=fallback)
    assert found.share("Ada") == pytest.approx(ada)
    assert found.share("Nobody") == nobody
    assert found.stale
    assert found.reason.startswith("the governor is dead: its last cycle was 90")
    assert found.source == ("capital_governor" if isinstance(fallback, str) else "fallback")


def test_the_floor_is_never_above_the_last_share(root: Path) -> None:
    """An agent whose last share was below the floor keeps that."""
    put(root, PRIMARY, primary(allocations={"Ada": 0.3, "Bob": 0.01}, reserve=0.69))
    put(root, STATUS, status(left_seconds=-1))
    found = read_allocations(root, fallback=FLOOR)
    assert found.shares == pytest.approx({"Ada": 0.04, "Bob": 0.01})
    assert found.reserve == pytest.approx(0.95)


def test_an_agent_may_be_stricter_about_age(root: Path) -> None:
    """A last cycle longer ago than the agent allows is stale, though `valid_until` has not passed."""
    put(root, STATUS, status(age_seconds=100))
    assert share("Ada", root=root, max_age_seconds=200) == 0.3
    found = read_allocations(root, max_age_seconds=50)
    assert (found.share("Ada"), found.stale) == (0.0, True)
    assert found.reason.endswith("more than 50 s")


# --- the files are of no use ------------------------------------------------------------------------------------------

USELESS: Final[dict[str, bytes]] = {
    "empty": b"",
    "torn": json.dumps(primary()).encode()[:-9],
    "no UTF-8": b'{"source": "\xff"}',
    "UTF-16": json.dumps(primary()).encode("utf-16"),
    "a list": b"[]",
    "null": b"null",
    "NaN": b"NaN",
    "deep": b"[" * 200_000,
    "deep objects": b'{"a":' * 200_000,
    "a long number": b'{"generation": ' + b"9" * 10_000 + b"}",
    "twice": b'{"source": "capital_governor", ' + json.dumps(primary()).encode()[1:],
    "huge": b" " * (16 * 1024 * 1024 + 1),
    "zeros": bytes(4096),
}
WRONG_PRIMARIES: Final[dict[str, dict[str, Any]]] = {
    "foreign": primary(source="rl_inference"),
    "without a source": {key: value for key, value in primary().items() if key != "source"},
    "source is a list": primary(source=["capital_governor"]),
    "no map": primary(allocations=[0.3]),
    "null map": primary(allocations=None),
    "a text": primary(allocations=SHARES | {"Ada": "0.3"}),
    "a truth": primary(allocations=SHARES | {"Ada": True}),
    "null share": primary(allocations=SHARES | {"Ada": None}),
    "nested": primary(allocations={"Ada": SHARES}),
    "negative": primary(allocations=SHARES | {"Ada": -0.3}, reserve=1.0),
    "above 1": primary(allocations={"Ada": 1.5}, reserve=0.0),
    "NaN": primary(allocations=SHARES | {"Ada": float("nan")}),
    "infinite": primary(allocations=SHARES | {"Ada": float("inf")}),
    "astronomic": primary(allocations=SHARES | {"Ada": 10**400}),
    "sum above 1": primary(allocations=dict.fromkeys("ABC", 0.5), reserve=0.0),
    "sum off": primary(reserve=0.4),
    "reserve a text": primary(reserve="0.5"),
    "reserve NaN": primary(reserve=float("nan")),
    "generation a text": primary(generation="7"),
    "generation negative": primary(generation=-1),
    "NaN beside": primary(extra=float("nan")),
    "minimum above 1": primary(min_allocation=5),
    "exposure a list": primary(exposure=[1]),
}
WRONG_STATUSES: Final[dict[str, dict[str, Any]]] = {
    "no time": {key: value for key, value in status().items() if key != "valid_until"},
    "time null": status(valid_until=None),
    "time a number": status(valid_until=99_991_231),
    "time a word": status(valid_until="for ever"),
    "beyond the years": status(valid_until="0001-01-01T00:00:00+14:00"),
    "last cycle missing": status(timestamp=None),
    "from the future": status(age_seconds=-3_600, left_seconds=7_200),
}


def special(path: Path, kind: str) -> None:
    """Put what is no file in the place of a file."""
    path.unlink()
    match kind:
        case "FIFO":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path)
        case "dangling":
            path.symlink_to(path.with_name("nothing"))
        case _:
            assert kind == "missing"


def spoilers(wrong: dict[str, dict[str, Any]]) -> list[Any]:
    def content(what: object) -> Callable[[Path], object]:
        return lambda path: path.write_bytes(what if isinstance(what, bytes) else json.dumps(what).encode())

    def kind(name: str) -> Callable[[Path], object]:
        return lambda path: special(path, name)

    kinds = ("FIFO", "folder", "device", "loop", "dangling", "missing")
    return [
        *(pytest.param(content(what), id=name) for name, what in (USELESS | wrong).items()),
        *(pytest.param(kind(name), id=name) for name in kinds),
    ]


def fallbacks_hold(root: Path, *, held: float) -> None:
    """Each fallback is answered with a reason; ``held`` is what HOLD has for Ada."""
    for fallback, ada in ((0.0, 0.0), (0.1, 0.1), (HOLD, held)):
        found = read_allocations(root, fallback=fallback, paused=0.7)
        assert (found.share("Ada"), found.stale) == (ada, True)
        assert found.reason
        assert len(found.reason) < 200
        assert found.reason.isprintable()


@pytest.mark.parametrize("spoil", spoilers(WRONG_PRIMARIES))
def test_a_primary_of_no_use_is_answered_with_the_fallback(root: Path, spoil: Callable[[Path], object]) -> None:
    """Whatever stands where the shares belong, the answer is the fallback; HOLD goes by what was read last, if ever."""
    spoil(root / "runtime" / PRIMARY)
    fallbacks_hold(root, held=0.0)
    with_memory = root.parent / f"{root.name}-remembered"
    put(shutil.copytree(root, with_memory, ignore=shutil.ignore_patterns("*")), PRIMARY, primary())
    put(with_memory, STATUS, status())
    assert share("Ada", root=with_memory) == 0.3
    spoil(with_memory / "runtime" / PRIMARY)
    fallbacks_hold(with_memory, held=0.3)
    assert read_allocations(with_memory, fallback=HOLD).source == "memory"
    assert share("Ada", root=with_memory, fallback=FLOOR) == pytest.approx(0.04)


@pytest.mark.parametrize("spoil", spoilers(WRONG_STATUSES))
def test_a_status_of_no_use_is_answered_with_the_fallback(root: Path, spoil: Callable[[Path], object]) -> None:
    """Without a status that can be believed nobody vouches for the shares: HOLD goes by the file."""
    spoil(root / "runtime" / STATUS)
    fallbacks_hold(root, held=0.3)


@pytest.mark.parametrize("kind", ["FIFO", "device"])
def test_what_is_no_file_is_not_read(root: Path, kind: str) -> None:
    """A FIFO and a device are seen for what they are, and not a byte is taken from them."""
    special(root / "runtime" / PRIMARY, kind)
    assert read_allocations(root).reason == f"{PRIMARY} cannot be read: it is not a regular file"


def test_nothing_at_all_is_answered_with_the_fallback(tmp_path: Path) -> None:
    """A root without files, one that is a file and one that cannot be a path are answered alike."""
    (tmp_path / "file").touch()
    for root in (tmp_path, tmp_path / "missing", tmp_path / "file", Path("odd\0name"), Path("x" * 5_000)):
        fallbacks_hold(root, held=0.0)
    assert read_allocations(tmp_path).reason == f"there is no {PRIMARY}: has the governor run on this root?"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@hypothesis_settings(examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_field_may_be_anything(tmp_path: Path, data: st.DataObject) -> None:
    """With any one field of either file replaced by anything, the answer is a share within 0..1 and never a raise."""
    for name, document in ((PRIMARY, primary()), (STATUS, status())):
        field = data.draw(st.sampled_from([*document, "extra"]))
        put(tmp_path, name, document | {field: data.draw(JSON_VALUES)})
    for choice in (0.0, HOLD, FLOOR):
        found = read_allocations(tmp_path, fallback=choice, paused=choice)
        assert all(0.0 <= part <= 1.0 for part in (*found.shares.values(), found.share("Ada")))
        assert sum(found.shares.values()) <= 1 + 1e-6


# --- arguments, record, copy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"fallback": 1.01},
        {"fallback": -0.1},
        {"fallback": float("nan")},
        {"fallback": "zero"},
        {"fallback": None},
        {"fallback": True},
        {"paused": 2},
        {"max_age_seconds": 0},
        {"max_age_seconds": "60"},
        {"max_age_seconds": float("nan")},
    ],
)
def test_a_wrong_argument_is_told_at_once(root: Path, wrong: dict[str, Any]) -> None:
    """An argument that can never be right raises on the first call, governor well or not, and is named."""
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}={value!r}"):
        read_allocations(root, **wrong)


def test_shares_cannot_be_changed(root: Path) -> None:
    """No share of what was read can be set by the agent; the record's text shows every field."""
    found = read_allocations(root)
    with pytest.raises(TypeError):
        found.shares["Ada"] = 1.0  # type: ignore[index]  # that it cannot be done is the point
    assert all(f"{name}=" in repr(found) for name in Allocations.__slots__)


def test_the_root_is_found_as_the_program_finds_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the root is NEOLIGHT_ROOT, else the current folder."""
    monkeypatch.delenv("NEOLIGHT_ROOT", raising=False)
    monkeypatch.chdir(root)
    assert share("Ada") == 0.3
    monkeypatch.setenv("NEOLIGHT_ROOT", str(root / "elsewhere"))
    assert share("Ada") == 0.0
    monkeypatch.chdir("/")
    monkeypatch.setenv("NEOLIGHT_ROOT", str(root))
    assert share("Ada") == 0.3


def test_memory_is_bounded(root: Path) -> None:
    """However many roots a process reads, it remembers but a few."""
    for number in range(200):
        (root / str(number)).symlink_to(root)
        assert share("Ada", root=root / str(number)) == 0.3
    assert len(client._last_read) <= 64


def test_a_copy_of_the_file_serves(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The one file, copied elsewhere, works in a Python that sees neither this package nor any other."""
    elsewhere = tmp_path_factory.mktemp("agent")
    shutil.copy(client.__file__, elsewhere / "governor_client.py")
    code = (
        f"import sys; sys.path.insert(0, {str(elsewhere)!r})\n"
        "from governor_client import share\n"
        f"print(share('Ada', root={str(root)!r}), share('Ada', root='/nowhere', fallback=0.1))\n"
        "names = {name.partition('.')[0] for name in sys.modules}\n"
        "print(names - sys.stdlib_module_names - {'__main__'})\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0.3 0.1\n{'governor_client'}\n"


def test_the_import_brings_nothing_of_the_package_along() -> None:
    """`import capital_governor.client` loads the package's name and the client, and none of what it does not need."""
    code = "import sys, capital_governor.client; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert [name for name in loaded if name.startswith("capital_governor")] == [
        "capital_governor",
        "capital_governor.client",
    ]
    assert not {"dataclasses", "typing", "pathlib", "logging", "pydantic"} & set(loaded)
