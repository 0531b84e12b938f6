"""The lab's documents have the elements of OpenNebula's own, in their order and without white space."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from storpool_addon.lab.documents import cdata, template
from storpool_addon.lab.machine import Vm, Volatile, image_disk, volatile_disk
from storpool_addon.lab.machines import Machines
from storpool_addon.lab.objects import Image, action_data, stat_request
from storpool_addon.lab.oned import Oned

DATA = Path(__file__).parent.parent / "data" / "opennebula-xml"


def reference(name: str, path: str = ".") -> etree._Element:
    found = etree.parse(str(DATA / f"{name}.xml")).getroot().find(path)
    assert found is not None
    return found


def tags(element: etree._Element) -> list[str]:
    return [str(child.tag) for child in element]


def parsed(text: str) -> etree._Element:
    assert "\n" not in text
    assert "> <" not in text
    return etree.fromstring(text)


@pytest.fixture
def oned() -> Oned:
    oned = Oned("frontend", "/nowhere")
    oned.add_image_datastore()
    oned.add_system_datastore()
    oned.add_host("node1", 11)
    return oned


@pytest.fixture
def vm(oned: Oned) -> Vm:
    image = Image(7, "ubuntu", oned.datastores[101], size_mib=4, format="raw", source="one-ds-101/one-img-7")
    machines = Machines(oned, lambda path, text: None)
    vm = machines.create(image, Volatile(4), VC_POLICY="gold")
    next(machines.deploy(vm, "node1"))
    return vm


def test_the_documents_of_datastore_actions(oned: Oned) -> None:
    image = Image(10, "ubuntu", oned.datastores[101], path="https://h/a", size_mib=2252)
    document = parsed(action_data(oned.datastores[101], image.document("7.4")))
    assert tags(document) == tags(reference("ds_cp"))
    assert tags(document.find("IMAGE")) == tags(reference("ds_cp", "IMAGE"))
    assert tags(document.find("DATASTORE")) == tags(reference("ds_cp", "DATASTORE"))
    assert document.findtext("DATASTORE/BASE_PATH") == "/var/lib/one//datastores/101"


def test_stat_has_a_path_with_entities(oned: Oned) -> None:
    text = action_data(oned.datastores[101], stat_request("https://h/a?x=1&y=2", "7.4"))
    assert "<IMAGE><PATH>https://h/a?x=1&amp;y=2</PATH><SIZE></SIZE></IMAGE>" in text
    assert (
        "<SIZE>" not in action_data(oned.datastores[101], stat_request("/a", "6.10")).split("<DATASTORE>")[0]
    )


def test_what_is_new_in_7_is_not_in_6_10(oned: Oned, vm: Vm) -> None:
    image = Image(10, "ubuntu", oned.datastores[101])
    assert "<MODTIME>" in image.document("7.0")
    assert "<MODTIME>" not in image.document("6.10")
    assert "<PLAN_ID>" in vm.document("7.0")
    assert "<PLAN_ID>" not in vm.document("6.10")


def test_a_vm_and_its_disks(vm: Vm) -> None:
    document = parsed(vm.document("7.4"))
    # Snapshots are there only when there are some.
    assert tags(document) == [tag for tag in tags(reference("vm_running")) if tag != "SNAPSHOTS"]
    clone, volatile = document.findall("TEMPLATE/DISK")
    known = tags(reference("vm_running", "TEMPLATE/DISK[DISK_ID='0']"))
    assert [tag for tag in tags(clone) if tag not in known] == []
    assert volatile.find("CLONE") is None
    assert volatile.findtext("DATASTORE_ID") == "100"
    assert tags(document.find("HISTORY_RECORDS/HISTORY")) == tags(
        reference("vm_running", "HISTORY_RECORDS/HISTORY")
    )
    assert document.findtext("USER_TEMPLATE/VC_POLICY") == "gold"


def test_action_data_hold_the_last_history_record_only(oned: Oned, vm: Vm) -> None:
    vm.history.append(vm.history[0])
    assert vm.document("7.4").count("<HISTORY>") == 2
    assert vm.document("7.4", whole_history=False).count("<HISTORY>") == 1


def test_a_host(oned: Oned) -> None:
    document = parsed(oned.hosts[1].document())
    assert tags(document) == tags(reference("host"))
    assert document.findtext("TEMPLATE/SP_OURID") == "11"


@pytest.mark.parametrize(
    ("type", "persistent", "wanted"),
    [
        ("OS", False, {"CLONE": "YES", "SAVE": "NO", "READONLY": "NO", "TYPE": "BLOCK"}),
        ("OS", True, {"CLONE": "NO", "SAVE": "YES", "READONLY": "NO", "PERSISTENT": "YES"}),
        ("CDROM", False, {"CLONE": "NO", "SAVE": "NO", "READONLY": "YES", "TYPE": "CDROM"}),
    ],
)
def test_the_disk_of_an_image(oned: Oned, type: str, persistent: bool, wanted: dict[str, str]) -> None:
    disk = image_disk(28, Image(7, "x", oned.datastores[101], type=type, persistent=persistent))
    assert {name: disk[name] for name in wanted} == wanted
    assert disk["TARGET"] == disk["DEV_PREFIX"] + "ac"


def test_a_volatile_disk_has_nothing_of_an_image() -> None:
    disk = volatile_disk(0, Volatile(8, "fs", "ext4"))
    assert set(disk) & {"IMAGE", "SOURCE", "CLONE", "SAVE", "READONLY", "ORIGINAL_SIZE"} == set()
    assert disk["FS"] == "ext4"


def test_text_cannot_leave_its_element() -> None:
    assert etree.fromstring(cdata("A", "x]]><B/>")).text == "x]]><B/>"
    assert template("T", {"B": "2", "A": {"Y": "1", "X": "0"}}) == (
        "<T><A><X><![CDATA[0]]></X><Y><![CDATA[1]]></Y></A><B><![CDATA[2]]></B></T>"
    )


def test_encrypted_attributes_are_clear_only_where_oned_decrypts(oned: Oned) -> None:
    datastore = oned.add_image_datastore(102, SP_AUTH_TOKEN="secret")
    datastore.encrypted.add("SP_AUTH_TOKEN")
    assert "secret" in datastore.document()
    assert "secret" not in datastore.document(decrypt=False)
