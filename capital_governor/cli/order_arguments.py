"""The command lines of the operator's orders, with their words in ``--help``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from capital_governor.cli.arguments import add_agent, add_command, add_dry_run, add_json, add_root, add_term


def _add_hold(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "hold",
        "hold_command:hold",
        "Keep all shares as they are.",
        "Until `resume`, or for the time that --for gives. A second hold replaces the\nfirst.",
    )
    add_root(parser)
    add_term(parser)
    add_dry_run(parser)


def _add_resume(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(commands, "resume", "hold_command:resume", "Take the hold back.")
    add_root(parser)
    add_dry_run(parser)


def _add_accept(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "accept",
        "accept_command:accept",
        "Let the governor go on without what is lost, faulty or gone.",
        """\
For the hold that is on now, once: it names that hold, waits up to a day for a
cycle that can use it, and lapses if the hold ends by itself.""",
    )
    add_root(parser)
    add_dry_run(parser)


def _add_limit(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "limit",
        "limit_command:limit",
        "Cap one agent's weight, or give it a floor.",
        """\
Both in one command if both are meant: it replaces the limits that the agent had
from an earlier one.""",
    )
    add_agent(parser)
    parser.add_argument("--max", dest="cap", metavar="WEIGHT", help="Largest weight, 0..1.")
    parser.add_argument("--min", dest="floor", metavar="WEIGHT", help="Smallest weight, 0..1.")
    add_term(parser)
    add_root(parser)
    add_dry_run(parser)


def _add_unlimit(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(commands, "unlimit", "limit_command:unlimit", "Take back the limits of one agent.")
    add_agent(parser)
    add_root(parser)
    add_dry_run(parser)


def _add_limits(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "limits",
        "limit_command:limits",
        "List the operator's orders that are in force.",
        "--json: `orders`, each as in the status file.",
    )
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


ORDERING: Final[tuple[Callable[[Any], None], ...]] = (
    *(_add_hold, _add_resume, _add_accept),
    *(_add_limit, _add_unlimit, _add_limits),
)
"""In the order in which ``--help`` lists them."""
