"""Which tweaks are switched on, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from storpool_addon.domain.enabled import Enabled, enabled
from storpool_addon.errors import ConfigError

KNOWN = ("cpu", "cpuShares", "uuid", "volatile2dev")


def test_files_and_the_list(tmp_path: Path) -> None:
    for name, mode in (
        ("volatile2dev.py", 0o755),
        ("cpu", 0o755),
        ("b.sh", 0o755),
        ("cpuShares", 0o644),
        (".x", 0o755),
    ):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "uuid.py").symlink_to("../deploy-tweaks.d.example/uuid.py")
    (tmp_path / "directory").mkdir()
    assert enabled(str(tmp_path), ("cpu.py",), KNOWN) == [
        Enabled("b.sh", f"{tmp_path}/b.sh"),
        Enabled("cpu"),
        Enabled("uuid"),
        Enabled("volatile2dev"),
    ]
    assert enabled(str(tmp_path / "none"), ("volatile2dev", "cpuShares"), KNOWN) == [
        Enabled("cpuShares"),
        Enabled("volatile2dev"),
    ]
    # What deals out CPUs comes after what adds some.
    first = enabled(str(tmp_path / "none"), ("cpu", "resizeCpuMem"), ("cpu", "resizeCpuMem"))
    assert [each.name for each in first] == ["resizeCpuMem", "cpu"]
    with pytest.raises(ConfigError, match="no tweak is named 'banana'"):
        enabled(str(tmp_path), ("banana",), KNOWN)
