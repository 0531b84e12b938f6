"""Real block devices for attachments: loop devices over the data files. Needs root."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import grp
import os
import stat
import struct
from collections.abc import Mapping

from storpool_addon.simulator.openness import is_open
from storpool_addon.simulator.records import Attachment

# linux/loop.h
_CTL_GET_FREE = 0x4C82
_SET_FD = 0x4C00
_CLR_FD = 0x4C01
_SET_STATUS64 = 0x4C04
_GET_STATUS64 = 0x4C05
_SET_CAPACITY = 0x4C07
_INFO_SIZE = 232
_OFFSET = struct.Struct("Q")
_OFFSET_AT = 24
_MAJOR = 7


class Loops:
    """One loop device per attachment. detect_open: look for processes that use a device."""

    def __init__(self, *, detect_open: bool = True) -> None:
        self.detect_open = detect_open
        self.nodes: dict[str, str] = {}

    def open(self, attachment: Attachment, path: str) -> str:
        """The attachment's device, made now unless it exists."""
        node = self.nodes.get(attachment.key)
        if node is None:
            node = self.nodes[attachment.key] = _bind(path, read_only=attachment.rights == "ro")
        return node

    def resize(self, attachment: Attachment) -> None:
        """Let the device have its file's length."""
        node = self.nodes.get(attachment.key)
        if node:
            _control(node, _SET_CAPACITY)

    def close(self, attachment: Attachment) -> None:
        """Take the device away; who still has it open gets errors."""
        node = self.nodes.pop(attachment.key, None)
        if node:
            release(node)

    def recover(self, wanted: Mapping[str, str], nodes: Mapping[str, str], directory: str) -> None:
        """Go on with devices that a killed process left, so that who uses them never notices."""
        for node, path in bound(directory).items():
            key = next((key for key, each in nodes.items() if each == node), "")
            if wanted.get(key) == path:
                self.nodes[key] = node
            else:
                release(node)

    def is_open(self, attachment: Attachment, path: str) -> bool:
        """Whether a process has the device open."""
        node = self.nodes.get(attachment.key)
        return bool(node and self.detect_open and is_open(node))


def bound(directory: str) -> dict[str, str]:
    """Loop devices whose files are in this directory: node to file."""
    found = {}
    for each in glob.glob("/sys/block/loop*/loop/backing_file"):
        with contextlib.suppress(OSError), open(each) as source:
            path = source.read().strip()
            if os.path.dirname(path.replace(" (deleted)", "")) == directory:
                found[f"/dev/{each.split('/')[3]}"] = path
    return found


def release(node: str) -> None:
    """Unbind a loop device. One that is still open is cut off first: StorPool's forced detach."""
    _cut(node)
    _control(node, _CLR_FD)


def _bind(path: str, *, read_only: bool) -> str:
    backing = os.open(path, os.O_RDONLY if read_only else os.O_RDWR)
    try:
        while True:
            node = _free_node()
            try:
                _control(node, _SET_FD, backing, read_only=read_only)
                return node
            except OSError as error:
                if error.errno != errno.EBUSY:  # somebody else took it meanwhile
                    raise
    finally:
        os.close(backing)


def _free_node() -> str:
    control = os.open("/dev/loop-control", os.O_RDWR)
    try:
        number = fcntl.ioctl(control, _CTL_GET_FREE)
    finally:
        os.close(control)
    node = f"/dev/loop{number}"
    if not os.path.exists(node):
        os.mknod(node, 0o660 | stat.S_IFBLK, os.makedev(_MAJOR, number))
    with contextlib.suppress(KeyError):
        os.chown(node, 0, grp.getgrnam("disk").gr_gid)
    os.chmod(node, 0o660)
    return node


def _control(node: str, command: int, argument: int = 0, *, read_only: bool = True) -> None:
    descriptor = os.open(node, os.O_RDONLY if read_only else os.O_RDWR)
    try:
        fcntl.ioctl(descriptor, command, argument)
    except OSError as error:
        if error.errno != errno.ENXIO:  # not bound any more
            raise
    finally:
        os.close(descriptor)


def _cut(node: str) -> None:
    """Let the device begin behind the end of its file: it has no bytes left."""
    with contextlib.suppress(OSError):
        descriptor = os.open(node, os.O_RDWR)
        try:
            info = bytearray(fcntl.ioctl(descriptor, _GET_STATUS64, bytes(_INFO_SIZE)))
            _OFFSET.pack_into(info, _OFFSET_AT, 1 << 60)
            fcntl.ioctl(descriptor, _SET_STATUS64, bytes(info))
        finally:
            os.close(descriptor)
