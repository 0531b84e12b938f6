"""Marketplaces: an image becomes an app, as one_market and a market's `import` script do it."""

from __future__ import annotations

import base64
import itertools
import re
from typing import Callable, NamedTuple

from storpool_addon.lab.command import REMOTES, Command, Steps
from storpool_addon.lab.objects import Image, action_data
from storpool_addon.lab.oned import Oned

_ANSWER = re.compile(r"<(\w+)><!\[CDATA\[(.*?)\]\]></\1>")
ReadFile = Callable[[str, str], bytes]


class App(NamedTuple):
    """What a marketplace has got."""

    id: int
    content: bytes
    md5: str
    size_mib: int
    format: str


class Market:
    """A marketplace outside of the cloud. read: the bytes of a file on a host."""

    def __init__(self, oned: Oned, read: ReadFile) -> None:
        self._oned = oned
        self._read = read
        self._next_app = itertools.count(31)

    def create(self, image: Image) -> Steps[App]:
        """`onemarketapp create`: the image is exported, taken, and what was left for that is disposed of."""
        number = next(self._next_app)
        answer = yield self.export(image, number)
        told = dict(_ANSWER.findall(answer.stdout))
        content = self._read(*self._place(told["IMPORT_SOURCE"]))
        app = App(number, content, told["MD5"], int(told["SIZE"]), told["FORMAT"])
        if told["DISPOSE"] == "YES":
            yield disposal(told["DISPOSE_CMD"])
        return app

    def export(self, image: Image, app_id: int) -> Command:
        """As one_market starts the script: the app's id as argument, and nothing is decrypted."""
        document = action_data(image.datastore, image.document(self._oned.version), decrypt=False)
        return Command(
            f"datastore/{image.datastore.ds_mad}/export", (str(app_id),), base64.b64encode(document.encode())
        )

    def _place(self, source: str) -> tuple[str, str]:
        """Host and path, as downloader.sh reads them."""
        if not source.startswith("ssh://"):
            return self._oned.frontend, source
        host, _, path = source[len("ssh://") :].partition(":")
        return host, path


def disposal(line: str) -> Command:
    """DISPOSE_CMD as the market's script runs it: split at blanks, without quoting."""
    script, *words = line.split()
    assert script.startswith(f"{REMOTES}/"), script
    return Command(script[len(REMOTES) + 1 :], tuple(words))
