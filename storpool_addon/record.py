"""A NamedTuple that takes a tenth of the time to be made: an action makes fifty before its first line runs.

`typing.NamedTuple` compiles each annotation, and a constructor for each class. This has the same fields,
defaults and methods; type checkers see the original.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["NamedTuple"]

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from operator import itemgetter

    class _Meta(type):
        """Makes of annotations the fields, and of values their defaults."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            fields = tuple(body.get("__annotations__", ()))
            defaults = {each: body[each] for each in fields if each in body}
            readers = {each: property(itemgetter(place)) for place, each in enumerate(fields)}
            more = {"__slots__": (), "_fields": fields, "_field_defaults": defaults}
            return super().__new__(cls, name, bases, {**body, **readers, **more})

    class NamedTuple(tuple, metaclass=_Meta):
        """A record; its fields are the annotations of its class."""

        def __new__(cls, *values: Any, **named: Any) -> NamedTuple:
            if named or len(values) != len(cls._fields):
                values += cls._others(len(values), named)
            return tuple.__new__(cls, values)

        @classmethod
        def _others(cls, given: int, named: dict[str, Any]) -> tuple[Any, ...]:
            """What was not given by its place."""
            wanted = cls._fields[given:]
            found = {**cls._field_defaults, **named}
            missing = [each for each in wanted if each not in found]
            unknown = [each for each in named if each not in wanted]
            if missing or unknown or given > len(cls._fields):
                text = f"{cls.__name__} has the fields {', '.join(cls._fields)}; {given} were given by place"
                raise TypeError(f"{text}, missing: {missing}, unknown or given twice: {unknown}")
            return tuple(found[each] for each in wanted)

        @classmethod
        def _make(cls, values: Any) -> NamedTuple:
            return cls(*values)

        def _replace(self, **changed: Any) -> NamedTuple:
            return type(self)(**{**self._asdict(), **changed})

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self))

        def __repr__(self) -> str:
            shown = (f"{name}={value!r}" for name, value in self._asdict().items())
            return f"{type(self).__name__}({', '.join(shown)})"

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)
