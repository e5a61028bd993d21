"""The command line: each command with its options, its words in ``--help``, and the function that does it.

A command's module is imported when that command is called: `status` loads no HTTP client, and `run` no tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final

from capital_governor import __version__
from capital_governor.cli.output import write
from capital_governor.contracts.exit_codes import OK, USAGE

_VALUED: Final = {"--root", "--for", "--reason", "--max", "--min", "--seconds", "--seed", "--folder", "--picture"}
"""The options that take a value, whichever command has them."""


class Parser(argparse.ArgumentParser):
    """A parser whose help a reader may leave, as any other output. ``commands`` are the parsers of those, by name."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of the library
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, formatter_class=formatter, **options)
        self.commands: Mapping[str, argparse.ArgumentParser] = {}

    def print_help(self, file: IO[str] | None = None) -> None:  # type: ignore[override]
        """Write the help, by default to stdout."""
        if file is None:
            write(self.format_help())
        else:
            super().print_help(file)


def run_command(words: list[str]) -> int:
    """Run the command of a command line; return its exit code. Raises SystemExit."""
    parser = make_parser()
    known, unknown = parser.parse_known_args(_with_values(words))
    given = vars(known)
    chosen: argparse.ArgumentParser = given.pop("parser", parser)
    if unknown:
        chosen.error(f"unrecognized arguments: {' '.join(unknown)}")
    if given.pop("version"):
        write(f"{__version__}\n")
        return OK
    function = given.pop("function", "")
    if not function:
        parser.print_help(sys.stderr)
        return USAGE
    module, _, name = function.partition(":")
    code: int = getattr(import_module(f"capital_governor.cli.{module}"), name)(**given)
    return code


def _with_values(words: Sequence[str]) -> list[str]:
    """Return the words with each value joined to its option, so that one like ``-2h`` is taken for no option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] in _VALUED:
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def make_parser() -> Parser:
    """Return the parser of all commands; each sets ``function``, what does it, as ``module:function``."""
    parser = Parser(
        prog="capital-governor",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description="Decides how much of a fleet's capital each trading agent may use.",
    )
    parser.add_argument("--version", action="store_true", help="Show the version and exit.")
    commands = parser.add_subparsers(prog=parser.prog, metavar="COMMAND", help=argparse.SUPPRESS, parser_class=Parser)
    for add in (*_GOVERNING, *_ORDERING):
        add(commands)
    parser.commands = commands.choices
    lines = (f"  {name:<11}  {(each.description or '').splitlines()[0]}" for name, each in parser.commands.items())
    parser.epilog = "\n".join(("Commands:", *lines))
    return parser


def _add(commands: Any, name: str, function: str, summary: str, more: str = "") -> argparse.ArgumentParser:  # noqa: ANN401 - argparse hides the type
    """Add a command; its summary is one sentence that fits a line of the list of commands."""
    text = f"{summary}\n\n{more}" if more else summary
    parser: argparse.ArgumentParser = commands.add_parser(name, description=text)
    parser.set_defaults(function=function, parser=parser)
    return parser


def _folder(text: str) -> Path:
    """Take the root as given, but not nothing: a variable that is not set must not mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; name a folder, or leave the option out")
    return Path(text)


def _add_root(parser: argparse.ArgumentParser) -> None:
    help_ = "The NeoLight folder; else NEOLIGHT_ROOT, else this folder."
    parser.add_argument("--root", type=_folder, metavar="PATH", help=help_)


def _add_dry_run(parser: argparse.ArgumentParser, text: str = "Of `run --dry-run`, below runtime/dry_run.") -> None:
    parser.add_argument("--dry-run", action="store_true", help=text)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", dest="as_json", action="store_true", help="One JSON document on stdout.")


def _add_agent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("agent", metavar="AGENT", help="The agent's name, as in the allocation file.")


def _add_term(parser: argparse.ArgumentParser) -> None:
    """Add how long an order stands, and why."""
    parser.add_argument("--for", dest="duration", metavar="DURATION", help="How long: 90s, 15m, 2h, 7d, 1w, 1h30m.")
    parser.add_argument("--reason", metavar="TEXT", default="", help="Shown wherever the order is.")


# --- what governs and what looks ------------------------------------------------------------------------------------


def _add_run(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(commands, "run", "run_command:run", "Govern until SIGTERM or SIGINT.")
    _add_root(parser)
    _add_dry_run(parser, "Publish below runtime/dry_run instead.")


def _add_once(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(
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
    _add_root(parser)
    _add_dry_run(parser, "Decide and show; write nothing.")
    _add_json(parser)


def _add_status(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(
        commands,
        "status",
        "status_command:status",
        "Show how the governor stands; exit 75 if none is running.",
        """\
--json is the status file and, beside what stands there: `standing` (running,
starting, late, ended or dead), `alive` (whether that is running), `allocations`
(share by agent, 0..1) and `allocations_problem`.""",
    )
    _add_root(parser)
    _add_dry_run(parser)
    _add_json(parser)


def _add_explain(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(
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
    _add_agent(parser)
    _add_root(parser)
    _add_dry_run(parser)
    _add_json(parser)


def _add_check(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(
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
    _add_root(parser)
    parser.add_argument("--notify", action="store_true", help="Also send a test message to Telegram.")
    _add_json(parser)


def _add_show_config(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(
        commands,
        "show-config",
        "show_config_command:show_config",
        "Show every setting and where it is from; secrets are masked.",
        "--json: by variable, its `value` as text and where that is `from`.",
    )
    _add_root(parser)
    _add_json(parser)


def _add_hive(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(
        commands,
        "hive",
        "hive_command:hive",
        "Serve /meta/metrics from the root's state files.",
        """\
At 127.0.0.1; the port is that of NEOLIGHT_DASHBOARD_URL; exit 78 if it is
taken. Until SIGTERM or SIGINT.""",
    )
    _add_root(parser)


def _add_demo(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(
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


def _add_docs(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(commands, "docs", "docs_command:docs", "Show a chapter of the manual, or list the chapters.")
    parser.add_argument("topic", nargs="?", metavar="TOPIC", help="A chapter; without it, the list of chapters.")


def _add_schema(commands: Any) -> None:  # noqa: ANN401 - as _add
    summary = "Show the JSON Schema (draft 2020-12) of a file in runtime/."
    parser = _add(commands, "schema", "schema_command:schema", summary)
    files = ("primary", "override", "status")
    help_ = "Of which file: primary, override or status. Default: primary."
    parser.add_argument("name", nargs="?", choices=files, default="primary", metavar="FILE", help=help_)


# --- the operator's orders ------------------------------------------------------------------------------------------


def _add_hold(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(
        commands,
        "hold",
        "hold_command:hold",
        "Keep all shares as they are.",
        "Until `resume`, or for the time that --for gives. A second hold replaces the\nfirst.",
    )
    _add_root(parser)
    _add_term(parser)
    _add_dry_run(parser)


def _add_resume(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(commands, "resume", "hold_command:resume", "Take the hold back.")
    _add_root(parser)
    _add_dry_run(parser)


def _add_accept(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(
        commands,
        "accept",
        "accept_command:accept",
        "Let the governor go on without what is lost, faulty or gone.",
        """\
For the hold that is on now, once: it names that hold, waits up to a day for a
cycle that can use it, and lapses if the hold ends by itself.""",
    )
    _add_root(parser)
    _add_dry_run(parser)


def _add_limit(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(
        commands,
        "limit",
        "limit_command:limit",
        "Cap one agent's weight, or give it a floor.",
        """\
Both in one command if both are meant: it replaces the limits that the agent had
from an earlier one.""",
    )
    _add_agent(parser)
    parser.add_argument("--max", dest="cap", metavar="WEIGHT", help="Largest weight, 0..1.")
    parser.add_argument("--min", dest="floor", metavar="WEIGHT", help="Smallest weight, 0..1.")
    _add_term(parser)
    _add_root(parser)
    _add_dry_run(parser)


def _add_unlimit(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(commands, "unlimit", "limit_command:unlimit", "Take back the limits of one agent.")
    _add_agent(parser)
    _add_root(parser)
    _add_dry_run(parser)


def _add_limits(commands: Any) -> None:  # noqa: ANN401 - as _add
    parser = _add(
        commands,
        "limits",
        "limit_command:limits",
        "List the operator's orders that are in force.",
        "--json: `orders`, each as in the status file.",
    )
    _add_root(parser)
    _add_dry_run(parser)
    _add_json(parser)


_GOVERNING: Final[tuple[Callable[[Any], None], ...]] = (
    *(_add_run, _add_once, _add_status, _add_explain, _add_check),
    *(_add_show_config, _add_hive, _add_demo, _add_docs, _add_schema),
)
_ORDERING: Final[tuple[Callable[[Any], None], ...]] = (
    *(_add_hold, _add_resume, _add_accept),
    *(_add_limit, _add_unlimit, _add_limits),
)
