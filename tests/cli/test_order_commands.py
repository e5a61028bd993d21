"""The operator's commands as real processes, beside a running governor and without one."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from capital_governor.core.orders import OrderEnd, OrderKind
from capital_governor.journal.sqlite.sqlite_driver import open_sqlite
from capital_governor.wording.amounts import change_text, percent_text
from tests.rigs.commands import call, tree
from tests.rigs.daemon import Daemon
from tests.rigs.dashboard import FLEET, fixed, fresh
from tests.rigs.ordered_root import ME, SLOW, Place
from tests.rigs.patience import PATIENCE_SECONDS, wait_until
from tests.rigs.stored_roots import unpack, unpack_schema_4

pytestmark = pytest.mark.usefixtures("loaded")


# --- beside a running governor ---------------------------------------------------------------------------------------


def test_a_hold_beside_a_running_governor(place: Place, governor: Daemon) -> None:
    """Given by another process it keeps the files; `status`, `limits` and the log say by whom, until when and why."""
    del governor
    said = place.call("hold", "--for", "2h", "--reason", "broker migration")
    assert (said.code, said.err) == (0, "")
    first, effect, when = said.answer
    assert re.fullmatch(rf"hold by {ME} until \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC: broker migration", first)
    assert effect == "from then on all shares stay as they are; only `exposure --max` and `limit --max` still cut"
    assert re.fullmatch(r"a governor is running: it takes effect in its next cycle, within [0-9a-z ]+", when)
    place.wait_for("operator_hold")
    before = place.files()
    place.dashboard.next(fresh(risk=0.3))
    place.cycles(3)
    assert place.files() == before
    shown = place.call("status")
    assert shown.code == 0
    assert f"held by {ME}" in shown.out
    assert f"operator   {first}" in shown.out
    assert place.call("limits").answer == [first]
    (order,) = json.loads(place.call("limits", "--json").out)["orders"]
    assert (order["order"], order["author"], order["reason"]) == ("hold", ME, "broker migration")
    assert place.status()["orders"] == [order]
    assert (
        f"since then Operator hold - maintaining current allocations: held by {ME}"
        in place.call("explain", "SmartTrader").out
    )
    back = place.call("resume")
    assert (back.code, back.answer[0]) == (0, f"taken back: {first}")
    wait_until(lambda: place.files() != before, SLOW)
    assert place.call("limits").answer == ["No operator orders"]


def test_a_hold_ends_by_itself(place: Place, governor: Daemon) -> None:
    """Its time is over: the governor goes on without another command."""
    place.call("hold", "--for", "3s")
    place.wait_for("operator_hold")
    governor.says("Hold is over: operator_hold")
    assert place.status()["orders"] == []


def test_a_limit_beside_a_running_governor(place: Place, governor: Daemon) -> None:
    """A cap cuts in the next cycle; `explain` and `status` name who set it; it is replaced, and taken back."""
    high = max(place.shares().values())
    assert place.shares()["RangeTrader"] == high > 0.3
    said = place.call("limit", "RangeTrader", "--max", ".15", "--reason", "new strategy")
    assert (said.code, said.err) == (0, "")
    wait_until(lambda: place.shares()["RangeTrader"] == 0.15, SLOW)
    governor.says(f"Operator's order: limit RangeTrader --max 0.15 by {ME}: new strategy")
    withheld = f"withheld   {100 * (high - 0.15):.4f} %: operator's cap by {ME}: new strategy"
    assert withheld in place.call("explain", "RangeTrader").out
    assert f"operator   limit RangeTrader --max 0.15 by {ME}: new strategy" in place.call("status").out
    again = place.call("limit", "RangeTrader", "--max", "0.1", "--for", "7d")
    assert again.answer[1] == f"replaces: limit RangeTrader --max 0.15 by {ME}: new strategy"
    wait_until(lambda: place.shares()["RangeTrader"] == 0.1, SLOW)
    assert place.call("unlimit", "RangeTrader").code == 0
    wait_until(lambda: place.shares()["RangeTrader"] == high, SLOW)
    governor.says("Operator's order is over: limit RangeTrader --max 0.1")


@pytest.mark.parametrize(
    ("given", "taken_back"),
    [(("hold",), ("resume",)), (("limit", "RangeTrader", "--max", "0.1"), ("unlimit", "RangeTrader"))],
)
def test_a_preview_does_not_obey_what_was_taken_back(
    place: Place, given: tuple[str, ...], taken_back: tuple[str, ...]
) -> None:
    """The status file still tells of an order of the last cycle; one that has ended stays ended, here as in `once`."""
    place.call("once")
    place.call(*given)
    obeyed = place.call("once", "--json").json
    assert len(obeyed["orders"]) == len(place.status()["orders"]) == 1
    place.call(*taken_back)
    foretold, checked = place.call("once", "--dry-run", "--json").json, place.call("check", "--json").json
    done = place.call("once", "--json").json
    assert foretold["orders"] == done["orders"] == []
    assert (foretold["reason"], foretold["agents"]) == (done["reason"], done["agents"])
    assert (checked["next"]["reason"], checked["next"]["hold"]) == (done["reason"], done["hold"])


@pytest.mark.parametrize(
    ("orders", "change", "reason"),
    [
        (["exposure --max 0.5"], {}, "cut_ceiling"),
        (["limit * --max 0.2"], {}, "cut_limit"),
        (["limit RangeTrader --max 0.2 --share-out"], {}, "limit_breached"),
        (["limit ScoutBot --min 0.3"], {}, "below_floor"),
        (["hold", "exposure --max 0"], {}, "cut_ceiling"),
        (["exposure --max 0"], None, "cut_ceiling"),
        (["release RangeTrader"], {"RangeTrader": None}, "member_left"),
        (["accept"], {"RangeTrader": None, "ScoutBot": None}, "member_left"),
        (["hold"], {}, "operator_hold"),
        (["hold", "limit ScoutBot --min 0.3"], {}, "operator_hold"),
        (["limit RangeTrader --max 0.1"], None, "cut_limit"),
        (["limit RangeTrader --max 0.1 --share-out"], None, "cut_limit"),
        (["limit RangeTrader --max 0.1", "unlimit RangeTrader"], {}, "unchanged"),
        (["exposure --max 0.5", "exposure --lift"], {}, "unchanged"),
        (["hold", "resume"], {}, "unchanged"),
    ],
)
def test_a_preview_obeys_orders_as_the_cycle_does(
    place: Place, orders: list[str], change: dict[str, None] | None, reason: str
) -> None:
    """`once --dry-run` and `check` say what the cycle then does, also in a hold and without a dashboard."""
    own = {"CAPITAL_GOVERNOR_MEMBERSHIP_GRACE": "0"}
    assert place.call("once", **own).code == 0
    if change is None:
        place.dashboard.next(fixed(b"", status="401 Unauthorized"))
    elif change:
        place.dashboard.next(fresh({name: record for name, record in FLEET.items() if name not in change}))
        place.call("once", **own)
    for order in orders:
        assert place.call(*order.split(), **own).code == 0
    before = place.files()
    foretold, checked = (place.call(*words.split(), "--json", **own).json for words in ("once --dry-run", "check"))
    assert place.files() == before
    done = place.call("once", "--json", **own).json
    assert (foretold["reason"], checked["next"]["reason"], done["reason"]) == (reason, reason, reason)
    assert [foretold[name] for name in ("agents", "reserve", "published_exposure", "hold", "orders")] == [
        done[name] for name in ("agents", "reserve", "published_exposure", "hold", "orders")
    ]


def test_a_limit_given_during_a_hold_shows_in_explain_before_it_is_obeyed(place: Place) -> None:
    """`explain` has it as one to come, for its agent alone, until a decision has it among that agent's limits."""
    assert place.call("once").code == 0
    place.call("hold", "--reason", "broker migration")
    place.call("once")
    place.call("limit", "RangeTrader", "--max", ".15", "--for", "2h", "--reason", "new strategy")
    first = f"operator   from the next decision on: limit RangeTrader --max 0.15 by {ME} until "
    (line,) = [line for line in place.call("explain", "RangeTrader").out.splitlines() if line.startswith("operator ")]
    assert line.startswith(first)
    assert line.endswith(" UTC: new strategy")
    (order,) = json.loads(place.call("explain", "RangeTrader", "--json").out)["limits_to_come"]
    assert "operator " not in place.call("explain", "SmartTrader").out
    assert json.loads(place.call("explain", "SmartTrader", "--json").out)["limits_to_come"] == []
    before = place.shares()["RangeTrader"]
    place.call("once")
    assert order == next(each for each in place.status()["orders"] if each["order"] == "limit")
    in_hold, document = (place.call("explain", "RangeTrader", *more).out for more in ((), ("--json",)))
    assert "outcome    Reallocation triggered (first allocation)\n" in in_hold
    cut = f"cut        {100 * before:.4f} % to 15.0000 % in a hold: Shares cut (a published share is above its limit)"
    assert cut in in_hold.splitlines()
    assert f"withheld   {100 * (before - 0.15):.4f} %: operator's cap by {ME} until " in in_hold
    assert "operator " not in in_hold, "it is obeyed"
    since = json.loads(document)["cut_since"]
    assert (since["share_after"], since["reason"], since["at"]) == (
        0.15,
        "cut_limit",
        json.loads(document)["newest_at"],
    )
    place.call("once")
    assert cut in place.call("explain", "RangeTrader").out.splitlines()
    place.call("resume")
    assert place.call("once").code == 0
    decided = place.call("explain", "RangeTrader").out
    assert f": operator's cap by {ME} until " in decided
    assert first not in decided
    assert "\ncut " not in decided
    assert json.loads(place.call("explain", "RangeTrader", "--json").out)["cut_since"] is None
    assert json.loads(place.call("explain", "RangeTrader", "--json").out)["limits_to_come"] == []


def test_what_another_version_decided_differently_is_explained_as_far_as_it_is_known(place: Place) -> None:
    """`explain` shows shares and outcome as they were recorded, and says what it cannot show and why."""
    assert place.call("once").code == 0
    whole = json.loads(place.call("explain", "SmartTrader", "--json").out)
    plain = sqlite3.connect(place.journal)
    plain.execute("UPDATE cycles SET version = '9.1.2', reason = 'cut_limit'")
    plain.commit()
    plain.close()
    found = json.loads(place.call("explain", "SmartTrader", "--json").out)
    why = (
        "decided by version 9.1.2; this version would decide differently, so how it came about cannot be shown in full"
    )
    assert (whole["left_out"], found["left_out"]) == ("", why)
    assert found["share_after"] == whole["share_after"] > 0
    assert (found["reason"], found["score"]) == ("cut_limit", None)
    assert " ".join(place.call("explain", "SmartTrader").out.split()).count(f"left out {why}") == 1


def test_orders_survive_restarts(place: Place) -> None:
    """A governor that was killed obeys, in its first cycle, what the one before it was told."""
    with Daemon(place.root, place.dashboard.url) as running:
        running.says("Allocations saved")
        place.call("limit", "RangeTrader", "--max", ".15")
        wait_until(lambda: place.shares()["RangeTrader"] == 0.15, SLOW)
        place.call("hold")
        place.wait_for("operator_hold")
        running.process.kill()
        running.process.wait(PATIENCE_SECONDS)
    before = place.files()
    with Daemon(place.root, place.dashboard.url) as running:
        place.cycles(2)
        assert place.files() == before
        assert {order["order"] for order in place.status()["orders"]} == {"hold", "limit"}
        assert place.call("resume").code == 0
        running.says("Hold is over: operator_hold")
        assert place.shares()["RangeTrader"] == 0.15


def test_an_accept_beside_a_running_governor(place: Place, governor: Daemon) -> None:
    """It ends the hold that the log told of with its name, says what it lets pass, and is used once."""
    place.dashboard.next(fresh(change=lambda said: said.pop("guardian")))
    place.wait_for("guardian_lost")
    governor.says("Ends with: the guardian block returns, or `capital-governor accept`")
    said = place.call("accept")
    assert said.code == 0, said.err
    first = said.answer[0]
    assert first.startswith(f"accept of guardian_lost by {ME} until ")
    assert first.endswith("UTC: the payload has no guardian block, and once had one")
    place.wait_for("unchanged")
    governor.says(f"Operator's order used: accept of guardian_lost by {ME}")
    assert place.status()["orders"] == []
    assert place.call("accept").code == 2


def test_many_at_once(place: Place, governor: Daemon) -> None:
    """Commands that come at the same moment, beside a busy governor, all get through; of the holds one is left."""
    del governor
    environment = {"PATH": os.defpath, "NEOLIGHT_DASHBOARD_URL": place.dashboard.url}
    command = [sys.executable, "-P", "-m", "capital_governor", "hold", "--root", str(place.root), "--reason"]
    processes = [subprocess.Popen([*command, str(n)], env=environment, stdout=subprocess.DEVNULL) for n in range(5)]
    try:
        assert [each.wait(PATIENCE_SECONDS) for each in processes] == [0] * 5
    finally:
        for each in processes:
            each.kill()
    journal = open_sqlite(place.journal, read_only=True)
    found = [order for order in journal.order_history() if order.kind is OrderKind.HOLD]
    journal.close()
    assert {order.reason for order in found} == set("01234")
    assert sorted(str(order.end) for order in found) == ["None"] + ["replaced"] * 4


# --- without a governor ----------------------------------------------------------------------------------------------


def test_without_a_governor_orders_wait_for_one(place: Place) -> None:
    """The journal is made if there is none; the next cycle obeys, also the one that only shows."""
    place.begin()
    said = place.call("limit", "RangeTrader", "--max", "0.1")
    assert said.answer[-1] == f"no governor is running: it takes effect when one is, or with {place.typed('once')}"
    assert "no agent RangeTrader is known yet" in said.err
    assert place.call("hold").code == 0
    shown = place.call("once", "--dry-run")
    assert "Operator hold" in shown.out
    assert f"operator   limit RangeTrader --max 0.1 by {ME}" in shown.out
    assert place.call("resume").code == 0
    document = json.loads(place.call("once", "--json").out)
    assert [order["agent"] for order in document["orders"]] == ["RangeTrader"]
    (row,) = [row for row in document["agents"] if row["agent"] == "RangeTrader"]
    assert (row["share"], row["limit"]) == (0.1, None)
    assert row["wanted"] > row["share"]


def test_a_hold_is_accepted_also_behind_an_outage(place: Place) -> None:
    """Cycles without an answer hide the hold that the alert told of; the command finds it, the next answer uses it."""
    assert place.call("once").code == 0
    lost = fresh(change=lambda said: said.pop("guardian"))
    place.dashboard.next(lost, *[fixed(b"", status="401 Unauthorized")] * 6, lost)
    for _ in range(7):
        place.call("once")
    assert place.status()["reason"] == "fetch_failed"
    said = place.call("accept")
    assert said.answer[0].startswith(f"accept of guardian_lost by {ME} until ")
    assert json.loads(place.call("once", "--json").out)["reason"] == "unchanged"
    journal = open_sqlite(place.journal, read_only=True)
    assert [order.end for order in journal.order_history()] == [OrderEnd.USED]
    journal.close()


def test_a_dry_run_has_orders_of_its_own(place: Place) -> None:
    """`--dry-run` acts on the journal of the dry run, and the live one does not know."""
    dry = place.root / "runtime" / "dry_run"
    dry.mkdir(parents=True)
    (dry / "capital_governor_status.json").write_text("{}")
    given = place.call("hold", "--dry-run")
    assert (given.code, given.out.splitlines()[0]) == (0, f"root: {place.root} (dry run)")
    assert not place.journal.exists()
    assert "hold by" in place.call("limits", "--dry-run").out
    assert place.call("limits").answer == ["No operator orders"]
    with Daemon(place.root, place.dashboard.url, "--dry-run") as running:
        running.says("Operator hold - maintaining current allocations")
    assert place.call("resume", "--dry-run").code == 0


def test_the_author_is_the_user_not_what_the_environment_says(place: Place) -> None:
    """Names that anybody can put into the environment are not asked."""
    place.begin()
    said = place.call("hold", LOGNAME="mallory", USER="mallory", USERNAME="mallory", SUDO_USER="mallory")
    assert said.answer[0] == f"hold by {ME}"


def test_free_text_is_made_fit_for_a_line(place: Place) -> None:
    """Control characters are gone, and what is longer than 200 characters is cut."""
    place.begin()
    place.call("hold", "--reason", "a\x1b[2J\u202e\nb" + "x" * 500)
    (order,) = json.loads(place.call("limits", "--json").out)["orders"]
    assert order["reason"].startswith("a[2Jb")
    assert len(order["reason"]) == 200


def test_limits_the_settings_overrule_are_warned_of(place: Place) -> None:
    """They are taken, for settings may change, and the user is told."""
    place.begin()
    said = place.call("limit", "Ada", "--max", "0.9", "--min", "0.5")
    assert said.code == 0
    assert "--max 0.9 is above MAX_ALLOC 0.4" in said.err
    assert "--min 0.5 is above MAX_ALLOC 0.4" in said.err
    assert "--min 0.01 is below MIN_ALLOC 0.05" in place.call("limit", "Ada", "--min", "0.01").err


def test_a_name_that_may_be_a_slip_is_warned_of(place: Place) -> None:
    """The agent that may have been meant is named; a known one needs no word."""
    assert place.call("once").code == 0
    assert "did you mean RangeTrader?" in place.call("limit", "rangetrader", "--max", "0.1").err
    assert place.call("limit", "RangeTrader", "--max", "0.1").err == ""


def test_exposure_says_what_it_does_and_is_obeyed(place: Place) -> None:
    """The answer has exposure and each share before and after; a cycle without a payload then publishes just these."""
    assert place.call("once").code == 0
    before = place.shares()
    assert place.call("exposure").answer == ["published exposure 100 %", "no operator order on exposure"]
    said = place.call("exposure", "--max", "0.5", "--reason", "election")
    assert (said.code, said.err) == (0, "")
    lines = said.answer
    assert lines[:2] == [f"exposure --max 0.5 by {ME}: election", "exposure 100 % -> at most 50 %"]
    assert lines[-1] == f"no governor is running: it takes effect when one is, or with {place.typed('once')}"
    assert "reserve 0 -> 50 %" in lines
    place.dashboard.next(fixed(b"", status="401 Unauthorized"))
    place.call("once")
    after = place.shares()
    for agent, share in before.items():
        assert after[agent] == pytest.approx(share / 2, abs=1.1e-6)
        assert f"{agent} {change_text(share, after[agent])}" in lines
    by_whom = f"             operator: exposure --max 0.5 by {ME}: election"
    assert by_whom in place.call("explain", "RangeTrader").out.splitlines()
    cut = place.call("explain", "RangeTrader", "--json").json["cut_since"]
    assert cut["exposure_order"] == {"max": 0.5, "author": ME, "reason": "election", "until": None}
    shown = place.call("exposure", "--json").json
    assert (shown["exposure"], [order["max"] for order in shown["orders"]]) == (0.5, [0.5])
    lifted = place.call("exposure", "--lift")
    place.dashboard.next(fresh())
    assert lifted.answer[:2] == [
        f"taken back: exposure --max 0.5 by {ME}: election",
        "exposure 50 -> 100 % with the next move; until then no share rises",
    ]
    assert place.call("once").code == 0
    assert place.shares() == before


def test_a_limit_without_options_shows_the_agent(place: Place) -> None:
    """Its share, its own limits and those of everybody; the answer of a limit says where its capital goes."""
    assert place.call("once").code == 0
    share = place.shares()["RangeTrader"]
    first = f"RangeTrader: share {percent_text(share)}"
    assert place.call("limit", "RangeTrader").answer == [first, "no operator limit is on RangeTrader"]
    said = place.call("limit", "RangeTrader", "--max", "0.1")
    assert f"RangeTrader {change_text(share, 0.1)}" in said.answer
    assert "what it takes stays in the reserve until the limit ends" in said.answer
    assert place.call("limit", "*", "--max", "0.2").err == ""
    assert place.call("limit", "SmartTrader").answer[1:] == [f"limit * --max 0.2 by {ME}"]
    assert len(place.call("limit", "RangeTrader", "--json").json["orders"]) == 2
    assert place.call("unlimit", "*").code == 0


def test_release_needs_a_member_without_a_good_record(place: Place) -> None:
    """It is refused while the last record was good; a silent agent's answer says what is shared out and when."""
    assert place.call("once").code == 0
    refused = place.call("release", "RangeTrader")
    assert refused.code == 2
    assert "RangeTrader had a good record in the last payload" in refused.err
    assert place.typed("limit RangeTrader --max 0") in refused.err
    place.dashboard.next(fresh({name: record for name, record in FLEET.items() if name != "RangeTrader"}))
    place.call("once")
    share = place.shares()["RangeTrader"]
    released = place.call("release", "RangeTrader")
    assert released.code == 0, released.err
    effect = f"RangeTrader: its part of the plan, {percent_text(share)}, is shared out when MEMBERSHIP_GRACE is over, "
    effect += "in 3 cycles that decide, unless a good record comes first"
    assert effect in released.answer
    assert f"release RangeTrader by {ME}" in place.call("limits").out


def test_explain_shows_the_group(place: Place) -> None:
    """An agent that its group keeps small is below its own cap; the group's line says why."""
    own = {"CAPITAL_GOVERNOR_GROUPS": "traders=0.5:*Trader; rest=0.9:Scout*,Dropship*"}
    assert place.call("once", **own).code == 0
    found = place.call("explain", "SmartTrader", "--json").json["group"]
    assert found == {"name": "traders", "cap": 0.5, "agents": 2, "weight": pytest.approx(0.5)}
    explained = place.call("explain", "SmartTrader").out.splitlines()
    assert "group      traders: 2 agents with 0.500000 in all, at its cap, 0.5" in explained
    explained = place.call("explain", "ScoutBot").out.splitlines()
    assert "group      rest: 2 agents with 0.500000 in all, below its cap, 0.9" in explained
    assert place.call("once").code == 0
    assert place.call("explain", "SmartTrader", "--json").json["group"] is None


def test_check_shows_what_each_group_catches(place: Place) -> None:
    """Each group with its agents, and a warning for an agent without a group and for a glob without an agent."""
    groups = "traders=0.6:*Trader,Grid*; rest=0.2:Smart*,ScoutBot"
    found = place.call("check", "--json", CAPITAL_GOVERNOR_GROUPS=groups).json
    assert found["groups"] == [
        {"name": "traders", "cap": 0.6, "agents": ["RangeTrader", "SmartTrader"]},
        {"name": "rest", "cap": 0.2, "agents": ["ScoutBot"]},
    ]
    assert found["warnings"][-3:] == [
        "group traders: Grid* matches no agent now",
        "group rest: Smart* catches no agent: each that it matches is in a group before it",
        "in no group of CAPITAL_GOVERNOR_GROUPS: DropshipAgent",
    ]
    assert found["ok"] is True
    assert place.call("check", "--json").json["groups"] == []


def test_what_is_withheld_is_shown(place: Place) -> None:
    """`once`, `status` and `explain` show that a share is less than the plan, by what, how much, and what ends it."""
    assert place.call("once").code == 0
    share = place.shares()["RangeTrader"]
    place.call("limit", "RangeTrader", "--max", "0.1", "--reason", "new strategy")
    plain = place.call("once").out
    by = f"operator's cap by {ME}: new strategy"
    assert f"RangeTrader: {percent_text(share - 0.1)} of its plan is withheld: {by}\n" in plain
    document = place.call("once", "--json").json
    rows = {row["agent"]: (row["withheld"], row["withheld_by"]) for row in document["agents"]}
    assert rows.pop("RangeTrader") == (pytest.approx(share - 0.1, abs=1e-9), by)
    assert set(rows.values()) == {(0.0, None)}
    status = place.call("status").out
    (row,) = [line.split() for line in status.splitlines() if line.startswith("RangeTrader ")]
    assert row[:3] == ["RangeTrader", "10.00%", f"{share - 0.1:.2%}"]
    explained = place.call("explain", "RangeTrader").out.splitlines()
    amount = f"{100 * (share - 0.1):.4f} %"
    assert [line for line in explained if re.match("(plan|withheld|share) |  +ends with", line)] == [
        f"plan       {share:.6f} x 1 = {100 * share:.4f} %",
        f"withheld   {amount}: {by}",
        f"             ends with: the end of the order, or {place.typed('unlimit RangeTrader')}",
        f"share      {100 * share:.4f} % - {amount} = 10.0000 %; the reserve has the difference",
    ]
    found = place.call("explain", "RangeTrader", "--json").json
    assert (found["plan"], found["plan_published"], found["share_after"]) == (share, share, 0.1)
    assert (found["withheld"], found["withheld_by"]) == (pytest.approx(share - 0.1, abs=1e-9), by)
    assert found["withheld_ends"] == "the end of the order, or `capital-governor unlimit RangeTrader`"
    place.call("unlimit", "RangeTrader")
    assert "of its plan is withheld" not in place.call("once").out
    assert re.search("^agent +share +score +wants +to go +limit$", place.call("status").out, re.MULTILINE)


def test_a_lapsed_agent_is_explained(place: Place) -> None:
    """Its whole plan line is withheld; `explain` says since when, how it ends, and counts the good records."""
    own = {"CAPITAL_GOVERNOR_MEMBERSHIP_GRACE": "0", "CAPITAL_GOVERNOR_RELEASE_AFTER": "50"}
    assert place.call("once", **own).code == 0
    share = place.shares()["RangeTrader"]
    place.dashboard.next(fresh({name: record for name, record in FLEET.items() if name != "RangeTrader"}))
    place.call("once", **own)
    ends = "3 good records in a row, or `capital-governor release RangeTrader`, "
    ends += "or 50 decided cycles without a record (RELEASE_AFTER)"
    found = place.call("explain", "RangeTrader", "--json").json
    assert (found["lapsed"], found["share_after"], found["withheld"]) == (True, 0.0, share)
    assert (found["withheld_by"], found["withheld_ends"]) == ("lapsed", ends)
    place.dashboard.next(fresh())
    place.call("once", **own)
    explained = place.call("explain", "RangeTrader").out.splitlines()
    assert (
        "record     lapsed after more than 0 cycles without one: 1 of 3 good records in a row to end that" in explained
    )
    assert f"withheld   {100 * share:.4f} %: lapsed" in explained
    typed = ends.replace("`capital-governor release RangeTrader`", place.typed("release RangeTrader"))
    assert f"             ends with: {typed}" in explained
    shown = place.call("once", **own).out
    assert f"RangeTrader: {percent_text(share)} of its plan is withheld: lapsed\n" in shown


def test_once_shows_a_restore(place: Place) -> None:
    """The cycle after the end of a cap gives back what it withheld; the table shows that, and in JSON it is no move."""
    assert place.call("once").code == 0
    share = place.shares()["RangeTrader"]
    place.call("limit", "RangeTrader", "--max", "0.1")
    assert place.call("once").code == 0
    place.call("unlimit", "RangeTrader")
    foretold = place.call("once", "--dry-run", "--json").json
    said = place.call("once")
    assert said.code == 0, said.err
    assert said.out.startswith("Shares restored (less is withheld)\n")
    (row,) = [line.split() for line in said.out.splitlines() if line.startswith("RangeTrader ")]
    assert row[-2:] == [f"{share:.2%}", f"+{share - 0.1:.2%}"]
    assert (foretold["reason"], foretold["outcome"], foretold["moved"]) == ("restore", "restore", True)


def test_a_cut_without_usable_metrics_is_no_success(place: Place) -> None:
    """A cycle that cuts while the dashboard is down exits 75, and `check` is not ready: there are still no metrics."""
    assert place.call("once").code == 0
    place.call("limit", "RangeTrader", "--max", "0.1")
    place.dashboard.next(fixed(b"", status="401 Unauthorized"))
    checked = place.call("check", "--json")
    assert (checked.code, checked.json["ok"], checked.json["next"]["reason"]) == (75, False, "cut_limit")
    said = place.call("once", "--json")
    assert (said.code, said.json["reason"], said.json["outcome"]) == (75, "cut_limit", "cut")
    assert place.shares()["RangeTrader"] == 0.1


@pytest.mark.parametrize(
    ("words", "kind", "ended"),
    [
        ("hold --for 2h", "hold", []),
        ("resume", None, ["hold"]),
        ("limit RangeTrader --max 0.1", "limit", ["limit"]),
        ("unlimit RangeTrader", None, ["limit"]),
        ("exposure --max 0.5", "exposure", []),
        ("exposure --lift", None, ["exposure"]),
        ("accept", "accept", []),
        ("release RangeTrader", "release", []),
    ],
)
def test_the_answer_of_an_order_as_json(place: Place, words: str, kind: str | None, ended: list[str]) -> None:
    """One document: root, the order and what it ends as `limits --json` has them, and the lines for people."""
    assert place.call("once").code == 0
    if kind in {"accept", "release"}:
        there = {name: record for name, record in FLEET.items() if kind == "release" and name != "RangeTrader"}
        place.dashboard.next(fresh(there))
        place.call("once")
    for old in ended:
        assert place.call(
            *{"hold": "hold", "limit": "limit RangeTrader --max 0.2"}.get(old, "exposure --max 0.4").split()
        )
    before = place.call("limits", "--json").json["orders"]
    said = place.call(*words.split(), "--json")
    assert said.code == 0, said.err
    found = said.json
    assert list(found) == [
        *("root", "dry_run", "order", "detail", "ended", "effect", "when", "running", "within_seconds"),
    ]
    assert (found["root"], found["dry_run"]) == (str(place.root), False)
    assert (found["order"] or {"order": None})["order"] == kind
    assert found["ended"] == [order for order in before if order["order"] in ended]
    assert (found["running"], found["within_seconds"]) == (False, None)
    assert found["effect"]
    assert f"or with {place.typed('once')}" in found["when"][0]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("limit ../x --max 0.1", r"'\.\./x' cannot be an agent: a name has 1 to 64"),
        ("limit reserve --max 0.1", "'reserve' is reserved"),
        ("limit Ada --max 1.1", r"--max '1\.1' is not a number from 0 to 1"),
        ("limit Ada --max -0.1", r"--max '-0\.1' is not a number from 0 to 1"),
        ("limit Ada --min 1e400", "--min '1e400' is not a number from 0 to 1"),
        ("limit Ada --max nan", "--max 'nan' is not a number from 0 to 1"),
        ("limit Ada --max 1_0", "--max '1_0' is not a number from 0 to 1"),
        ("limit Ada --max ten", "--max 'ten' is not a number from 0 to 1"),
        ("limit Ada --min 0.3 --max 0.2", r"--min 0\.3 is above --max 0\.2"),
        ("limit Ada --for 2h", "limit Ada: give --max, --min or both"),
        ("limit Ada --min 0.1 --share-out", "limit Ada: --share-out needs --max"),
        ("limit ** --max 0.1", r"'\*\*' cannot be an agent"),
        ("exposure --max 1.1", r"--max '1\.1' is not a number from 0 to 1; 0\.5 is half of all capital"),
        ("exposure --max nan", "--max 'nan' is not a number from 0 to 1"),
        ("exposure --for 2h", "exposure: --for and --reason need --max"),
        ("exposure --max 0.5 --for 0h", "--for '0h' is no time at all"),
        ("exposure --lift --max 0.5", "exposure --lift takes neither --max"),
        ("release *", r"'\*' cannot be an agent"),
        ("limit Ada --max 0.1 --for soon", "--for 'soon' is not a duration: write 90s, 15m"),
        ("limit Ada --max 0.1 --for 0h", "--for '0h' is no time at all"),
        ("hold --for -2h", "--for '-2h' is not a duration"),
        ("hold --for 2", "--for '2' is not a duration"),
        ("hold --for 5000w", "--for '5000w' is longer than 366d"),
    ],
)
def test_what_is_refused(place: Place, words: str, says: str) -> None:
    """Exit code 2, one line that names the thing and the next step, and nothing is written."""
    said = place.call(*words.split())
    assert (said.code, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert re.match(f"capital-governor: {says}", line)
    assert list(place.root.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says", "hint"),
    [
        ("exposure --lift", "there is no exposure order to take back", "limits"),
        ("release Ada", "Ada is no member of the fleet: there is nothing to release", "status"),
        ("unlimit Ada", "no operator limit is on Ada", "limits"),
        ("resume", "no hold by an operator is on", "status"),
        ("accept", "there is nothing to accept", "status"),
    ],
)
def test_what_there_is_not_is_not_taken_back(place: Place, words: str, says: str, hint: str) -> None:
    """Exit code 2 and one line with the command that shows what there is, without a journal and with one."""
    place.begin()
    before = tree(place.root)
    for with_journal in (False, True):
        said = place.call(*words.split())
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
        assert said.err.startswith(f"capital-governor: {says}")
        assert place.typed(hint) in said.err
        if not with_journal:
            assert tree(place.root) == before
            assert place.call("limit", "Bob", "--max", "0.1").code == 0


@pytest.mark.parametrize("words", ["unlimit Ada", "resume", "accept", "hold --for 0s", "limit Ada --min 2"])
def test_what_is_refused_beside_others_changes_none(place: Place, words: str) -> None:
    """The orders that there are stay as they are."""
    place.begin()
    assert place.call("limit", "Bob", "--max", "0.1").code == 0
    before = place.call("limits", "--json").out
    assert place.call(*words.split()).code == 2
    assert place.call("limits", "--json").out == before


def test_names_are_escaped_in_what_is_said(place: Place) -> None:
    """A name with an escape in it cannot draw on the terminal."""
    said = place.call("limit", "a\x1b[2Jb", "--max", "0.1")
    assert said.code == 2
    assert "\x1b" not in said.err
    assert r"\x1b" in said.err


def test_a_journal_that_cannot_be_written_is_said(place: Place) -> None:
    """Exit code 75 and one line, for all commands that order; what reads goes on."""
    place.begin()
    place.call("hold")
    other = sqlite3.connect(place.journal, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        said = place.call("resume")
    finally:
        other.close()
    assert said.code == 75
    (line,) = said.err.splitlines()
    assert str(place.journal) in line
    assert "locked" in line
    assert place.call("resume").code == 0


def test_a_journal_that_is_none_is_said(place: Place) -> None:
    """A folder in its place: 75 and one line."""
    place.begin()
    place.journal.mkdir(parents=True)
    said = place.call("hold")
    assert said.code == 75
    assert len(said.err.splitlines()) == 1


def test_a_taken_back_order_stays_on_record(place: Place) -> None:
    """Who ordered what and when, and who took it back, can be read with any SQLite tool."""
    place.begin()
    place.call("limit", "RangeTrader", "--max", "0.1", "--reason", "new strategy")
    place.call("unlimit", "RangeTrader")
    plain = sqlite3.connect(place.journal)
    rows = plain.execute("SELECT kind, agent, cap, author, reason, ended, ended_by FROM orders").fetchall()
    plain.close()
    assert rows == [("limit", "RangeTrader", 0.1, ME, "new strategy", OrderEnd.TAKEN_BACK.value, ME)]
    assert set(FLEET) >= {"RangeTrader"}


def test_an_order_leaves_the_journal_of_an_older_version_to_its_governor(tmp_path: Path) -> None:
    """Given before the governor is restarted, it is for the one that runs, which reads its own schema only."""
    unpack(tmp_path)
    url = "http://127.0.0.1:1"
    before = _schema(tmp_path)
    assert call(tmp_path, "hold", "--reason", "wait", url=url).code == 0
    limited = call(tmp_path, "limit", "Bobb", "--max", "0.2", "--share-out", url=url)
    assert "did you mean Bob?" in limited.err
    given = call(tmp_path, "limit", "Ada", "--max", "0.05", "--share-out", url=url)
    assert "replaces: limit Ada --max 0.1 --share-out" in given.out
    assert call(tmp_path, "accept", url=url).code == 2
    assert _schema(tmp_path) == before
    plain = sqlite3.connect(tmp_path / "state" / "capital_governor.sqlite3")
    kinds = plain.execute("SELECT kind, agent, cap FROM orders WHERE ended_at IS NULL ORDER BY id").fetchall()
    plain.close()
    assert kinds[-3:] == [("hold", "", None), ("limit", "Bobb", 0.2), ("limit", "Ada", 0.05)]


@pytest.mark.parametrize("unpacked", [unpack, unpack_schema_4])
@pytest.mark.parametrize(
    ("words", "why"),
    [
        (
            "limit Ada --max 0.01",
            "would give what the cap takes to the others: add --share-out if that is meant, or start",
        ),
        ("limit * --max 0.1 --share-out", "does not know `limit * --max 0.1 --share-out`"),
        ("exposure --max 0", "does not know `exposure --max 0`"),
    ],
)
def test_what_an_older_governor_would_not_obey_is_refused(
    tmp_path: Path, unpacked: Callable[[Path], None], words: str, why: str
) -> None:
    """It may still be running: exit code 75 and one line with the remedy, and the orders stay as they are."""
    unpacked(tmp_path)
    before = call(tmp_path, "limits", "--json").out
    said = call(tmp_path, *words.split())
    assert (said.code, said.out) == (75, "")
    (line,) = said.err.splitlines()
    journal = tmp_path / "state" / "capital_governor.sqlite3"
    start = f"capital-governor: the journal {journal} is of an older version: a governor of that version {why}"
    assert line.startswith(start)
    assert line.endswith("start the governor of this version and give the order again")
    assert call(tmp_path, "limits", "--json").out == before


def _schema(root: Path) -> list[Any]:
    plain = sqlite3.connect(root / "state" / "capital_governor.sqlite3")
    try:
        return [
            plain.execute("PRAGMA user_version").fetchall(),
            plain.execute("SELECT * FROM sqlite_master").fetchall(),
        ]
    finally:
        plain.close()
