"""A configuration key: its name, what it may hold, who may override it; and how its text becomes a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

from storpool_addon.errors import ConfigError
from storpool_addon.units import duration_s

if TYPE_CHECKING:
    from storpool_addon.config import Config, Overriding

T = TypeVar("T")

DATASTORE = "datastore"
VM = "VM"

_TRUE = frozenset(("1", "y", "yes", "t", "true", "on"))
_FALSE = frozenset(("", "0", "n", "no", "f", "false", "off"))
_MAX_TAG = 100
_TAG = re.compile(r"[A-Za-z0-9_.:\-]+", re.ASCII)


class Given(NamedTuple):
    """A value as it was written. where: file and line, or the object that carries the attribute."""

    text: str
    where: str


class Key(Generic[T]):
    """An attribute of Config that knows its key; reading it gives the parsed value.

    default: as it would be written. allowed: what may be written, for people. scopes: who may override the
    files, in rising precedence. in_files: whether files may set it; if not, only the scopes do.
    """

    in_files = True

    def __init__(
        self,
        name: str,
        default: str,
        doc: str,
        parse: Callable[[str], T],
        allowed: str,
        scopes: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.default = default
        self.doc = doc
        self.parse = parse
        self.allowed = allowed
        self.scopes = scopes
        self.attribute = ""

    def __set_name__(self, owner: type, attribute: str) -> None:
        self.attribute = attribute

    @overload
    def __get__(self, config: None, owner: type) -> Key[T]: ...
    @overload
    def __get__(self, config: Config, owner: type) -> T: ...
    def __get__(self, config: Config | None, owner: type) -> Key[T] | T:
        if config is None:
            return self
        return self.read(config.given(self.name))

    def read(self, given: Given | None) -> T:
        """The value, the default when it is not given; ConfigError when the text is not allowed."""
        if given is None:
            return self.parse(self.default)
        try:
            return self.parse(given.text)
        except ValueError:
            text = f"{self.name} is {given.text[:80]!r}"
            raise ConfigError(f"{given.where}: {text}; allowed: {self.allowed}") from None


class Attribute(Key[T]):
    """A key that makes sense for one VM only: no file may set it for all."""

    in_files = False

    def __init__(self, name: str, default: str, doc: str, parse: Callable[[str], T], allowed: str) -> None:
        super().__init__(name, default, doc, parse, allowed, (VM,))


class Numbered(Generic[T]):
    """Attributes of a VM that differ in a number, which stands for `<n>` in the name: T_NIC<n>_QUEUES."""

    in_files = False

    def __init__(self, name: str, doc: str, parse: Callable[[str], T], allowed: str) -> None:
        self.name = name
        self.default = ""
        self.doc = doc
        self.parse = parse
        self.allowed = allowed
        self.scopes = (VM,)

    def of(self, vm_id: int, attributes: Mapping[str, str], number: int) -> T | None:
        """The value that the VM gives for that number, None when it gives none."""
        name = self.name.replace("<n>", str(number))
        if not attributes.get(name):
            return None
        key = Key(name, self.default, self.doc, self.parse, self.allowed)
        return key.read(Given(attributes[name], f"{VM} {vm_id}"))

    def check(self, vm: Overriding) -> None:
        """ConfigError when one of the VM's attributes of that name holds what is not allowed."""
        before, _, after = self.name.partition("<n>")
        for name in vm.attributes:
            if name.startswith(before) and name.endswith(after):
                number = name[len(before) : -len(after) or None]
                if number.isascii() and number.isdigit() and len(number) <= 9:
                    self.of(vm.id, vm.attributes, int(number))


def text(name: str, default: str, doc: str, *scopes: str) -> Key[str]:
    """Any text on one line."""
    return Key(name, default, doc, _one_line, "text on one line", scopes)


def tag(name: str, default: str, doc: str) -> Key[str]:
    """A word that StorPool takes in names and tags; an empty one stands for the default."""
    return Key(
        name, default, doc, lambda word: _tag(word or default), f"up to {_MAX_TAG} of A-Z a-z 0-9 _ . : -"
    )


def word(name: str, default: str, doc: str, *scopes: str) -> Key[str]:
    """One word, or nothing."""
    return Key(name, default, doc, _word, "one word of A-Z a-z 0-9 _ . : -, or empty", scopes)


def words(name: str, default: str, doc: str, *scopes: str) -> Key[tuple[str, ...]]:
    """Words with blanks or commas between them."""
    return Key(name, default, doc, _words, "words with blanks or commas between them", scopes)


def arguments(name: str, default: str, doc: str) -> Key[tuple[str, ...]]:
    """Arguments of a program, with blanks between them."""
    return Key(name, default, doc, lambda line: tuple(_one_line(line).split()), "arguments on one line")


def flag(name: str, default: str, doc: str, *scopes: str) -> Key[bool]:
    """Yes or no."""
    return Key(
        name, default, doc, yes_or_no, "1 Y YES T TRUE ON for yes; empty 0 N NO F FALSE OFF for no", scopes
    )


def number(
    name: str, default: str, doc: str, *scopes: str, least: int = 0, most: int = 2**31 - 1
) -> Key[int]:
    """A whole number."""

    def parse(word: str) -> int:
        value = int(word) if word.isascii() and word.isdigit() else -1
        if not least <= value <= most:
            raise ValueError(word)
        return value

    return Key(name, default, doc, parse, f"a whole number from {least} to {most}", scopes)


def integer(name: str, default: str, doc: str, *scopes: str) -> Key[int]:
    """A whole number that may be negative."""
    return Key(name, default, doc, int, "a whole number", scopes)


def limit(name: str, doc: str, *scopes: str) -> Key[int | None]:
    """A whole number, or nothing for no limit."""

    def parse(word: str) -> int | None:
        if word and not (word.isascii() and word.isdigit()):
            raise ValueError(word)
        return int(word) if word else None

    return Key(name, "", doc, parse, "a whole number, or empty for no limit", scopes)


def seconds(name: str, default: str, doc: str, *scopes: str) -> Key[float]:
    """A time in seconds, with decimals."""
    return Key(name, default, doc, _seconds, "seconds, such as 2 or .3", scopes)


def duration(name: str, default: str, doc: str, *scopes: str) -> Key[int | None]:
    """A time with its unit, in seconds; None when it is empty."""

    def parse(word: str) -> int | None:
        return duration_s(word) if word else None

    return Key(name, default, doc, parse, "a whole number followed by s, m, h or d; or empty", scopes)


def choice(name: str, default: str, doc: str, *values: str, scopes: tuple[str, ...] = ()) -> Key[str]:
    """One of a few words, in any case."""

    def parse(word: str) -> str:
        for value in values:
            if word.lower() == value.lower():
                return value
        raise ValueError(word)

    allowed = ", ".join(value or "empty" for value in values)
    return Key(name, default, doc, parse, allowed, scopes)


def keys_of(owner: type) -> Mapping[str, Key[Any]]:
    """All keys that a class has, its bases' too, by their names, in the order of their definition."""
    found = {}
    for base in owner.__mro__:
        found.update({each.name: each for each in vars(base).values() if isinstance(each, Key)})
    return found


def _one_line(word: str) -> str:
    if not word.isprintable():
        raise ValueError(word)
    return word


def _tag(word: str) -> str:
    if len(word) > _MAX_TAG or not _TAG.fullmatch(word):
        raise ValueError(word)
    return word


def _word(word: str) -> str:
    return word and _tag(word)


def _words(word: str) -> tuple[str, ...]:
    return tuple(_one_line(each) for each in word.replace(",", " ").split())


def yes_or_no(word: str) -> bool:
    """What a flag's text means; ValueError when it is neither."""
    lower = word.strip().lower()
    if lower not in _TRUE and lower not in _FALSE:
        raise ValueError(word)
    return lower in _TRUE


def _seconds(word: str) -> float:
    if not re.fullmatch(r"[0-9]{0,6}\.?[0-9]{1,6}", word, re.ASCII):
        raise ValueError(word)
    return float(word)
