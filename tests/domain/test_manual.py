from __future__ import annotations

from pathlib import Path

from storpool_addon.domain import manual

PAGE = Path(__file__).resolve().parents[2] / "docs/tweaks.md"


def test_the_page_is_fresh(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    manual.write(str(tmp_path))
    written = (tmp_path / "docs/tweaks.md").read_text()
    assert PAGE.read_text() == written, "run: python -m storpool_addon.domain.manual"
