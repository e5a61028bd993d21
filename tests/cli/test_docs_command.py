"""``capital-governor docs``: the manual's chapters in a terminal and in a pipe."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from capital_governor.cli.docs_command import TOPICS
from tests.rigs.commands import CommandResult, command, run_to_end
from tests.rigs.patience import PATIENCE_SECONDS

REPOSITORY: Final = Path(__file__).resolve().parents[2]
CHAPTERS: Final = REPOSITORY / "capital_governor" / "docs"


def docs(*words: str) -> CommandResult:
    return run_to_end(command("docs", *words))


def test_without_a_topic_the_chapters_are_listed() -> None:
    """`docs` names every chapter on one line that fits a terminal, in the words and the order of the README."""
    said = docs()
    assert (said.code, said.err) == (0, "")
    assert dict(re.split(" {2,}", line, maxsplit=1) for line in said.out.splitlines()) == TOPICS
    assert max(map(len, said.out.splitlines())) <= 80
    linked = re.findall(
        r"^- \[(\w+)\]\(capital_governor/docs/(\w+)\.md\): (.*)$", (REPOSITORY / "README.md").read_text(), re.MULTILINE
    )
    assert [(topic, topic, about) for topic, about in TOPICS.items()] == linked


def test_every_chapter_is_shown_as_it_stands() -> None:
    """There is a file for each topic and no other, and in a pipe `docs TOPIC` writes it byte for byte."""
    assert {path.name for path in CHAPTERS.iterdir()} == {f"{topic}.md" for topic in TOPICS}
    for topic in TOPICS:
        said = docs(topic)
        assert (said.code, said.err) == (0, "")
        assert said.out == (CHAPTERS / f"{topic}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("topic", ["nonsense", "Deciding", "../client", ""])
def test_an_unknown_topic_is_wrong_usage(topic: str) -> None:
    """An unknown topic is exit code 2, with the list of chapters on standard error."""
    said = docs(topic)
    assert (said.code, said.out) == (2, "")
    first, *listed = said.err.splitlines()
    assert first == f"capital-governor: there is no chapter {topic!r}; the chapters are"
    assert listed == docs().out.splitlines()


def test_a_terminal_gets_a_pager(tmp_path: Path) -> None:
    """On a terminal a chapter goes to the pager that PAGER names."""
    pager, paged = tmp_path / "pager", tmp_path / "paged"
    pager.write_text(f"#!/bin/sh\ncat > '{paged}'\n")
    pager.chmod(0o755)
    master, slave = pty.openpty()
    try:
        command = [sys.executable, "-P", "-m", "capital_governor", "docs", "agents"]
        environment = os.environ | {"PAGER": str(pager), "TERM": "xterm", "PYTHONUTF8": "1"}
        ran = subprocess.run(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, timeout=PATIENCE_SECONDS, check=False
        )
    finally:
        os.close(master)
        os.close(slave)
    assert ran.returncode == 0
    assert paged.read_text(encoding="utf-8") == (CHAPTERS / "agents.md").read_text(encoding="utf-8")
