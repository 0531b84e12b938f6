"""What was measured: one row for each thing, as the table shows it and as results.json keeps it."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Union

from bench import limits
from bench.limits import Counts

Field = Union[str, int, float]
OK, OVER = "ok", "over"


class Row(NamedTuple):
    """fields: with their units in their names. over: what is over its limit; a count there is a failure,
    a time may be the machine's."""

    fields: Mapping[str, Field]
    over: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What was measured."""
        return str(self.fields["name"])

    @property
    def verdict(self) -> str:
        """The last column of the table."""
        return f"{OVER}: {', '.join(self.over)}" if self.over else OK

    @property
    def is_failure(self) -> bool:
        """Whether a count is over its limit, which no busy machine explains."""
        return bool(set(self.over) & {*Counts._fields, "changed", "written_mib"})


def bare(taken_ms: Sequence[float]) -> Row:
    """The interpreter alone, and what its time depends on."""
    machine: dict[str, Field] = {"python": platform.python_version(), "cores": os.cpu_count() or 0}
    return Row({"name": "bare", "median_ms": round(statistics.median(taken_ms), 1), **machine})


def action(name: str, taken_ms: Sequence[float], bare_ms: float, counts: Counts) -> Row:
    """A hot action. taken_ms: of each round. bare_ms: the interpreter alone, in the same run."""
    median_ms = statistics.median(taken_ms)
    over = ["ratio"] if median_ms / bare_ms > limits.RATIO else []
    over += counts.over(limits.CALLS[name])
    times = {"median_ms": round(median_ms, 1), "bare_ms": round(bare_ms, 1)}
    return Row({"name": name, **times, **counts._asdict()}, tuple(over))


def table(rows: Iterable[Row]) -> str:
    """The rows in columns; rows with other fields begin a table of their own."""
    blocks: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        blocks.setdefault(tuple(row.fields), []).append(row)
    return "\n\n".join(_block(names, rows) for names, rows in blocks.items())


def _block(names: Sequence[str], rows: Sequence[Row]) -> str:
    with_ratio = "bare_ms" in names and "median_ms" in names
    lines = [[*names, *(["ratio"] if with_ratio else []), ""]]
    for row in rows:
        ratio = [f"{_number(row, 'median_ms') / _number(row, 'bare_ms'):.1f}"] if with_ratio else []
        lines.append([*(str(value) for value in row.fields.values()), *ratio, row.verdict])
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(_line(words, widths) for words in lines)


def _line(words: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers, verdict = words
    cells = [word.rjust(width) for word, width in zip(numbers, widths[1:])]
    return "  ".join([name.ljust(widths[0]), *cells, verdict]).rstrip()


def _number(row: Row, field: str) -> float:
    return float(row.fields[field])


def write(path: str, rows: Iterable[Row]) -> None:
    """Have the rows in a JSON file, one on a line, in one step."""
    lines = ",\n".join("  " + json.dumps(dict(row.fields)) for row in rows)
    with open(f"{path}.new", "w") as file:
        file.write(f"[\n{lines}\n]\n")
    os.replace(f"{path}.new", path)
