"""Every order in which some actors may act: one goes on at a time, from one call to StorPool to the next.

An actor is code that is shipped, in a thread, which reaches the simulator by a door of its own that lets each
call wait. `explore` runs the world again and again, each time in another order, and leaves out
what would only repeat a state that was there before.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Callable

from storpool_addon.errors import AddonError
from storpool_addon.simulator import Simulator
from storpool_addon.simulator.faults import PASS, Moment, Verdict
from storpool_addon.simulator.server import Exchange
from storpool_addon.storpool import Api, Endpoint, Reassign
from storpool_addon.storpool.answer import Answer
from storpool_addon.storpool.wire import Wire

PATIENCE_S = 20.0
# Others cannot change what these answer.
_OF_NO_ACCOUNT = ("Volume", "Snapshot")
Summary = Callable[[str, Any], Hashable]


class _Hasty(Api):
    """Does not wait for a client that is down: what it had asked for stands all the same."""

    def volumes_reassign_wait(self, items: Sequence[Reassign], **options: Any) -> None:
        super().volumes_reassign_wait(items, **{**options, "attach_timeout_s": 0})


class _Line(Wire):
    """A wire that is as short as can be: to the server's own reading of a request, in the actor's thread.

    Thousands of orders are gone through; sockets would take most of the time.
    """

    def __init__(self, door: Door) -> None:
        self._door = door

    def exchange(self, method: str, url: str, body: bytes | None, **_: Any) -> Answer:
        path = url.partition("127.0.0.1:81")[2]
        said = Exchange(self._door, method, path, f"Storpool v1:{self._door.token}", body or b"").run()  # type: ignore[arg-type]
        return Answer(said.status, json.dumps(said.body).encode())


class Door:
    """The simulator as one actor meets it: all of it, but each call waits for its turn."""

    def __init__(self, simulator: Simulator, summary: Summary) -> None:
        self._simulator = simulator
        self._summary = summary
        self.actor: Actor | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._simulator, name)

    def api(self) -> Api:
        found = _Hasty(Endpoint(("127.0.0.1",), token=self.token), deadline_s=PATIENCE_S)
        found._transport._lazy_wire = _Line(self)
        return found

    def judge(self, moment: Moment) -> Verdict | None:
        """What the server asks before and after each call."""
        assert self.actor
        if moment.query not in _OF_NO_ACCOUNT:
            if moment.when == "after":
                self.actor.saw(moment.query, self._summary(moment.query, moment.answer))
            elif not self.actor.turn(moment.query):
                return Verdict.error("ended", "the test is over")
        return PASS


class Actor:
    """A thread that goes on only when it is let. at: the call before which it stands, "" when it has ended.

    seen: what it did and what it was answered, which is all that its next step can depend on.
    """

    def __init__(self, act: Callable[[Actor], object]) -> None:
        self._act = act
        self._may, self._stands = threading.Lock(), threading.Lock()
        self._may.acquire()
        self._stands.acquire()
        self._over = False
        self.at = ""
        self.seen: list[Hashable] = []
        self.result: object = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Go on to the first call."""
        self._thread.start()
        self._wait()

    def step(self) -> None:
        """Make the call before which it stands, and go on to the next."""
        self._may.release()
        self._wait()

    def end(self) -> None:
        """Let every further call fail."""
        self._over = True
        while self.at:
            self.step()
        self._thread.join()

    def turn(self, what: str) -> bool:
        """Wait for its turn; False when there will be none."""
        if self._over:
            return False
        self.at = what
        self._stands.release()
        self._may.acquire()
        return not self._over

    def saw(self, what: str, answer: Hashable) -> None:
        self.seen.append((what, answer))

    def pause(self, _seconds: float) -> None:
        """In the place of time.sleep: whoever waits lets others go on."""
        if not self.turn("pause"):
            raise AddonError("the test is over")
        self.saw("pause", None)

    def _wait(self) -> None:
        assert self._stands.acquire(timeout=PATIENCE_S), "an actor neither calls nor ends"

    def _run(self) -> None:
        try:
            self.result = self._act(self)
        except AddonError as error:
            self.result = error
        self.at = ""
        self.saw("ended", type(self.result).__name__)
        self._stands.release()


class World:
    """What is explored; made anew for each order."""

    def choices(self) -> list[str]:
        """Who or what may go on now; none at the end."""
        raise NotImplementedError

    def go(self, choice: str) -> None:
        """Let it go on by one step; AssertionError when a rule is broken then."""
        raise NotImplementedError

    def state(self) -> Hashable:
        """All that what follows can depend on."""
        raise NotImplementedError

    def foresee(self, choice: str) -> Hashable:
        """The state after a choice, where that can be told without making it; None where it cannot."""

    def close(self) -> None:
        """End what still runs."""
        raise NotImplementedError


def explore(make: Callable[[], World]) -> tuple[int, int]:
    """Go through all orders; how many states there were, how many ends. A broken rule is raised."""
    seen: set[Hashable] = set()
    waiting: deque[tuple[str, ...]] = deque([()])
    ends = 0
    while waiting:
        begin = waiting.popleft()
        world = make()
        try:
            for at, alternatives in _walk(world, begin, seen):
                waiting += [(*at, each) for each in alternatives]
            ends += not world.choices()
        finally:
            world.close()
    return len(seen), ends


def _walk(
    world: World, begin: tuple[str, ...], seen: set[Hashable]
) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Go on from a beginning, always with the first choice; gives the choices that were left out."""
    path: tuple[str, ...] = ()
    for choice in begin:
        _go(world, path, choice)
        path = (*path, choice)
    while True:
        state = world.state()
        if state in seen:
            return
        seen.add(state)
        choices = world.choices()
        if not choices:
            return
        choices = [each for each in choices if world.foresee(each) not in seen]
        if not choices:
            return
        yield path, choices[1:]
        _go(world, path, choices[0])
        path = (*path, choices[0])


def _go(world: World, path: tuple[str, ...], choice: str) -> None:
    try:
        world.go(choice)
    except AssertionError as error:
        raise AssertionError(f"{error}, after {' > '.join((*path, choice))}") from None
