from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from storpool_addon import qos, tags
from storpool_addon.config import Config, files
from storpool_addon.errors import ConfigError
from storpool_addon.opennebula.vm import Vm


def vm(**attributes: str) -> Vm:
    inside = "".join(f"<{name}><![CDATA[{text}]]></{name}>" for name, text in attributes.items())
    return Vm.parse(f"<VM><ID>42</ID><USER_TEMPLATE>{inside}</USER_TEMPLATE></VM>".encode())


def asking(qosclass: str = "") -> SimpleNamespace:
    return SimpleNamespace(id=1, attributes={"SP_QOSCLASS": qosclass} if qosclass else {})


def configured(tmp_path: Path, text: str) -> Config:
    (tmp_path / "rc").write_text(text)
    return files.read((str(tmp_path / "rc"),), {})


def test_disk_of_a_vm() -> None:
    assert tags.vm_disk(Config(), vm(VC_POLICY="gold"), type="NPERS", qc="fast", disk_id=0) == {
        "virt": "one",
        "nloc": "one",
        "nvm": "42",
        "vc-policy": "gold",
        "qc": "fast",
        "type": "NPERS",
        "diskid": "0",
    }


def test_vm_without_policy_leaves_the_tag_alone() -> None:
    assert "vc-policy" not in tags.vm_disk(Config(), vm(VC_POLICY="  "), type="VOL", qc="", disk_id=3)


def test_volume_that_is_no_disk_has_no_disk_id() -> None:
    assert "diskid" not in tags.vm_disk(Config(), vm(), type="NVRAM", qc="")


def test_blanks_are_dropped() -> None:
    found = tags.vm_disk(Config(), vm(VC_POLICY=" go ld\n"), type="VOL", qc=" a b ")
    assert (found["vc-policy"], found["qc"]) == ("gold", "ab")


@pytest.mark.parametrize("text", ["a;b", "a,b", "é", "$(x)", "a'b", "a/b"])
def test_value_that_storpool_would_not_take(text: str) -> None:
    with pytest.raises(ConfigError, match="tag vc-policy cannot be"):
        tags.vm_disk(Config(), vm(VC_POLICY=text), type="VOL", qc="")
    with pytest.raises(ConfigError, match="tag qc cannot be"):
        tags.image(Config(), text)


def test_image_has_a_class_even_if_it_is_empty() -> None:
    assert tags.image(Config(), "") == {"virt": "one", "nloc": "one", "qc": ""}


def test_released_image_is_nobodys() -> None:
    assert tags.released(Config(), "slow") == {
        "nvm": "",
        "vc-policy": "",
        "type": "",
        "diskid": "",
        "qc": "slow",
    }


def test_deleted_volume_stays_recognisable():
    before = {"virt": "one", "nloc": "one", "nvm": "42", "type": "NPERS", "diskid": "0"}
    policies = {"qc": "tier1", "vc-policy": "gold"}
    kept = tags.deleted(Config(), "one-img-7-42-0", {**before, **policies})
    assert kept == {**before, "deleted": "one-img-7-42-0"}


def test_group_snapshot() -> None:
    assert tags.group_snapshot(Config(), 42) == {"virt": "one", "nloc": "one", "nvm": "42"}


def test_keys_of_the_site(tmp_path: Path) -> None:
    config = configured(tmp_path, "VM_TAG=vmid\nLOC_TAG=owner\nLOC_TAG_VAL=cloud-2\nONE_PX=two\n")
    found = tags.vm_disk(config, vm(), type="VOL", qc="")
    assert (found["vmid"], found["owner"]) == ("42", "cloud-2")
    assert not {"nvm", "nloc"} & set(found)
    assert tags.released(config, "")["vmid"] == ""


LIST = "vmclass;2:two;4:four"


@pytest.mark.parametrize(
    ("text", "vm_class", "disks"),
    [
        ("", "", {}),
        ("gold", "gold", {}),
        (LIST, "vmclass", {2: "two", 4: "four"}),
        ("2:two;vmclass", "vmclass", {2: "two"}),
        (" gold ; 2 : two ;", "gold", {2: "two"}),
        ("a;b", "b", {}),
        ("0:zero;0:again", "", {0: "again"}),
        ("3:", "", {}),
        (";;;", "", {}),
        ("7", "7", {}),
    ],
)
def test_list_of_classes(text: str, vm_class: str, disks: dict[int, str]) -> None:
    assert qos.read("".join(text.split())) == (vm_class, disks)
    assert qos.resolve(Config(), ("vm",), vm=asking(text)) == vm_class


@pytest.mark.parametrize("text", ["a:b", "x:1", "1:a:b", "-1:a", "gold!", "a,b", "é", "'x'", "1:$(x)"])
def test_class_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError, match=r"SP_QOSCLASS of VM 42: .* is not a class"):
        qos.resolve(Config(), qos.VM_FIRST, vm=vm(SP_QOSCLASS=text), disk_id=0)


# What each asks for; a row removes those that have been tried, and the next one counts.
ASKING = {
    "disk": "vm-disk",
    "image": "image",
    "vm": "vm",
    "system": "system",
    "datastore": "datastore",
    "default": "default",
}


@pytest.mark.parametrize(
    ("order", "ranking"),
    [
        (qos.VM_FIRST, ["disk", "vm", "system", "default"]),
        (qos.IMAGE_FIRST, ["disk", "image", "vm", "system", "datastore", "default"]),
        (qos.VM_ONLY, ["vm", "system", "default"]),
        (qos.IMAGE_ONLY, ["image", "datastore", "default"]),
        (qos.DATASTORE_ONLY, ["datastore", "default"]),
        (qos.DEFAULT_ONLY, ["default"]),
    ],
)
def test_order(tmp_path: Path, order: tuple[str, ...], ranking: list[str]) -> None:
    asked = dict(ASKING)
    for whose in ranking:
        config = configured(tmp_path, f"DEFAULT_QOSCLASS={asked['default']}\n")
        listed = ";".join(filter(None, [asked["vm"], asked["disk"] and f"3:{asked['disk']}"]))
        found = qos.resolve(
            config,
            order,
            vm=asking(listed),
            disk_id=3,
            image=asking(asked["image"]),
            system=asking(asked["system"]),
            datastore=asking(asked["datastore"]),
        )
        assert found == ASKING[whose]
        asked[whose] = ""
    assert qos.resolve(Config(), order) == ""


def test_entry_of_another_disk_does_not_count() -> None:
    assert qos.of_disk(Config(), asking("2:two"), 3, asking("sys")) == "sys"
    assert qos.of_disk(Config(), asking("2:two"), 2, asking("sys")) == "two"


def test_disk_entry_does_not_count_for_what_is_no_disk() -> None:
    assert qos.of_vm(Config(), asking("2:two"), asking("sys")) == "sys"


def test_image() -> None:
    assert qos.of_image(Config(), asking(), asking("ds")) == "ds"
    assert qos.of_image(Config(), asking("img"), asking("ds")) == "img"
