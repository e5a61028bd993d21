"""The command lines of what governs, looks and serves, with their words in ``--help``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Final

from capital_governor.cli.arguments import (
    add_agent,
    add_command,
    add_dry_run,
    add_json,
    add_root,
    add_since,
    given_path,
)
from capital_governor.contracts.text import clean
from capital_governor.settings.kinds import COUNT, read_seconds


def _add_run(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(commands, "run", "run_command:run", "Govern until SIGTERM or SIGINT.")
    add_root(parser)
    add_dry_run(parser, "Publish in runtime/dry_run/ only.")


def _add_once(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "once",
        "once_command:once",
        "Run one cycle and show it; exit 75 without usable metrics.",
        """\
The exit code is also 75 if a file or the journal could not be written.

Fields of --json: capital-governor docs reference""",
    )
    add_root(parser)
    add_dry_run(parser, "Decide and show; write nothing.")
    add_json(parser)


def _add_status(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "status",
        "status_command:status",
        "Is it running, and what is published?",
        """\
The exit code is 0 only while a governor runs well, else 75. With --watch it is 0
after Ctrl-C, and 2 without a terminal.

Fields of --json: capital-governor docs reference""",
    )
    add_root(parser)
    add_dry_run(parser)
    parser.add_argument("--watch", dest="watched", action="store_true", help="Redraw it as it changes, until Ctrl-C.")
    add_json(parser)


def _add_explain(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "explain",
        "explain_command:explain",
        "Show why an agent has its share.",
        """\
Score, limits, weight, exposure, thresholds and brakes of the last decision.

Fields of --json: capital-governor docs reference""",
    )
    add_agent(parser)
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


def _add_history(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "history",
        "history_command:history",
        "Show who had what, when and why.",
        """\
With the orders, holds, faults and gaps between. AGENT: only what is about this
agent.

Fields of --json: capital-governor docs reference""",
    )
    parser.add_argument("agent", nargs="?", metavar="AGENT", help="One agent. Default: the whole fleet.")
    add_since(parser)
    parser.add_argument("--moves", dest="only_moves", action="store_true", help="Only what changed shares.")
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


def _add_decisions(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "decisions",
        "decisions_command:decisions",
        "Show each cycle that differed from the one before.",
        "Fields of --json: capital-governor docs reference",
    )
    add_since(parser)
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


def _add_diff(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "diff",
        "diff_command:diff",
        "Show two generations side by side.",
        """\
Shares, reserve, exposure and causes, changes in points of percent, and the
orders between. `status` names the newest generation, `history --json` all. The
exit code is 2 if the journal does not have one of them, or not any more.

Fields of --json: capital-governor docs reference""",
    )
    for name, help_ in (("before", "The one to compare with."), ("after", "The one that is compared.")):
        parser.add_argument(name, type=_generation, metavar="GENERATION", help=help_)
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


def _generation(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 15:  # noqa: PLR2004 - more digits than any has
        raise argparse.ArgumentTypeError(f"{clean(text, 40)!r} is no generation: give its number, such as 41")
    return int(text)


def _add_check(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "check",
        "check_command:check",
        "Check settings and dashboard; exit 75 if not ready.",
        """\
It also shows what the next cycle would do, and writes nothing. The exit code is
78 if Telegram is not set up or refuses the test message, or if the journal
belongs to another program or to a newer version.

Fields of --json: capital-governor docs reference""",
    )
    add_root(parser)
    parser.add_argument("--notify", action="store_true", help="Also send a test message to Telegram.")
    add_json(parser)


def _add_doctor(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "doctor",
        "doctor_command:doctor",
        "Look for all that commonly goes wrong, each with its remedy.",
        """\
Versions, settings, rights, disk space, files, journal, dashboard, metrics,
clock, limits, Telegram, governor and supervisor. It writes nothing and sends
nothing to the chat. The exit code is 0 if nothing is wrong (warnings do not
count), 75 if what is wrong may pass, 78 if a person must mend something.

Fields of --json: capital-governor docs reference""",
    )
    add_root(parser)
    add_json(parser)


def _add_show_config(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "show-config",
        "show_config_command:show_config",
        "Show every setting and where it is from; secrets are masked.",
        "Fields of --json: capital-governor docs reference",
    )
    add_root(parser)
    add_json(parser)


def _add_reload(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "reload",
        "reload_command:reload",
        "Let a running governor take over what has changed in .env.",
        """\
Settings are checked first: a wrong one is refused with exit code 78, and the
old ones stay. The exit code is 75 if no governor runs.""",
    )
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


def _add_hive(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "hive",
        "hive_command:hive",
        "Serve /meta/metrics from the root's state files.",
        """\
It listens at 127.0.0.1, at the port of NEOLIGHT_DASHBOARD_URL, until SIGTERM or
SIGINT. The exit code is 78 if another program has that port.""",
    )
    add_root(parser)


def _add_demo(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "demo",
        "demo_command:demo",
        "Watch it govern a simulated fleet, in a root of its own.",
        "If a scene does not come, it is named and the exit code is 1. After Ctrl-C the\nexit code is 130.",
    )
    parser.add_argument(
        "--seconds",
        type=_demo_seconds,
        default=40.0,
        metavar="DURATION",
        help="About how long it takes: seconds, or 90s, 2m; 10s to 1h. Default: 40s.",
    )
    parser.add_argument(
        "--seed", type=_demo_seed, default=7, metavar="NUMBER", help="Another number gives other trades. Default: 7."
    )
    parser.add_argument(
        "--folder", type=given_path, metavar="PATH", help="Its root. Default: .demo beside neo_light_fix.sh."
    )
    parser.add_argument(
        "--picture", type=given_path, metavar="PATH", help="Write the last frame to this file, as an SVG."
    )


def _demo_seconds(text: str) -> float:
    shortest, longest = 10.0, 3_600.0
    try:
        seconds = read_seconds(text)
    except ValueError:
        seconds = 0.0
    if not shortest <= seconds <= longest:
        shown = repr(clean(text, 40))
        raise argparse.ArgumentTypeError(f"{shown} is not within 10s and 1h: write seconds, or a duration such as 90s")
    return seconds


def _demo_seed(text: str) -> int:
    try:
        return int(COUNT.read(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{clean(text, 40)!r} is not a whole number from 0 to 1,000,000") from None


def _add_docs(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(commands, "docs", "docs_command:docs", "Show a chapter of the manual, or list the chapters.")
    parser.add_argument("topic", nargs="?", metavar="TOPIC", help="The chapter. Default: the list of chapters.")
    add_json(parser)


def _add_schema(commands: Any) -> None:  # noqa: ANN401 - as add_command
    summary = "Show the JSON Schema (draft 2020-12) of a file in runtime/."
    parser = add_command(commands, "schema", "schema_command:schema", summary)
    help_ = "The file: primary, override or status. Default: primary."
    parser.add_argument("name", nargs="?", default="primary", metavar="FILE", help=help_)
    add_json(parser)


def _add_deploy(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "deploy",
        "deploy_command:deploy",
        "Print a template for a program that keeps the governor running.",
        """\
systemd: a hardened unit for this root and this program (Type=notify, watchdog).
It says in its first lines how to install it. Nothing is written.""",
    )
    parser.add_argument("template", metavar="TEMPLATE", help="Which one: systemd.")
    add_root(parser)


def _add_completion(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "completion",
        "completion_command:completion",
        "Print what makes a shell complete these commands.",
        """\
For bash, in ~/.bashrc:  eval "$(capital-governor completion bash)"
For zsh, in ~/.zshrc:    eval "$(capital-governor completion zsh)"
It completes neo_light_fix.sh too.""",
    )
    parser.add_argument("shell", metavar="SHELL", help="The shell: bash or zsh.")


GOVERNING: Final[tuple[Callable[[Any], None], ...]] = (
    *(_add_run, _add_once, _add_reload, _add_status, _add_explain),
    *(_add_history, _add_decisions, _add_diff, _add_check, _add_doctor),
    *(_add_show_config, _add_hive, _add_demo, _add_docs, _add_schema, _add_deploy, _add_completion),
)
"""In the order in which ``--help`` lists them."""
