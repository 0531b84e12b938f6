"""Which StorPool client a host is: who is asked, in which order, and what is said when nobody knows."""

from __future__ import annotations

import os

import pytest

from storpool_addon.lab.lab import Lab
from tests.sweep import scene
from tests.tm import cloud

# As StorPool's: the host's own values, or with -s those of another host's section; of the file alone.
CONFGET = r"""#!/bin/bash
section=
[ "$1" = -s ] && section=$2
awk -v wanted="$section" '
    /^\[/ { now = substr($0, 2, length($0) - 2); next }
    now == wanted { print }
' /etc/storpool.conf
"""


def section(host: str, client: int) -> str:
    return f"[{host}]\nSP_OURID={client}\n"


class Site:
    """A cloud in which nobody knows which client node1 is, until a test says so; node2 is client 12."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        host, port, token = lab.simulator.endpoint
        self.endpoint = f"SP_API_HTTP_HOST={host}\nSP_API_HTTP_PORT={port}\nSP_AUTH_TOKEN={token}\n"
        for each in ("frontend", "node1", "node2"):
            self.write(each, "")
        self.node = lab.oned.host("node1")
        self.node.client_id = None
        lab.give_image()
        self.command = scene.upto(lab.vms.deploy(lab.vms.create(lab.oned.images[7]), "node1"), "clone")
        lab.simulator.set_client(20, "running", "another")

    def write(self, host: str, text: str) -> None:
        """The host's storpool.conf; the front-end's has the API's address as well."""
        address = self.endpoint if host == "frontend" else ""
        cloud.at(self.lab, host).write("/etc/storpool.conf", address + text, 0o644)

    def install_confget(self) -> None:
        path = os.path.join(self.lab.directory, "hostbin", "storpool_confget")
        with open(path, "w") as file:
            file.write(CONFGET)
        os.chmod(path, 0o755)

    def client(self) -> int:
        """The client to which the disk is attached in the end."""
        cloud.succeeds(self.lab, self.command)
        (attachment,) = self.lab.storpool("AttachmentsList")
        return int(attachment["client"])


@pytest.fixture
def site(lab: Lab) -> Site:
    return Site(lab)


def test_nobody_knows(site: Site) -> None:
    line = cloud.refused(site.lab, site.command)
    assert "the StorPool client id of host node1 is not known" in line
    assert "asked LOCAL, ONEHOST, FROMHOST, HOSTHOSTNAME" in line and "onehost update node1" in line


def test_the_front_ends_own_file(site: Site) -> None:
    site.write("frontend", section("node1", 11))
    assert site.client() == 11


def test_the_file_under_the_full_name(site: Site) -> None:
    site.write("frontend", section("node1.example.org", 11))
    site.lab.configure(COMMON_DOMAIN="example.org")
    assert site.client() == 11


def test_opennebulas_record_of_the_host(site: Site) -> None:
    site.node.client_id = 11
    assert site.client() == 11


def test_the_name_that_the_host_gives_itself(site: Site) -> None:
    site.node.attributes["HOSTNAME"] = "node1.internal"
    site.write("frontend", section("node1.internal", 11))
    assert site.client() == 11


def test_the_host_itself(site: Site) -> None:
    site.install_confget()
    site.write("node1", "SP_OURID=11\n")
    assert site.client() == 11


@pytest.mark.parametrize("name", ["node1", "node1.example.org"])
def test_a_bridge(site: Site, name: str) -> None:
    site.install_confget()
    site.lab.configure(COMMON_DOMAIN="example.org")
    site.lab.oned.datastores[101].attributes["BRIDGE_LIST"] = "node3 node2"
    site.write("node2", "SP_OURID=12\n" + section(name, 11))
    assert site.client() == 11


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("", "LOCAL"),
        ("ONEHOST LOCAL", "ONEHOST"),
        ("FROMHOST", "FROMHOST"),
        ("HOSTHOSTNAME", "HOSTHOSTNAME"),
        ("BRIDGELIST LOCAL", "LOCAL"),
    ],
)
def test_the_order_is_the_sites(site: Site, order: str, first: str) -> None:
    """Every source knows an id, and only that of the first is right."""
    site.install_confget()
    said = {name: 11 if name == first else 20 for name in ("LOCAL", "ONEHOST", "FROMHOST", "HOSTHOSTNAME")}
    site.node.attributes["HOSTNAME"] = "internal"
    site.write("frontend", section("node1", said["LOCAL"]) + section("internal", said["HOSTHOSTNAME"]))
    site.node.client_id = said["ONEHOST"]
    site.write("node1", f"SP_OURID={said['FROMHOST']}\n")
    if order:
        site.lab.configure(STORPOOL_CLIENT_ID_SOURCES=order)
    assert site.client() == 11


def test_an_unknown_source_is_a_mistake(site: Site) -> None:
    site.lab.configure(STORPOOL_CLIENT_ID_SOURCES="LOCAL GUESS")
    assert "STORPOOL_CLIENT_ID_SOURCES" in cloud.refused(site.lab, site.command)


@pytest.mark.parametrize("text", ["0", "x", "-1", "11 12", ""])
def test_what_is_no_client_id(site: Site, text: str) -> None:
    """A section that says nonsense is named; it is not passed over for the next source."""
    site.write("frontend", f"[node1]\nSP_OURID={text}\n")
    line = cloud.refused(site.lab, site.command)
    assert "SP_OURID" in line


def test_a_host_is_looked_up_once_and_by_its_id(site: Site) -> None:
    """Not in the pool of all hosts: the VM's history has the host's id."""
    site.node.client_id = 11
    result = cloud.succeeds(site.lab, site.command)
    asked = [call.what for call in result.calls if "host" in call.what]
    assert asked == [f"one.host.info {site.node.id}"]


def test_nothing_is_made_for_a_host_that_nobody_knows(site: Site) -> None:
    result = site.lab.run(site.command)
    assert "api" not in cloud.kinds(result)


def test_a_client_that_storpool_does_not_know(site: Site) -> None:
    site.node.client_id = 99
    line = cloud.refused(site.lab, site.command)
    assert "one-img-7-42-0" in line and "No such client" in line
