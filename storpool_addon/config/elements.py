"""Reads what attributes of tweaks say about an element: its text, its attributes, lists of names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

# Compiled when a VM has such an attribute: every script reads this module.
_NAME = r"[A-Za-z0-9_.+\-]{1,100}"
POLICIES = ("force", "require", "optional", "disable", "forbid")
FALLBACKS = ("allow", "forbid")


class Element(NamedTuple):
    """The text of an element, and its attributes."""

    text: str
    attributes: dict[str, str]


class Model(NamedTuple):
    """A CPU model. fallback: "" when it is not said."""

    name: str
    fallback: str


def attributes(text: str) -> dict[str, str]:
    """`name=value` words with blanks between them; ValueError for other words."""
    found = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if not equals or not re.fullmatch(_NAME, name, re.ASCII) or not value.isprintable():
            raise ValueError(text)
        found[name] = value.strip("'\"")
    return found


def element(text: str) -> Element:
    """`text:name=value name=value`; ValueError when it has no colon."""
    before, colon, after = text.partition(":")
    if not colon or not before.isprintable():
        raise ValueError(text)
    return Element(before.strip(), attributes(after))


def only(found: dict[str, str], allowed: Mapping[str, Collection[str]]) -> dict[str, str]:
    """The same attributes; ValueError when one has another name or value than these."""
    for name, value in found.items():
        if value not in allowed.get(name, ()):
            raise ValueError(f"{name}={value}")
    return found


def features(text: str) -> tuple[tuple[str, str], ...]:
    """Names and policies of CPU features: `name[:policy],…`; without a policy a CPU may lack it."""
    found = []
    for word in filter(None, text.replace(",", " ").split()):
        name, _, policy = word.partition(":")
        found.append((_name(name), _one_of(policy or "optional", POLICIES)))
    return tuple(found)


def model(text: str) -> Model:
    """`model[:fallback]`."""
    if not text:
        return Model("", "")
    name, colon, fallback = text.partition(":")
    return Model(_name(name), _one_of(fallback, FALLBACKS) if colon else "")


def smm(text: str) -> Element | None:
    """`:state=on` or `:state=off`, None when nothing is given."""
    if not text:
        return None
    found = element(text)
    if found.text or found.attributes.get("state") not in ("on", "off") or len(found.attributes) > 1:
        raise ValueError(text)
    return found


def size(text: str) -> Element | None:
    """`number:unit=MiB`, None when nothing is given."""
    if not text:
        return None
    found = element(text)
    units = ("", "B", "bytes", "KB", "KiB", "MB", "MiB", "GB", "GiB")
    if set(found.attributes) - {"unit"} or found.attributes.get("unit", "") not in units:
        raise ValueError(text)
    if not (found.text.isascii() and found.text.isdigit() and len(found.text) <= 10):
        raise ValueError(text)
    return found


def millionths(text: str) -> int:
    """A number with decimals, in millionths: what is computed with it stays exact."""
    found = re.fullmatch(r"([0-9]{1,6})?(?:\.([0-9]{1,6}))?", text, re.ASCII)
    if not found or not any(found.groups()):
        raise ValueError(text)
    return int(found[1] or "0") * 1_000_000 + int((found[2] or "").ljust(6, "0"))


def _name(word: str) -> str:
    if not re.fullmatch(_NAME, word, re.ASCII):
        raise ValueError(word)
    return word


def _one_of(word: str, allowed: Collection[str]) -> str:
    if word not in allowed:
        raise ValueError(word)
    return word
