"""The pages of the manual, README.md and its chapters, and what stands in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from capital_governor.cli.docs_command import TOPICS
from capital_governor.core.model import Metrics

REPOSITORY: Final = Path(__file__).resolve().parents[2]


CHAPTERS: Final = REPOSITORY / "capital_governor" / "docs"


PAGES: Final = {"README": REPOSITORY / "README.md"} | {topic: CHAPTERS / f"{topic}.md" for topic in TOPICS}


TEXTS: Final = {page: path.read_text() for page, path in PAGES.items()}


TEXT: Final = "\n".join(TEXTS.values())


Rows = list[list[str]]


def section(page: str, title: str) -> str:
    """The text below a heading of a page, up to the next heading of the same or a higher rank."""
    match = re.search(rf"^(#+) {re.escape(title)}$", TEXTS[page], re.MULTILINE)
    assert match, f"{PAGES[page].name} has no heading {title!r}"
    rest = TEXTS[page][match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def tables(text: str) -> list[Rows]:
    """All tables of a text, without their headings; cells without the marks of code."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [[cell.strip().strip("`") for cell in line.strip()[1:-1].split("|")] for line in block.splitlines()]
        found.append(rows[2:])
    return found


def names(text: str) -> list[str]:
    """The first column of the first table of a text; none twice."""
    found = [row[0] for row in tables(text)[0]]
    assert len(set(found)) == len(found)
    return found


def listed(text: str) -> list[str]:
    """What the items of the first list of a text begin with, as code; none twice."""
    block = re.search(r"(?:^- .*\n(?:^  .*\n)*)+", text, re.MULTILINE)
    assert block
    found = re.findall(r"^- `(.+?)`", block[0], re.MULTILINE)
    assert len(set(found)) == len(found)
    return found


def after(marker: str) -> str:
    assert TEXT.count(marker) == 1, marker
    return TEXT[TEXT.index(marker) :]


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def shell(page: str, title: str) -> list[str]:
    """The shell snippets of a section, those in lists included."""
    return re.findall(r"^ *```sh\n(.*?)^ *```$", section(page, title), re.MULTILINE | re.DOTALL)


def flat(text: str) -> str:
    return " ".join(text.split())


def anchors(path: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    prose = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


EXAMPLE: Final = section("deciding", "A worked example")


FLEET_OF_EXAMPLE: Final = {
    row[0]: Metrics(*map(float, row[1:])) for row in tables(EXAMPLE)[0]
}  # the columns are in the order of the fields
