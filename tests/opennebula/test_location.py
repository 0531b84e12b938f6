from __future__ import annotations

import pytest

from storpool_addon.opennebula.location import Location


@pytest.mark.parametrize(
    ("text", "host", "path", "disk_id", "directory"),
    [
        (
            "node1:/var/lib/one//datastores/100/42/disk.3",
            "node1",
            "/var/lib/one/datastores/100/42/disk.3",
            3,
            "42",
        ),
        ("node1:/var/lib/one//datastores/100/42", "node1", "/var/lib/one/datastores/100/42", None, "42"),
        ("fe.example.org:/d/7/disk.27/", "fe.example.org", "/d/7/disk.27", 27, "7"),
        ("10.0.0.1:///d/7/disk.0", "10.0.0.1", "/d/7/disk.0", 0, "7"),
        ("[2001:db8::1]:/d/7/disk.1", "[2001:db8::1]", "/d/7/disk.1", 1, "7"),
        ("n:/d/disk.3/42", "n", "/d/disk.3/42", None, "42"),
        ("n:/d/7/disk.3.snap", "n", "/d/7/disk.3.snap", None, "disk.3.snap"),
        ("n:/d/7/xdisk.3", "n", "/d/7/xdisk.3", None, "xdisk.3"),
        ("n:/d/7/kernel", "n", "/d/7/kernel", None, "kernel"),
    ],
)
def test_parse(text: str, host: str, path: str, disk_id: int | None, directory: str) -> None:
    location = Location.parse(text)
    assert (location.host, location.path, location.disk_id) == (host, path, disk_id)
    assert location.directory.rsplit("/", 1)[1] == directory
    assert str(location) == f"{host}:{path}"
    assert Location.parse(str(location)) == location


@pytest.mark.parametrize(
    "text",
    [
        "",
        "node1",
        "/var/lib/one",
        ":/var/lib/one",
        "node1:relative/disk.0",
        "-oProxyCommand=x:/d/disk.0",
        "node 1:/d/disk.0",
        "node1;reboot:/d/disk.0",
        "$(reboot):/d/disk.0",
        "node1:/d/../../etc/disk.0",
        "node1:/d/\n/disk.0",
        "node1:/d/\x1b[0m/disk.0",
        "n" * 256 + ":/d/disk.0",
    ],
)
def test_what_is_not_a_location(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        Location.parse(text)
