"""Faults as data: what goes wrong, with which call, how often."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

KINDS = ("pass", "refuse", "lose", "error", "delay", "garbage", "truncated", "drip", "client")


class Moment(NamedTuple):
    """An API call as a gate sees it, before and after the cluster acted.

    number: counts all API calls from 1. when: "before" or "after". args: the arguments in the path.
    answer: the JSON answer, None before.
    """

    number: int
    when: str
    method: str
    query: str
    args: tuple[str, ...]
    body: Any
    multicluster: bool
    answer: Any = None

    def mentions(self, name: str) -> bool:
        """Whether the call names this object, in its path or its body."""
        return name in self.args or _mentions(self.body, name)


def _mentions(body: Any, name: str) -> bool:
    if isinstance(body, dict):
        return any(_mentions(each, name) for each in body.values())
    if isinstance(body, list):
        return any(_mentions(each, name) for each in body)
    return bool(body == name)


class Verdict(NamedTuple):
    """What a gate decides.

    kind: pass; refuse (close the connection unanswered, before the cluster acts if said before);
    lose (act, then reset the connection); error (an API error); delay (seconds, then go on);
    garbage (act, answer something that is not JSON); truncated (act, answer half);
    drip (act, answer a byte every `seconds`); client (set it to `state`, down or running, then go on).
    """

    kind: str = "pass"
    name: str = "invalidParam"
    descr: str = "Fault injected"
    transient: bool = False
    status: int = 200
    seconds: float = 0.0
    client: int = 0
    state: str = "down"

    @classmethod
    def error(cls, name: str, descr: str = "", *, transient: bool = False, status: int = 200) -> Verdict:
        """Answer with an API error."""
        return cls("error", name, descr or "Fault injected", transient, status)

    @classmethod
    def delay(cls, seconds: float) -> Verdict:
        """Wait, then go on."""
        return cls("delay", seconds=seconds)


PASS = Verdict()
REFUSE = Verdict("refuse")
LOSE = Verdict("lose")
GARBAGE = Verdict("garbage")
TRUNCATED = Verdict("truncated")


class Fault(NamedTuple):
    """One rule: calls of `query` that mention `object`, from the one after `skip`, `times` times.

    Empty texts match everything. times: 0 is for ever.
    """

    verdict: Verdict
    query: str = ""
    object: str = ""
    when: str = "before"
    skip: int = 0
    times: int = 1

    @classmethod
    def parse(cls, data: dict[str, Any]) -> Fault:
        """A fault from JSON: the members of Fault and of Verdict in one object; ValueError if wrong."""
        verdict = {name: value for name, value in data.items() if name in Verdict._fields}
        rest = {name: value for name, value in data.items() if name not in Verdict._fields}
        unknown = sorted(set(rest) - set(cls._fields) - {"verdict"})
        if unknown:
            raise ValueError(f"fault: unknown member {unknown[0]}")
        if verdict.get("kind") not in KINDS:
            raise ValueError(f"fault: kind must be one of {', '.join(KINDS)}")
        if rest.get("when", "before") not in ("before", "after"):
            raise ValueError("fault: when must be before or after")
        return cls(Verdict(**_typed(verdict)), **rest)

    def matches(self, moment: Moment) -> bool:
        """Whether the rule is about this call at this moment."""
        if moment.when != self.when or self.query not in ("", moment.query):
            return False
        return not self.object or moment.mentions(self.object)


def _typed(verdict: dict[str, Any]) -> dict[str, Any]:
    defaults = Verdict._field_defaults
    return {name: type(defaults[name])(value) for name, value in verdict.items()}


class Faults:
    """The faults that are set, and how often each matched; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Fault] = []
        self._matched: list[int] = []

    def set(self, faults: list[Fault]) -> None:
        """Replace all faults."""
        with self._lock:
            self._rules = list(faults)
            self._matched = [0] * len(faults)

    def add(self, faults: list[Fault]) -> None:
        """Add faults behind those that are set."""
        with self._lock:
            self._rules += faults
            self._matched += [0] * len(faults)

    def listing(self) -> list[dict[str, Any]]:
        """Every fault with the number of calls that it matched."""
        with self._lock:
            pairs = zip(self._rules, self._matched)
            return [{**rule._asdict(), "verdict": rule.verdict._asdict(), "matched": n} for rule, n in pairs]

    def gate(self, moment: Moment) -> Verdict | None:
        """The verdict of the first fault that is due; every matching one before it counts the call."""
        with self._lock:
            for index, rule in enumerate(self._rules):
                if not rule.matches(moment):
                    continue
                self._matched[index] += 1
                turn = self._matched[index] - rule.skip
                if turn > 0 and (not rule.times or turn <= rule.times):
                    return rule.verdict
        return None
