"""The stand-in for ssh reads its arguments as ssh does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from storpool_addon.lab.standin import translated

PARSE = "from storpool_addon.lab import standin; print(*standin._parsed(__import__('sys').argv[1:]), sep='|')"


def parsed(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PARSE, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("node1 ls -l", "node1|ls -l"),
        ("oneadmin@node1 id", "node1|id"),
        ("-o BatchMode=yes -oConnectTimeout=5 -- node1 a  b", "node1|a b"),
        ("-A -p 22 -l oneadmin node1 id", "node1|id"),
        ("-Ap22 node1 id", "node1|id"),
        ("node1 -T id", "node1|id"),
        ("node1", "node1|"),
    ],
)
def test_options_destination_and_command(words: str, wanted: str) -> None:
    assert parsed(*words.split()).stdout.strip() == wanted


@pytest.mark.parametrize("words", ["", "-o", "-Z node1", "--"])
def test_what_ssh_refuses_is_refused(words: str) -> None:
    done = parsed(*words.split())
    assert done.returncode == 255
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ln -s /dev/storpool/x /var/lib/one//y", "ln -s /D/x /O//y"),
        ("/dev/storpool-byid/x", "/B/x"),
        ("/keep/var/tmp/x /var/tmp/x", "/keep/var/tmp/x /T/x"),
        ("nothing", "nothing"),
    ],
)
def test_paths_are_replaced_once_and_the_longest_first(text: str, wanted: str) -> None:
    paths = {"/dev/storpool": "/D", "/dev/storpool-byid": "/B", "/var/lib/one": "/O", "/var/tmp": "/T"}
    assert translated(text, {**paths, "/keep/var/tmp": "/keep/var/tmp"}) == wanted
