"""The domain of a VM, as OpenNebula writes it for libvirt (LibVirtDriverKVM.cc of 7.4): several `<devices>`,
tabs, and the VM's RAW text at the end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape, quoteattr

from storpool_addon.lab.libvirtd import EMULATOR, kind
from storpool_addon.lab.machine import Vm

QEMU, ONE = "http://libvirt.org/schemas/domain/qemu/1.0", "http://opennebula.org/xmlns/libvirt/1.0"
FIRMWARE = {"BIOS": "", "UEFI": "/usr/share/OVMF/OVMF_CODE_4M.fd"}
VARIABLES = "OVMF_VARS_4M.fd"


def domain(vm: Vm, uuid: str) -> str:
    """The deployment file of a VM.

    Of its template: CPU, VCPU, MEMORY (MiB), OS, CPU_MODEL, FEATURES, TPM, RAW.
    """
    machine = _vector(vm, "OS").get("MACHINE", "")
    lines = [
        f"<domain type='{kind()}' xmlns:qemu='{QEMU}'>",
        f"\t<name>one-{vm.id}</name>",
        f"\t<uuid>{uuid}</uuid>",
        f"\t<vcpu>{_text(vm, 'VCPU', '1')}</vcpu>",
        f"\t<cputune>\n\t\t<shares>{int(1024 * float(_text(vm, 'CPU', '1')))}</shares>\n\t</cputune>",
        f"\t<memory>{int(_text(vm, 'MEMORY', '128')) << 10}</memory>",
        *_system(vm, machine),
        *_processor(_vector(vm, "CPU_MODEL")),
        "\t<devices>",
        f"\t\t<emulator>{EMULATOR}</emulator>",
        *(line for disk_id, disk in vm.disks.items() for line in _disk(disk, f"{vm.home}/disk.{disk_id}")),
        *_context(vm),
        *_tpm(_vector(vm, "TPM")),
        "\t</devices>",
        "\t<features>\n\t\t<acpi/>\n\t</features>",
        *_more_devices(vm),
        f"\t{raw}" if (raw := _vector(vm, "RAW").get("DATA", "")) else "",
        *_metadata(vm),
        "</domain>",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _text(vm: Vm, name: str, default: str) -> str:
    value = vm.attributes.get(name, default)
    assert isinstance(value, str)
    return value


def _vector(vm: Vm, name: str) -> Mapping[str, str]:
    value = vm.attributes.get(name, {})
    assert isinstance(value, Mapping)
    return value


def _system(vm: Vm, machine: str) -> Iterator[str]:
    system = _vector(vm, "OS")
    loader = system.get("FIRMWARE", "BIOS")
    yield "\t<os>"
    yield f"\t\t<type arch='x86_64'{f' machine={quoteattr(machine)}' if machine else ''}>hvm</type>"
    for name, tag in (("KERNEL", "kernel"), ("INITRD", "initrd"), ("KERNEL_CMD", "cmdline")):
        if name in system:
            yield f"\t\t<{tag}>{escape(system[name])}</{tag}>"
    if path := FIRMWARE.get(loader, loader):
        secure = "yes" if system.get("FIRMWARE_SECURE", "").upper() == "YES" else "no"
        yield f'\t\t<loader readonly="yes" type="pflash" secure="{secure}">{path}</loader>'
        yield f"\t\t<nvram>{vm.home}/{VARIABLES}</nvram>"
    if "BOOT" not in system:
        yield "\t\t<boot dev='hd'/>"
    yield "\t</os>"


def _processor(model: Mapping[str, str]) -> Iterator[str]:
    if "MODEL" not in model:
        return
    if model["MODEL"] == "host-passthrough":
        yield "\t<cpu mode='host-passthrough'>\n\t</cpu>"
    else:
        yield "\t<cpu mode='custom' match='exact'>"
        yield f"\t\t<model fallback='forbid'>{model['MODEL']}</model>\n\t</cpu>"


def _disk(disk: Mapping[str, str], path: str) -> Iterator[str]:
    is_cd = disk["TYPE"] in ("CDROM", "BLOCK_CDROM")
    block = disk.get("DISK_TYPE") == "BLOCK"
    target = disk["TARGET"]
    yield f"\t\t<disk type='{'block' if block else 'file'}' device='{'cdrom' if is_cd else 'disk'}'>"
    yield f"\t\t\t<source {'dev' if block else 'file'}='{path}'/>"
    yield f"\t\t\t<target dev='{target}'{_bus(target)}/>"
    if "ORDER" in disk:
        yield f"\t\t\t<boot order='{disk['ORDER']}'/>"
    for name in ("READONLY", "SHAREABLE"):
        if disk.get(name) == "YES":
            yield f"\t\t\t<{name.lower()}/>"
    options = {"cache": disk.get("CACHE", "none"), "io": disk.get("IO"), "discard": disk.get("DISCARD")}
    words = "".join(f" {name}='{text}'" for name, text in options.items() if text)
    yield f"\t\t\t<driver name='qemu' type='{disk['DRIVER']}'{words}/>"
    yield from _address(target)
    yield "\t\t</disk>"


def _bus(target: str) -> str:
    return f" bus='{ {'vd': 'virtio', 'sd': 'scsi', 'hd': 'ide'}[target[:2]] }'"


def _address(target: str) -> Iterator[str]:
    if target.startswith("sd"):
        number = ord(target[2]) - ord("a")
        yield f"\t\t\t<address type='drive' controller='0' bus='0' target='{number}' unit='0'/>"


def _context(vm: Vm) -> Iterator[str]:
    """The context is a file for oned, unless its system datastore says otherwise."""
    if vm.context is None:
        return
    target = vm.context["TARGET"]
    block = vm.here.system.attributes.get("CONTEXT_DISK_TYPE") == "BLOCK"
    path = f"{vm.home}/disk.{vm.context['DISK_ID']}"
    yield f"\t\t<disk type='{'block' if block else 'file'}' device='cdrom'>"
    yield f"\t\t\t<source {'dev' if block else 'file'}='{path}'/>"
    yield f"\t\t\t<target dev='{target}'{_bus(target)}/>"
    yield "\t\t\t<readonly/>"
    yield "\t\t\t<driver name='qemu' type='raw'/>"
    yield from _address(target)
    yield "\t\t</disk>"


def _tpm(tpm: Mapping[str, str]) -> Iterator[str]:
    if "MODEL" in tpm:
        yield f"\t\t<tpm model='{tpm['MODEL']}'><backend type='emulator' version='2.0'/></tpm>"


def _more_devices(vm: Vm) -> Iterator[str]:
    agent = _vector(vm, "FEATURES").get("GUEST_AGENT", "").upper() == "YES"
    if agent:
        yield "\t<devices>\n\t\t<channel type='unix'>"
        yield "\t\t\t<source mode='bind'/><target type='virtio' name='org.qemu.guest_agent.0'/>"
        yield "\t\t</channel>\n\t</devices>"
    yield "\t<devices>\n\t\t<controller type='scsi' index='0' model='virtio-scsi'/>\n\t</devices>"


def _metadata(vm: Vm) -> Iterator[str]:
    yield f'\t<metadata>\n\t\t<one:vm xmlns:one="{ONE}">'
    yield f"\t\t\t<one:system_datastore>{vm.home}</one:system_datastore>"
    yield f"\t\t\t<one:name>{escape(vm.name)}</one:name>"
    yield "\t\t\t<one:uname>alice</one:uname>\n\t\t\t<one:uid>2</one:uid>"
    yield "\t\t\t<one:gname>users</one:gname>\n\t\t\t<one:gid>1</one:gid>"
    yield "\t\t\t<one:stime>1769000900</one:stime>"
    yield f"\t\t\t<one:deployment_time>{int(time.time())}</one:deployment_time>"
    yield "\t\t</one:vm>\n\t</metadata>"
