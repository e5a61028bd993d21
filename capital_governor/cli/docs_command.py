"""The manual's chapters in a terminal: ``capital-governor docs [TOPIC]``."""

from __future__ import annotations

import sys
from importlib import resources
from typing import Final

from capital_governor.cli.output import show_json, write_stdout
from capital_governor.contracts.exit_codes import OK, USAGE
from capital_governor.contracts.text import clean

TOPICS: Final = {
    "deciding": "how shares come about, rule by rule, with a worked example",
    "agents": "how an agent reads its share and reports its trades",
    "dashboard": "what the dashboard must serve; the hive; a fleet of your own",
    "supervising": "keep it running: the supervisor, NeoLight's, systemd, heartbeat",
    "operating": "status, history, orders, settings, Telegram, log, backup, upgrade",
    "trouble": "what holds the shares, what else may happen, what to do",
    "reference": "commands, settings, reasons, exit codes, files, JSON, log lines",
    "plan": "NeoLight's original plan, and what this program does with it",
    "promises": "what you may rely on, and what the tests measured",
}
"""By topic, what its chapter is about; the chapter is ``docs/TOPIC.md`` of the package."""


def docs(topic: str | None, *, as_json: bool) -> int:
    """Show the text of a chapter, on a terminal through a pager; without a topic, list the topics.

    As JSON these are the fields ``topic`` and ``text``, or by topic what its chapter is about.

    Raises:
        SystemExit: 2, with the list of topics on stderr, if there is no such chapter.
    """
    if topic is None:
        show_json(TOPICS) if as_json else write_stdout("".join(f"{line}\n" for line in _listed()))
    elif topic not in TOPICS:
        listing = "\n".join(_listed())
        shown = clean(topic, 40)
        print(f"capital-governor: there is no chapter {shown!r}; the chapters are\n{listing}", file=sys.stderr)  # noqa: T201
        raise SystemExit(USAGE)
    else:
        text = resources.files("capital_governor").joinpath("docs", f"{topic}.md").read_text(encoding="utf-8")
        show_json({"topic": topic, "text": text}) if as_json else _show(text)
    return OK


def _listed() -> list[str]:
    width = max(map(len, TOPICS))
    return [f"{topic:<{width}}  {about}" for topic, about in TOPICS.items()]


def _show(text: str) -> None:
    if sys.stdout is not None and sys.stdout.isatty():
        import pydoc  # noqa: PLC0415 - only a terminal needs a pager

        pydoc.pager(text)
    else:
        write_stdout(text)
