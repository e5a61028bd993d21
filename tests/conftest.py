"""What holds for a whole test run, and fixtures of several rooms.

The run: hypothesis's profile, the ledger of the promises, long forms, no skip where CI is true.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings

from tests.promises.ledger import CHAPTER, Account, Ledger, number_of
from tests.rigs import commands
from tests.rigs.bot_api import BotApi
from tests.rigs.dashboard import Dashboard
from tests.rigs.script_machine import Machine, bare_machine
from tests.rigs.supervised import Site

LEDGER: Final = pytest.StashKey[Ledger]()

# No verdict may depend on how fast the machine is. This also replaces the profile that hypothesis loads by itself where
# CI is set, and comes before the test modules, whose own settings are made from it.
settings.register_profile(
    "steady", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

LONGEST: Final = ("model", "promises")
"""The folders with the tests that take longest."""
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its own there
ROOM_BYTES: Final = 2 * 1024**3


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEDGER] = Ledger()
    # A run in the background, one under nohup, and a process of xdist ignore these, and so would all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    benchmarks = config.option.markexpr == "bench"  # which are about the disk that there is
    room = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
    if room and not benchmarks:
        # Half of a run is waiting for fsync, and what a test shows does not depend on the disk's speed.
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def in_ci() -> bool:
    """Whether this run has to show everything: all tools are there, and there is time for long forms."""
    return os.environ.get("CI") == "true"


def refreshing() -> bool:
    """Whether this run puts into the manual what is shown there; tests that do so end as skipped."""
    return os.environ.get("README_REFRESH") == "1"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave long forms out, unless CI is true or ``-m`` speaks of them; where there are several processes, sort."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        # The longest first, so that no process is left alone with one of them at the end.
        items.sort(key=lambda item: item.path.parent.name not in LONGEST)
    if in_ci() or "long" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where CI is true, and note how the test of a promise ended."""
    del call
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and in_ci() and not refreshing():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome, report.longrepr = "failed", f"{reason} (a skip is a failure where CI is true)"
    if report.when == "call" or report.failed:
        item.config.stash[LEDGER].note(item.name, report.outcome)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module into an error where CI is true."""
    report = yield
    if report.skipped and in_ci():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome, report.longrepr = "failed", f"{reason} (a skip is a failure where CI is true)"
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what a process of xdist has noted of the promises to the run that started it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["promises"] = session.config.stash[LEDGER].to_json()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what a process of xdist has noted of the promises; one that crashed has failed the run and tells nothing."""
    if "promises" in getattr(node, "workeroutput", {}):
        node.config.stash[LEDGER].add(Ledger.from_json(node.workeroutput["promises"]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the promises, if any was put to the test."""
    ledger = config.stash[LEDGER]
    if ledger.used:
        terminalreporter.section("promises")
        for line in ledger.lines():
            terminalreporter.write_line(line)
        if refreshing() and ledger.complete:
            CHAPTER.write_text(ledger.refreshed(CHAPTER.read_text()))


@pytest.fixture
def promise(request: pytest.FixtureRequest) -> Account:
    """The account of the promise that a test is named after: ``test_p07_...`` reports to P7."""
    number = number_of(request.node.name)
    assert number is not None, "a test of a promise is called test_pNN_..."
    return request.config.stash[LEDGER].accounts[number]


# --- fixtures of several rooms ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root that nobody has governed yet; its processes may leave files beside it."""
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with Dashboard() as made:
        yield made


@pytest.fixture
def api() -> Iterator[BotApi]:
    with BotApi() as made:
        yield made


@pytest.fixture(scope="module")
def loaded() -> Iterator[None]:
    """What ``tests.rigs.commands.call`` needs."""
    with commands.loaded():
        yield


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """A machine without Python."""
    return bare_machine(tmp_path)


@pytest.fixture
def machine(bare: Machine) -> Machine:
    """A machine with one good Python."""
    bare.add_python("python3")
    return bare


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site of which no process is left afterwards."""
    made = Site(tmp_path)
    yield made
    made.clear()
