"""What a script pays before its first call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = str(Path(__file__).resolve().parents[2])

# Each takes longer to import than all of this library.
HEAVY = {
    "requests",
    "urllib3",
    "ssl",
    "http.client",
    "email",
    "logging",
    "asyncio",
    "dataclasses",
    "inspect",
    "subprocess",
    "argparse",
    "tempfile",
    "random",
    "importlib.metadata",
    "concurrent.futures",
    "lxml",
    "yaml",
}


def modules_after(code: str) -> set[str]:
    script = f"import sys; sys.path.append({CHECKOUT!r}); {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import storpool_addon.storpool",
        "from storpool_addon.storpool import Api, Endpoint; Api(Endpoint(('127.0.0.1',), 81, '1'))",
        "from storpool_addon.storpool import conf; conf.read_conf(missing_ok=True); conf.client_id('node1')",
    ],
)
def test_nothing_heavy_is_imported_before_the_first_call(code: str) -> None:
    # What this Python imports by itself, for the sake of editable installs for one, is not ours.
    assert (modules_after(code) - modules_after("pass")) & HEAVY == set()


def test_the_first_call_imports_the_http_client_and_no_more_of_what_is_heavy() -> None:
    call = (
        "from storpool_addon.storpool import Api, Endpoint\n"
        "try: Api(Endpoint(('127.0.0.1',), 1, '1'), deadline_s=0.1).services_list()\n"
        "except Exception as error: assert type(error).__name__ == 'StorPoolUnreachable', error\n"
    )
    ours = modules_after(f"exec({call!r})") - modules_after("import http.client, random")
    assert ours & HEAVY == set()
