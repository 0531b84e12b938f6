"""The volume with the state of a TPM: whole whenever its writing ends, and as the bash addon reads it."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from storpool_addon.errors import HostError
from storpool_addon.hosts import vmdir, vtpm
from storpool_addon.hosts.process import Processes
from storpool_addon.hosts.shell import Hosts, Shell

SIZE, FILE = 4 << 20, "tpm/tpm2-00.permall"
BEFORE, AFTER = os.urandom(9000), os.urandom(9000)
# The write whose number a file `cut` holds gets no further than 3000 bytes of nonsense.
DD = r"""#!/bin/bash
case " $* " in *" conv="*) ;; *) exec /usr/bin/dd "$@" ;; esac
echo >>"${0%/*}/writes"
[ "$(wc -l <"${0%/*}/writes")" = "$(cat "${0%/*}/cut")" ] || exec /usr/bin/dd "$@"
for word; do case $word in of=*) of=$word ;; seek=*) seek=$word ;; esac; done
head -c 3000 /dev/urandom | /usr/bin/dd "$of" "${seek:-seek=0}" oflag=seek_bytes conv=notrunc status=none
exit 1
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A host whose device `tpm` is a file."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "tpm").write_bytes(bytes(SIZE))
    monkeypatch.setattr(vmdir, "DEVICES", str(tmp_path / "dev"))
    return Hosts(Processes(), "front-end").here


def save(here: Shell, directory: Path, state: bytes) -> None:
    (directory / "tpm").mkdir(parents=True, exist_ok=True)
    (directory / FILE).write_bytes(state)
    vtpm.save(here, str(directory), "tpm", SIZE)


@pytest.mark.parametrize("write,wanted", [(1, BEFORE), (2, AFTER), (3, AFTER)])
def test_a_save_that_is_cut_off_leaves_a_whole_state(
    here: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: int, wanted: bytes
) -> None:
    home, elsewhere = tmp_path / "100" / "42", tmp_path / "110" / "42"
    save(here, home, BEFORE)
    (tmp_path / "dd").write_text(DD)
    (tmp_path / "dd").chmod(0o755)
    (tmp_path / "cut").write_text(f"{write}\n")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        with pytest.raises(HostError):
            save(here, home, AFTER)
    vtpm.restore(here, str(elsewhere), "tpm", SIZE)
    assert (elsewhere / FILE).read_bytes() == wanted
    save(here, home, AFTER)
    device = (tmp_path / "dev" / "tpm").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(device), mode="r:gz") as tar:
        found = tar.extractfile(FILE)
        assert found is not None and found.read() == AFTER
    # Nothing of an earlier time is left for a day when the first archive is damaged.
    assert not any(device[SIZE // 2 : SIZE // 2 + 4096]) and len(device) == SIZE
