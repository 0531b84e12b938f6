"""Writes docs/tweaks.md from the tweaks, when it is run as a module; and explains one of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from storpool_addon.config.document import table
from storpool_addon.domain.tweak import Tweak
from storpool_addon.domain.tweaking import BUILT_IN, MIGRATE, load

_HEAD = """\
# Tweaks of domains

This page is written by `python -m storpool_addon.domain.manual` from the modules in
`storpool_addon/domain/tweaks/`.

oned writes a domain for libvirt; tweaks change it before the VM starts (`deploy-tweaks`) or while it
migrates (`migrate-tweaks`). The domain is read once, all tweaks that are switched on change it in the order
of their names (but `resizeCpuMem` first), and it is written once. A tweak that fails stops the deployment,
and the error names it. A tweak that is repeated changes nothing more.

A tweak is switched on by an executable of its name, with `.py` or without, in `deploy-tweaks.d/` or
`migrate-tweaks.d/` in `remotes/vmm/kvm/` on the front-end, whatever the file holds; or by its name in
`DEPLOY_TWEAKS` or `MIGRATE_TWEAKS` of the configuration. An executable of another name is the site's own:
it is run with two arguments, the files of the domain and of the VM, and changes the first.

`storpool-addon tweaks list` shows what is switched on, `tweaks explain NAME` what is said here of one, and
`tweaks apply vm.xml domain.xml` what would change, without deploying: `vm.xml` is what `onevm show -x`
prints, and `domain.xml` is the newest `/var/lib/one/vms/<id>/deployment.*` on the front-end.

Attributes are those of the VM's user template; `docs/configuration.md` says where site defaults come from.
Users write that template: what is not theirs to set belongs into oned's `VM_RESTRICTED_ATTR`. A value that
is not allowed stops the deployment with a line that names VM, attribute and what is allowed.
"""


def manual() -> str:
    """docs/tweaks.md."""
    parts = [_HEAD]
    for title, names in (("At the start of a VM", BUILT_IN), ("On a live migration", MIGRATE)):
        parts.append(f"\n## {title}\n")
        parts += [f"\n### {name}\n\n{_entry(load(name))}" for name in names]
    return "".join(parts)


def explained(tweak: Tweak) -> Iterator[str]:
    """Lines for a terminal."""
    yield tweak.name
    yield f"  {tweak.doc}"
    yield f"  Change: {tweak.change}"
    for key in tweak.keys:
        yield ""
        yield f"  {key.name}  {key.doc}"
        yield f"    default: {key.default or 'empty'}"
        yield f"    allowed: {key.allowed}"
        yield f"    set by: {' or '.join(_setters(key.in_files, key.scopes))}"


def write(project: str) -> None:
    """Write the page below `project`."""
    with open(os.path.join(project, "docs/tweaks.md"), "w", encoding="utf-8") as stream:
        stream.write(manual())


def _entry(tweak: Tweak) -> str:
    text = f"{tweak.doc}\n\nChange: {tweak.change}\n"
    return f"{text}\n{table(tweak.keys)}" if tweak.keys else text


def _setters(in_files: bool, scopes: Sequence[str]) -> list[str]:
    return [*(["the site's files"] if in_files else []), *(f"the {each}" for each in scopes)]


if __name__ == "__main__":
    write(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
