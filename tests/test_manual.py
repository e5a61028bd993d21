"""The manual (README.md and its chapters) against the program: its tables against the code, the rest against runs.

README_REFRESH=1 in the environment puts the output that the shown commands have now into the manual.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from capital_governor import __version__, client
from capital_governor.cli.docs_command import TOPICS
from capital_governor.cli.parser import make_parser
from capital_governor.cli.status_command import STANDING
from capital_governor.contracts import exit_codes
from capital_governor.contracts.payload import parse
from capital_governor.contracts.status import order_document
from capital_governor.core.decision import commit, decide
from capital_governor.core.hold import EXITS
from capital_governor.core.model import Guardian, Inputs, Metrics, Refusal, Regime, Rules, Snapshot, State
from capital_governor.core.orders import Order, OrderKind
from capital_governor.core.reason import HOLDS, Reason
from capital_governor.core.trace import Decision
from capital_governor.hive.past_file import PAST
from capital_governor.settings.faults import SettingsError
from capital_governor.settings.load import load
from capital_governor.settings.variables import PREFIX, variables
from capital_governor.wording.messages import message, outcome
from tests.core.builders import NOW
from tests.serving import Dashboard, fixed, fresh, wait_until
from tests.supervised import Site, eventually

REPOSITORY: Final = Path(__file__).resolve().parents[1]
CHAPTERS: Final = REPOSITORY / "capital_governor" / "docs"
PAGES: Final = {"README": REPOSITORY / "README.md"} | {topic: CHAPTERS / f"{topic}.md" for topic in TOPICS}
TEXTS: Final = {page: path.read_text() for page, path in PAGES.items()}
TEXT: Final = "\n".join(TEXTS.values())
SHOWN_ROOT: Final = "/home/me/neolight"
SHOWN_URL: Final = "http://localhost:8100"

Rows = list[list[str]]


# --- reading the manual -----------------------------------------------------------------------------------------------


def section(page: str, title: str) -> str:
    """The text below a heading of a page, up to the next heading of the same or a higher rank."""
    match = re.search(rf"^(#+) {re.escape(title)}$", TEXTS[page], re.MULTILINE)
    assert match, f"{PAGES[page].name} has no heading {title!r}"
    rest = TEXTS[page][match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def tables(text: str) -> list[Rows]:
    """All tables of a text, without their headings; cells without the marks of code."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [[cell.strip().strip("`") for cell in line.strip()[1:-1].split("|")] for line in block.splitlines()]
        found.append(rows[2:])
    return found


def names(text: str) -> list[str]:
    """The first column of the first table of a text; none twice."""
    found = [row[0] for row in tables(text)[0]]
    assert len(set(found)) == len(found)
    return found


def after(marker: str) -> str:
    assert TEXT.count(marker) == 1, marker
    return TEXT[TEXT.index(marker) :]


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def flat(text: str) -> str:
    return " ".join(text.split())


EXAMPLE: Final = section("deciding", "A worked example")
FLEET_OF_EXAMPLE: Final = {
    row[0]: Metrics(*map(float, row[1:])) for row in tables(EXAMPLE)[0]
}  # the columns are in the order of the fields


# --- the program as a user runs it ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """A root with a dashboard, and the program run there; ``own`` are settings by name without the prefix."""

    root: Path
    dashboard: Dashboard
    own: Mapping[str, str] = field(default_factory=dict)

    def environment(self, **own: object) -> dict[str, str]:
        settings = {f"{PREFIX}{name}": str(value) for name, value in (*self.own.items(), *own.items())}
        base = {"PATH": os.environ["PATH"], "HOME": str(self.root), "TZ": "UTC", "PYTHONUTF8": "1"}
        return base | {"NEOLIGHT_ROOT": str(self.root), "NEOLIGHT_DASHBOARD_URL": self.dashboard.url} | settings

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self.root, env=self.environment(), capture_output=True, text=True, timeout=60, check=False
        )

    def govern(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.call(sys.executable, "-P", "-m", "capital_governor", *words)

    def json(self, *words: str) -> Any:
        return json.loads(self.govern(*words, "--json").stdout)

    def file(self, name: str) -> Any:
        return json.loads((self.root / "runtime" / name).read_bytes())

    @contextmanager
    def running(self, log: Path, **own: object) -> Iterator[None]:
        with log.open("ab") as sink:
            command = [sys.executable, "-P", "-m", "capital_governor", "run"]
            process = subprocess.Popen(command, cwd=self.root, env=self.environment(**own), stderr=sink)
            try:
                yield
            finally:
                process.terminate()
                assert process.wait(60) == 0


def records(fleet: Mapping[str, Metrics]) -> dict[str, Any]:
    """The agents of a payload."""
    fields = ("pnl_7d", "sharpe_30d", "winrate_30d", "max_dd_30d")
    return {agent: {field: getattr(metrics, field) for field in fields} for agent, metrics in fleet.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Dashboard(fresh(records(FLEET_OF_EXAMPLE), risk=0.8)) as dashboard:
        yield Place(tmp_path_factory.mktemp("neolight"), dashboard)


@pytest.fixture(scope="module")
def session(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The output of every command that the manual shows, in its order; ``run`` is running from ``status`` on."""
    shown = [line[2:] for block in blocks(TEXT, "console") for line in block.splitlines() if line.startswith("$ ")]
    position = shown.index("capital-governor status")
    said = {command: output_of(command, place) for command in shown[:position]}
    before = place.file("capital_governor_status.json")["pid"]
    with place.running(tmp_path_factory.mktemp("log") / "log"):
        wait_until(lambda: place.file("capital_governor_status.json")["pid"] != before)
        yield said | {command: output_of(command, place) for command in shown[position:]}


def output_of(command: str, place: Place) -> str:
    """Run one shown command and return its standard output as the manual shows it."""
    words = shlex.split(command)
    if words == ["./neo_light_fix.sh", "help"]:
        ran = place.call(str(REPOSITORY / words[0]), "help")
    elif words[0] in {
        "./neo_light_fix.sh",
        "capital-governor",
    }:  # the script runs the program, once it has an environment
        ran = place.govern(*words[1:])
    else:
        assert words[0] == "cat"
        ran = place.call(*words)
    assert ran.returncode == 0, ran.stderr
    return as_shown(ran.stdout, place)


def as_shown(output: str, place: Place) -> str:
    """Replace what differs from run to run: folder, port, times, process number; and blanks at the ends of lines."""
    text = output.replace(str(place.root), SHOWN_ROOT).replace(place.dashboard.url, SHOWN_URL)
    text = text.replace(f" by {pwd.getpwuid(os.getuid()).pw_name}", " by anna")
    for pattern, shown in (
        (r"until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "until 2025-11-04 00:00:00 UTC"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2025-11-03T22:00:00Z"),
        (r"\d{8}T\d{6}Z-", "20251103T220000Z-"),
        (r"(?<!until )\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "2025-11-03 22:00:00 UTC"),
        (r"process \d+", "process 4711"),
        (r"\d+ s (ago|old)", r"0 s \1"),
        (r"(cooldown\b.*?)\d+( s)? of 0", r"\g<1>0\2 of 0"),
    ):
        text = re.sub(pattern, shown, text)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n") + "\n"


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_commands_print_what_is_shown(session: dict[str, str]) -> None:
    """Every command that the manual shows prints exactly what is shown, but for time, place and process."""

    def with_output(block: re.Match[str]) -> str:
        commands = re.findall(r"^\$ (.*)$", block[1], re.MULTILINE)
        return "```console\n" + "".join(f"$ {command}\n{session[command]}" for command in commands) + "```"

    pattern = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    now = {page: pattern.sub(with_output, text) for page, text in TEXTS.items()}
    if os.environ.get("README_REFRESH"):
        for page, text in now.items():
            PAGES[page].write_text(text)
        pytest.skip("the manual now shows the output of this run")
    assert now == TEXTS


def test_commands_and_options() -> None:
    """The manual's commands are the program's, each with its options."""
    parser = make_parser()

    def options(command: argparse.ArgumentParser) -> set[str]:
        long = {option for action in command._actions for option in action.option_strings if option.startswith("--")}
        return long - {"--help"}

    rows = tables(section("reference", "Commands"))[0]
    assert {row[0].split()[0]: set(re.findall(r"--[a-z-]+", row[1])) for row in rows} == {
        name: options(command) for name, command in parser.commands.items()
    }
    general = flat(section("reference", "Commands")).partition("Without a command: ")[2].partition(".")[0]
    assert set(re.findall(r"--[a-z-]+", general)) == options(parser) | {"--help"}


def test_version(place: Place) -> None:
    """``--version`` says the version and nothing else."""
    assert place.govern("--version").stdout == f"{__version__}\n"


def test_standing_of_status() -> None:
    """The manual explains every word by which ``status`` says whether a governor runs."""
    text = section("operating", "status")
    assert set(names(text[text.index("| standing") :])) == STANDING.keys()


def test_fields_of_the_json(session: dict[str, str], place: Place) -> None:
    """The fields that the manual lists for each ``--json`` are those that come out."""
    assert session
    said = place.json("once", "--dry-run")
    assert set(names(after("`once --json`:"))) == said.keys() | {f"agents[].{key}" for key in said["agents"][0]}
    status, written = place.json("status"), place.file("capital_governor_status.json")
    assert set(names(section("reference", "Status file"))) == written.keys()
    assert set(names(after("`status --json` is the"))) == status.keys() - written.keys()
    assert set(names(after("`explain --json`:"))) == place.json("explain", "SmartTrader").keys()
    check = place.json("check")
    assert set(names(after("`check --json`:"))) == check.keys()
    leeway = next(row[1] for row in tables(after("`check --json`:"))[0] if row[0] == "leeway")
    assert set(re.findall(r"\w+", leeway)) == check["leeway"].keys()
    assert place.json("limits").keys() == {"orders"}
    fields = order_document(Order(key="", kind=OrderKind.HOLD, author="anna", given_at=NOW)).keys()
    assert {row[0] for row in tables(after("Each of `orders`:"))[0]} == fields
    assert {row[0] for row in tables(after("Each of `latches` is true or false:"))[0]} == written["latches"].keys()
    for row in place.json("show-config").values():
        assert set(names(after("`show-config --json` is an"))) == row.keys()


def test_fields_of_the_files(session: dict[str, str], place: Place) -> None:
    """The fields that the manual lists for both allocation files are those that stand in them."""
    assert session
    both, more = (set(names(part)) for part in (after("\nBoth files:\n"), after("\nThe primary has also:\n")))
    assert place.file("allocations_override.json").keys() == both
    assert place.file("capital_governor_allocations.json").keys() == both | more


def test_files_are_where_the_manual_says(session: dict[str, str], place: Place) -> None:
    """Every file that a run leaves is in the table of files; the others there are not the governor's to make."""
    assert session
    made = {str(path.relative_to(place.root)) for path in place.root.rglob("*") if path.is_file()}
    made = {name.removesuffix("-wal").removesuffix("-shm") for name in made}
    foreign = {"runtime/capital_governor.STOP", "state/guardian_pause.json", ".env", str(PAST)}
    assert set(names(section("reference", "Files"))) == made | foreign


def test_the_journal_answers(session: dict[str, str], place: Place) -> None:
    """The manual's query finds the newest cycle first."""
    assert session
    (query,) = blocks(section("reference", "Journal"), "sql")
    with sqlite3.connect(f"file:{place.root}/state/capital_governor.sqlite3?mode=ro", uri=True) as connection:
        rows = connection.execute(query).fetchall()
    connection.close()
    assert [row[1:] for row in rows] == [("unchanged", 1), ("first_allocation", 1)]
    assert time.strftime("%Y-") == rows[0][0][:5]


# --- tables against the code ------------------------------------------------------------------------------------------


def test_reasons_and_messages() -> None:
    """Every reason is in the manual, under its kind, with the message it has under the default settings."""
    kinds = {"Moves": "move", "Cuts": "cut", "Stays": "stay", "Holds": "hold", "Refusals": "refused"}
    text = section("reference", "Reasons")
    leads = re.findall(rf"^({'|'.join(kinds)})\b.*:.*$", text, re.MULTILINE)
    found = {row[0]: (kinds[lead], row[1]) for lead, rows in zip(leads, tables(text), strict=True) for row in rows}
    assert found == {reason.value: (outcome(reason), message(reason, Rules())) for reason in Reason}


def test_holds_and_exits() -> None:
    """Every hold is explained, with the exit that log and status name."""
    found = dict(
        re.findall(
            r"- \*\*`(\w+)`\*\*: [^*]+? Ends with: ([^*]+?)\. ?(?=- \*\*|Under )",
            flat(section("trouble", "When something goes wrong")),
        )
    )
    assert found == {reason.value: EXITS[reason] for reason in HOLDS}


def setting_rows() -> dict[str, list[str]]:
    plain, own = tables(section("reference", "Settings"))
    return {row[0]: row[1:] for row in plain} | {PREFIX + row[0]: row[1:] for row in own}


def test_settings_and_defaults(tmp_path: Path) -> None:
    """Every setting is in the manual with its default, in the program's order."""
    rows, masked = setting_rows(), load(tmp_path, {}).masked()
    assert tuple(rows) == variables()
    for name, (_, _, default, _) in rows.items():
        want = {str(tmp_path): "current folder", "(not set)": "not set"}.get(masked[name], masked[name])
        try:
            assert float(default) == float(want), name
        except ValueError:
            assert default == want, name


def test_ranges_of_settings(tmp_path: Path) -> None:
    """Each numeric setting takes the ends of its range in the manual and refuses what is just outside."""

    def refused(name: str, value: float) -> bool:
        try:
            load(tmp_path, {name: f"{value:.15g}"})
        except SettingsError as error:
            return any(re.match(rf"{name}=.* (is out of range|is not a)", fault) for fault in error.faults)
        return False

    checked = 0
    for name, (unit, span, _, _) in setting_rows().items():
        match = re.fullmatch(r"(>?)([0-9.]+?)\.\.([0-9.]*)", span)
        if match is None:
            continue
        checked += 1
        low, step = float(match[2]), 1.0 if unit in {"cycles", "bytes", "hour", "topic"} else 1e-9
        assert refused(name, low) == bool(match[1]), name
        assert not refused(name, low + step), name
        assert refused(name, low - step), name
        if match[3]:
            assert not refused(name, float(match[3])), name
            assert refused(name, float(match[3]) * (1 + 1e-9) + 1e-9 + (step if step == 1.0 else 0.0)), name
        else:
            assert not refused(name, 1e15), name
    assert checked == 28


def test_words_of_settings(tmp_path: Path) -> None:
    """Each setting that takes one of a few words takes those of the manual and no other."""
    choices = {name: row[1].split(", ") for name, row in setting_rows().items() if row[0] in {"word", "switch"}}
    assert len(choices) == 4
    for name, words in choices.items():
        for word in words:
            load(tmp_path, {name: word})
        with pytest.raises(SettingsError):
            load(tmp_path, {name: "other"})


def test_exit_codes_are_complete() -> None:
    """The manual's exit codes are the program's."""
    codes = {exit_codes.OK, exit_codes.UNEXPECTED, exit_codes.USAGE, exit_codes.TEMPORARY, exit_codes.CONFIGURATION}
    codes |= {128 + signal.SIGINT, 128 + signal.SIGTERM}
    assert {int(code) for code in names(section("reference", "Exit codes"))} == codes


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    """How commands end on a root of which the dashboard reports errors, by command; their logs are JSON."""
    with Dashboard(fixed({"error": "cache failed"})) as dashboard:
        place = Place(tmp_path_factory.mktemp("troubled"), dashboard, {"LOG_FORMAT": "json"})
        commands = ("run --root missing", "once", "check", "status", "explain SmartTrader")
        ended = {command: place.govern(*command.split()) for command in commands}
        (place.root / "runtime" / "capital_governor.STOP").touch()
        return ended | {"once under STOP": place.govern("once")}


def test_exit_codes_are_true(
    session: dict[str, str], place: Place, troubled: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    """What the manual says of the codes 0, 2, 75 and 78 is so."""
    assert session
    assert place.govern("run").returncode == 75
    assert place.govern("explain", "Nobody").returncode == 2
    assert {command: ended.returncode for command, ended in troubled.items()} == {
        "run --root missing": 78,
        "once": 75,
        "check": 75,
        "status": 75,
        "explain SmartTrader": 75,
        "once under STOP": 0,
    }


def test_links_lead_somewhere() -> None:
    """Every link of the manual leads to a file of the repository, and to a heading there if it names one."""
    for page, text in TEXTS.items():
        for target in re.findall(r"\]\(([^)]+)\)", text):
            name, _, anchor = target.partition("#")
            path = (PAGES[page].parent / name).resolve() if name else PAGES[page]
            assert path.exists(), (page, target)
            assert not anchor or anchor in anchors(path), (page, target)


def anchors(path: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_tables_fit_a_terminal() -> None:
    """No line of a table is wider than 100 columns."""
    assert [line for line in TEXT.splitlines() if line.startswith("|") and len(line) > 100] == []


# --- numbers against the program --------------------------------------------------------------------------------------


def decided(
    fleet: Mapping[str, Metrics],
    state: State | None = None,
    *,
    risk: float = 1.0,
    drawdown: float = 0.0,
    now: float = NOW,
) -> Decision:
    payload = Snapshot(
        now, fleet, guardian=Guardian(is_paused=False, drawdown_percent=drawdown), regime=Regime("", risk)
    )
    return decide(Inputs(now, payload), state or State(), Rules())


def sums(block: str) -> dict[str, tuple[float, str]]:
    """By name, what an expression of the manual comes to, and what the manual says it comes to."""
    found = {}
    for name, expression, result in re.findall(r"^(\w+) +(.+?) += ([0-9.]+)$", block, re.MULTILINE):
        assert re.fullmatch(r"[0-9.+*/() -]+", expression), expression
        found[name] = (float(eval(expression)), result)  # noqa: S307 - arithmetic of our own, nothing but digits and signs
    assert len(found) == len(block.splitlines())
    return found


def test_worked_example() -> None:
    """Every line of the worked example's arithmetic is right, and the program comes to the same numbers."""
    decision = decided(FLEET_OF_EXAMPLE, risk=0.8)
    published = decision.proposal
    assert published is not None
    scores, weights, shares = (sums(block) for block in blocks(EXAMPLE, "text"))
    for value, result in (*scores.values(), *weights.values(), *shares.values()):
        assert f"{value:.{len(result.partition('.')[2])}f}" == result
    assert {agent: float(result) for agent, (_, result) in scores.items()} == {
        agent: round(score, 4) for agent, score in decision.trace.scores.items()
    }
    del weights["t"]
    assert {agent: float(result) for agent, (_, result) in weights.items()} == {
        agent: round(weight, 7) for agent, weight in published.weights.items()
    }
    assert float(shares.pop("reserve")[1]) * 1_000_000 == published.reserve
    assert {agent: round(float(result) * 1_000_000) for agent, (_, result) in shares.items()} == published.shares


def test_what_the_example_does_next() -> None:
    """The example's small change moves nothing and its change of regime does, by the numbers it says."""
    text = flat(EXAMPLE)
    match = re.search(
        r"Sharpe ratio rises to ([0-9.]+), hence its score to ([0-9.]+)\. The largest.* be ([0-9.]+), ", text
    )
    assert match
    state = commit(decided(FLEET_OF_EXAMPLE, risk=0.8))
    fleet = FLEET_OF_EXAMPLE | {"DropshipAgent": FLEET_OF_EXAMPLE["DropshipAgent"]._replace(sharpe_30d=float(match[1]))}
    small = decided(fleet, state, risk=0.8)
    change = next(trigger.value for trigger in small.trace.triggers if trigger.reason is Reason.THRESHOLD)
    assert small.reason is Reason.BELOW_THRESHOLD
    assert (match[2], match[3]) == (f"{small.trace.scores['DropshipAgent']:.4f}", f"{change / 1e6:.4f}")
    match = re.search(
        r"`risk_multiplier` ([0-9.]+)\): .* from ([0-9.]+) to ([0-9.]+)\. That is ([0-9.]+) and moves", text
    )
    assert match
    bear = decided(FLEET_OF_EXAMPLE, state, risk=float(match[1]))
    assert bear.reason is Reason.THRESHOLD
    assert state.published is not None
    assert bear.proposal is not None
    old, new = state.published.reserve / 1e6, bear.proposal.reserve / 1e6
    assert [float(match[i]) for i in (2, 3, 4)] == [old, new, pytest.approx(new - old)]


BEST: Final = Metrics(10_000.0, 3.0, 1.0, 0.0)
WORST: Final = Metrics(0.0, 0.0, 0.0, 20.0)


def test_small_and_large_fleets() -> None:
    """The lowest and highest weights in the manual are those of the worst agent among best and the best among worst."""
    for row in tables(section("deciding", "Small and large fleets"))[0]:
        agents, lowest, highest, reserve = int(row[0]), *map(float, row[1:])
        others = [f"Other{number}" for number in range(agents - 1)]
        low = decided(dict.fromkeys(others, BEST) | {"One": WORST})
        high = decided(dict.fromkeys(others, WORST) | {"One": BEST})
        assert low.proposal is not None
        assert (low.trace.weights["One"], high.trace.weights["One"]) == pytest.approx((lowest, highest)), row
        assert low.proposal.reserve / 1e6 == pytest.approx(reserve), row


@pytest.mark.parametrize(
    ("first", "others", "risk", "reason"),
    [
        (0.900, 0.700, 1.0, Reason.THRESHOLD),
        (0.930, 0.690, 1.0, Reason.BELOW_THRESHOLD),
        (0.825, 0.725, 0.8, Reason.THRESHOLD),
        (0.840, 0.720, 0.8, Reason.BELOW_THRESHOLD),
    ],
)
def test_the_last_step_to_the_cap(first: float, others: float, risk: float, reason: Reason) -> None:
    """A share of 0.30 rises to 0.40 when its agent excels, and from 0.31 the threshold stops that; likewise at 0.8."""

    def fleet(one: float, other: float) -> dict[str, Metrics]:
        return {name: WORST._replace(winrate_30d=one if name == "One" else other) for name in ("One", "B", "C", "D")}

    state = commit(decided(fleet(first, others), risk=risk))
    assert state.published is not None
    assert state.published.shares["One"] == round(first / 3 * risk * 1_000_000)
    later = decided(fleet(1.0, 0.1), state, risk=risk)
    assert later.trace.target["One"] == round(0.4 * risk * 1_000_000)
    assert later.reason is reason


def test_exposure_under_drawdown() -> None:
    """Guardian's drawdown lowers exposure as the manual says."""
    text = flat(section("deciding", "How shares are decided"))
    match = re.search(
        r"1 up to (\d+) % Guardian drawdown, ([0-9.]+) from (\d+) % on, .* \((\d+) % gives ([0-9.]+)\)", text
    )
    assert match
    start, floor, end, between, value = map(float, match.groups())
    for percent, exposure in ((start, 1.0), (end, floor), (between, value)):
        assert decided(FLEET_OF_EXAMPLE, drawdown=percent).trace.exposure == pytest.approx(exposure)


# --- code and log lines that are shown --------------------------------------------------------------------------------


def test_reader(session: dict[str, str], place: Place, tmp_path: Path) -> None:
    """The manual's reader gives a live governor's share, and 0 for a stranger's file, a dead governor and no file."""
    assert session
    (code,) = blocks(section("agents", "Readers"), "python")
    runtime = tmp_path / "runtime"

    def share(agent: str = "CryptoTrend") -> float:
        call = f"{code}\nprint(share({agent!r}, Path({str(tmp_path)!r})))"
        ran = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, timeout=60, check=True)
        return float(ran.stdout)

    def change(name: str, field: str, value: object) -> None:
        (runtime / name).write_text(json.dumps(json.loads((runtime / name).read_text()) | {field: value}))

    assert share() == 0.0
    shutil.copytree(place.root / "runtime", runtime)
    assert share() == 0.32
    assert share("Nobody") == 0.0
    change("capital_governor_allocations.json", "source", "rl_inference")
    assert share() == 0.0
    change("capital_governor_allocations.json", "source", "capital_governor")
    change("capital_governor_status.json", "valid_until", "2025-11-03T22:00:00Z")
    assert share() == 0.0


def shell(page: str, title: str) -> list[str]:
    """The shell snippets of a section, those in lists included."""
    return re.findall(r"^ *```sh\n(.*?)^ *```$", section(page, title), re.MULTILINE | re.DOTALL)


def in_shell(snippet: str, cwd: Path, **more: str) -> str:
    """Run a snippet where ``python3`` and ``.venv/bin/python`` are this Python; return its standard output."""
    (cwd / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
    for name in ("python", "python3"):
        wrapper = cwd / ".venv" / "bin" / name
        wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        wrapper.chmod(0o755)
    environment = {"PATH": f"{cwd}/.venv/bin:{os.environ['PATH']}", "HOME": str(cwd)} | more
    bash = ["/usr/bin/env", "bash", "-euo", "pipefail", "-c", snippet]
    ran = subprocess.run(bash, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_client_as_shown(session: dict[str, str], place: Place, tmp_path: Path) -> None:
    """The manual's uses of the client size a position by the share, and by the choice once the governor is dead."""
    assert session
    simple, record = [
        code for code in blocks(section("agents", "Make your agents obey"), "python") if "client import" in code
    ]
    runtime = shutil.copytree(place.root / "runtime", tmp_path / "runtime")

    def run(code: str) -> list[str]:
        program = f"equity = 100_000\n{code.replace(SHOWN_ROOT, str(tmp_path))}\nprint(round(capital, 3))"
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
        return ran.stdout.splitlines()

    assert (run(simple), run(record)) == (["23171.2"], ["23171.2"])
    status = runtime / "capital_governor_status.json"
    status.write_text(json.dumps(json.loads(status.read_text()) | {"valid_until": "2025-11-03T22:00:00Z"}))
    assert run(simple) == ["0.0"]
    reason, capital = run(record)
    assert reason.startswith("governor: the governor is dead: its last cycle was ")
    assert capital == "4000.0"  # MIN_ALLOC 0.05 at exposure 0.8


def test_the_client_in_a_shell(session: dict[str, str], place: Place, tmp_path: Path) -> None:
    """The manual's shell lines print the published share, and all of them."""
    assert session
    shutil.copytree(place.root / "runtime", tmp_path / "runtime")
    of_one, of_all = shell("agents", "Make your agents obey")
    assert in_shell(f'{of_one.replace(SHOWN_ROOT, str(tmp_path))}echo "$share"', tmp_path) == "0.231712\n"
    assert (
        ast.literal_eval(in_shell(of_all, tmp_path))
        == json.loads((tmp_path / "runtime" / "capital_governor_allocations.json").read_text())["allocations"]
    )


def test_fields_and_choices_of_the_client() -> None:
    """The fields of the client's record and its named choices are those of the manual."""
    _, choices, fields = tables(section("agents", "Make your agents obey"))
    assert [row[0] for row in fields] == list(client.Allocations.__annotations__)
    assert {row[0] for row in choices[1:]} == {client.HOLD.upper(), client.FLOOR.upper()}


def test_coming_from_the_old_governor(place: Place, tmp_path: Path) -> None:
    """The dry run changes nothing; then the old shares stand to the byte if within bounds, and move at once if not."""
    (look,) = shell("operating", "Coming from the old governor")
    words = look.replace('"$HOME/neolight"', str(tmp_path)).split()
    assert words[:2] == ["./neo_light_fix.sh", "once"]
    primary = tmp_path / "runtime" / "capital_governor_allocations.json"
    primary.parent.mkdir()
    fleet = {"CryptoTrend": 0.32, "DropshipAgent": 0.21, "NewsScalper": 0.04, "SmartTrader": 0.23}

    def reason(shares: Mapping[str, float]) -> str:
        old = {"allocations": shares, "source": "capital_governor", "timestamp": "2025-11-03T22:00:00Z"}
        primary.write_text(json.dumps(old))
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        found = place.json(*words[1:])
        after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert after == before
        return str(found["reason"])

    assert reason(fleet) == "below_threshold"
    assert reason(fleet | {"NewsScalper": 0.03}) == "below_floor"
    assert reason(fleet | {"SmartTrader": 0.6, "CryptoTrend": 0.1}) == "limit_breached"


def test_a_backup_of_the_journal(session: dict[str, str], place: Place, tmp_path: Path) -> None:
    """The manual's backup, as often as it is taken, has the same cycles, is for its owner only, and serves again."""
    assert session
    (backup,) = [snippet for snippet in shell("operating", "Operating") if "VACUUM" in snippet]
    shutil.copytree(place.root / "state", tmp_path / "state")
    (tmp_path / "elsewhere" / "state").mkdir(parents=True)
    with pytest.raises(AssertionError, match="unable to open database file"):
        in_shell(backup, tmp_path / "elsewhere")
    assert list((tmp_path / "elsewhere" / "state").iterdir()) == []
    in_shell(backup, tmp_path)
    (first,) = (tmp_path / "state").glob("journal-*Z.bak")
    first.rename(tmp_path / "journal.bak")
    in_shell(backup, tmp_path)
    (second,) = (tmp_path / "state").glob("journal-*Z.bak")
    assert [stat.S_IMODE(copy.stat().st_mode) for copy in (tmp_path / "journal.bak", second)] == [0o600, 0o600]

    def cycles(path: Path) -> list[Any]:
        with sqlite3.connect(path) as connection:
            found = connection.execute("SELECT seq, reason, published FROM cycles ORDER BY seq").fetchall()
        connection.close()
        return found

    live = tmp_path / "state" / "capital_governor.sqlite3"
    assert len(cycles(tmp_path / "journal.bak")) >= 2
    assert cycles(tmp_path / "journal.bak") == cycles(live)
    for path in live.parent.glob("capital_governor.sqlite3*"):
        path.unlink()
    shutil.move(tmp_path / "journal.bak", live)
    explained = place.call(
        sys.executable, "-P", "-m", "capital_governor", "explain", "SmartTrader", "--root", str(tmp_path), "--json"
    )
    assert json.loads(explained.stdout)["share_after"] == 0.231712


def test_symptoms_name_what_exists() -> None:
    """Commands, settings, reasons and log texts that the trouble-shooting names are the program's."""
    text = section("trouble", "Trouble-shooting by symptom")
    known = {reason.value for reason in Reason} | set(STANDING) | set(make_parser().commands) | set(setting_rows())
    known |= {name.removeprefix(PREFIX) for name in setting_rows()}
    known |= {
        "valid_until",
        "root",
        ".env",
        "--root DIR",
        "runtime/",
        "degraded mode",
        "Another writer",
        "cannot be written to",
        "could not keep its owner",
        "never move anything",
        "problem",
        "/meta/metrics",
        "HTTPS_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "TLS failed",
        "not one of Telegram's",
        "the group has a new chat id",
        "message thread not found",
        "the lock cannot be taken",
        "Setting changed",
        "has no time zone",
        "has ever been sent",
        "its detector may be dead",
        "Z",
        "TZ=UTC",
    }
    named = {word.removeprefix("capital-governor ") for word in re.findall(r"`([^`]+)`", text)}
    unknown = {word for word in named if word.split()[0] not in known and word not in known}
    sources = [REPOSITORY / "neo_light_fix.sh", *(REPOSITORY / "capital_governor").rglob("*.py")]
    spoken = "".join(path.read_text() for path in sources)
    unknown = {word for word in unknown if word not in spoken}
    assert unknown == {"read_allocations().reason", "./neo_light_fix.sh restart", "./neo_light_fix.sh status"}
    assert callable(client.read_allocations)


def test_the_payload_that_is_shown_is_what_is_read() -> None:
    """The payload in the manual is a good one; nothing in it can be left out unnoticed, and nothing else is noticed."""
    (shown,) = blocks(section("dashboard", "What the dashboard serves"), "json")

    def read(document: dict[str, Any]) -> Snapshot:
        found = parse(json.dumps(document).encode())
        assert isinstance(found, Snapshot)
        return found

    def without(*path: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(shown)
        block = document
        for key in path[:-1]:
            block = block[key]
        del block[path[-1]]
        return document

    whole = json.loads(shown)
    good = read(whole)
    assert good.faults == {}
    assert good.warnings == ()
    assert good.metrics == {"SmartTrader": FLEET_OF_EXAMPLE["SmartTrader"]}
    assert isinstance(parse(json.dumps(without("per_agent")).encode()), Refusal)
    for metric in whole["per_agent"]["SmartTrader"]:
        assert set(read(without("per_agent", "SmartTrader", metric)).faults) == {"SmartTrader"}
    assert isinstance(parse(json.dumps(without("guardian", "is_paused")).encode()), Refusal)
    optional = [(key,) for key in whole if key != "per_agent"]
    inside = [(block, key) for block in ("guardian", "market_regime") for key in whole[block] if key != "is_paused"]
    for path in (*optional, *inside):
        assert read(without(*path)) != good, path
    assert read(whole | {"mode": "TEST_MODE"}) == good


def test_stop_as_shown(tmp_path: Path) -> None:
    """The manual's two lines freeze the shares, and let them go again."""
    freeze, thaw = shell("README", "Stop it")[0].splitlines()
    with Dashboard(fresh()) as dashboard:
        place = Place(tmp_path, dashboard)
        assert place.json("once")["reason"] == "first_allocation"
        in_shell(freeze, tmp_path)
        assert place.json("once")["reason"] == "stopped"
        in_shell(thaw, tmp_path)
        assert place.json("once")["hold"] is None


def test_the_agents_of_the_supervisor_as_shown(tmp_path: Path) -> None:
    """The manual's .agents.sh starts both agents in the root, with their variables, into their logs."""
    shown = blocks(after("Your own agents go into `.agents.sh`"), "bash")[0]
    site = Site(tmp_path)
    for name in ("trader/smart_trader.py", "agents/bridge.py"):
        agent = site.root / name
        agent.parent.mkdir()
        agent.write_text("import os, time\nprint(os.environ.get('MODE'), os.getcwd(), flush=True)\ntime.sleep(1000)\n")
    (site.project / ".agents.sh").write_text(shown)
    try:
        assert site.run("start").code == 0
        assert eventually(lambda: site.log("smart_trader")) == f"None {site.root}\n"
        assert eventually(lambda: site.log("weights_bridge")) == f"paper {site.root}\n"
        assert site.run("stop").code == 0
        assert site.processes() == {}
    finally:
        site.clear()


STARTS_IT: Final = ('"$SHELL" -c "$2" >>"$3" 2>&1 &', '$2 >>"$3" 2>&1 &', 'eval "$2" >>"$3" 2>&1 &')
"""What another supervisor's ensure_running may do with its second argument."""


def matching(line: str) -> set[int]:
    """The pids that a line with `pgrep -f` prints; without a pgrep here, those whose command line has its pattern."""
    if shutil.which("pgrep"):
        return set(map(int, subprocess.check_output(["/bin/sh", "-c", f"exec {line}"]).split()))
    *_, pattern = shlex.split(line)
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            if re.search(pattern, entry.read_text().replace("\0", " ")):
                found.add(int(entry.parent.name))
    return found


@pytest.mark.parametrize("starts_it", STARTS_IT)
def test_the_governor_under_a_supervisor_of_another_program(tmp_path: Path, starts_it: str) -> None:
    """The manual's lines start it in a root with blanks, among modules of another program, and pgrep finds it so."""
    lines, pgrep, *_ = blocks(section("supervising", "NeoLight's supervisor"), "sh")
    home = tmp_path / "of the site"
    home.mkdir()
    site = Site(home, plain=True)
    site.govern(None)
    (tmp_path / "capital-governor").symlink_to(site.project)
    for name in ("telegram", "platform", "logging"):
        (site.root / f"{name}.py").write_text("x = 1\n")
    (site.root / "logs").mkdir()
    environment = site.environment() | {"HOME": str(tmp_path), "PYTHONPATH": str(site.root), "SHELL": "/bin/bash"}
    del environment["NEOLIGHT_ROOT"]
    script = f"ensure_running() {{ {starts_it} }}; ROOT='{site.root}'\n{lines}"
    try:
        subprocess.run(["/bin/bash", "-eu", "-c", script], env=environment, timeout=60, check=True)
        eventually(lambda: "Config:" in site.log("capital_governor"), seconds=60)
        (governor,) = site.running(f"{sys.executable} -I -m capital_governor run")
        assert governor in matching(pgrep)
    finally:
        site.clear()


def test_the_line_for_a_supervisor(tmp_path: Path) -> None:
    """The manual's ``ensure_running`` line gives a name, a command that this script takes, and a log file."""
    line = blocks(section("supervising", "NeoLight's supervisor"), "sh")[0]
    script = f'ensure_running() {{ printf "%s\\n" "$@"; }}; HOME=/home/me; ROOT={tmp_path}\n{line}'
    bash = ["/usr/bin/env", "bash", "-eu", "-c", script]
    ran = subprocess.run(bash, capture_output=True, text=True, timeout=60, check=True)
    name, command, log = ran.stdout.splitlines()
    program, *arguments = command.split()
    assert (name, log) == ("capital_governor", f"{tmp_path}/logs/capital_governor.log")
    assert (REPOSITORY / Path(program).name).exists()
    given = make_parser().parse_args(arguments)
    assert (given.function, given.root, given.dry_run) == ("run_command:run", None, False)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What ``run`` says while happens what the manual's log shows."""
    root = tmp_path_factory.mktemp("logged")
    fleet = records(FLEET_OF_EXAMPLE)
    better = fleet | {"DropshipAgent": fleet["DropshipAgent"] | {"sharpe_30d": 1.0}}
    faulty = fleet | {"NewsScalper": fleet["NewsScalper"] | {"winrate_30d": 65}}
    pause, override = root / "state" / "guardian_pause.json", root / "runtime" / "allocations_override.json"
    with Dashboard(fresh(fleet, risk=0.8)) as dashboard:
        place, path = Place(root, dashboard), root / "log"

        def until(text: str) -> None:
            wait_until(lambda: text in path.read_text())

        with place.running(path, INTERVAL=0.15):
            until("the proposal is what is published")
            dashboard.next(fresh(better, risk=0.8))
            until("largest change 0.0048")
            dashboard.next(fresh(fleet, risk=0.5))
            until("(generation 2)")
            pause.write_text('{"paused": true, "reason": "Manual check"}')
            until("Guardian paused")
            pause.unlink()
            until("Hold is over: paused")
            override.write_text('{"allocations": {"BTC-USD": 1.0}, "source": "rl_inference"}')
            until("Another writer")
            dashboard.next(fresh(faulty, risk=0.5))
            until("faulty record")
            dashboard.next(fresh(fleet, risk=0.5))
            until("no longer faulty")
            dashboard.next(fixed({"error": "cache failed", "timestamp": "2025-11-03T22:00:00Z"}))
            until("Entering degraded mode")
            dashboard.next(fresh(fleet, risk=0.5))
            until("Recovered from degraded mode")
        return as_shown(path.read_text(), place)


def test_log_is_as_shown(log: str) -> None:
    """The lines of the manual's log come in that order when the same happens."""
    (text,) = blocks(section("operating", "Log"), "log")
    assert len(text.splitlines()) > 20
    said = iter(log.splitlines())
    for shown in text.splitlines():
        line = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2025-11-03T22:00:00Z", shown)
        assert line in said, line  # goes on from the line found before


def test_log_lines_to_search_for(log: str) -> None:
    """Every text that the manual offers to search for is found."""
    (rows,) = tables(section("operating", "Log"))
    raw = re.findall(r"^\| `(.+?)` \|", section("operating", "Log"), re.MULTILINE)
    assert len(raw) == len(rows)
    for text in raw:
        assert text in log, text


def test_log_as_json(troubled: dict[str, subprocess.CompletedProcess[str]]) -> None:
    """A JSON log line has the keys that the manual names."""
    sentence = flat(section("operating", "Log")).partition("each line is one object with ")[2].partition(".")[0]
    said = [json.loads(line) for line in troubled["once"].stderr.splitlines()]
    assert any("Meta-metrics refused" in line["event"] for line in said)
    assert all(line.keys() == set(re.findall(r"`(\w+)`", sentence)) for line in said)
