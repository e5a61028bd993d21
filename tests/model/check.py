"""What the files, the journal and the status file have to say after every cycle."""

from __future__ import annotations

import math

from capital_governor.journal.notices import NoticeState
from tests.model import documents
from tests.model.world import World
from tests.oracle.arithmetic import MILLION
from tests.promises.ledger import require


def files_say_what_is_published(world: World) -> None:
    """Both files are whole, signed, add up to exactly 1 and say what the journal has as published."""
    published = world.oracle.published
    if published is None or published.generation == 0:
        return
    for path in (world.primary, world.override):
        if path.is_dir() or (path == world.override and world.policy != "assert"):
            continue
        document = documents.read(path)
        require(document is not None, f"{path.name} is not an allocation file of ours")
        assert document is not None
        said = document.published
        require(sum(said.shares.values()) + said.reserve == MILLION, f"{path.name} does not add up: {said}")
        require(all(share >= 0 for share in [*said.shares.values(), said.reserve]), f"{path.name} has less than none")
        same = (said.generation, said.shares, said.reserve) == (
            (published.generation, published.shares, published.reserve)
        )
        require(same, f"{path.name} says {said}, published is {published}")
        require(abs(said.exposure - published.exposure) < 1e-12, f"{path.name} says exposure {said.exposure}")
        if path == world.primary:
            require(said.withheld == published.withheld, f"{path.name} says withheld {said.withheld}, not {published}")
            require(sum(said.withheld.values()) <= said.reserve, f"{path.name}: less in the reserve than withheld")
    leftovers = sorted(world.primary.parent.glob(".*"))
    require(not leftovers, f"left behind: {leftovers}")


def journal_has_it(world: World) -> None:
    """What the journal says was published last is what is published, and every move's notice is there once."""
    published = world.oracle.published
    if world.journal.lost or published is None:
        return
    number = published.generation
    ((newest, rows, reached),) = world.ask(
        "SELECT (SELECT published FROM cycles ORDER BY seq DESC LIMIT 1), (SELECT count(*) FROM cycles),"  # noqa: S608
        f" (SELECT reached FROM publications WHERE generation = {number} ORDER BY id DESC LIMIT 1)"
    )
    require(newest == number, f"the journal has generation {newest}, not {number}")
    require(rows == len(world.done), f"the journal has {rows} cycles of {len(world.done)}")
    document = documents.read(world.primary)
    said = None if document is None else (document.published.generation, document.published.shares)
    if number > 0 and said == (number, published.shares):
        require(reached == 1, f"generation {number} is not marked as reached")


def orders_stand(world: World) -> None:
    """What the operator has ordered is in force until its end, until it is taken back, or a release until it is used.

    An accept is judged where it is used.
    """
    standing = {order.key for order in world.orders.values() if world.stands(order) and order.kind != "accept"}
    kept = {order.key for order in world.journal.orders(world.now) if order.kind != "accept"}
    require(kept == standing, f"the journal has the orders {kept}, in force are {standing}")
    told = {order["key"] for order in world.status()["orders"] if order["order"] != "accept"}
    require(told == standing, f"the status file has the orders {told}, in force are {standing}")


def status_remembers(world: World) -> None:
    """The status file tells what holds remember and the last known multipliers, for a start that finds no journal."""
    watch = world.oracle.watch
    known = {"paused": watch.paused, "guardian_seen": watch.guardian_seen, "timestamp_seen": watch.stamp_seen}
    told = world.status()
    require(told["latches"] == known, f"the status file says {told['latches']}, known is {known}")
    multipliers, last = told["multipliers"], world.oracle.known
    same = multipliers.keys() == last.keys() and all(abs(multipliers[name] - last[name]) < 1e-12 for name in last)
    require(same, f"the status file says {multipliers}, known is {last}")
    published = world.oracle.published
    if published is not None and told["generation"] == published.generation:
        withheld, reserve = documents.withheld(told), round(told["reserve"] * MILLION)
        same = (withheld, reserve) == (published.withheld, published.reserve)
        require(same, f"the status file says withheld {withheld}, reserve {reserve}, published is {published}")
        require(math.isclose(told["exposure"], published.exposure), f"the status file says exposure {told['exposure']}")


def told_once(world: World) -> None:
    """Every move, cut and restore is in the outbox exactly once, over restarts and lost journals too.

    Nothing is to be sent of what the agents cannot see, and nothing is held back of what they can.
    """
    pending, held = world.waiting(NoticeState.PENDING), set(world.waiting(NoticeState.HELD))
    document, published = documents.read(world.primary), world.oracle.published
    if published is not None and document is not None and document.published.generation == published.generation:
        require(not held, f"held back, and the primary has generation {published.generation}: {held}")
    moves = world.carried + sum(done.told for done in world.done)
    require(len(set(pending)) == len(pending), "a notice is in the outbox twice")
    require(not world.taken & set(pending), "a notice that was taken is in the outbox again")
    told = len(pending) + len(held) + len(world.taken) + len(world.withdrawn())
    require(told == moves, f"{moves} moves, cuts and restores, {told} notices")
