"""The members of request bodies: what StorPool accepts in names, sizes, tags and lists."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Callable

from storpool_addon.simulator.refusal import invalid
from storpool_addon.simulator.switches import Switches

# Limits and patterns: the types of StorPool's Python binding (sptypes.py of storpool 7.3.0).
NAME_LENGTH = 200
SECTOR = 512
MAX_CLIENT = 4095
_VOLUME = re.compile(r"#?[A-Za-z0-9_\-.:]+")
_SNAPSHOT = re.compile(r"[*#]?[A-Za-z0-9_\-.:@]+")
_TEMPLATE = re.compile(r"[A-Za-z0-9_\-]+")
_GLOBAL_ID = re.compile(r"[a-z0-9]+\.[a-z0-9]+\.[a-z0-9]+")
_TAG = re.compile(r"[A-Za-z0-9_\-.:]+")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_\-.:]*")
_RESERVED = ("list", "status")

Check = Callable[[Any], Any]


def read(body: object, spec: Mapping[str, Check], switches: Switches) -> dict[str, Any]:
    """The members of a body, checked and typed; Refused for one that is wrong or unknown."""
    if body is None or body == "":
        return {}
    if not isinstance(body, dict):
        raise invalid("The JSON argument must be an object")
    values: dict[str, Any] = {}
    for name, value in body.items():
        if value is None and switches.null_values == "ignore":
            continue
        if name in spec:
            values[name] = _checked(spec[name], name, value)
        elif switches.unknown_fields == "reject":
            raise invalid(f"Unknown member '{name}'")
    return values


def _checked(check: Check, name: str, value: object) -> Any:
    try:
        return check(value)
    except (TypeError, ValueError) as error:
        raise invalid(f"Invalid {name}: {error}") from None


def _matching(pattern: re.Pattern[str], length: int, reserved: tuple[str, ...] = ()) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"{value!r} must match {pattern.pattern}")
        if len(value) >= length:
            raise ValueError(f"too long, at most {length - 1} characters")
        if value in reserved:
            raise ValueError(f"{value!r} is reserved")
        return value

    return check


def _or_empty(check: Check) -> Check:
    return lambda value: "" if value == "" else check(value)


volume_name = _matching(_VOLUME, NAME_LENGTH, _RESERVED)
snapshot_name = _matching(_SNAPSHOT, NAME_LENGTH, _RESERVED)
template_name = _matching(_TEMPLATE, NAME_LENGTH, ("list",))
group_name = _matching(_TEMPLATE, 128, ("list",))
location_name = _matching(_VOLUME, 64, ("list",))
location_id = _matching(re.compile(r"[a-z0-9]+"), 64)
global_id = _matching(_GLOBAL_ID, NAME_LENGTH)
bucket_name = _matching(_VOLUME, 1023)
volume_name_or_none = _or_empty(volume_name)
_tag_name = _matching(_TAG, NAME_LENGTH)
_tag_value = _matching(_TAG_VALUE, NAME_LENGTH)


def reference(value: Any) -> str:
    """A volume's or snapshot's name, or ~globalId."""
    if isinstance(value, str) and value.startswith("~"):
        global_id(value[1:])
        return value
    return str(snapshot_name(value))


def integer(value: Any) -> int:
    """An integer, also as a text of digits: StorPool's own documents send them so."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"{value!r} is not an integer")
    return int(value)


def natural(value: Any) -> int:
    """An integer of at least 0."""
    number = integer(value)
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number


def size(value: Any) -> int:
    """A size in bytes: positive, whole sectors of 512 bytes."""
    number = integer(value)
    if number < 1:
        raise ValueError(f"{number} must be positive")
    if number % SECTOR:
        raise ValueError(f"{number} must be a multiple of {SECTOR}")
    return number


def boolean(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is not a boolean")
    return value


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a string")
    return value


def limit(value: Any) -> int | str:
    """iops or bw: a number, or "-" for unlimited."""
    return "-" if value == "-" else natural(value)


def replication(value: Any) -> int:
    """Copies kept: 1 to 3."""
    number = integer(value)
    if not 1 <= number <= 3:
        raise ValueError(f"{number} is not 1, 2 or 3")
    return number


def tags(value: Any) -> dict[str, str]:
    """Tags: name to value; an empty value deletes where tags merge."""
    if not isinstance(value, dict):
        raise ValueError("tags must be an object")
    return {_tag_name(name): _tag_value(each) for name, each in value.items()}


def client(value: Any) -> int:
    """A client id, 1 to 4095."""
    number = integer(value)
    if not 1 <= number <= MAX_CLIENT:
        raise ValueError(f"{number} is not a client id")
    return number


def clients(value: Any) -> list[int]:
    """A list of client ids."""
    if not isinstance(value, list):
        raise ValueError("expected a list of client ids")
    return [client(each) for each in value]


def clients_or_all(value: Any) -> list[int] | str:
    """A list of client ids, or "all"."""
    return "all" if value == "all" else clients(value)


def integers(value: Any) -> list[int]:
    """A list of integers."""
    if not isinstance(value, list):
        raise ValueError("expected a list of numbers")
    return [integer(each) for each in value]


def array(value: Any) -> list[Any]:
    """A list of anything; its items are checked on their own."""
    if not isinstance(value, list):
        raise ValueError("expected a list")
    return value


def pairs(value: Any) -> dict[str, str]:
    """Keys and values of the key-value store."""
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError("expected an object of strings")
    if any(len(key) >= 1023 for key in value):
        raise ValueError("a key is too long, at most 1022 characters")
    return dict(value)
