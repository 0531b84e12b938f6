"""context: an ISO with what the VM asked for, on the VM's own volume, also while the VM runs."""

from __future__ import annotations

import fcntl
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from storpool_addon.lab.command import Command
from storpool_addon.lab.conductor import KILL, Fault
from storpool_addon.lab.lab import Lab
from storpool_addon.lab.machine import Vm
from tests import programs
from tests.programs import needs
from tests.sweep import scene
from tests.tm import cloud

NAME = "one-sys-42-0-iso"
TAGS = {"virt": "one", "nloc": "one", "nvm": "42", "type": "CNTXT", "diskid": "0"}
SCRIPT = "/var/lib/one/vms/42/context.sh"


def ready(lab: Lab, *files: str, **attributes: str) -> tuple[Vm, Command]:
    """A VM that starts, and the command that makes its context image of context.sh and these files."""
    vm = lab.vms.create(**attributes)
    command = scene.upto(lab.vms.deploy(vm, "node1"), "context")
    return vm, command._replace(args=(command.args[0], *files, *command.args[1:]))


def iso(lab: Lab, tmp_path: Path) -> dict[str, str]:
    """What is in the image: path to content."""
    image, tree = tmp_path / "iso", tmp_path / "tree"
    image.write_bytes(lab.read_volume(NAME))
    programs.run("xorriso", "-osirrox", "on", "-indev", str(image), "-extract", "/", str(tree))
    return {str(each.relative_to(tree)): each.read_text() for each in tree.rglob("*") if each.is_file()}


def label(lab: Lab) -> str:
    """The image's volume label, where ISO 9660 has it."""
    return lab.read_volume(NAME)[32808:32840].decode().strip()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server; its address."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "from-web").write_text("web\n")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path / "web"))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@needs("xorriso")
def test_the_image_is_whole_and_stays_so(lab: Lab, tmp_path: Path) -> None:
    _, command = ready(lab, SP_QOSCLASS="0:never;gold", VC_POLICY="daily")
    result = cloud.succeeds(lab, command, times=3)
    assert label(lab) == "CONTEXT"
    assert iso(lab, tmp_path) == {
        "context.sh": cloud.files(lab, "frontend", "/var/lib/one/vms/42")["context.sh"].decode()
    }
    assert cloud.tags(lab, NAME) == {**TAGS, "qc": "gold", "vc-policy": "daily"}
    assert cloud.volume(lab, NAME)["templateName"] == "one-ds-100"
    assert cloud.attached(lab) == {NAME: {"node1": "rw"}}
    assert cloud.links(lab, "node1") == {"disk.0": NAME}
    assert not cloud.asks_for_lists(result)
    assert cloud.kinds(result) == {"rpc": 2, "child": 1, "api": 2, "ssh": 1}


@needs("xorriso")
def test_files_of_every_kind(lab: Lab, tmp_path: Path, web: str) -> None:
    frontend = lab.hosts.frontend
    frontend.write("/var/tmp/plain", "plain\n")
    frontend.write("/var/tmp/old", "renamed\n")
    frontend.write("/var/tmp/dir/sub/deep", "deep\n")
    files = ("/var/tmp/plain", "/var/tmp/old:new", "/var/tmp/dir", f"{web}/from-web", f"{web}/from-web:named")
    _, command = ready(lab, *files)
    cloud.succeeds(lab, command, times=2)
    found = iso(lab, tmp_path)
    del found["context.sh"]
    assert found == {
        "plain": "plain\n",
        "new": "renamed\n",
        "dir/sub/deep": "deep\n",
        "from-web": "web\n",
        "named": "web\n",
    }


def test_packages_of_opennebula_where_the_vm_asks(lab: Lab, tmp_path: Path) -> None:
    """The machine has no packages to put in: what is said is where they were looked for."""
    _, command = ready(lab, INCLUDE_CONTEXT_PACKAGES="1")
    if Path("/usr/share/one/context").exists():
        cloud.succeeds(lab, command)
    else:
        assert "/usr/share/one/context" in cloud.refused(lab, command)


@needs("xorriso")
def test_a_new_context_of_another_size_while_the_vm_runs(lab: Lab, tmp_path: Path) -> None:
    vm, command = ready(lab)
    cloud.succeeds(lab, command)
    size, gid = (cloud.volume(lab, NAME)[key] for key in ("size", "globalId"))
    vm.lcm_state = 3
    update = scene.upto(lab.vms.update_context(vm, START_SCRIPT="x" * 100_000), "context")
    cloud.succeeds(lab, update, times=2)
    assert "x" * 100_000 in iso(lab, tmp_path)["context.sh"]
    grown = cloud.volume(lab, NAME)
    assert (grown["globalId"], grown["size"] > size) == (gid, True)
    smaller = scene.upto(lab.vms.update_context(vm, START_SCRIPT=""), "context")
    cloud.succeeds(lab, smaller)
    assert cloud.volume(lab, NAME)["size"] < grown["size"] and label(lab) == "CONTEXT"


@needs("xorriso")
def test_a_file_of_an_earlier_driver_makes_room(lab: Lab) -> None:
    vm, command = ready(lab)
    lab.hosts.nodes["node1"].write(f"{vm.home}/disk.0", "an old ISO\n")
    cloud.succeeds(lab, command, times=2)
    assert cloud.links(lab, "node1") == {"disk.0": NAME}


@needs("xorriso")
@pytest.mark.parametrize(
    ("settings", "mode", "tags"),
    [
        ({"READONLY_MODE": "ro"}, "ro", TAGS),
        ({"TAG_CONTEXT_ISO": "0"}, "rw", {"virt": "one", "nloc": "one"}),
    ],
)
def test_the_sites_wishes(lab: Lab, settings: dict[str, str], mode: str, tags: dict[str, str]) -> None:
    lab.configure(**settings)
    _, command = ready(lab)
    cloud.succeeds(lab, command, times=2)
    assert cloud.attached(lab) == {NAME: {"node1": mode}}
    assert cloud.tags(lab, NAME) == tags


@needs("xorriso")
@pytest.mark.parametrize("name", ["-rf", "a b", "$(id)", "it's", "ü", "*", "a;b", "x=y", "-o"])
def test_names_are_data(lab: Lab, tmp_path: Path, name: str) -> None:
    lab.hosts.frontend.write(f"/var/tmp/{name}", "evil\n")
    _, command = ready(lab, f"/var/tmp/{name}")
    cloud.succeeds(lab, command)
    assert iso(lab, tmp_path)[name] == "evil\n"


@pytest.mark.parametrize(
    ("file", "code", "message"),
    [
        ("/var/tmp/missing", 2, "/var/tmp/missing does not exist"),
        ("/var/tmp/there:../up", 2, "cannot be named '../up'"),
        ("/var/tmp/there:..", 2, "cannot be named '..'"),
        ("/dev/null", 2, "/dev/null"),
        ("http://127.0.0.1:1/x", 1, "http://127.0.0.1:1/x cannot be fetched"),
        ("/var/tmp/a\nb", 2, "holds a control character"),
    ],
)
def test_files_that_cannot_be_had(lab: Lab, file: str, code: int, message: str) -> None:
    lab.hosts.frontend.write("/var/tmp/there", "there\n")
    _, command = ready(lab, file)
    assert message in cloud.refused(lab, command, code=code)


def test_a_directory_that_cannot_be_copied(lab: Lab) -> None:
    lab.hosts.frontend.write("/var/tmp/dir/there", "there\n")
    os.symlink("/nowhere", lab.hosts.frontend.path("/var/tmp/dir/broken"))
    _, command = ready(lab, "/var/tmp/dir")
    line = cloud.refused(lab, command)
    assert "context image of VM 42 cannot be built" in line and "broken" in line


def test_an_address_that_is_not_there(lab: Lab, web: str) -> None:
    _, command = ready(lab, f"{web}/missing")
    assert "404" in cloud.refused(lab, command)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"MKISOFS": "no-such-program"}, "no-such-program (MKISOFS)"),
        ({"MKISOFS": "/bin/false"}, "building the context"),
    ],
)
def test_no_builder(lab: Lab, settings: dict[str, str], message: str) -> None:
    lab.configure(**settings)
    _, command = ready(lab)
    assert message in cloud.refused(lab, command)


@needs("xorriso")
def test_anothers_volume_of_that_name(lab: Lab) -> None:
    _, command = ready(lab)
    cloud.foreign(lab, NAME, {**TAGS, "nloc": "two"})
    assert f"volume {NAME} is not ours" in cloud.refused(lab, command)


@needs("xorriso")
def test_what_a_killed_run_left_goes_with_the_next(lab: Lab) -> None:
    """Of any VM; a directory in which somebody works stays, and one that is not ours."""
    _, command = ready(lab)
    building = next(number for number, each in enumerate(lab.run(command).calls, 1) if "xorriso" in each.what)
    lab.run(command, Fault(building, "before", KILL))
    there = Path(lab.directory, "tmp")
    (killed,) = there.iterdir()
    busy = there / "storpool-addon-context-43-x"
    busy.mkdir()
    (there / "else").mkdir()
    with open(there / "storpool-addon-link", "w"):
        pass
    lock = os.open(busy, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    cloud.succeeds(lab, command)
    assert not killed.exists() and {each.name for each in there.iterdir()} == {
        "storpool-addon-context-43-x", "else", "storpool-addon-link",
    }  # fmt: skip
    os.close(lock)


@needs("xorriso")
def test_nothing_is_left_in_the_temporary_directory(lab: Lab) -> None:
    _, command = ready(lab)
    cloud.succeeds(lab, command)
    lab.hosts.nodes["node1"].power_off()
    cloud.fails(lab, command)
    assert not list(Path(lab.directory, "tmp").iterdir())
