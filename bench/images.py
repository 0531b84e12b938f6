"""Measures imports of large images against `qemu-img convert` alone, in the same run."""

from __future__ import annotations

import os
import random
import shutil
import statistics
from collections.abc import Sequence
from typing import Callable, NamedTuple

from bench import picture
from bench.limits import IMPORT_RATIO
from bench.rows import Row
from bench.world import World
from storpool_addon.lab.command import Command

ROUNDS = 3
MIB, GIB = 1 << 20, 1 << 30
PIECE = 16 * MIB


class Image(NamedTuple):
    """A raw image: data in `pieces` of 16 MiB, spread evenly over its size, holes between them."""

    name: str
    size: int
    pieces: int

    @property
    def row_name(self) -> str:
        """As the table and the results have it."""
        return f"import/{self.name}"

    @property
    def path(self) -> str:
        """Where it lies on the front-end."""
        return f"/var/tmp/{self.name}.raw"

    def write(self, path: str) -> None:
        """Make the file."""
        data = random.Random(self.name).randbytes(PIECE)
        with open(path, "wb") as file:
            for number in range(self.pieces):
                file.seek(number * (self.size // self.pieces))
                file.write(data)
            file.truncate(self.size)


IMAGES = (Image("sparse-10GiB", 10 * GIB, 64), Image("dense-2GiB", 2 * GIB, 128))


def measure(
    world: World, images: Sequence[Image], say: Callable[[str], None], rounds: int = ROUNDS
) -> list[Row]:
    """One row for each image; none where qemu-img is not installed."""
    qemu_img = shutil.which("qemu-img")
    if qemu_img is None:
        say("no qemu-img here: imports are not measured")
        return []
    return [_measured(world, qemu_img, image, rounds, say) for image in images]


def _measured(world: World, qemu_img: str, image: Image, rounds: int, say: Callable[[str], None]) -> Row:
    source = world.lab.hosts.frontend.path(image.path)
    image.write(source)
    steps = world.lab.images.create(world.lab.oned.datastores[101], path=image.path)
    command = world.lab.until(steps, "cp")
    ours_ms, qemu_img_ms = [], []
    for number in range(rounds):
        say(f"import of {image.name}, round {number + 1} of {rounds}")
        ours_ms.append(_import(world, image, command))
        qemu_img_ms.append(_convert(world, qemu_img, image))
    os.unlink(source)
    return row(image.row_name, statistics.median(ours_ms), statistics.median(qemu_img_ms))


def row(name: str, ours_ms: float, qemu_img_ms: float) -> Row:
    """ours_ms, qemu_img_ms: medians. ratio: 1 when both are equally fast, more when we are faster."""
    ratio = qemu_img_ms / ours_ms
    times: dict[str, float] = {"median_ms": round(ours_ms, 1), "qemu_img_ms": round(qemu_img_ms, 1)}
    over = ("ratio",) if ratio < IMPORT_RATIO else ()
    return Row({"name": name, **times, "ratio": round(ratio, 2)}, over)


def _settle(world: World, image: Image) -> None:
    """Let both begin alike: the disk at rest, the source and room for the target in memory.

    A virtual machine whose free memory went back to its host gets it again page by page, which can take
    longer than the copy itself; so as much as the target needs is used and freed at the last moment.
    """
    os.sync()
    zeros = bytes(PIECE)
    path = world.lab.hosts.frontend.path("/var/tmp/room.raw")
    with open(path, "wb") as file:
        for _ in range(image.pieces):
            file.write(zeros)
    os.unlink(path)


def _import(world: World, image: Image, command: Command) -> float:
    before = picture.take(world.lab)
    _settle(world, image)
    taken_ms = world.script(command).ms
    picture.restore(world.lab, before)
    return taken_ms


def _convert(world: World, qemu_img: str, image: Image) -> float:
    target = f"{image.path}.target"
    path = world.lab.hosts.frontend.path(target)
    with open(path, "wb") as file:
        file.truncate(image.size)
    _settle(world, image)
    # "-t writeback" has it end with a flush, as our import does.
    options = ["-n", "--target-is-zero", "-t", "writeback", "-f", "raw", "-O", "raw"]
    try:
        return world.measure([qemu_img, "convert", *options, image.path, target]).ms
    finally:
        os.unlink(path)
