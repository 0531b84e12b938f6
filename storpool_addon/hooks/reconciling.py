"""Brings the policies of volumes in line with what OpenNebula says: of all, of one VM's, of one image's.

The lists of everything only say where to look: what is written is decided by the object and its owner as they
are at that moment, so that a run that takes minutes undoes nothing that was done meanwhile.

Each cluster has a thread of its own. Whoever does not answer once is not asked again in that run: that would
cost a deadline for each volume.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Callable

from storpool_addon import names
from storpool_addon.errors import (
    AddonError,
    OpenNebulaUnreachable,
    StateError,
    StorPoolRefused,
    StorPoolUnreachable,
)
from storpool_addon.monitoring.policies import (
    POLICY,
    Cloud,
    Drift,
    Target,
    drift,
    is_ours,
    owners,
    targets,
    volumes_of,
)
from storpool_addon.monitoring.sidebyside import Task, carry_out
from storpool_addon.opennebula.policy import VmPolicy, policies
from storpool_addon.opennebula.vm import TM_MAD
from storpool_addon.volumes import is_absent

if TYPE_CHECKING:
    from storpool_addon.driver import Driver
    from storpool_addon.opennebula.datastore import Datastore
    from storpool_addon.opennebula.image import Image
    from storpool_addon.storpool import Api

LOCK = "policies"


class Reconciler:
    """One run. say: is told each change. act: else nothing is written. changed, troubles: so far.

    tags: how many tags were other than they should be, by `volume` or `snapshot` and the tag.
    """

    def __init__(self, driver: Driver, say: Callable[[str], None], *, act: bool = True) -> None:
        self._driver = driver
        self._say = say
        self.act = act
        self._alone = threading.Lock()
        # Those that did not answer: APIs, and None for oned.
        self._silent: set[Api | None] = set()
        self.changed = 0
        self.tags: dict[tuple[str, str], int] = {}
        # Each once, in the order in which they came.
        self.troubles: dict[str, None] = {}

    def everything(self) -> None:
        """All volumes, and snapshots of images, of all this driver's datastores."""
        cloud = Cloud(self._driver.config, self._datastores, self._vms(), self._images())
        carry_out(self._task(cloud, api, ids) for api, ids in self._clusters())

    def vm(self, vm_id: int) -> None:
        """The volumes of a VM."""
        vm = self._vm(vm_id)
        for datastore_id, name in volumes_of(self._driver.config, vm):
            self._settle_in(datastore_id, Target(name, name, {}))

    def image(self, image_id: int) -> None:
        """An image and its snapshots."""
        image = self._image(image_id)
        name = names.image(self._driver.config.one_px, image_id)
        self._settle_in(image.datastore_id, Target(name, name, {}))
        for each in image.snapshots:
            snapshot = names.disk_snapshot(name, each.id)
            self._settle_in(image.datastore_id, Target(snapshot, snapshot, {}, snapshot=True))

    def finish(self) -> None:
        """StateError when something could not be looked at or changed; all else was."""
        if self.troubles:
            first = next(iter(self.troubles))
            raise StateError(f"policies of some volumes could not be set ({len(self.troubles)}): {first}")

    # --- what there is ---

    @cached_property
    def _datastores(self) -> Mapping[int, Datastore]:
        return {each.id: each for each in self._good(self._driver.one.datastore_pool())}

    def _vms(self) -> dict[int, VmPolicy]:
        pages = self._driver.one.vm_pages()
        return {each.id: each for page in pages for each in self._good(policies(page))}

    def _images(self) -> dict[int, Image]:
        return {each.id: each for each in self._good(self._driver.one.image_pool())}

    def _good(self, found: Iterable[Any]) -> Iterator[Any]:
        """What could be read; the rest is a trouble."""
        for each in found:
            if isinstance(each, AddonError):
                self._trouble(str(each))
            else:
                yield each

    def _clusters(self) -> list[tuple[Api, set[int]]]:
        """The APIs of this driver's datastores, each with theirs."""
        found: dict[int, tuple[Api, set[int]]] = {}
        for each in self._datastores.values():
            if each.tm_mad != TM_MAD:
                continue
            try:
                api = self._driver.storpool(each)
            except AddonError as error:
                self._trouble(f"datastore {each.id}: {error}")
            else:
                found.setdefault(id(api), (api, set()))[1].add(each.id)
        return list(found.values())

    def _task(self, cloud: Cloud, api: Api, ids: Collection[int]) -> Task:
        def trouble(text: str) -> None:
            self._trouble(f"the cluster of datastores {', '.join(map(str, sorted(ids)))}: {text}")

        return Task(partial(self._cluster, cloud, api, ids), trouble)

    def _cluster(self, cloud: Cloud, api: Api, ids: Collection[int]) -> None:
        """Look where its lists say; at its snapshots too when an image has any."""

        def read(entries: Iterable[Any], snapshots: bool) -> list[Target]:
            every = targets(entries, cloud.config, snapshots=snapshots)
            return [each for each in every if self._differs(cloud, each, ids)]

        for target in api.read_volumes_list(lambda entries: read(entries, False)):
            self._settle(api, target, ids)
        some = any(each.snapshots for each in cloud.images.values() if each.datastore_id in ids)
        if some and not self._silent & {api, None}:
            for target in api.read_snapshots_list(lambda entries: read(entries, True)):
                self._settle(api, target, ids)

    def _differs(self, cloud: Cloud, target: Target, ids: Collection[int]) -> bool:
        try:
            found = drift(cloud, target)
        except AddonError as error:
            self._trouble(str(error))
            return False
        return found is not None and found.wish.datastore_id in ids

    # --- one object ---

    def _settle_in(self, datastore_id: int, target: Target) -> None:
        datastore = self._datastores.get(datastore_id)
        if datastore is None or datastore.tm_mad != TM_MAD:
            return
        try:
            api = self._driver.storpool(datastore)
        except AddonError as error:
            self._trouble(f"datastore {datastore_id}: {error}")
        else:
            self._settle(api, target, (datastore_id,))

    def _settle(self, api: Api, target: Target, ids: Collection[int]) -> None:
        """Look at the target and its owner once more, and write what differs; gone meanwhile is done."""
        if self._silent & {api, None}:
            return
        try:
            there = self._now(api, target)
            found = drift(self._about(there), there) if there else None
            if found is not None and found.wish.datastore_id in ids:
                with self._alone:
                    self._say(str(found))
                    self._count(found)
                if self.act:
                    self._write(api, found, ids)
        except AddonError as error:
            if not (isinstance(error, StorPoolRefused) and is_absent(error)):
                self._trouble(f"{target.name}: {error}")
            if isinstance(error, (StorPoolUnreachable, OpenNebulaUnreachable)):
                self._silent.add(api if isinstance(error, StorPoolUnreachable) else None)

    def _count(self, found: Drift) -> None:
        self.changed += 1
        for tag in found.changes:
            key = ("snapshot" if found.target.snapshot else "volume", tag)
            self.tags[key] = self.tags.get(key, 0) + 1

    def _now(self, api: Api, target: Target) -> Target | None:
        """The target as it is, None when it is not ours any more."""
        if target.snapshot:
            snapshot = api.snapshot(target.name)
            found = Target(snapshot.name, target.name, snapshot.tags, snapshot=True)
        else:
            volume = api.volume(target.reference)
            found = Target(volume.name, f"~{volume.global_id}", volume.tags)
        return found if is_ours(self._driver.config, found) else None

    def _about(self, target: Target) -> Cloud:
        """Who may have a say in the target's policies, asked anew."""
        vm_id, image_id = owners(self._driver.config, target)
        vms = {} if vm_id is None else {vm_id: self._vm(vm_id)}
        images = {} if image_id is None else {image_id: self._image(image_id)}
        return Cloud(self._driver.config, self._datastores, vms, images)

    def _vm(self, vm_id: int) -> VmPolicy:
        with self._alone:
            self._driver.one.forget("vm", vm_id)
            return VmPolicy.parse(self._driver.one.vm_document(vm_id))

    def _image(self, image_id: int) -> Image:
        with self._alone:
            self._driver.one.forget("image", image_id)
            return self._driver.one.image(image_id)

    def _write(self, api: Api, found: Drift, ids: Collection[int]) -> None:
        target, user = found.target, self._driver.config.vm_tag
        if target.snapshot:
            api.snapshot_update(target.name, tags=found.changes)
            return
        api.volume_update(target.reference, tags=found.changes)
        if POLICY in found.changes and not target.name.startswith(f"{self._driver.config.one_px}-sys-"):
            # A VM may have given its image back just now: what nobody has must not keep that VM's policy.
            now = api.volume(target.reference)
            if now.tags.get(user, "") != target.tags.get(user, ""):
                if not now.tags.get(user, ""):
                    api.volume_update(target.reference, tags={POLICY: ""})
                self._settle(api, target, ids)

    def _trouble(self, text: str) -> None:
        self.troubles[text] = None
