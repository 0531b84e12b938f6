"""What a look at policies reads: odd VMs, odd entries of StorPool's lists, odd messages of hooks."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from storpool_addon.config import Config
from storpool_addon.errors import AddonError, OpenNebulaError, UsageError
from storpool_addon.monitoring.policies import Target, owners, targets
from storpool_addon.opennebula.apicall import ApiCall
from storpool_addon.opennebula.policy import VmPolicy, policies
from storpool_addon.opennebula.xml import parse

OURS = {"nloc": "one"}


def entry(name: Any, tags: Any = OURS, global_id: Any = "d.n.1") -> dict[str, Any]:
    """An entry of a list of StorPool."""
    return {"name": name, "tags": tags, "globalId": global_id}


def test_vms_that_cannot_be_read_are_said_and_the_rest_read() -> None:
    bad = (
        "<ID>x</ID>",
        "<ID>7</ID><TEMPLATE><DISK><DISK_ID>a</DISK_ID></DISK></TEMPLATE>",
        "<STATE>3</STATE>",
    )
    good = (
        "<ID>8</ID><STATE>3</STATE><HISTORY_RECORDS><HISTORY><DS_ID>100</DS_ID></HISTORY></HISTORY_RECORDS>"
    )
    pool = f"<VM_POOL>{''.join(f'<VM>{each}</VM>' for each in (*bad, good))}</VM_POOL>"
    found = list(policies(parse(pool.encode(), "pool", OpenNebulaError)))
    assert [isinstance(each, AddonError) for each in found] == [True, True, True, False]
    assert "VM 7: " in str(found[1])
    (last,) = found[3:]
    assert isinstance(last, VmPolicy) and (last.id, last.has_volumes, last.context_disk_id) == (8, True, -1)
    assert not last._replace(state=6).has_volumes and not last._replace(datastore_id=-1).has_volumes


def test_only_entries_that_are_ours_by_name_and_tag() -> None:
    odd: list[Any] = [
        None, 7, "x", [], {}, entry(7), entry("one-img-7", None), entry("one-img-7", {"nloc": ["one"]}),
        entry("one-img-7", OURS, None), entry("two-img-7"), entry("one-img-7", {"nloc": "two"}),
        entry("oneximg-7"), entry("*one-img-7"),
    ]  # fmt: skip
    (found,) = targets([*odd, entry("one-img-7")], Config())
    assert found == Target("one-img-7", "~d.n.1", OURS)
    snapshots = targets([entry("one-img-7"), entry("one-img-7-snap0")], Config(), snapshots=True)
    assert [each.name for each in snapshots] == ["one-img-7-snap0"]


@pytest.mark.parametrize(
    ("name", "tags", "snapshot", "expected"),
    [
        ("one-img-7", {}, False, (None, 7)),
        ("one-img-7", {"nvm": "42"}, False, (42, 7)),
        ("one-img-7", {"nvm": "../42"}, False, (None, 7)),
        ("one-img-7-42-0", {"nvm": "43"}, False, (42, None)),
        ("one-sys-42-NVRAM", {}, False, (42, None)),
        ("one-img-7-snap0", {"nvm": "42"}, True, (None, 7)),
        ("one-img-7-42-0-snap1", {}, True, (42, None)),
        ("one-img-7x", {}, False, (None, None)),
        ("one-ds-7", {}, False, (None, None)),
    ],
)
def test_who_has_a_say(
    name: str, tags: dict[str, str], snapshot: bool, expected: tuple[int | None, int | None]
) -> None:
    assert owners(Config(), Target(name, name, tags, snapshot)) == expected


def message(document: str, kind: str = "vm") -> bytes:
    """Standard input of the hook."""
    return f"{kind} ".encode() + b64encode(document.encode())


def test_messages_of_hooks() -> None:
    parameter = "<PARAMETER><POSITION>2</POSITION><TYPE>IN</TYPE><VALUE>%s</VALUE></PARAMETER>"
    answer = "<PARAMETER><POSITION>2</POSITION><TYPE>OUT</TYPE><VALUE>9</VALUE></PARAMETER>"
    info = "<CALL_INFO><RESULT>1</RESULT><PARAMETERS>%s</PARAMETERS></CALL_INFO>"
    good = info % (answer + parameter % 42)
    assert ApiCall.parse(message(good)) == ApiCall("vm", 42, True)
    assert ApiCall.parse(message(good, "image")).kind == "image"
    assert not ApiCall.parse(message(good.replace("<RESULT>1", "<RESULT>0"))).succeeded
    # oned writes what users sent into the message as it came: it ends its own parameter, and adds more.
    forged = parameter % 42 + parameter.replace(">2<", ">3<") % "A" + parameter % 7 + "<RESULT>0</RESULT>"
    assert ApiCall.parse(message(info % forged)) == ApiCall("vm", 42, True)
    for wrong in (b"", b"vm", b"vm ", b"vm $API", b"host " + message(good)[3:], message(good)[3:],
                  message("<VM/>"), message(info % answer), message(info % (parameter % "4;2")),
                  message('<!DOCTYPE a [<!ENTITY b "c">]>' + good)):  # fmt: skip
        with pytest.raises(UsageError):
            ApiCall.parse(wrong)
