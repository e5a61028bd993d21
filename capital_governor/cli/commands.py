"""The commands: parse, call, render. Data goes to stdout, logs and errors to stderr."""

from __future__ import annotations

import asyncio
import difflib
import json
import time
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from capital_governor import __version__
from capital_governor.adapters.bounded_reading import read
from capital_governor.adapters.dashboard import dashboard_of, token_warnings
from capital_governor.adapters.lock import is_held
from capital_governor.adapters.logs import get_logger
from capital_governor.adapters.notifier import Refused, Retry, Sent
from capital_governor.adapters.paths import Paths
from capital_governor.adapters.rights import denied
from capital_governor.adapters.telegram import Telegram
from capital_governor.cli import once_table, order_commands, tables, terminal
from capital_governor.cli.docs_command import TOPICS, show_docs
from capital_governor.cli.failures import explained, fail
from capital_governor.cli.options import Json, OfDryRun, Root, place
from capital_governor.cli.start_governor import govern, govern_once, log_to
from capital_governor.contracts.allocations import NotOurs, read_primary
from capital_governor.contracts.exit_codes import CONFIGURATION, OK, TEMPORARY, USAGE
from capital_governor.contracts.instants import read_instant
from capital_governor.contracts.payload import parse
from capital_governor.contracts.schema import SCHEMAS
from capital_governor.contracts.status import order_document
from capital_governor.core.fleet_range import leeway
from capital_governor.core.hold import EXITS
from capital_governor.core.model import FUTURE_TOLERANCE_SECONDS, WHOLE, Refusal, Rules, Snapshot
from capital_governor.core.orders import Order
from capital_governor.core.reason import PAYLOAD_HOLDS
from capital_governor.core.trace import Decision
from capital_governor.journal.memory import MemoryJournal
from capital_governor.journal.protocol import Entry, JournalCorruptError, JournalUnavailableError
from capital_governor.journal.sqlite.store import open_sqlite
from capital_governor.service.cycle import Cycle
from capital_governor.service.daemon import in_loop, leave
from capital_governor.service.notifications import telegram_of
from capital_governor.service.standing import Outcome, Standing, status_document
from capital_governor.settings.load import Settings, load
from capital_governor.wording.explanation import explain as explain_agent
from capital_governor.wording.explanation import explain_lines, limits_to_come
from capital_governor.wording.messages import Line, message

app = typer.Typer(
    name="capital-governor",
    help="Decides how much of a fleet's capital each trading agent may use.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

FEW_NAMES: Final = 10

app.add_typer(order_commands.app)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,  # noqa: FBT002 - Typer's way
) -> None:
    """Decide how much of a fleet's capital each trading agent may use."""
    if version:
        typer.echo(__version__)
        raise typer.Exit(OK)


@app.command()
def run(
    root: Root = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Publish below runtime/dry_run instead.")] = False,  # noqa: FBT002
) -> None:
    """Govern until SIGTERM or SIGINT."""
    raise typer.Exit(govern(root, dry_run=dry_run))


@app.command()
def once(
    root: Root = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Decide and show; write nothing.")] = False,  # noqa: FBT002
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Take one cycle and show it; exit 75 without usable metrics.

    And where files or journal could not be written. --json: `reason`, `message` and `outcome` (move, cut, stay, hold,
    refused); `hold` and `exit`, the facts of a hold and what ends it; `generation`, `reserve`, `reserve_change`, and
    `moved`, whether this cycle published them; `waiting`, a generation that is decided and not in the files yet;
    `exposure` and `exposure_by` of this cycle, `published_exposure`; `files_problem` and `journal_problem`; `orders`,
    the operator's that it obeyed, as in the status file; `warnings`; `leeway` as in check; `dry_run`; and `agents` by
    falling share, each with `agent`, `score`, `weight`, `limit` (where the weight stands at one), `wanted`
    (the share before any threshold), `share`, `change` and `fault` (why it may not gain). Shares and weights are 0..1;
    null is "none".
    """
    if dry_run:
        settings = _settings(root)
        with explained():
            outcome, _ = _preview(settings)
    else:
        settings, outcome = govern_once(root)
    document = once_table.once_document(outcome, settings.rules(), dry_run=dry_run)
    terminal.show_json(document) if as_json else once_table.show_once(document)
    failed = (
        outcome.decision.reason in PAYLOAD_HOLDS
        or outcome.files_problem
        or outcome.waiting is not None
        or outcome.journal_problem
    )
    raise typer.Exit(leave(TEMPORARY if failed else OK))


@app.command()
def status(root: Root = None, dry_run: OfDryRun = False, as_json: Json = False) -> None:  # noqa: FBT002
    """Show how the governor stands; exit 75 if none is running.

    --json is the status file and, beside what stands there: `standing` (running, starting, late, ended or dead),
    `alive` (whether that is running), `allocations` (share by agent, 0..1) and `allocations_problem`.
    """
    with explained():
        settings, _ = place(root)
        paths = Paths(settings.root, dry_run)
        document = _status(paths, now := time.time())
    terminal.show_json(document) if as_json else tables.show_status(document, now)
    raise typer.Exit(OK if document["alive"] else TEMPORARY)


@app.command()
def explain(
    agent: Annotated[str, typer.Argument(help="The agent's name, as in the allocation file.")],
    root: Root = None,
    dry_run: OfDryRun = False,  # noqa: FBT002
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Show how an agent came by its share in the last decision.

    --json is what `explanation.explain` returns, and `at` and `newest_at` (of the decision, and of the newest cycle,
    which may be a hold; seconds since 1970 UTC), `newest_reason`, `waiting`, a generation that is decided and not in
    the files yet, and `limits_to_come`, the operator's limits on the agent that are in force since, as in the status
    file.
    """
    with explained():
        settings, _ = place(root)
        entry, newest, orders, waiting = _last_decision(_journal_path(settings, dry_run=dry_run), now := time.time())
    found = explain_agent(agent, entry.state, entry.rules, entry.decision)
    if found is None:
        fail(USAGE, f"{agent!r} played no part in the last decision; {_names(agent, entry.decision)}")
    to_come = limits_to_come(agent, orders, entry.inputs)
    if as_json:
        seen = {"at": entry.at, "newest_reason": newest.reason.value, "newest_at": newest.at, "waiting": waiting}
        terminal.show_json(found | seen | {"limits_to_come": [order_document(order) for order in to_come]})
        return
    hold = newest.decision.trace.hold
    since = message(newest.reason, newest.rules) + (f": {hold.detail}" if hold is not None else "")
    lines = explain_lines(agent, entry.state, entry.rules, entry.decision)
    happened = since if newest.seq != entry.seq else None
    tables.show_explanation(lines, entry.at, now, happened, waiting, (order.text for order in to_come))


@app.command()
def check(
    root: Root = None,
    notify: Annotated[bool, typer.Option("--notify", help="Also send a test message to Telegram.")] = False,  # noqa: FBT002
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Check settings and dashboard; exit 75 if not ready.

    Exit 78 where Telegram is not set up or refuses the test message, or the journal is another program's or a newer
    version's. Writes nothing. --json: `root`, `dashboard`; `status`, `payload`, `runtime` (whether this user can write
    there) and `journal`, each in words; `telegram`, what came of the test message, null if none was asked for; `ok`;
    `agents` (good records), `faults` by agent, `warnings`; `next`, what a cycle would do now (`reason`, `message`,
    `hold`, `exit`); `leeway`, how far scores can move a weight (`agents`, the members after that cycle,
    `lowest_weight`, `highest_weight`, `forced_reserve`, `frozen`, `text`), null without agents.
    """
    with explained():
        settings = load(root)
    sink = log_to(settings)
    told = in_loop(lambda: _notify(telegram_of(settings, sink.redact))) if notify else None
    rules = settings.rules()
    with explained():
        outcome, up, journal = _checked(settings)
        runtime = denied(Paths(settings.root).lock) or "writable"
    payload, reason, hold = outcome.inputs.payload, outcome.decision.reason, outcome.decision.trace.hold
    snapshot = payload if isinstance(payload, Snapshot) else None
    members = _fleet(outcome, snapshot)
    document: dict[str, Any] = {
        "root": str(settings.root),
        "dashboard": settings.dashboard_url,
        "status": up.detail if isinstance(up, Refusal) else "up",
        "payload": payload.detail if isinstance(payload, Refusal) else _described(payload, settings),
        "runtime": runtime,
        "journal": journal,
        "telegram": None if told is None else "test message sent" if isinstance(told, Sent) else told.detail,
        "ok": reason not in PAYLOAD_HOLDS
        and not isinstance(up, Refusal)
        and not isinstance(told, Refused | Retry)
        and runtime == "writable"
        and journal in {"readable", "none yet"},
        "agents": None if snapshot is None else len(snapshot.metrics),
        "faults": {} if snapshot is None else dict(snapshot.faults),
        "warnings": list(
            dict.fromkeys(
                (
                    *token_warnings(settings),
                    *(snapshot.warnings if snapshot else ()),
                    *outcome.decision.trace.warnings,
                )
            )
        ),
        "next": {
            "reason": reason.value,
            "message": message(reason, rules),
            "hold": None if hold is None else hold.detail,
            "exit": None if hold is None else EXITS[hold.reason],
        },
        "leeway": once_table.leeway_document(leeway(members, rules), rules) if members else None,
    }
    terminal.show_json(document) if as_json else tables.show_check(document)
    failed = CONFIGURATION if isinstance(told, Refused) else TEMPORARY
    raise typer.Exit(leave(OK if document["ok"] else failed))


@app.command("show-config")
def show_config(root: Root = None, as_json: Json = False) -> None:  # noqa: FBT002
    """Show every setting and where it is from; secrets are masked.

    --json: by variable, its `value` as text and where that is `from`.
    """
    with explained():
        settings = load(root)
    rows = {name: {"value": value, "from": settings.origins[name]} for name, value in settings.masked().items()}
    terminal.show_json(rows) if as_json else tables.show_config(rows)


@app.command()
def hive(root: Root = None) -> None:
    """Serve /meta/metrics from the root's state files.

    At 127.0.0.1; the port is that of NEOLIGHT_DASHBOARD_URL; exit 78 if it is taken. Until SIGTERM or SIGINT.
    """
    from capital_governor.hive.server import HiveError, serve  # noqa: PLC0415 - a server, which no other command needs

    with explained():
        settings = load(root)
    try:
        serve(settings.root, settings.dashboard_url, settings.hive_capital)
    except HiveError as error:
        fail(CONFIGURATION, f"hive: {error}")
    raise typer.Exit(leave(OK))


@app.command()
def demo(
    seconds: Annotated[float, typer.Option("--seconds", min=10, max=3600, help="About how long it takes.")] = 40.0,
    seed: Annotated[int, typer.Option("--seed", help="Another one, another story.")] = 7,
    folder: Annotated[Path | None, typer.Option("--folder", help="Its root; else .demo of the checkout.")] = None,
    picture: Annotated[Path | None, typer.Option("--picture", help="The last frame goes there, as an SVG.")] = None,
) -> None:
    """See it govern a simulated fleet, in a root of its own.

    Exit 1 and the scene's name if a scene does not come, 130 after Ctrl-C.
    """
    from capital_governor.cli.demo.root import DemoError  # noqa: PLC0415 - no other command needs the demo
    from capital_governor.cli.demo.show import show  # noqa: PLC0415

    try:
        with explained():
            raise typer.Exit(show(folder, seconds, seed, picture))
    except DemoError as error:
        fail(error.code, f"demo: {error}")


@app.command()
def docs(
    topic: Annotated[str | None, typer.Argument(help=f"A chapter: {', '.join(TOPICS)}.")] = None,
) -> None:
    """Show a chapter of the manual, or list the chapters."""
    show_docs(topic)


@app.command("schema")
def show_schema(
    name: Annotated[Literal["primary", "override", "status"], typer.Argument(help="Of which file.")] = "primary",
) -> None:
    """Show the JSON Schema (draft 2020-12) of a file in runtime/."""
    terminal.show_json(SCHEMAS[name])


def _settings(root: Path | None) -> Settings:
    with explained():
        settings = load(root)
    log_to(settings)
    return settings


def _preview(settings: Settings, journal: MemoryJournal | None = None) -> tuple[Outcome, int | Refusal]:
    """Decide from what is on disk and on the dashboard, and write nothing; also return what /status answered.

    Raises:
        JournalError: there is a journal, and it cannot be read.
    """
    cycle = Cycle(settings, _copied(settings.journal_path) if journal is None else journal)
    _show_start(cycle)
    up, payload = in_loop(lambda: _ask(settings))
    return cycle.preview(payload), up


def _show_start(cycle: Cycle) -> None:
    """Take up where a governor would start, and log what it would find."""
    log, found = get_logger(), cycle.resume()
    for remark in (Line("info", f"Start: {found}"), *cycle.remarks):
        getattr(log, remark.level)(remark.text)


def _checked(settings: Settings) -> tuple[Outcome, int | Refusal, str]:
    """Return what ``_preview`` does, and how the journal is, in words. One that cannot be read counts as empty.

    Raises JournalRefusedError: no governor starts beside it either.
    """
    try:
        outcome, up = _preview(settings)
    except (JournalCorruptError, JournalUnavailableError) as error:
        return *_preview(settings, MemoryJournal()), str(error)
    problem = denied(settings.journal_path)
    return outcome, up, problem or ("readable" if settings.journal_path.exists() else "none yet")


def _copied(path: Path) -> MemoryJournal:
    """Return a journal in memory that goes on where the one at ``path`` ends; an empty one if there is none.

    It knows what a start looks at: state, newest cycle, what reached the agents, and every order. One that has ended
    must be known as such, else an older status file brings it back.
    """
    journal = MemoryJournal()
    if not path.exists():
        return journal
    stored = open_sqlite(path, read_only=True)
    try:
        state = stored.state(Cycle.book)
        for entry in stored.entries(Cycle.book, last=1):
            journal.record(entry)
        if state is not None:
            journal.prime(Cycle.book, state, stored.last_reached(Cycle.book))
        journal.put_orders(stored.order_history())
    finally:
        stored.close()
    return journal


async def _ask(settings: Settings) -> tuple[int | Refusal, Snapshot | Refusal]:
    dashboard = dashboard_of(settings)
    up, body = await asyncio.gather(dashboard.status(), dashboard.fetch())
    return up, body if isinstance(body, Refusal) else parse(body)


async def _notify(telegram: Telegram | None) -> Sent | Retry | Refused:
    """Send a test message and return what came of it."""
    if telegram is None:
        return Refused("not set up: set TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID")
    try:
        return await telegram.send("Capital Governor: this is a test message. Moves and alerts will come here.")
    finally:
        await telegram.close()


def _fleet(outcome: Outcome, snapshot: Snapshot | None) -> int:
    """Return how many members the fleet has after this cycle; before there are any, how many this payload makes."""
    if outcome.decision.trace.limits:
        return len(outcome.decision.trace.limits)
    members = sum(memory.member for memory in outcome.decision.after.agents.values())
    return members or (0 if snapshot is None else len(snapshot.metrics))


def _described(payload: Snapshot, settings: Settings) -> str:
    text = f"{len(payload.metrics)} good and {len(payload.faults)} faulty records"
    if payload.at is None:
        return f"{text}, without a time stamp"
    age = time.time() - payload.at
    if age < -FUTURE_TOLERANCE_SECONDS:
        return f"{text}, {-age:.0f} s in the future"
    age = max(0.0, age)
    stale = f", older than {settings.max_age_seconds:.0f} s: stale" if age > settings.max_age_seconds else ""
    return f"{text}, {age:.0f} s old{stale}"


def _status(paths: Paths, now: float) -> dict[str, Any]:
    """Return the status file and what can be seen beside it. Raises SystemExit 75 if there is none."""
    held = is_held(paths.lock)
    content = read(paths.status)
    if content is None:
        been = (
            "is at its first cycle here, or cannot write it"
            if held
            else "has run here yet: `capital-governor run` starts one"
        )
        fail(TEMPORARY, f"there is no {paths.status}: {'a' if held else 'no'} governor {been}")
    try:
        said: dict[str, Any] = json.loads(content)
        missing = json.loads(_BLANK).keys() - said.keys()
        until = read_instant(said["valid_until"])
        fresh = until is not None and now <= until.earliest
    except (ValueError, KeyError, TypeError, AttributeError):
        missing = {"its form"}
    if missing:
        fail(TEMPORARY, f"{paths.status} is not a status file of this version: the next cycle replaces it")
    standing = _standing(held=held, fresh=fresh, ended=said["state"] == "ended")
    shares, problem = _allocations(paths.primary)
    beside = {"standing": standing, "alive": standing == "running"}
    return said | beside | {"allocations": shares, "allocations_problem": problem}


def _standing(*, held: bool | None, fresh: bool, ended: bool) -> str:
    """Return one word, of those that ``tables.STANDING`` has: the lock says who lives, the file what was last done."""
    if held is None:
        held = fresh and not ended
    if not held:
        return "ended" if ended else "dead"
    if ended:
        return "starting"
    return "running" if fresh else "late"


_BLANK: Final = status_document(Standing(), interval_seconds=1, rules=Rules(), dry_run=False, pid=0)
"""A status file, for the names of its fields."""


def _allocations(primary: Path) -> tuple[dict[str, float], str]:
    """Return the shares that the agents read, 0..1, and what is wrong with the file that has them."""
    try:
        content = read(primary)
    except OSError as error:
        return {}, f"{primary}: {error.strerror}"
    found = None if content is None else read_primary(content)
    if isinstance(found, NotOurs):
        return {}, f"{primary}: {found.detail}"
    return {} if found is None else {agent: share / WHOLE for agent, share in found.shares.items()}, ""


def _journal_path(settings: Settings, *, dry_run: bool) -> Path:
    return Paths(settings.root, dry_run).journal(settings.journal_path)


def _last_decision(path: Path, now: float) -> tuple[Entry, Entry, tuple[Order, ...], int | None]:
    """Return the newest decided cycle, the newest of all, the orders in force, and a generation not in the files yet.

    Raises SystemExit or JournalError.
    """
    journal = open_sqlite(path, read_only=True)
    try:
        decided = journal.last_decided(Cycle.book)
        newest = next(iter(journal.entries(Cycle.book, last=1)), decided)
        orders = journal.orders(now)
        waiting = journal.unreached(Cycle.book)
    finally:
        journal.close()
    if decided is None or newest is None:
        fail(TEMPORARY, "the journal has no decision yet: `capital-governor once` takes one")
    return decided, newest, orders, None if waiting is None else waiting.generation or None


def _names(agent: str, decision: Decision) -> str:
    """Return what the user may have meant, whatever the case of the letters."""
    folded = {name.casefold(): name for name in decision.trace.limits}
    near = difflib.get_close_matches(agent.casefold(), folded, n=1)
    if near:
        return f"did you mean {folded[near[0]]}?"
    few = ", ".join(decision.trace.limits) if len(folded) <= FEW_NAMES else "`capital-governor status` lists them"
    return f"the agents: {few}"
