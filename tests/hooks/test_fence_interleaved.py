"""No order of fence, live migration, a host's return and a VM's restart lets two clients write to a disk."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import pytest

from storpool_addon.attaching import Placement
from storpool_addon.config import Config
from storpool_addon.errors import AddonError
from storpool_addon.fences import Fences
from storpool_addon.hooks import cutting
from storpool_addon.hooks.cutting import APPLIED, Cut
from storpool_addon.simulator import Simulator
from storpool_addon.volumes import Volumes
from tests.hooks.interleaving import Actor, Door, World, explore

FULL = os.environ.get("SWEEP") == "full"
NAME = "one-img-7-42-0"
# The host that is fenced, the other one of the migration, and where the VM starts anew.
LOST, OTHER, NEW = 11, 12, 13
# What a client may do next; whatever else it does is some of these, one after the other.
RETURNS = {"running": ("updating",), "updating": ("running", "down"), "down": ("updating",)}
# How many answers back what an actor does next depends on.
MEMORY = 4


class Careless(Cut):
    """Believes that who was told to let go has let go."""

    def _followed(self, *_: object) -> str:
        return APPLIED


class Ground:
    """What all orders are played on: StorPool, and a door for each actor."""

    def __init__(self, directory: Path) -> None:
        clients = {LOST: "node1", OTHER: "node2", NEW: "node3"}
        self.simulator = Simulator(directory / "storpool", clients=clients, templates=["one-ds-101"])
        self.marks = str(directory / "fences")
        self.doors = {name: Door(self.simulator, summary) for name in ("fence", "migration", "restart")}
        body = {"name": NAME, "size": 1 << 20, "template": "one-ds-101", "tags": {"nloc": "one"}}
        self.call("VolumeCreate", body)

    def call(self, query: str, body: dict[str, object]) -> None:
        self.simulator.perform(self.simulator.route("POST", [query]), body)

    def reset(self, client: int) -> None:
        """All clients are up, and this one alone has the volume."""
        if self.status(LOST) != "running":
            self.simulator.set_client(LOST, "running")
        item = {"volume": NAME, "rw": [client], "detach": "all", "force": True}
        self.call("VolumesReassignWait", {"reassign": [item], "attachTimeout": 1})
        for name in os.listdir(self.marks) if os.path.isdir(self.marks) else ():
            os.unlink(os.path.join(self.marks, name))

    def volumes(self, name: str, actor: Actor) -> Volumes:
        door = self.doors[name]
        door.actor = actor
        return Volumes(door.api(), Config(), lambda _line: None, Fences(self.marks, sleep=actor.pause))

    def attached(self) -> frozenset[int]:
        return frozenset(each.client for each in self.simulator.cluster.attachments)

    def status(self, client: int) -> str:
        return self.simulator.cluster.clients()[client].status

    def close(self) -> None:
        self.simulator.stop()


def summary(query: str, answer: Any) -> Hashable:
    """What of an answer can make a difference to who got it."""
    if "error" in answer:
        return str(answer["error"]["name"])
    if query == "AttachmentsList":
        return LOST in [each["client"] for each in answer["data"]]
    if query == "ClientsConfigDump":
        (mine,) = (each for each in answer["data"] if each["id"] == LOST)
        return str(mine["configStatus"])
    if query == "ServicesList":
        return str(answer["data"]["clients"][str(LOST)]["status"])
    return "ok"


class Play(World):
    """One order. source, target: of the live migration. patience: how often the fence waits at the most.

    flaw: what is left out.
    """

    def __init__(self, ground: Ground, source: int, *, patience: int = 1, flaw: str = "") -> None:
        self.ground = ground
        self.source, self.target = source, LOST + OTHER - source
        self.patience, self.flaw = patience, flaw
        self.pauses = 0
        self.arrives = self.restarted = self.moved = False
        ground.reset(source)
        self.writers = frozenset({source})
        self.actors = {"fence": Actor(self._fence), "migration": Actor(self._migrate)}
        for actor in self.actors.values():
            actor.start()

    # The actors

    def _migrate(self, actor: Actor) -> str:
        """As premigrate, libvirt, then postmigrate or failmigrate."""
        volumes = self.ground.volumes("migration", actor)
        here, there = [Placement(NAME, self.source)], [Placement(NAME, self.target)]
        actor.turn("premigrate")
        try:
            if self.flaw == "adds":
                volumes.share(there)
            else:
                volumes.span(here, there)
            actor.turn("libvirt")
            if self.arrives:
                volumes.place(there, force=True)
                return "moved"
        except AddonError:
            if self.arrives:
                raise
        volumes.give_back(here)
        return "stayed"

    def _fence(self, actor: Actor) -> list[str]:
        kind = Careless if self.flaw == "believes" else Cut
        volumes = self.ground.volumes("fence", actor)
        marks, cut = Fences(self.ground.marks, sleep=actor.pause), kind(volumes, LOST, (101,))
        actor.turn("mark")
        if self.flaw != "no mark":
            marks.mark(cut.key, "host node1")
        if self.flaw == "no wait":
            marks = Fences(f"{self.ground.marks}-none", sleep=actor.pause)
        return cutting.sever([cut], marks, lambda: self.pauses >= self.patience, actor.pause)

    # The order

    def choices(self) -> list[str]:
        found = []
        for name, actor in self.actors.items():
            if actor.at == "libvirt":
                found += [f"{name} fails", *([f"{name} arrives"] if self._may_arrive() else [])]
            elif actor.at:
                found.append(name)
        if self.confirmed and not self.restarted:
            found.append("restart")
        return [*found, *RETURNS[self.ground.status(LOST)]] if found else []

    def _may_arrive(self) -> bool:
        return {self.source, self.target} <= self.writers

    @property
    def confirmed(self) -> bool:
        return self.actors["fence"].result == []

    def go(self, choice: str) -> None:
        others = self.ground.attached() - {LOST}
        if choice == "restart":
            self._restart()
        elif choice in RETURNS:
            self.ground.simulator.set_client(LOST, choice)
        else:
            name, _, outcome = choice.partition(" ")
            self.arrives = self.arrives or outcome == "arrives"
            self.pauses += self.actors[name].at == "pause"
            self.actors[name].step()
        self.writers = self._writers(self.ground.status(LOST))
        assert choice != "fence" or self.ground.attached() - {LOST} == others, (
            "the fence took another's volume"
        )
        self._check()

    def _restart(self) -> None:
        """As mv of a VM whose host is dead."""
        self.restarted = True
        actor = Actor(
            lambda actor: self.ground.volumes("restart", actor).place([Placement(NAME, NEW)], force=True)
        )
        actor.start()
        while actor.at:
            actor.step()

    def _writers(self, status: str) -> frozenset[int]:
        """Who can write when the lost host is in this state. One that is late has what it had.

        What is down is served nothing; what comes back from that has nothing until it has the configuration.
        """
        attached = self.ground.attached()
        late = status == "updating" and LOST in self.writers
        may = late or (status == "running" and LOST in attached)
        return attached - {LOST} | ({LOST} if may else set())

    def _check(self) -> None:
        assert not (self.confirmed and LOST in self.writers), "a fenced host writes"
        if self.restarted:
            assert len(self.writers) <= 1, f"two may write: {sorted(self.writers)}"
        assert self.writers <= {self.source, self.target, NEW}

    def state(self) -> Hashable:
        return self._state(self.ground.status(LOST), self.writers)

    def foresee(self, choice: str) -> Hashable:
        return self._state(choice, self._writers(choice)) if choice in RETURNS else None

    def _state(self, status: str, writers: frozenset[int]) -> Hashable:
        return (
            self.ground.attached(),
            status,
            writers,
            (self.pauses, self.arrives, self.restarted),
            tuple(
                (actor.at, tuple(actor.seen[-MEMORY:]) if actor.at else str(actor.result))
                for actor in self.actors.values()
            ),
        )

    def close(self) -> None:
        for actor in self.actors.values():
            actor.end()


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    found = Ground(tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize(("source", "patience"), [(OTHER, 1), (LOST, 1 if FULL else 0)])
def test_no_order_lets_two_write(ground: Ground, source: int, patience: int) -> None:
    """A migration comes to the host that is fenced, or leaves it; the host goes, is late, comes back."""
    states, ends = explore(lambda: Play(ground, source, patience=patience))
    assert states > 500 and ends > 50


@pytest.mark.parametrize(
    ("flaw", "source", "rule"),
    [
        ("believes", OTHER, "a fenced host writes"),
        ("no mark", OTHER, "a fenced host writes"),
        ("no wait", OTHER, "a fenced host writes"),
        ("adds", LOST, "two may write"),
    ],
)
def test_what_is_left_out_is_seen(ground: Ground, flaw: str, source: int, rule: str) -> None:
    """Each part of it is needed, and the rules of the test above can be broken."""
    with pytest.raises(AssertionError, match=rule):
        explore(lambda: Play(ground, source, flaw=flaw))
