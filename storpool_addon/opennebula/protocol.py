"""How an action declares what oned gives it: its arguments in order, and the document on standard input."""

from __future__ import annotations

import re
from typing import Any, Callable, NamedTuple, TypeVar

from storpool_addon.errors import UsageError

Parser = Callable[[str], object]
Action = Callable[..., "str | None"]
_A = TypeVar("_A", bound=Action)

# oned's names for hosts and objects that reach a command line; nothing else may (sizes and ids: digits only).
_NUMBER = re.compile(r"-?[0-9]{1,19}", re.ASCII)


class Many(NamedTuple):
    """Zero or more arguments at this place."""

    parse: Parser


class Optional(NamedTuple):
    """One argument, or none, at the end."""

    parse: Parser


class Protocol(NamedTuple):
    """What one script is given.

    arguments: parameter name to parser, in the order of argv. stdin: (parameter name, parser) of the
    document on standard input, None when the script reads nothing. into: the record that holds all of
    these by name, None when they are the action's own parameters.
    """

    arguments: dict[str, Parser | Many | Optional]
    stdin: tuple[str, Callable[[bytes], object]] | None
    into: Callable[..., object] | None = None

    def usage(self, script: str) -> str:
        """One line for a person who called the script by hand."""
        words = [script]
        for name, parser in self.arguments.items():
            word = name.upper()
            words.append(f"[{word} …]" if isinstance(parser, Many) else word)
            if isinstance(parser, Optional):
                words[-1] = f"[{word}]"
        if self.stdin:
            words.append(f"< {self.stdin[0].upper()}")
        return " ".join(words)


def protocol(
    *,
    stdin: tuple[str, Callable[[bytes], object]] | None = None,
    into: Callable[..., object] | None = None,
    **arguments: Parser | Many | Optional,
) -> Callable[[_A], _A]:
    """Declare an action's protocol; parameter names are those of the function, after `driver`.

    into: a NamedTuple with these names. The action then has it as its one parameter, as other actions
    that are given the same.
    """

    def declare(action: _A) -> _A:
        action.protocol = Protocol(arguments, stdin, into)  # type: ignore[attr-defined]
        return action

    return declare


def protocol_of(action: Action) -> Protocol:
    """The protocol that was declared for `action`."""
    declared: Protocol = action.protocol  # type: ignore[attr-defined]
    return declared


def parse_arguments(script: str, declared: Protocol, argv: list[str]) -> dict[str, Any]:
    """Parameters of the action by name; UsageError names the first argument that does not fit."""
    taken = _distribute(script, declared, argv)
    parsed: dict[str, Any] = {}
    for name, parser in declared.arguments.items():
        words = taken[name]
        try:
            if isinstance(parser, Many):
                parsed[name] = [parser.parse(word) for word in words]
            elif isinstance(parser, Optional):
                parsed[name] = parser.parse(words[0]) if words else None
            else:
                parsed[name] = parser(words[0])
        except ValueError as error:
            raise UsageError(f"{script}: argument {name.upper()} {words[0]!r}: {error}") from None
    return parsed


def _distribute(script: str, declared: Protocol, argv: list[str]) -> dict[str, list[str]]:
    """Which words belong to which parameter: `Many` takes what the others leave."""
    kinds = declared.arguments
    single = sum(not isinstance(kind, (Many, Optional)) for kind in kinds.values())
    spare = len(argv) - single
    most = None if any(isinstance(kind, Many) for kind in kinds.values()) else len(kinds) - single
    if spare < 0 or (most is not None and spare > most):
        raise UsageError(f"usage: {declared.usage(script)} (got {len(argv)} arguments)")
    words = iter(argv)
    taken: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        count = 1
        if isinstance(kind, (Many, Optional)):
            count = spare if isinstance(kind, Many) else min(spare, 1)
            spare -= count
        taken[name] = [next(words) for _ in range(count)]
    return taken


def number(word: str) -> int:
    """A whole number, as oned writes ids and sizes."""
    if not _NUMBER.fullmatch(word):
        raise ValueError("is not a whole number")
    return int(word)


def text(word: str) -> str:
    """Any text without control characters."""
    if not word.isprintable():
        raise ValueError("holds a control character")
    return word
