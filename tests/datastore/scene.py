"""What the tests of datastore actions share: images of each kind, and a look at what became of them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

from storpool_addon.lab.command import Command, Result, StepFailed
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.objects import Image
from tests import programs

# 6 MiB of disk: data, a long hole, an island of one byte, and an end that is no whole sector.
DISK = random.Random(5).randbytes(700_000) + bytes(3 << 20) + b"x" + bytes(2 << 20) + b"the end"


def convert(directory: Path, name: str, content: bytes = DISK, options: str = "") -> bytes:
    """The content as an image file of a format."""
    raw, image = directory / "raw", directory / f"image.{name}"
    raw.write_bytes(content)
    words = ["-o", options] if options else []
    programs.run("qemu-img", "convert", "-f", "raw", "-O", name, *words, str(raw), str(image))
    return image.read_bytes()


def put(lab: Lab, content: bytes, path: str = "/var/tmp/image", mode: int = 0o644) -> str:
    """A file of the front-end in a place that users may import from; its path."""
    lab.hosts.frontend.write(path, content, mode)
    return path


def use(lab: Lab, bridges: str = "", **attributes: str) -> None:
    """Let the image datastore work through these hosts, and have these attributes."""
    lab.oned.datastores[101].attributes.update({"BRIDGE_LIST": bridges, **attributes})


def prepare(lab: Lab, path: str, size_mib: int = 8, **attributes: str) -> Image:
    """An image of oned's that waits for `cp`."""
    image = lab.images.allocate(lab.oned.datastores[101], "OS", False, size_mib)
    image.path = path
    image.attributes.update(attributes)
    return image


def cp(lab: Lab, image: Image) -> Command:
    """The command that fills the image."""
    return next(lab.images.fill(image))


def fails(lab: Lab, command: Command) -> str:
    """Run a command that must fail as expected; the line that the user reads."""
    result = lab.run(command)
    assert result.exit_code == 1, result
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def refused(lab: Lab, path: str, **attributes: str) -> str:
    """The line that a user reads when an import must fail; nothing is left of it."""
    line = fails(lab, cp(lab, prepare(lab, path, **attributes)))
    assert nothing_is_left(lab), line
    return line


def nothing_is_left(lab: Lab) -> bool:
    """Whether there are no volumes, snapshots and attachments, and no staged files on any host."""
    objects = [lab.storpool(query) for query in ("VolumesList", "SnapshotsList", "AttachmentsList")]
    hosts = [lab.hosts.frontend, *lab.hosts.nodes.values()]
    staged = [found for host in hosts for found in Path(host.path("/var/tmp")).glob("storpool-*")]
    return not any(objects) and not staged


def is_whole(lab: Lab, image: Image, content: bytes, size_mib: int, **tags: str) -> None:
    """Assert that the image's volume is exactly what an import makes of the content, and at rest."""
    (volume,) = lab.storpool(f"Volume/one-img-{image.id}")
    assert volume["size"] == size_mib << 20
    assert volume["templateName"] == "one-ds-101"
    wanted: Mapping[str, str] = {"virt": "one", "nloc": "one", "qc": "", **tags}
    assert {key: value for key, value in volume["tags"].items() if value} == {
        key: value for key, value in wanted.items() if value
    }
    assert lab.storpool("AttachmentsList") == []
    found = lab.read_volume(f"one-img-{image.id}")
    assert found[: len(content)] == content
    assert not found[len(content) :].strip(b"\0")


def answer(result: Result) -> str:
    """What a command that must succeed printed."""
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


__all__ = ["DISK", "StepFailed", "answer", "convert", "cp", "fails", "is_whole", "nothing_is_left", "prepare"]
__all__ += ["put", "refused", "use"]
