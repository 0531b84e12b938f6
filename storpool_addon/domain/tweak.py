"""What a tweak of a domain is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from storpool_addon.config import Config
from storpool_addon.config.key import Key
from storpool_addon.domain.document import Domain
from storpool_addon.opennebula.vm import Vm

if TYPE_CHECKING:
    from storpool_addon.config.key import Numbered


class Tweak(NamedTuple):
    """A tweak; each module of `domain.tweaks` has one, named TWEAK.

    name: as people know it, without `.py`. doc: what it is for, in one sentence. change: what exactly it
    changes and when, in Markdown. keys: all that it reads of the configuration and of the VM's attributes.
    apply: changes the domain; has no other effect, and gives the same when it is repeated.
    config: with what the VM overrides.
    """

    name: str
    doc: str
    change: str
    keys: tuple[Key[Any] | Numbered[Any], ...]
    apply: Callable[[Domain, Vm, Config], None]
