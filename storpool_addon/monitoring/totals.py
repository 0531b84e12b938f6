"""Sums of what processes of the driver did: made of the lines that `storpool_addon.tally` writes."""

from __future__ import annotations

import json
import math
import re
import time
from typing import Any, NamedTuple

from storpool_addon.tally import ACTION_BOUNDS, CALL_BOUNDS, FORMAT, OUTCOMES, place

_STATE = 1
_ACTION = re.compile(r"[a-z]{1,20}/[A-Za-z0-9_.-]{1,60}", re.ASCII)
_CALL = re.compile(r"[A-Za-z0-9_.]{1,60}", re.ASCII)
# Ours are some sixty scripts, and some eighty calls; every one more is a dozen series in Prometheus.
_MOST_NAMES = 300
_MOST = 1 << 50


class Spread(NamedTuple):
    """A histogram. counts: for each bound the number up to it and above the one before, and one for the rest.

    seconds: the sum of all.
    """

    counts: list[int]
    seconds: float

    def plus(self, other: Spread) -> Spread:
        """Both together."""
        counts = [one + two for one, two in zip(self.counts, other.counts)]
        return Spread(counts, self.seconds + other.seconds)


class Calls(NamedTuple):
    """Calls of one kind; their number is the sum of spread.counts, the seconds are with all repeats.

    failures: no usable answer came. refusals: the other side answered no, which may be what was expected.
    """

    failures: int
    refusals: int
    retries: int
    spread: Spread

    def plus(self, other: Calls) -> Calls:
        """Both together."""
        return Calls(
            self.failures + other.failures,
            self.refusals + other.refusals,
            self.retries + other.retries,
            self.spread.plus(other.spread),
        )


class Totals(NamedTuple):
    """All that was counted: see `storpool_addon.monitoring.spool`.

    since: when counting began, in seconds since 1970. sizes: how many lines could not be read (`garbage`),
    and how often the spool was full, so that there may be lines that were never written (`full`).
    """

    since: float
    actions: dict[tuple[str, str], Spread]
    retries: dict[str, int]
    calls: dict[str, Calls]
    losses: dict[str, int]

    @classmethod
    def none(cls) -> Totals:
        """Nothing, from now on."""
        return cls(time.time(), {}, {}, {}, {"garbage": 0, "full": 0})

    def add(self, line: bytes) -> None:
        """Count what one process did; a line that is not whole, or not ours, is counted as garbage."""
        try:
            form, action, outcome, seconds, calls = json.loads(line)
            if form != FORMAT or outcome not in OUTCOMES:
                raise ValueError("of another release")
            spread = _one(_time(seconds))
            found = {_name(name, _CALL): _calls(each) for name, each in calls.items()}
            self._add((_name(action, _ACTION), outcome), spread, found)
        except (ValueError, TypeError, AttributeError, RecursionError):
            self.losses["garbage"] += 1

    def _add(self, action: tuple[str, str], spread: Spread, calls: dict[str, Calls]) -> None:
        if len({*self.calls, *calls}) > _MOST_NAMES or len({*self.actions, action}) > _MOST_NAMES:
            raise ValueError("more names than there can be")
        known = self.actions.get(action)
        self.actions[action] = known.plus(spread) if known else spread
        retries = sum(each.retries for each in calls.values())
        self.retries[action[0]] = self.retries.get(action[0], 0) + retries
        for name, each in calls.items():
            self.calls[name] = self.calls[name].plus(each) if name in self.calls else each

    def packed(self, taken: int) -> bytes:
        """A document of all this, and of what it holds."""
        actions = [[*action, *spread] for action, spread in self.actions.items()]
        calls = {name: [*each[:3], *each.spread] for name, each in self.calls.items()}
        words = [_form(), taken, self.since, actions, self.retries, calls, self.losses]
        return json.dumps(words, separators=(",", ":")).encode()

    @classmethod
    def unpacked(cls, document: bytes) -> tuple[Totals, int]:
        """What `packed` was given; ValueError for anything else."""
        try:
            form, taken, since, actions, retries, calls, losses = json.loads(document)
            if form != _form():
                raise ValueError("of another release")
            return cls(
                _time(since),
                {
                    (_name(name, _ACTION), str(end)): _spread(each, ACTION_BOUNDS)
                    for name, end, *each in actions
                },
                {_name(name, _ACTION): _number(each) for name, each in retries.items()},
                {_name(name, _CALL): _sums(each) for name, each in calls.items()},
                {name: _number(losses[name]) for name in ("garbage", "full")},
            ), _number(taken)
        except (TypeError, AttributeError, KeyError, IndexError, RecursionError) as error:
            raise ValueError(str(error)) from None


def _form() -> list[Any]:
    return [_STATE, list(ACTION_BOUNDS), list(CALL_BOUNDS)]


def _one(seconds: float) -> Spread:
    counts = [0] * (len(ACTION_BOUNDS) + 1)
    counts[place(seconds, ACTION_BOUNDS)] = 1
    return Spread(counts, seconds)


def _calls(words: Any) -> Calls:
    failures, refusals, retries, seconds, counts = words
    # Classes at the end that are empty were not written.
    return _sums([failures, refusals, retries, counts + [0] * (len(CALL_BOUNDS) + 1 - len(counts)), seconds])


def _sums(words: Any) -> Calls:
    failures, refusals, retries = map(_number, words[:3])
    return Calls(failures, refusals, retries, _spread(words[3:], CALL_BOUNDS))


def _spread(words: Any, bounds: tuple[float, ...]) -> Spread:
    counts, seconds = words
    if len(counts) != len(bounds) + 1:
        raise ValueError("other classes")
    return Spread([_number(each) for each in counts], _time(seconds))


def _name(word: Any, form: re.Pattern[str]) -> str:
    if not form.fullmatch(word):
        raise ValueError(f"{word!r} is no name")
    return str(word)


def _number(word: Any) -> int:
    if type(word) is not int or not 0 <= word < _MOST:
        raise ValueError(f"{word!r} is no number of things")
    return word


def _time(word: Any) -> float:
    if type(word) not in (int, float) or not math.isfinite(word) or not 0 <= word < _MOST:
        raise ValueError(f"{word!r} is no time")
    return float(word)
