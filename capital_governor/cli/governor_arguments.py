"""The command lines of what governs, looks and serves, with their words in ``--help``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from capital_governor.cli.arguments import add_agent, add_command, add_dry_run, add_json, add_root


def _add_run(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(commands, "run", "run_command:run", "Govern until SIGTERM or SIGINT.")
    add_root(parser)
    add_dry_run(parser, "Publish below runtime/dry_run instead.")


def _add_once(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "once",
        "once_command:once",
        "Take one cycle and show it; exit 75 without usable metrics.",
        """\
Exit 75, too, where files or journal could not be written.

--json: `reason`, `message` and `outcome` (move, cut, stay, hold, refused);
`hold` and `exit`, the facts of a hold and what ends it; `generation`,
`reserve`, `reserve_change`, and `moved`, whether this cycle published them;
`waiting`, a generation that is decided and not in the files yet; `exposure` and
`exposure_by` of this cycle, `published_exposure`; `files_problem` and
`journal_problem`; `orders`, the operator's that it obeyed, as in the status
file; `warnings`; `leeway` as in check; `dry_run`; and `agents` by falling
share, each with `agent`, `score`, `weight`, `limit` (where the weight stands at
one), `wanted` (the share before any threshold), `share`, `change` and `fault`
(why it may not gain). Shares and weights are 0..1; null is "none".""",
    )
    add_root(parser)
    add_dry_run(parser, "Decide and show; write nothing.")
    add_json(parser)


def _add_status(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "status",
        "status_command:status",
        "Show how the governor stands; exit 75 if none is running.",
        """\
--json is the status file and, beside what stands there: `standing` (running,
starting, late, ended or dead), `alive` (whether that is running), `allocations`
(share by agent, 0..1) and `allocations_problem`.""",
    )
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


def _add_explain(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "explain",
        "explain_command:explain",
        "Show how an agent came by its share in the last decision.",
        """\
--json is what `explanation.explain` returns, and `at` and `newest_at` (of the
decision, and of the newest cycle, which may be a hold; seconds since 1970 UTC),
`newest_reason`, `waiting`, a generation that is decided and not in the files
yet, and `limits_to_come`, the operator's limits on the agent that are in force
since, as in the status file.""",
    )
    add_agent(parser)
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


def _add_check(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "check",
        "check_command:check",
        "Check settings and dashboard; exit 75 if not ready.",
        """\
Exit 78 where Telegram is not set up or refuses the test message, or the journal
is another program's or a newer version's. Writes nothing.

--json: `root`, `dashboard`; `status`, `payload`, `runtime` (whether this user
can write there) and `journal`, each in words; `telegram`, what came of the test
message, null if none was asked for; `ok`; `agents` (good records), `faults` by
agent, `warnings`; `next`, what a cycle would do now (`reason`, `message`,
`hold`, `exit`); `leeway`, how far scores can move a weight (`agents`, the
members after that cycle, `lowest_weight`, `highest_weight`, `forced_reserve`,
`frozen`, `text`), null without agents.""",
    )
    add_root(parser)
    parser.add_argument("--notify", action="store_true", help="Also send a test message to Telegram.")
    add_json(parser)


def _add_show_config(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "show-config",
        "show_config_command:show_config",
        "Show every setting and where it is from; secrets are masked.",
        "--json: by variable, its `value` as text and where that is `from`.",
    )
    add_root(parser)
    add_json(parser)


def _add_hive(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "hive",
        "hive_command:hive",
        "Serve /meta/metrics from the root's state files.",
        """\
At 127.0.0.1; the port is that of NEOLIGHT_DASHBOARD_URL; exit 78 if it is
taken. Until SIGTERM or SIGINT.""",
    )
    add_root(parser)


def _add_demo(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "demo",
        "demo_command:demo",
        "See it govern a simulated fleet, in a root of its own.",
        "Exit 1 and the scene's name if a scene does not come, 130 after Ctrl-C.",
    )
    parser.add_argument(
        "--seconds",
        type=_demo_seconds,
        default=40.0,
        metavar="NUMBER",
        help="About how long it takes, 10 to 3600. Default: 40.",
    )
    parser.add_argument(
        "--seed", type=int, default=7, metavar="NUMBER", help="Another seed, another course of the markets. Default: 7."
    )
    parser.add_argument("--folder", type=Path, metavar="PATH", help="Its root; else .demo of the checkout.")
    parser.add_argument("--picture", type=Path, metavar="PATH", help="The last frame goes there, as an SVG.")


def _demo_seconds(text: str) -> float:
    shortest, longest = 10.0, 3_600.0
    seconds = float(text)
    if not shortest <= seconds <= longest:
        raise argparse.ArgumentTypeError(f"{text} is not within {shortest:g} to {longest:g}")
    return seconds


_demo_seconds.__name__ = "number"  # argparse names it in its error


def _add_docs(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(commands, "docs", "docs_command:docs", "Show a chapter of the manual, or list the chapters.")
    parser.add_argument("topic", nargs="?", metavar="TOPIC", help="A chapter; without it, the list of chapters.")


def _add_schema(commands: Any) -> None:  # noqa: ANN401 - as add_command
    summary = "Show the JSON Schema (draft 2020-12) of a file in runtime/."
    parser = add_command(commands, "schema", "schema_command:schema", summary)
    files = ("primary", "override", "status")
    help_ = "Of which file: primary, override or status. Default: primary."
    parser.add_argument("name", nargs="?", choices=files, default="primary", metavar="FILE", help=help_)


GOVERNING: Final[tuple[Callable[[Any], None], ...]] = (
    *(_add_run, _add_once, _add_status, _add_explain, _add_check),
    *(_add_show_config, _add_hive, _add_demo, _add_docs, _add_schema),
)
"""In the order in which ``--help`` lists them."""
