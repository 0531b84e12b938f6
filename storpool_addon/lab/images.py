"""What people do with images and datastores, as the scripts that oned runs for it."""

from __future__ import annotations

from storpool_addon.lab import objects
from storpool_addon.lab.command import Command, StepFailed, Steps, datastore_command
from storpool_addon.lab.documents import element
from storpool_addon.lab.objects import Datastore, Image, action_data, stat_request
from storpool_addon.lab.oned import Oned


class Images:
    """Each method gives the scripts one after the other; Lab.do runs them."""

    def __init__(self, oned: Oned) -> None:
        self._oned = oned

    def create(
        self,
        datastore: Datastore,
        *,
        path: str = "",
        size_mib: int = 0,
        type: str = "OS",
        persistent: bool = False,
        fs: str = "",
        **attributes: str,
    ) -> Steps[Image]:
        """`oneimage create`: with a path `stat` and `cp`, without one `mkfs` of size_mib."""
        if path:
            request = action_data(datastore, stat_request(path, self._oned.version))
            answer = yield self._command(datastore, "stat", 0, request)
            size_mib = int(answer.stdout)
        image = self.allocate(datastore, type, persistent, size_mib)
        image.path, image.fs = path, fs
        image.attributes.update(attributes)
        image.format = "" if path else "raw"
        yield from self.fill(image)
        return image

    def fill(self, image: Image) -> Steps[None]:
        """The part of `create` that makes the data; oned calls it again when a person asks for a retry."""
        action = "cp" if image.path else "mkfs"
        command = self._command(image.datastore, action, image.id, self._document(image))
        answer = yield from self._tried(image, command)
        words = answer.split()
        image.source, image.state = words[0], objects.READY
        image.format = words[1] if len(words) > 1 else image.format

    def clone(self, image: Image, datastore: Datastore | None = None) -> Steps[Image]:
        """`oneimage clone`, into the same datastore or another."""
        target = datastore or image.datastore
        copy = self.allocate(target, image.type, image.persistent, image.size_mib)
        copy.path, copy.cloning_id, copy.format = image.source, image.id, image.format
        bridges = image.datastore.attributes.get("BRIDGE_LIST")
        extra = element("SOURCE_BRIDGE_LIST", bridges) if bridges and target is not image.datastore else ""
        # oned does not decrypt the datastore for this one action.
        document = action_data(target, copy.document(self._oned.version), extra, decrypt=False)
        answer = yield from self._tried(copy, self._command(target, "clone", copy.id, document))
        copy.source, copy.state, copy.cloning_id, copy.path = answer.split()[0], objects.READY, -1, ""
        return copy

    def delete(self, image: Image) -> Steps[None]:
        """`oneimage delete`."""
        image.state = objects.DELETE
        if image.source:
            yield from self._tried(
                image, self._command(image.datastore, "rm", image.id, self._document(image))
            )
        image.datastore.images.discard(image.id)
        del self._oned.images[image.id]

    def monitor(self, datastore: Datastore) -> Steps[None]:
        """The periodic `monitor` of a datastore; a system datastore's is its transfer manager's."""
        if datastore.system:
            extra = element("DATASTORE_LOCATION", objects.LOCATION) + element("MONITOR_VM_DISKS", 1)
            command = datastore_command(
                datastore.tm_mad, "monitor", datastore.id, action_data(datastore, extra=extra)
            )
            answer = yield command._replace(script=f"tm/{datastore.tm_mad}/monitor")
        else:
            answer = yield self._command(datastore, "monitor", datastore.id, action_data(datastore))
        values = dict(line.split("=") for line in answer.stdout.split())
        datastore.total_mb, datastore.used_mb = int(values["TOTAL_MB"]), int(values["USED_MB"])
        datastore.free_mb = int(values["FREE_MB"])

    def _tried(self, image: Image, command: Command) -> Steps[str]:
        try:
            result = yield command
        except StepFailed:
            image.state = objects.ERROR
            raise
        return result.stdout

    def allocate(self, datastore: Datastore, type: str, persistent: bool, size_mib: int) -> Image:
        """A new image in oned's pool, without data yet."""
        number = next(self._oned.next_image)
        image = Image(
            number, f"image-{number}", datastore, type=type, persistent=persistent, size_mib=size_mib
        )
        self._oned.images[number] = image
        datastore.images.add(number)
        return image

    def _document(self, image: Image) -> str:
        return action_data(image.datastore, image.document(self._oned.version))

    def _command(self, datastore: Datastore, action: str, number: int, document: str) -> Command:
        return datastore_command(datastore.ds_mad, action, number, document)
