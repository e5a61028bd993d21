"""Adds commands to the command line, and arguments that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_command(commands: Any, name: str, function: str, summary: str, more: str = "") -> argparse.ArgumentParser:  # noqa: ANN401 - argparse hides the type
    """Add a command; its summary is one sentence for the list of commands."""
    text = f"{summary}\n\n{more}" if more else summary
    parser: argparse.ArgumentParser = commands.add_parser(name, description=text)
    parser.set_defaults(function=function, parser=parser)
    return parser


def given_path(text: str) -> Path:
    """Return a path; refuse an empty text, since an unset shell variable must not mean this folder."""
    if not text:
        raise argparse.ArgumentTypeError("is empty: name one, or leave the option out")
    return Path(text)


def add_root(parser: argparse.ArgumentParser) -> None:
    """Add the option for the root."""
    help_ = "The root folder. Default: NEOLIGHT_ROOT, else the current folder."
    parser.add_argument("--root", type=given_path, metavar="PATH", help=help_)


def add_dry_run(parser: argparse.ArgumentParser, text: str = "Act on the dry run (files in runtime/dry_run/).") -> None:
    """Add the option for the dry run."""
    parser.add_argument("--dry-run", action="store_true", help=text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the option for JSON."""
    parser.add_argument("--json", dest="as_json", action="store_true", help="Print one JSON document.")


def add_agent(parser: argparse.ArgumentParser) -> None:
    """Add the agent's name."""
    parser.add_argument("agent", metavar="AGENT", help="The agent's name, as in the allocation file.")


def add_since(parser: argparse.ArgumentParser) -> None:
    """Add the option for how far to look back."""
    help_ = "How far to look back: 90s, 15m, 2h, 7d, 1w. Default: 2d."
    parser.add_argument("--since", metavar="DURATION", default="2d", help=help_)


def add_term(parser: argparse.ArgumentParser) -> None:
    """Add the options for the duration and the reason of an order."""
    parser.add_argument(
        "--for",
        dest="duration",
        metavar="DURATION",
        help="How long: 90s, 15m, 2h, 7d, 1w, 1h30m. Default: until taken back.",
    )
    parser.add_argument("--reason", metavar="TEXT", default="", help="Why; shown with the order.")
