"""What `monitor` takes of what was collected, and what it says of what it does not take."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from storpool_addon.driver import Driver
from storpool_addon.errors import StateError
from storpool_addon.log import Log
from storpool_addon.monitoring import cache, kept
from storpool_addon.monitoring.cache import Part
from storpool_addon.monitoring.monitord import Monitord
from storpool_addon.storpool import Api, Endpoint

API = Api(Endpoint(("10.0.0.1",), token="12345678"))
TITLE = (cache.SPACE, kept.identity(API))
CONF = """
# NETWORK = [ PORT = 1 ]
NETWORK = [
    ADDRESS         = "0.0.0.0",
    MONITOR_ADDRESS = "auto",
    # PORT = 2,
    PORT    = %d, # PORT = 3, PUBKEY = "/nowhere#"
    PUBKEY  = "%s",
    PRIKEY  = "" # PORT = 4
]
"""


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    remotes = tmp_path / "var/remotes"
    remotes.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (remotes / "addon-storpoolrc").write_text(f"SP_FE_JSON_PATH={tmp_path}\n")
    return Driver({"ONE_LOCATION": str(tmp_path)}, Log("test", str(tmp_path / "log")))


def said(driver: Driver) -> str:
    """The log's only line since the last time."""
    log = Path(str(driver.log.file))
    (line,) = log.read_text().splitlines()
    log.unlink()
    return line


def test_stale_and_missing_are_said(driver: Driver, tmp_path: Path) -> None:
    assert "12345678" not in TITLE[1]
    assert kept.capacity(driver, API, "t") is None and not (tmp_path / "log").exists()
    fresh = Part.now(templates={"t": [9, 4, None, 1]})
    old, new = fresh._replace(asked=fresh.asked - 7200), fresh._replace(asked=fresh.asked + 7200)
    for part, words in (
        (old, "stale (120 minutes old)"),
        (new, "stale (from the future: a clock jumped)"),
    ):
        cache.write(str(tmp_path), {TITLE: part})
        assert kept.capacity(driver, API, "t") is None and words in said(driver)
        cache.write(str(tmp_path), {(cache.DISKS, "100"): part})
        kept.send_disks(driver, 100)
        assert f"on datastore 100 were not sent: what was collected is {words}" in said(driver)
    kept.send_disks(driver, 101)
    assert "nothing was collected; `storpool-addon collect` has to run" in said(driver)
    cache.write(str(tmp_path), {TITLE: fresh})
    found = kept.capacity(driver, API, "t")
    assert found is not None and (found.capacity, found.free, found.u2, found.u3) == (9, 4, None, 1)
    assert kept.held(found, False) == (5, 9, 4) and kept.held(found, True) == (4, 9, 5)
    assert kept.held(found._replace(free=-1), False) == (9, 9, 0)
    assert kept.held(found._replace(free=None), False) is None
    assert kept.capacity(driver, API, "another") is None
    (tmp_path / cache.NAME).chmod(0o662)
    assert kept.capacity(driver, API, "t") is None and "could be written by others" in said(driver)


def test_what_others_put_in_its_place(driver: Driver, tmp_path: Path) -> None:
    """Nobody waits for it, it is said, and the next round mends it."""
    path, fresh = tmp_path / cache.NAME, Part.now(templates={"t": [9, 4, None, 1]})

    def link(at: Path) -> None:
        at.symlink_to(tmp_path / "elsewhere")

    for put, words in ((os.mkfifo, "is not a file of this driver"), (link, "cannot be read"),
                       (os.mkdir, "is not a file of this driver")):  # fmt: skip
        for at in (path, Path(f"{path}.new")):
            put(at)
        assert kept.capacity(driver, API, "t") is None and words in said(driver)
        if put is os.mkdir:
            with pytest.raises(StateError, match="cannot be written: Is a directory"):
                cache.write(str(tmp_path), {TITLE: fresh})
            continue
        cache.write(str(tmp_path), {TITLE: fresh})
        assert kept.capacity(driver, API, "t") is not None and not (tmp_path / "elsewhere").exists()
        path.unlink()
    path.rmdir()
    Path(f"{path}.new").rmdir()
    cache.write(str(tmp_path), {TITLE: fresh._replace(asked=10**400)})
    assert kept.capacity(driver, API, "t") is None and "is not whole" in said(driver)


def test_monitord_is_found_and_its_key_counts(driver: Driver, tmp_path: Path) -> None:
    private, public = str(tmp_path / "private"), str(tmp_path / "public")
    for argv in (
        ["genrsa", "-out", private, "1024"],
        ["rsa", "-in", private, "-RSAPublicKey_out", "-out", public],
    ):
        subprocess.run(["openssl", *argv], check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (tmp_path / "etc/monitord.conf").write_text(CONF % (port, public))
        found = Monitord.configured(driver.config, driver.environ)
        assert found == Monitord("127.0.0.1", port, False, public)
        key = found.key()
        assert key is not None
        cache.write(str(tmp_path), {(cache.DISKS, "100"): Part.now(key="", messages=["x"])})
        kept.send_disks(driver, 100)
        assert "another key" in said(driver)
        for bad in (None, "x", [1]):
            cache.write(str(tmp_path), {(cache.DISKS, "100"): Part.now(key=key.id, messages=bad)})
            kept.send_disks(driver, 100)
            assert "has another shape" in said(driver)
        taken: list[bytes] = []
        thread = threading.Thread(target=take, args=(server, taken))
        thread.start()
        cache.write(str(tmp_path), {(cache.DISKS, "100"): Part.now(key=key.id, messages=["first", "second"])})
        kept.send_disks(driver, 100)
        thread.join(5)
        assert taken == [b"first\n", b"second\n"] and not (tmp_path / "log").exists()
        thread = threading.Thread(target=take, args=(server, taken))
        thread.start()
        Monitord("127.0.0.1", port, True, "").send(["too long for a datagram" * 3000, "short"])
        Monitord("127.0.0.1", port, False, "").send(["third"])
        thread.join(5)
        assert [len(each) for each in taken[2:]] == [69_001, 6]
    kept.send_disks(driver, 100)
    assert f"monitord at 127.0.0.1:{port} took 0 of 2 messages: Connection refused" in said(driver)
    (tmp_path / "public").unlink()
    kept.send_disks(driver, 100)
    assert "PUBKEY" in said(driver)


def take(server: socket.socket, taken: list[bytes]) -> None:
    """What two connections bring."""
    for _ in range(2):
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as stream:
            taken.append(stream.read())
