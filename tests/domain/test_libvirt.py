"""What libvirt says to everything that tweaks make: its schema, and the driver that would start the domain.

Guests are of type kvm for libvirt, and the emulator is the lab's; needs root.
"""

from __future__ import annotations

import os
import re

import pytest
from lxml import etree

from storpool_addon.lab.lab import Lab
from storpool_addon.lab.libvirtd import EMULATOR, URI, kind
from tests.domain import golden

SCHEMA = "/usr/share/libvirt/schemas/domain.rng"
DIRECTORY = "/var/lib/one/domains"


def made() -> dict[str, str]:
    """Base domains, and what tweaks make of them, by names for files."""
    bases = sorted(path.name for path in golden.BASES.iterdir())
    return {
        **{f"untouched-{base}": golden.document(base) for base in bases},
        **{f"{case.tweak}-{case.name}": case.made() for case in golden.cases()},
        **{f"all-together-{base}": golden.all_together(base) for base in bases},
    }


@pytest.mark.skipif(not os.path.exists(SCHEMA), reason="libvirt's schemas are not installed")
def test_every_domain_is_valid() -> None:
    """As `virt-xml-validate` has libxml2 compare them, but with the schema read once."""
    schema = etree.RelaxNG(file=SCHEMA)
    wrong = {name: schema.error_log for name, text in made().items() if not schema(etree.fromstring(text))}
    assert wrong == {}


@pytest.mark.xdist_group("libvirt")
def test_every_domain_is_defined(libvirt_lab: Lab) -> None:
    if kind() != "kvm":
        pytest.skip("libvirt refuses guests of type kvm here: /dev/kvm cannot be opened")
    node = libvirt_lab.hosts.nodes["node1"]
    commands = []
    for name, text in made().items():
        ours = re.sub("<emulator>.*?</emulator>", f"<emulator>{EMULATOR}</emulator>", text)
        node.write(f"{DIRECTORY}/{name}.xml", ours)
        commands += [f"define {DIRECTORY}/{name}.xml", f"undefine --keep-nvram {domain_name(text)}"]
    node.write(f"{DIRECTORY}/commands", "\n".join(commands))
    done = node.run(f"virsh -c {URI} < {DIRECTORY}/commands 2>&1")
    defined = re.findall(rf"defined from {DIRECTORY}/(.*)\.xml", done.stdout)
    assert defined == list(made()), re.findall("error: .*", done.stdout)


def domain_name(text: str) -> str:
    found = re.search("<name>(.*?)</name>", text)
    assert found
    return found[1]
