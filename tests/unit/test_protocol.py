"""What a script accepts as arguments."""

import pytest

from storpool_addon.errors import UsageError
from storpool_addon.opennebula.protocol import (
    Many,
    Optional,
    number,
    parse_arguments,
    protocol,
    protocol_of,
    text,
)


@protocol(source=text, vm_id=number)
def plain(driver, source, vm_id):
    """Two arguments."""


@protocol(files=Many(text), vm_id=number)
def many(driver, files, vm_id):
    """Any number of files before an id."""


@protocol(vm_id=number, caller=Optional(text), stdin=("vm", bytes))
def optional(driver, vm_id, caller, vm):
    """An id, perhaps a caller."""


@pytest.mark.parametrize(
    ("action", "argv", "expected"),
    [
        (plain, ["a", "42"], {"source": "a", "vm_id": 42}),
        (plain, ["", "-1"], {"source": "", "vm_id": -1}),
        (many, ["7"], {"files": [], "vm_id": 7}),
        (many, ["a", "b c", "7"], {"files": ["a", "b c"], "vm_id": 7}),
        (optional, ["7"], {"vm_id": 7, "caller": None}),
        (optional, ["7", "ssh"], {"vm_id": 7, "caller": "ssh"}),
    ],
)
def test_arguments_arrive_by_name(action, argv, expected):
    assert parse_arguments("x", protocol_of(action), argv) == expected


@pytest.mark.parametrize(
    ("action", "argv", "line"),
    [
        (plain, [], "usage: x SOURCE VM_ID (got 0 arguments)"),
        (plain, ["a", "1", "2"], "usage: x SOURCE VM_ID (got 3 arguments)"),
        (many, [], "usage: x [FILES …] VM_ID (got 0 arguments)"),
        (optional, ["1", "2", "3"], "usage: x VM_ID [CALLER] < VM (got 3 arguments)"),
        (plain, ["a", "4 2"], "x: argument VM_ID '4 2': is not a whole number"),
        (plain, ["a", "٤٢"], "x: argument VM_ID '٤٢': is not a whole number"),
        (plain, ["a", "9" * 20], f"x: argument VM_ID '{'9' * 20}': is not a whole number"),
        (plain, ["a\nb", "1"], "x: argument SOURCE 'a\\nb': holds a control character"),
    ],
)
def test_what_does_not_fit_is_named(action, argv, line):
    with pytest.raises(UsageError) as caught:
        parse_arguments("x", protocol_of(action), argv)
    assert str(caught.value) == line
