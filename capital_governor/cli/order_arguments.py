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
        "It lasts until `resume`, or as long as --for says. A second hold replaces the\nfirst.",
    )
    add_root(parser)
    add_term(parser)
    add_dry_run(parser)
    add_json(parser)


def _add_resume(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(commands, "resume", "hold_command:resume", "Lift the hold.")
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


def _add_accept(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "accept",
        "accept_command:accept",
        "Clear a safety hold: go on without missing or faulty data.",
        """\
It ends the one hold that is on now, once. If no cycle can use it yet, it waits
up to a day. It lapses if the hold ends by itself.""",
    )
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


def _add_limit(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "limit",
        "limit_command:limit",
        "Cap one agent's weight, or give it a floor.",
        """\
Give both in one command if you want both: the command replaces the agent's
earlier limits. AGENT '*' is every agent. What a cap takes goes to the reserve.
Without options it shows the agent's share and limits.""",
    )
    add_agent(parser)
    parser.add_argument("--max", dest="cap", metavar="WEIGHT", help="Largest weight (cap), 0..1.")
    parser.add_argument("--min", dest="floor", metavar="WEIGHT", help="Smallest weight (floor), 0..1.")
    parser.add_argument("--share-out", action="store_true", help="Give what the cap takes to the other agents.")
    add_term(parser)
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


def _add_exposure(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "exposure",
        "exposure_command:exposure",
        "Cap the part of all capital that is deployed.",
        """\
It scales all shares down, in every hold but STOP; 0 takes all capital off.
Without options it shows the order in force and the published exposure.""",
    )
    parser.add_argument("--max", dest="cap", metavar="EXPOSURE", help="Largest exposure, 0..1.")
    parser.add_argument("--lift", action="store_true", help="Take the order back.")
    add_term(parser)
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


def _add_release(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "release",
        "release_command:release",
        "Share out the part of one silent agent among the others.",
        """\
It is refused while the agent's last record was good. A good record that comes
first keeps the agent. The order waits up to a day for a cycle that can use it.""",
    )
    add_agent(parser)
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


def _add_unlimit(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(commands, "unlimit", "limit_command:unlimit", "Remove the limits of one agent.")
    add_agent(parser)
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


def _add_limits(commands: Any) -> None:  # noqa: ANN401 - as add_command
    parser = add_command(
        commands,
        "limits",
        "limit_command:limits",
        "List the orders in force.",
        "Fields of --json: capital-governor docs reference",
    )
    add_root(parser)
    add_dry_run(parser)
    add_json(parser)


ORDERING: Final[tuple[Callable[[Any], None], ...]] = (
    *(_add_hold, _add_resume, _add_accept),
    *(_add_exposure, _add_release),
    *(_add_limit, _add_unlimit, _add_limits),
)
"""In the order in which ``--help`` lists them."""
