"""The commands: parse, call, render. Data goes to stdout, logs and errors to stderr."""

from __future__ import annotations

import asyncio
import difflib
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from capital_governor import __version__, views
from capital_governor.adapters import files
from capital_governor.adapters.dashboard import Dashboard
from capital_governor.adapters.journal import Entry, JournalUnavailableError
from capital_governor.adapters.memory import MemoryJournal
from capital_governor.adapters.outbox import Delivery, Refused, Sent
from capital_governor.adapters.primary import read_primary
from capital_governor.adapters.sqlite import open_sqlite
from capital_governor.adapters.telegram import Telegram
from capital_governor.adapters.wire import parse
from capital_governor.core.leeway import leeway
from capital_governor.core.model import PAYLOAD_HOLDS, WHOLE, Publication, Refusal, Snapshot
from capital_governor.cycle import Cycle
from capital_governor.delivery import telegram_of
from capital_governor.exits import CONFIGURATION, OK, TEMPORARY, USAGE, explained, fail
from capital_governor.explanation import explain as explain_agent
from capital_governor.explanation import explain_lines
from capital_governor.settings import Settings, load
from capital_governor.start import govern, govern_once, log_to
from capital_governor.status import Outcome

app = typer.Typer(
    name="capital-governor",
    help="Decides how much of a fleet's capital each trading agent may use.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Root = Annotated[Path | None, typer.Option("--root", help="The NeoLight folder; else NEOLIGHT_ROOT, else this folder.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


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
    """Take one cycle and show what it decided. Exit 75 without usable metrics."""
    settings, outcome = _preview(root) if dry_run else govern_once(root)
    document = views.once_document(outcome, settings.rules(), dry_run=dry_run)
    views.show_json(document) if as_json else views.show_once(document)
    raise typer.Exit(TEMPORARY if outcome.decision.reason in PAYLOAD_HOLDS or outcome.files_problem else OK)


@app.command()
def status(root: Root = None, as_json: Json = False) -> None:  # noqa: FBT002
    """Show how the governor stands. Exit 75 if none is running."""
    with explained():
        paths = files.Paths(load(root).root)
        content, primary = files.read(paths.status), files.read(paths.primary)
    if content is None:
        fail(TEMPORARY, f"there is no {paths.status}: no governor has run here yet")
    said: dict[str, Any] = json.loads(content)
    found = None if primary is None else read_primary(primary)
    shares = {a: share / WHOLE for a, share in found.shares.items()} if isinstance(found, Publication) else {}
    now = time.time()
    alive = said["state"] != "ended" and now <= datetime.fromisoformat(said["valid_until"]).timestamp()
    if as_json:
        views.show_json(said | {"alive": alive, "allocations": shares})
    else:
        age = now - datetime.fromisoformat(said["timestamp"]).timestamp()
        views.show_status(said, shares, alive=alive, age_seconds=age)
    raise typer.Exit(OK if alive else TEMPORARY)


@app.command()
def explain(
    agent: Annotated[str, typer.Argument(help="The agent's name, as in the allocation file.")],
    root: Root = None,
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Show how an agent came by its share in the last decision."""
    with explained():
        entry, newest = _last_decision(load(root))
    found = explain_agent(agent, entry.state, entry.rules, entry.decision)
    if found is None:
        near = difflib.get_close_matches(agent, entry.decision.trace.limits, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        fail(USAGE, f"{agent!r} played no part in the last decision{hint}")
    if as_json:
        views.show_json(found | {"at": entry.at, "newest_reason": newest.reason.value, "newest_at": newest.at})
        return
    typer.echo(f"decided    {datetime.fromtimestamp(entry.at).astimezone():%Y-%m-%d %H:%M:%S %z}")
    for line in explain_lines(agent, entry.state, entry.rules, entry.decision):
        typer.echo(line)
    if newest.seq != entry.seq:
        typer.echo(
            f"since then {newest.reason.value}: {newest.decision.trace.hold and newest.decision.trace.hold.detail}"
        )


@app.command()
def check(
    root: Root = None,
    notify: Annotated[bool, typer.Option("--notify", help="Send a test message to Telegram, too.")] = False,  # noqa: FBT002
    as_json: Json = False,  # noqa: FBT002
) -> None:
    """Check configuration and dashboard, and say how far scores can move a share. Writes nothing.

    Exit 75 where trying again may help, 78 where Telegram is not set up or refuses the test message.
    """
    with explained():
        settings = load(root)
    sink = log_to(settings)
    rules = settings.rules()
    told = asyncio.run(_notify(telegram_of(settings, sink.redact))) if notify else None
    up, payload = asyncio.run(_ask(settings))
    snapshot = payload if isinstance(payload, Snapshot) else None
    room = leeway(len(snapshot.metrics), rules) if snapshot is not None and snapshot.metrics else None
    document: dict[str, Any] = {
        "root": str(settings.root),
        "dashboard": settings.dashboard_url,
        "status": up.detail if isinstance(up, Refusal) else "up",
        "payload": payload.detail if isinstance(payload, Refusal) else _described(payload, settings),
        "telegram": None if told is None else "test message sent" if isinstance(told, Sent) else told.detail,
        "ok": snapshot is not None and not isinstance(up, Refusal) and (told is None or isinstance(told, Sent)),
        "agents": None if snapshot is None else len(snapshot.metrics),
        "faults": {} if snapshot is None else dict(snapshot.faults),
        "warnings": [] if snapshot is None else list(snapshot.warnings),
        "leeway": None
        if room is None
        else {
            "lowest_weight": room.lowest,
            "highest_weight": room.highest,
            "forced_reserve": room.forced_reserve,
            "frozen": room.freezes(rules),
        },
    }
    views.show_json(document) if as_json else views.show_check(document, room, rules)
    if isinstance(told, Refused):
        raise typer.Exit(CONFIGURATION)
    raise typer.Exit(OK if document["ok"] else TEMPORARY)


@app.command("show-config")
def show_config(root: Root = None, as_json: Json = False) -> None:  # noqa: FBT002
    """Show every setting, its value and where that is from; secrets are masked."""
    with explained():
        settings = load(root)
    rows = {name: {"value": value, "from": settings.origins[name]} for name, value in settings.masked().items()}
    views.show_json(rows) if as_json else views.show_config(rows)


def _preview(root: Path | None) -> tuple[Settings, Outcome]:
    """Decide from what is on disk and on the dashboard, with a journal in memory: nothing is written."""
    with explained():
        settings = load(root)
        log_to(settings)
        journal = MemoryJournal()
        try:
            stored = open_sqlite(settings.journal_path, read_only=True)
        except JournalUnavailableError:
            stored = None
        if stored is not None:
            state = stored.state(Cycle.book)
            if state is not None:
                journal.prime(Cycle.book, state, stored.last_reached(Cycle.book))
            stored.close()
        cycle = Cycle(settings, journal)
        cycle.resume()
        _, payload = asyncio.run(_ask(settings))
        return settings, cycle.preview(payload)


async def _ask(settings: Settings) -> tuple[int | Refusal, Snapshot | Refusal]:
    dashboard = Dashboard(settings.dashboard_url, settings.fetch_deadline_seconds, settings.fetch_max_bytes)
    up, body = await asyncio.gather(dashboard.status(), dashboard.fetch())
    return up, body if isinstance(body, Refusal) else parse(body)


async def _notify(telegram: Telegram | None) -> Delivery:
    """Send a test message and return what came of it."""
    if telegram is None:
        return Refused("not set up: set TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID")
    try:
        return await telegram.send("Capital Governor: this is a test message. Moves and alerts will come here.")
    finally:
        await telegram.close()


def _described(payload: Snapshot, settings: Settings) -> str:
    text = f"{len(payload.metrics)} good and {len(payload.faults)} faulty records"
    if payload.at is None:
        return f"{text}, without a time stamp"
    age = time.time() - payload.at
    stale = f", older than {settings.max_age_seconds:.0f} s: stale" if age > settings.max_age_seconds else ""
    return f"{text}, {age:.0f} s old{stale}"


def _last_decision(settings: Settings) -> tuple[Entry, Entry]:
    """Return the newest decided cycle and the newest cycle of all. Raises SystemExit or JournalError."""
    journal = open_sqlite(settings.journal_path, read_only=True)
    try:
        decided = journal.last_decided(Cycle.book)
        newest = next(iter(journal.entries(Cycle.book, last=1)), decided)
    finally:
        journal.close()
    if decided is None or newest is None:
        fail(TEMPORARY, "the journal has no decision yet: `capital-governor once` takes one")
    return decided, newest
