"""The pages of the manual as a whole: links, widths, and that no command is shown that nothing has run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.manual.pages import PAGES, REPOSITORY, TEXT, TEXTS, anchors, flat, section
from tests.manual.reference import program

RUN_BY: Final = {
    "./neo_light_fix.sh start": "test_the_commands_of_the_start_as_shown",
    "touch runtime/capital_governor.STOP": "test_stop_as_shown",
    "from capital_governor.client import share": "test_the_client_as_shown",
    "from capital_governor.client import FLOOR": "test_the_client_as_shown",
    "share=$(.venv/bin/python": "test_the_client_in_a_shell",
    "from capital_governor.client import NotRecordedError": "test_reporting_as_shown",
    ".venv/bin/python -I -m capital_governor.client record": "test_reporting_as_shown",
    "mkdir -p /home/me/neolight/state/decisions": "test_reporting_as_shown",
    'export NEOLIGHT_ROOT="$HOME/fleet"': "test_a_fleet_of_your_own",
    "report() {.venv/bin/python": "test_a_fleet_of_your_own",
    "./neo_light_fix.sh start sleep 30": "test_a_fleet_of_your_own",
    "from capital_governor.client import record, share": "test_a_fleet_of_your_own",
    '{"decisions": [': "test_the_state_files_that_are_shown_are_what_is_read",
    '{"agent": "NewsBot"': "test_the_state_files_that_are_shown_are_what_is_read",
    '{"regime"': "test_the_state_files_that_are_shown_are_what_is_read",
    '{"paused"': "test_the_state_files_that_are_shown_are_what_is_read",
    '{"agents"': "test_the_state_files_that_are_shown_are_what_is_read",
    '{"ranked_strategies"': "test_the_state_files_that_are_shown_are_what_is_read",
    "python3 -c 'import json": "test_the_client_in_a_shell",
    "import json": "test_reader",
    "(umask 077; python3": "test_a_backup_of_the_journal",
    '{"timestamp"': "test_the_payload_that_is_shown_is_what_is_read",
    '{"timestamp": "2025-11-03T22:00:01Z"': "test_log_as_json",
    "./neo_light_fix.sh once --dry-run": "test_coming_from_the_old_governor",
    "SELECT datetime": "test_the_journal_answers",
    "# ensure_running NAME": "test_the_agents_of_the_supervisor_as_shown",
    'export NEOLIGHT_ROOT="$ROOT"': "test_the_governor_under_a_supervisor_of_another_program",
    "pgrep -f": "test_the_governor_under_a_supervisor_of_another_program",
    "[Service]": "test_the_unit_for_systemd",
    '__import__("os")': "test_the_stand_in_for_the_plans_file",
    "TELEGRAM_BOT_TOKEN=": "test_the_settings_for_telegram",
    "echo CAPITAL_GOVERNOR_PROFILE=steady": "test_a_setting_is_changed_as_shown",
}
"""By how a snippet of code begins, the test that runs it. What is shown with its output has a test of its own."""
NOT_RUN: Final = {
    "./neo_light_fix.sh demo": "tests/demo runs the demo, and `test` is what runs this",
}
"""By how a snippet of code begins, why no test of the manual runs it."""
KINDS: Final = ("sh", "bash", "python", "json", "sql", "ini")


def test_every_snippet_is_run() -> None:
    """Each snippet of code in the manual is run by a test, or there is a reason why not; nothing else is listed."""
    snippets = re.findall(rf"^ *```(?:{'|'.join(KINDS)})\n(.*?)^ *```$", TEXT, re.MULTILINE | re.DOTALL)
    begins = {begin: flat(begin) for begin in (*RUN_BY, *NOT_RUN)}
    left = set(begins)
    for snippet in snippets:
        shown = flat(snippet).replace("{ ", "{")
        found = max((begin for begin in begins if shown.startswith(begins[begin])), key=len, default=None)
        assert found, snippet
        left.discard(found)
    assert not left
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert {name for name in RUN_BY.values() if f"def {name}(" not in tests} == set()


def test_no_code_is_of_an_unknown_kind() -> None:
    """Every block is output, text, or of a kind that is run."""
    kinds = set(re.findall(r"^ *```(\w*)$", TEXT, re.MULTILINE))
    assert kinds == {"", "text", "console", "log", *KINDS}


def test_commands_in_the_text_exist() -> None:
    """Every command that the text names is one of the program or of the script, with options that it has."""
    commands = {command.name: set(command.options) | {"--help"} for command in program()[0]}
    shown = section("supervising", "All commands of the script")
    groups = re.findall(r"^  (?:look|order|govern|try|print) +([a-z, -]+)", shown, re.MULTILINE)
    script = set(re.findall(r"^  (\w+) ", shown, re.MULTILINE)) - {"look", "order", "govern", "try", "print"}
    script |= {name.strip() for group in groups for name in group.split(",")}
    assert {"start", "stop", "status", "once", "limit", "reload"} <= script
    spans = [flat(span) for text in TEXTS.values() for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    checked = 0
    for front, known in (("capital-governor ", set(commands)), ("./neo_light_fix.sh ", script)):
        for span in spans:
            if span.startswith(front):
                checked += 1
                name, *words = span.removeprefix(front).split()
                assert name in known, span
                options = {word for word in words if word.startswith("--")}
                assert options <= commands.get(name, set()), span
    assert checked > 20


def test_links_lead_somewhere() -> None:
    """Every link of the manual leads to a file of the repository, and to a heading there if it names one."""
    for page, text in TEXTS.items():
        for target in re.findall(r"\]\(([^)]+)\)", text):
            name, _, anchor = target.partition("#")
            path = (PAGES[page].parent / name).resolve() if name else PAGES[page]
            assert path.exists(), (page, target)
            assert not anchor or anchor in anchors(path), (page, target)


def test_tables_fit_a_terminal() -> None:
    """No line of a table is wider than 100 columns."""
    assert [line for line in TEXT.splitlines() if line.startswith("|") and len(line) > 100] == []


def test_the_readme_is_short() -> None:
    """README.md has at most 250 lines; what is longer belongs in a chapter."""
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 250
