"""Images, datastores, hosts, and the documents of the datastore and VMM drivers."""

from __future__ import annotations

import pytest

from storpool_addon.errors import UsageError
from storpool_addon.opennebula import xml
from storpool_addon.opennebula.action import DatastoreAction, VmmAction
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.host import Host
from storpool_addon.opennebula.image import Image
from storpool_addon.opennebula.states import DatastoreType, HostState, ImageState, ImageType
from tests.opennebula.documents import DATA, document

DATASTORE_DOCUMENTS = sorted(path.name for path in DATA.glob("ds_*.xml"))


def action(name: str) -> DatastoreAction:
    return DatastoreAction.parse(document(name))


def datastore(template: str, rest: str = "") -> Datastore:
    node = xml.parse(f"<DATASTORE><ID>101</ID>{rest}<TEMPLATE>{template}</TEMPLATE></DATASTORE>".encode())
    return Datastore.from_node(node)


@pytest.mark.parametrize("name", DATASTORE_DOCUMENTS)
def test_base64_is_what_oned_sends_and_says_the_same(name: str) -> None:
    assert action(name + ".b64") == action(name)


def test_cp() -> None:
    image = action("ds_cp.xml").the_image
    assert (image.id, image.uid, image.gid, image.name) == (10, 2, 1, "ubuntu-24.04")
    assert image.path == "https://marketplace.opennebula.io//appliance/abc/download/0"
    assert (image.source, image.format, image.fs, image.size_mib) == ("", "", "", 2252)
    assert image.type is ImageType.OS
    assert image.state is ImageState.LOCKED
    assert (image.persistent, image.is_save_as) == (False, False)
    assert (image.cloning_id, image.target_snapshot, image.datastore_id) == (-1, -1, 101)
    assert (image.md5, image.sha1) == ("9e107d9d372bb6826bd81d3542a419d6", "")
    assert image.attribute("FROM_APP") == "57"
    assert (image.vms, image.snapshots) == ((), ())


def test_datastore_of_cp() -> None:
    found = action("ds_cp.xml").datastore
    assert (found.id, found.name, found.ds_mad, found.tm_mad) == (101, "sp-images", "storpool", "storpool")
    assert found.type is DatastoreType.IMAGE
    assert not found.is_system
    assert found.base_path == "/var/lib/one/datastores/101"
    assert found.images == (7, 8, 9)
    assert found.bridge_list == ("node1", "node2", "node3")
    assert found.attribute("SP_API_HTTP_HOST") == "10.0.0.10"
    assert found.attribute("SP_AUTH_TOKEN") == ""


@pytest.mark.parametrize(
    ("name", "image_id", "path", "size_mib", "image_format", "fs"),
    [
        ("ds_mkfs.xml", 13, "", 51200, "raw", "ext4"),
        ("ds_mkfs_saveas.xml", 14, "", 20480, "save_as", ""),
        ("ds_clone.xml", 12, "one-ds-101/one-img-7", 10240, "raw", ""),
        ("ds_rm.xml", 7, "https://x/y", 10240, "raw", ""),
    ],
)
def test_image_of_an_action(
    name: str, image_id: int, path: str, size_mib: int, image_format: str, fs: str
) -> None:
    image = action(name).the_image
    assert (image.format, image.fs) == (image_format, fs)
    assert (image.id, image.path, image.size_mib) == (image_id, path, size_mib)


def test_clone_knows_its_origin() -> None:
    found = action("ds_clone.xml")
    assert found.the_image.cloning_id == 7


def test_save_as() -> None:
    image = action("ds_mkfs_saveas.xml").the_image
    assert image.is_save_as
    assert (image.attribute("SAVED_VM_ID"), image.attribute("SAVED_DISK_ID")) == ("42", "0")


@pytest.mark.parametrize("name", ["ds_snap_delete.xml", "ds_snap_revert.xml", "ds_snap_flatten.xml"])
def test_snapshots_of_an_image(name: str) -> None:
    image = action(name).the_image
    assert image.source == "one-ds-101/one-img-8"
    assert [(each.id, each.name, each.active) for each in image.snapshots] == [
        (0, "before-upgrade", False),
        (1, "nightly", True),
    ]
    assert image.target_snapshot in (0, 1)


def test_stat_asks_about_an_image_that_is_not_there_yet() -> None:
    image = action("ds_stat.xml").the_image
    assert (image.id, image.path, image.size_mib) == (-1, "https://h/a?x=1&y=2", 0)


def test_monitor_has_no_image() -> None:
    found = action("ds_monitor_image.xml")
    assert (found.image, found.monitor_vm_disks) == (None, False)
    with pytest.raises(UsageError, match="standard input has no IMAGE"):
        _ = found.the_image


def test_monitor_of_a_system_datastore() -> None:
    found = action("ds_monitor_system.xml")
    assert found.datastore.is_system
    assert found.datastore.bridge_list == ()
    assert found.monitor_vm_disks


def test_vmm_action() -> None:
    found = VmmAction.parse(document("vmm_migrate.xml"))
    vm, system = found.of(42)
    assert (vm.id, system.id) == (42, 100)
    with pytest.raises(UsageError, match="is not about VM 43"):
        found.of(43)


@pytest.mark.parametrize("parse", [DatastoreAction.parse, VmmAction.parse])
def test_wrong_document_is_named(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(UsageError, match="standard input holds a VM, not a"):
        parse(document("vm_running.xml"))


def test_datastore_that_is_missing_in_a_document() -> None:
    with pytest.raises(UsageError, match="has no DATASTORE"):
        DatastoreAction.parse(b"<DS_DRIVER_ACTION_DATA><IMAGE/></DS_DRIVER_ACTION_DATA>")


def test_token_of_a_datastore_is_in_no_text_about_it() -> None:
    found = datastore("<SP_AUTH_TOKEN>s3cret</SP_AUTH_TOKEN>")
    assert found.attribute("SP_AUTH_TOKEN") == "s3cret"
    assert "s3cret" not in f"{found} {found!r} {found.attributes}"


@pytest.mark.parametrize(
    ("token", "encrypted"),
    [
        ("1556129910218014736", False),
        ("0123456789abcdef" * 4, False),
        ("", False),
        ("Nq0vWlG5yQ3r8s1Zb7KxUw5h2pLmTfEaJdHcR9iOoB0=", True),
        ("Nq0vWlG5yQ3r8s1Zb7KxUw5h2pLmTfEaJdHcR9iOoB0", False),
        ("gHs9aK2LmN0pQrStUvWxYw==", True),
    ],
)
def test_a_token_as_oned_stores_it_is_told_from_a_plain_one(token: str, encrypted: bool) -> None:
    text = f"<DATASTORE><ID>1</ID><TEMPLATE><SP_AUTH_TOKEN>{token}</SP_AUTH_TOKEN></TEMPLATE></DATASTORE>"
    assert Datastore.from_node(xml.parse(text.encode())).is_encrypted("SP_AUTH_TOKEN") is encrypted


@pytest.mark.parametrize("path", ["relative", "/var/../etc", "/a\nb"])
def test_base_path_that_cannot_be(path: str) -> None:
    with pytest.raises(UsageError, match="datastore 101: BASE_PATH"):
        datastore("", f"<BASE_PATH>{path}</BASE_PATH>")


def test_kinds_of_images() -> None:
    node = xml.parse(
        b"<IMAGE><ID>3</ID><TYPE>1</TYPE><PERSISTENT>1</PERSISTENT><STATE>8</STATE><VMS><ID>4</ID><ID>5</ID></VMS>"
        b"<TEMPLATE><PERSISTENT_TYPE>shareable</PERSISTENT_TYPE>"
        b"<NO_DECOMPRESS>yes</NO_DECOMPRESS><SHA1>AB</SHA1></TEMPLATE></IMAGE>"
    )
    image = Image.from_node(node)
    assert (image.type, image.persistent) == (ImageType.CDROM, True)
    assert (image.vms, image.no_decompress, image.sha1) == ((4, 5), True, "ab")
    assert image.state is ImageState.USED_PERS


def test_error_in_an_image_names_it() -> None:
    with pytest.raises(UsageError, match="image 3: SIZE is '9223372036854775808'"):
        Image.from_node(xml.parse(b"<IMAGE><ID>3</ID><SIZE>9223372036854775808</SIZE></IMAGE>"))


def test_host() -> None:
    host = Host.from_node(xml.parse(document("host.xml")))
    assert (host.id, host.name, host.client_id, host.hostname, host.cluster_id) == (
        1,
        "node1",
        11,
        "node1",
        0,
    )
    assert host.state is HostState.MONITORED
    assert host.is_on
    assert host.vms == (42,)


@pytest.mark.parametrize(
    ("text", "client_id"), [("", None), ("eleven", None), ("1 2", None), ("-1", None), ("4095", 4095)]
)
def test_client_id_of_a_host(text: str, client_id: int | None) -> None:
    node = xml.parse(f"<HOST><ID>1</ID><TEMPLATE><SP_OURID>{text}</SP_OURID></TEMPLATE></HOST>".encode())
    assert Host.from_node(node).client_id == client_id


@pytest.mark.parametrize(
    ("state", "on"), [(0, False), (1, True), (2, True), (3, False), (5, False), (8, False), (99, False)]
)
def test_host_that_answers(state: int, on: bool) -> None:
    assert Host.from_node(xml.parse(f"<HOST><ID>1</ID><STATE>{state}</STATE></HOST>".encode())).is_on is on
