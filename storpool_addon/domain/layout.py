"""Adds and removes elements of a document so that what is added stands as its neighbours do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element


def insert(
    parent: _Element, name: str, text: str = "", at: int | None = None, /, **attributes: str
) -> _Element:
    """A new last child, or the child at that place; new children of the domain come before its devices."""
    from lxml.etree import Element

    element = Element(name, attributes)
    element.text = text or None
    place(parent, element, _default_place(parent) if at is None else at)
    return element


def place(parent: _Element, element: _Element, at: int) -> None:
    """Make an element that stands nowhere a child of `parent`, on a line of its own if children have one."""
    pad, step = _pad(parent)
    children = len(parent)
    if not children:
        parent.text, element.tail = (parent.text or "").rstrip() + pad + step, pad
    elif at >= children:
        last = parent[-1]
        element.tail, last.tail = last.tail, (last.tail or "").rstrip() + pad + step
    else:
        element.tail = pad + step
    parent.insert(at, element)


def remove(element: _Element) -> None:
    """Take an element out, with its line; text that stands after it stays."""
    parent, before, tail = element.getparent(), element.getprevious(), element.tail or ""
    if parent is None:
        return
    is_last = element.getnext() is None
    parent.remove(element)
    kept = tail if is_last or tail.strip() else ""
    if before is not None:
        before.tail = (before.tail or "").rstrip() + kept if is_last else (before.tail or "") + kept
    elif is_last:
        parent.text = (parent.text or "").strip() or None
    else:
        parent.text = (parent.text or "") + kept


def merge(elements: Sequence[_Element]) -> _Element:
    """The first of several, with the children of all, and of the others' attributes those that it lacks."""
    first = elements[0]
    for other in elements[1:]:
        for name, value in other.attrib.items():
            if name not in first.attrib:
                first.set(name, value)
        for child in list(other):
            remove(child)
            child.tail = None
            place(first, child, len(first))
        remove(other)
    return first


def _default_place(parent: _Element) -> int:
    if parent.getparent() is None:
        devices = parent.find("devices")
        if devices is not None:
            return parent.index(devices)
    return len(parent)


def _pad(parent: _Element) -> tuple[str, str]:
    """The line break and indentation of `parent`, and what its children have more; "" for one long line."""
    root = parent.getroottree().getroot()
    first = root.text or ""
    if "\n" not in first or first.strip():
        return "", ""
    step = first.rpartition("\n")[2]
    return "\n" + step * sum(1 for _ in parent.iterancestors()), step
