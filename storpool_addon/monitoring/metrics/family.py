"""Metrics with their samples, before they become anybody's format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Union

GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"


class Histogram(NamedTuple):
    """buckets: upper bound, and how many up to it; the last bound is `+Inf`."""

    buckets: list[tuple[str, float]]
    sum: float


Value = Union[float, Histogram]


class About(NamedTuple):
    """What a metric is. text: for people. labels: their names."""

    text: str
    labels: tuple[str, ...] = ()
    kind: str = GAUGE


class Family(NamedTuple):
    """A metric and its samples by the values of its labels."""

    name: str
    about: About
    samples: dict[tuple[str, ...], Value]


class Families:
    """Metrics of a table. What is not known has no sample: a zero is always one that was seen."""

    def __init__(self, table: Mapping[str, About]) -> None:
        self._families = {name: Family(name, about, {}) for name, about in table.items()}

    def __iter__(self) -> Iterator[Family]:
        return (each for each in self._families.values() if each.samples)

    def set(self, name: str, value: Value, *labels: str) -> None:
        """One sample."""
        family = self._families[name]
        if len(labels) != len(family.about.labels):
            raise TypeError(f"{name} has the labels {family.about.labels}")
        family.samples[labels] = value
