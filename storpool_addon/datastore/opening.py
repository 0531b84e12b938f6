"""An image's PATH turned into a stream of bytes on the front-end."""

from __future__ import annotations

import base64
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, NamedTuple

from storpool_addon.config import Config
from storpool_addon.datastore import backupurl, fetch, source, sparse
from storpool_addon.datastore.fetch import Digests, Stream
from storpool_addon.errors import StateError

if TYPE_CHECKING:
    from storpool_addon.driver import Driver

COMMAND_TIMEOUT_S = 24 * 3600.0
READ_TIMEOUT_S = 60.0
# A backup's increments are put together on its server before the first byte comes: all of the disk is read.
BACKUP_PATIENCE_S = 12 * 3600.0
# The size goes before the content, so that the stream's length is known.
_CAT = 'set -eu; stat -Lc %s -- "$1"; exec cat -- "$1"\n'
_READ_AT = 'set -eu; tail -c "+$2" -- "$1" | head -c "$3" | base64 -w 0\n'
_SIZE = 'exec stat -Lc %s -- "$1"\n'
# The document goes through standard input: no argument list shows the keys that are in it.
_DOWNLOAD = 'set -eu; DRV_ACTION=$(cat); export DRV_ACTION; exec "$@"\n'


class Wanted(NamedTuple):
    """What is to be read. decompress: give what is inside a compressed file. marketplace: of the app that is
    imported; its s3 keys are there."""

    path: str
    config: Config
    digests: Digests = Digests()
    decompress: bool = True
    marketplace: Mapping[str, str] = {}


class Opened(NamedTuple):
    """An image that is being read.

    stream: its content, unpacked, and digested while it is read. certain: the stream's length is its true
    one. digested: a digest is checked, so the stream must be read to its end. fd: of a local file that holds
    just these bytes. url: of a server's file that does so too, and that qemu-img may read for us because
    nothing is to be digested or limited.
    """

    stream: Stream
    name: str
    certain: bool
    digested: bool
    fd: int | None
    url: str


class _Begun(NamedTuple):
    blocks: Iterator[bytes]
    length: int | None = None
    fd: int | None = None
    url: str = ""


def open_image(driver: Driver, wanted: Wanted, stack: ExitStack) -> Opened:
    """Begin to read an image; `stack` ends the reading."""
    wanted.digests.check_form()
    limit = fetch.rate(wanted.config.limit_transfer_bw)
    begun = _begin(driver, wanted, stack)
    name = source.shown(wanted.path)
    checked = wanted.digests.checked(begun.blocks, name)
    head, blocks = fetch.peeked(checked if begun.fd is not None else fetch.limited(checked, limit))
    stream = Stream(blocks, begun.length, head)
    inside = fetch.unpacked(stream) if wanted.decompress else stream
    same = inside is stream
    digested = any(wanted.digests)
    return Opened(
        stream=inside,
        name=name,
        certain=same and begun.length is not None,
        digested=digested,
        fd=begun.fd if same else None,
        url=begun.url if same and not limit and not digested else "",
    )


def open_file(driver: Driver, config: Config, path: str) -> int:
    """A descriptor of a local file, if users may import it."""
    home, location = driver.environ.get("HOME", ""), driver.environ.get("ONE_LOCATION", "")
    # OpenNebula's own directories hold keys and passwords: they are restricted whatever is configured.
    own = [f"{location}/var", f"{location}/etc"] if location else ["/var/lib/one", "/etc/one"]
    restricted = [*own, *([home] if home else []), *config.restricted_dirs]
    return source.open_file(path, config.safe_dirs, restricted)


def ssh_command(driver: Driver, where: source.Ssh, script: str, *args: str) -> list[str]:
    """The argument list that runs `script` where the file is, which is "$1" there."""
    shell = driver.hosts.on(where.host)
    argv = shell.command(script, where.path, *args, timeout_s=COMMAND_TIMEOUT_S)
    return [argv[0], "-l", where.user, *argv[1:]] if where.user else argv


def ssh_read_at(driver: Driver, where: source.Ssh, offset: int, size: int) -> bytes:
    """Bytes from the middle of a file on another host."""
    argv = ssh_command(driver, where, _READ_AT, str(offset + 1), str(size))
    what = f"reading {where.path} on {where.host}"
    return base64.b64decode(driver.processes.run(argv, what=what, timeout_s=READ_TIMEOUT_S))


def ssh_size(driver: Driver, where: source.Ssh) -> int:
    """Bytes of a file on another host."""
    what = f"looking at {where.path} on {where.host}"
    return int(driver.processes.run(ssh_command(driver, where, _SIZE), what=what, timeout_s=READ_TIMEOUT_S))


def downloaded(driver: Driver, wanted: Wanted, url: str) -> Generator[bytes, None, None]:
    """What OpenNebula's downloader.sh fetches, as it is: decompression and digests are ours.

    StateError when that is nothing: downloader.sh has been seen to end well with an empty answer where the
    backup could not be read (OpenNebula/one, 7187).
    """
    what = f"downloading {source.shown(url)}"
    blocks = _fetched(driver, wanted, url, what)
    with closing(blocks):
        first = next(blocks, b"")
        if not first:
            raise StateError(f"{what} failed: nothing came; look at OpenNebula's log of its datastore")
        yield first
        yield from blocks


def _fetched(driver: Driver, wanted: Wanted, url: str, what: str) -> Generator[bytes, None, None]:
    exact = backupurl.exact(url)
    command = [f"{driver.remotes}/datastore/downloader.sh", "--nodecomp", exact, "-"]
    argv = ["bash", "-c", _DOWNLOAD, "storpool-addon", *command]
    document = base64.b64encode(_marketplace(wanted.marketplace))
    first_s = BACKUP_PATIENCE_S if backupurl.is_of_backup(url) else 0.0
    return fetch.of_command(driver.processes, argv, what, document, first_s=first_s)


def _begin(driver: Driver, wanted: Wanted, stack: ExitStack) -> _Begun:
    where = source.classify(wanted.path)
    if isinstance(where, source.Web):
        # With it comes all of HTTP and TLS, which an image that is a file has no use for.
        from storpool_addon.datastore.web import Web

        web = stack.enter_context(Web(where.url, driver.environ, driver.log))
        length, blocks = web.open()
        return _Begun(stack.enter_context(closing(blocks)), length, url=where.url)
    if isinstance(where, source.File):
        fd = open_file(driver, wanted.config, where.path)
        stack.callback(os.close, fd)
        return _Begun(sparse.blocks_of(fd), os.lseek(fd, 0, os.SEEK_END), fd)
    if isinstance(where, source.Ssh):
        what = f"reading {where.path} on {where.host}"
        blocks = fetch.of_command(driver.processes, ssh_command(driver, where, _CAT), what)
        return _sized(stack.enter_context(closing(blocks)), what)
    return _Begun(stack.enter_context(closing(downloaded(driver, wanted, where.url))))


def _sized(blocks: Iterator[bytes], what: str) -> _Begun:
    """A stream whose first line is its length."""
    begin = b""
    for block in blocks:
        begin += block
        if b"\n" in begin:
            break
    line, _, rest = begin.partition(b"\n")
    if not line.isdigit():
        raise StateError(f"{what} failed: the host did not say its size")
    return _Begun(fetch.prepended(rest, blocks), int(line))


def _marketplace(attributes: Mapping[str, str]) -> bytes:
    """The part of oned's document that downloader.sh looks into; our token is in another."""
    from xml.sax.saxutils import escape

    inner = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in attributes.items())
    action = f"<MARKETPLACE><TEMPLATE>{inner}</TEMPLATE></MARKETPLACE>"
    return f"<DS_DRIVER_ACTION_DATA>{action}</DS_DRIVER_ACTION_DATA>".encode()
