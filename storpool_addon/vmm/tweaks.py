"""The tweaks that a site has switched on: ours in this process, others as the programs that they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.config import KEYS
from storpool_addon.config.shell import Reader
from storpool_addon.domain import tweaking
from storpool_addon.domain.document import Domain
from storpool_addon.domain.enabled import Enabled
from storpool_addon.errors import AddonError, ConfigError, TweakError
from storpool_addon.opennebula.datastore import TOKEN, Datastore
from storpool_addon.opennebula.vm import Vm
from storpool_addon.tm import scratch

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

_TIMEOUT_S = 60.0
# Where StorPool has its Python, in which tweaks of sites may be written.
_STORPOOL_PYTHON = "/opt/storpool/python3/bin"


class Subject(NamedTuple):
    """The VM whose domain it is. document: of the VM, as `onevm show -x` prints it."""

    vm: Vm
    system: Datastore
    document: bytes


def tweaked(driver: Driver, subject: Subject, domain: bytes, tweaks: Sequence[Enabled]) -> bytes:
    """The domain, changed by the tweaks in that order; TweakError names the one that failed.

    It is parsed once for each row of ours that no other tweak interrupts.
    """
    config = driver.config.for_datastore(subject.system).for_vm(subject.vm)
    for is_ours, some in groupby(tweaks, key=lambda each: not each.program):
        if is_ours:
            domain = tweaking.tweak(domain, subject.vm, config, [each.name for each in some])
        else:
            for each in some:
                domain = _run(driver, subject, domain, each)
    return domain


def _run(driver: Driver, subject: Subject, domain: bytes, tweak: Enabled) -> bytes:
    """Let a program rewrite the file that it is given, as the bash addon did."""
    with scratch.directory("tweak") as directory:
        paths = [os.path.join(directory, name) for name in ("domain.xml", "vm.xml")]
        for path, content in zip(paths, (domain, subject.document)):
            with open(path, "wb") as file:
                file.write(content)
        try:
            driver.processes.run(
                [tweak.program, *paths],
                what=f"it for VM {subject.vm.id}",
                timeout_s=_TIMEOUT_S,
                environ=_environment(driver),
            )
            with open(paths[0], "rb") as file:
                changed = file.read()
            Domain.parse(changed, f"what it made of VM {subject.vm.id}")
        except (AddonError, OSError) as error:
            raise TweakError(f"tweak {tweak.name}: {error}") from None
    return changed


def _environment(driver: Driver) -> Mapping[str, str]:
    """What such programs were always given: the site's settings, and those of OpenNebula's VM driver."""
    found = {name: text for name, text in driver.environ.items() if name != TOKEN}
    found.update(_kvmrc(driver))
    for name, key in KEYS.items():
        given = driver.config.given(name)
        text = given.text if given else key.default
        if text and name != TOKEN:
            found[name] = text
    if os.path.isdir(_STORPOOL_PYTHON):
        found["PATH"] = f"{_STORPOOL_PYTHON}:{found.get('PATH', '')}"
    return found


def _kvmrc(driver: Driver) -> dict[str, str]:
    path = f"{driver.remotes}/etc/vmm/kvm/kvmrc"
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        read = Reader(text, path, lambda name: driver.environ.get(name, "")).read()
        return {each.name: each.value for each in read}
    except FileNotFoundError:
        return {}
    except (OSError, ConfigError) as error:
        driver.log(f"{error}; tweaks that are programs go without it")
        return {}
