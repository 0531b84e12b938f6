"""The host probe: what it says, that it always ends well, what it needs, and how long it takes."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from storpool_addon.lab.programs import SYSTEM_PATH

REMOTES = Path(__file__).resolve().parents[2] / "remotes"
PROBE = "im/kvm-probes.d/host/system/storpool_probe.sh"
AT = "var/tmp/one"
SLICE = "sys/fs/cgroup/cpuset/machine.slice/cpuset.cpus"
CONF = """SP_CLUSTER_ID=d.n
# SP_OURID=9
SP_CLUSTER_NAME = \\
    The "first"\\ one
[node2]
SP_OURID=12
SP_AUTH_TOKEN=12\\
  34
[ node1 ]
SP_OURID=11
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The root directory of a host that has a shell, cat, and nothing else."""
    for directory in ("bin", "dev", "usr/sbin"):
        (tmp_path / directory).mkdir(parents=True)
    shutil.copy(str(shutil.which("busybox", path=SYSTEM_PATH)), tmp_path / "bin/sh")
    (tmp_path / "bin/cat").symlink_to("sh")
    (tmp_path / "dev/null").touch()
    put(tmp_path, {"proc/sys/kernel/hostname": "node1\n", "etc/storpool.conf": CONF, SLICE: "0-3,8\n"})
    (tmp_path / AT / PROBE).parent.mkdir(parents=True)
    shutil.copy(REMOTES / PROBE, tmp_path / AT / PROBE)
    if there(tmp_path, "/bin/sh", "-c", ":").returncode:
        pytest.skip("no other root directory for this user here, or busybox is not static")
    return tmp_path


def put(host: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (host / path).parent.mkdir(parents=True, exist_ok=True)
        (host / path).write_text(text, encoding="latin-1")


def there(host: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the host."""
    user = [] if os.geteuid() == 0 else ["unshare", "--map-root-user"]
    return subprocess.run(
        ["env", "-i", *user, str(shutil.which("chroot", path=SYSTEM_PATH)), str(host), *argv],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=10,
    )  # fmt: skip


def probe(host: Path) -> list[str]:
    """What it prints, when OpenNebula's client starts it there."""
    done = there(host, f"/{AT}/{PROBE}", "kvm")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.needs("busybox", "chroot")
def test_what_it_says(host: Path) -> None:
    client = ['SP_CLUSTER_ID="d.n"', 'SP_CLUSTER_NAME="The _first__ one"', 'SP_OURID="11"']
    assert probe(host) == [*client, "SP_LIBVIRT_CPUS=5"]

    # What is no text would make OpenNebula's document of all hosts unreadable.
    put(host, {"etc/storpool.conf.d/a.conf": "SP_CLUSTER_NAME=Z\xfcrich\1\x1b[0m" + 150 * '"'})
    assert probe(host)[1] == f'SP_CLUSTER_NAME="Z_rich__[0m{149 * "_"}"'
    put(host, {"etc/storpool.conf.d/a.conf": ""})

    # A later file wins; the slice has another name, in OpenNebula's old file of it too.
    later = {"a.conf": "[node1]\r\nSP_OURID=21\r\n", ".x.conf": "SP_OURID=1", "b.txt": "SP_OURID=3"}
    put(host, {f"etc/storpool.conf.d/{name}": text for name, text in later.items()})
    put(host, {f"{AT}/addon-storpoolrc": "#cgroup=x\ncgroup='vms.slice' # ours\n"})
    put(host, {"sys/fs/cgroup/hv.slice/vms.slice/cpuset.cpus.effective": "1-2"})
    assert probe(host) == [*client[:2], 'SP_OURID="21"', "SP_LIBVIRT_CPUS=2"]
    put(host, {f"{AT}/etc/im/kvm-probes.d/reserved_resources.conf": 'cgroup="machine.slice"\n'})
    assert probe(host)[-1] == "SP_LIBVIRT_CPUS=5"


@pytest.mark.needs("busybox", "chroot")
def test_it_says_only_what_is_known(host: Path) -> None:
    for files in (
        {"etc/storpool.conf": "SP_OURID=$(id)\nnonsense\n[\n=\n", SLICE: "0-3;id\n"},
        {"etc/storpool.conf": "", SLICE: ""},
        {"etc/storpool.conf": f"SP_CLUSTER_NAME={'x' * 9_000}\nSP_CLUSTER_ID={' ' * 9_000}\n"},
        {"etc/storpool.conf": "SP_CLUSTER_NAME=" + 2_000 * '"\\\n'},
        {"etc/storpool.conf": "x" * 100_000, SLICE: "08-\n", f"{AT}/addon-storpoolrc": "cgroup=../../etc\n"},
    ):
        put(host, files)
        assert probe(host) == []
    for gone in ("etc", "proc", "sys"):
        shutil.rmtree(host / gone)
    assert probe(host) == []


@pytest.mark.needs("busybox", "chroot")
def test_storpools_own_tool_is_asked_when_the_files_say_nothing(host: Path) -> None:
    put(host, {"etc/storpool.conf": "SP_CLUSTER_ID=d.n\n", SLICE: "",
               "usr/sbin/storpool_confshow": "#!/bin/sh\necho 'export SP_OURID=\"31\"'\n"})  # fmt: skip
    (host / "usr/sbin/storpool_confshow").chmod(0o755)
    assert probe(host) == ['SP_CLUSTER_ID="d.n"', 'SP_OURID="31"']
    put(host, {"usr/sbin/storpool_confshow": "#!/bin/sh\necho broken >&2\nexit 1\n"})
    assert probe(host) == ['SP_CLUSTER_ID="d.n"']
    # It is not waited for.
    for name in ("sleep", "timeout"):
        (host / "bin" / name).symlink_to("sh")
    put(host, {"usr/sbin/storpool_confshow": "#!/bin/sh\nexec sleep 30\n"})
    assert probe(host) == ['SP_CLUSTER_ID="d.n"']


@pytest.mark.needs("busybox", "chroot")
def test_it_takes_less_than_30_ms(host: Path) -> None:
    """Of a CPU, with sections of sixty hosts and a whole addon-storpoolrc."""
    others = "".join(f"[host{n}]\nSP_OURID={n}\nSP_IFACE=1\nSP_NODE_NON_VOTING=1\n" for n in range(100, 160))
    put(host, {"etc/storpool.conf": CONF + others})
    shutil.copy(REMOTES / "addon-storpoolrc", host / AT / "addon-storpoolrc")
    took = []
    for _ in range(5):
        before = children_s()
        assert len(probe(host)) == 4
        took.append(children_s() - before)
    assert min(took) < 0.030, took


def children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_shells(shell: str) -> None:
    """On this machine, which may be no host of anything."""
    done = subprocess.run([shell, str(REMOTES / PROBE), "kvm"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(line.startswith("SP_") for line in done.stdout.splitlines())
