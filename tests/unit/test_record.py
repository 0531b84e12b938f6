"""Our NamedTuple does what typing's does."""

from __future__ import annotations

import copy
import pickle
import typing
from typing import Any

import pytest

from storpool_addon import record


class Ours(record.NamedTuple):
    """A point."""

    x: int
    y: int | None
    name: str = "p"

    @property
    def far(self) -> bool:
        return self.x > 9


class Original(typing.NamedTuple):
    x: int
    y: int | None
    name: str = "p"


def seen(kind: Any) -> list[object]:
    first = kind(1, y=None)
    return [
        tuple(first),
        (first.x, first.y, first.name),
        repr(first).partition("(")[2],
        first == (1, None, "p"),
        hash(first),
        tuple(first._replace(x=10, name="q")),
        first._asdict(),
        tuple(kind._make([1, 2, "r"])),
        (kind._fields, kind._field_defaults),
        [type(copied) is kind for copied in (copy.copy(first), copy.deepcopy(first))],
        tuple(pickle.loads(pickle.dumps(first))),
        kind(*range(3)).name,
    ]


def test_all_of_it() -> None:
    assert seen(Ours) == seen(Original)
    assert (Ours.__doc__, Ours(10, 0).far) == ("A point.", True)


@pytest.mark.parametrize("kind", [Ours, Original])
def test_what_does_not_fit_is_refused(kind: Any) -> None:
    for values, named in (((1,), {}), ((1, 2, "a", 4), {}), ((1, 2), {"x": 1}), ((1, 2), {"z": 1})):
        with pytest.raises(TypeError):
            kind(*values, **named)
    with pytest.raises((TypeError, ValueError)):
        kind(1, 2)._replace(z=1)
    for name in ("x", "z"):
        with pytest.raises(AttributeError):
            setattr(kind(1, 2), name, 3)
