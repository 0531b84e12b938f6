"""The service user of real hosts: who it is, the keys that it has, and the sshd that lets it in."""

from __future__ import annotations

import contextlib
import grp
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from storpool_addon.lab.hosts import Host, Layout
from storpool_addon.lab.programs import program

USER, UID = "oneadmin", 9869
_SSHD = """\
Port 22
ListenAddress {address}
HostKey {directory}/host_key
PidFile /run/sshd.pid
UsePAM no
UseDNS no
StrictModes no
PasswordAuthentication no
MaxStartups 100
MaxSessions 100
AuthorizedKeysFile {directory}/authorized_keys
"""
_SSH = """\
Host *
    IdentityFile /var/lib/one/.ssh/id_ed25519
    UserKnownHostsFile /var/lib/one/.ssh/known_hosts
    StrictHostKeyChecking yes
"""
_MULTIPLEX = """\
    ControlMaster auto
    ControlPath /run/one/%C
    ControlPersist 60
"""


def as_user() -> list[str]:
    """What makes the service user run a command line; it is a member of `disk`, as on real hosts."""
    groups = [str(UID), str(grp.getgrnam("disk").gr_gid)]
    with contextlib.suppress(KeyError):
        groups.append(str(grp.getgrnam("kvm").gr_gid))
    return [program("setpriv"), f"--reuid={UID}", f"--regid={UID}", f"--groups={','.join(groups)}", "--"]


def write_common(directory: str, names: Sequence[str]) -> None:
    """The files below /etc that all hosts share."""
    common = os.path.join(directory, "common")
    os.makedirs(common)
    # Everybody must be able to pass; the service user reads its keys from its own home.
    os.chmod(directory, 0o755)
    os.chown(os.path.join(directory, "tmp"), UID, UID)
    without = [line for line in _lines("/etc/passwd") if not line.startswith(f"{USER}:")]
    _write(common, "passwd", [*without, f"{USER}:x:{UID}:{UID}::/var/lib/one:/bin/bash"])
    groups = [_joined(line) for line in _lines("/etc/group") if not line.startswith(f"{USER}:")]
    _write(common, "group", [*groups, f"{USER}:x:{UID}:"])
    addresses = [f"127.0.0.{number} {name}" for number, name in enumerate(names, 1)]
    _write(common, "hosts", ["127.0.0.1 localhost", *addresses])


def sshd(files: Layout, address: str) -> list[str]:
    """The command line of a host's sshd."""
    directory = files.files
    with open(f"{directory}/sshd_config", "w") as file:
        file.write(_SSHD.format(address=address, directory=directory))
    return [program("sshd"), "-D", "-E", f"{directory}/sshd.log", "-f", f"{directory}/sshd_config"]


def write_keys(directory: str, hosts: Sequence[Host], control_master: bool) -> None:
    """A key for every host, one for the service user, and who knows whom.

    directory: where write_common was. control_master: connections stay open.
    """
    key = os.path.join(directory, "common", "id_ed25519")
    _generate(key)
    known = []
    for host in hosts:
        _generate(os.path.join(host.layout.files, "host_key"))
        known.append(f"{host.name} {_read(os.path.join(host.layout.files, 'host_key.pub'))}")
    for host in hosts:
        authorized = os.path.join(host.layout.files, "authorized_keys")
        shutil.copy(key + ".pub", authorized)
        config = _SSH + (_MULTIPLEX if control_master else "")
        host.write("/var/lib/one/.ssh/config", config, 0o600)
        host.write("/var/lib/one/.ssh/known_hosts", "".join(known))
        host.write("/var/lib/one/.ssh/id_ed25519", _read(key), 0o600)
        for path in ("/var/lib/one/.ssh", "/var/lib/one"):
            os.chmod(host.path(path), 0o700 if path.endswith("ssh") else 0o755)
        os.chmod(host.path("/var/tmp"), 0o1777)
        os.chmod(host.layout.files, 0o755)


def _joined(line: str) -> str:
    """A line of /etc/group, with the service user in the groups that give it devices."""
    if line.split(":")[0] not in ("disk", "kvm"):
        return line
    return f"{line}{'' if line.endswith(':') else ','}{USER}"


def _lines(path: str) -> list[str]:
    return _read(path).splitlines()


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _write(directory: str, name: str, lines: Iterable[str]) -> None:
    with open(os.path.join(directory, name), "w") as file:
        file.write("\n".join(lines) + "\n")


def _generate(path: str) -> None:
    command = [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", path]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
