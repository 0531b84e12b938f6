from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from storpool_addon.config.shell import Assignment, Reader
from storpool_addon.errors import ConfigError

OUTER = {"HOME": "/home/one", "ONE_PX": "outer", "EMPTY": ""}


def values(text: str) -> dict[str, str]:
    found = Reader(text, "rc", lambda name: OUTER.get(name, "")).read()
    return {each.name: each.value for each in found if each.subscript is None}


# Each is read by bash as well, and both must find the same in A.
SAME_AS_BASH = [
    "A=1",
    "A=",
    "A=''",
    'A=""',
    "A='a b'",
    'A="a b"',
    "A=a'b c'd",
    "A=a\"b c\"'d e'f",
    "A=1 # a comment",
    "A=1#no-comment",
    "A='# not a comment'",
    "# A=2\nA=1",
    "  A=1  ",
    "\tA=1;",
    "A=1; B=2",
    "A=1;B=2;",
    "export A=1",
    "export A=1 B=2",
    "export -n A=1",
    "B=5; export B; A=1",
    "readonly A=1",
    "declare A=1",
    "declare -x A='x y'",
    "A=first\nA=second",
    "A=a\\ b",
    "A=a\\\nb",
    "A=a\\'b",
    'A="a\\"b"',
    'A="a\\b"',
    'A="a\\\\b"',
    'A="a\\$b"',
    "A='a\\nb'",
    'A="line one\nline two"',
    "A='line one\nline two'",
    'A="a\\\nb"',
    "B=x; A=$B",
    "B=x; A=${B}",
    'B=x; A="$B/$B-${B}y"',
    "B=x; A='$B'",
    "A=$UNSET",
    "A=${UNSET}",
    "A=${UNSET:-fallback}",
    'A="${UNSET:-fall back}"',
    'A=${UNSET:-"fall back"}',
    "A=${UNSET:-}",
    "A=${UNSET:-a/b:c}",
    "B=x; A=${B:-fallback}",
    "B=x; A=${UNSET:-$B}",
    "B=x; A=${UNSET:-${B}-y}",
    "A=${UNSET:-${UNSET:-deep}}",
    "A=${UNSET:=assigned}",
    "B=; A=${B:-fallback}",
    "A=${ONE_PX:-one}",
    'A="${ONE_PX:-one}"',
    "A=$HOME/x",
    "A=a; A+=b",
    "A+=b",
    "A=~x",
    "A=a=b=c",
    "A=[x]",
    "A=*.iso",
    "A=100%",
    "A=48h\r".replace("\r", ""),
    "A=$",
    'A="cost: $ 5"',
    "A=é€",
    "A={a,b}",
    "A=a,b:c/d@e+f^g!h?i",
]


@pytest.fixture(scope="module")
def by_bash(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What bash finds in A, for each text of SAME_AS_BASH: one bash for all, one subshell for each."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    directory: Path = tmp_path_factory.mktemp("bash")
    script = []
    for index, text in enumerate(SAME_AS_BASH):
        (directory / f"{index}").write_text(text + "\n", encoding="utf-8")
        script.append(f'( . "$1/{index}"; printf "%s\\0" "$A" )')
    environ = {**OUTER, "LC_ALL": "C.UTF-8"}
    argv = [bash, "-c", "\n".join(script), "bash", str(directory)]
    done = subprocess.run(argv, env=environ, capture_output=True, check=True, timeout=20)
    assert done.stderr == b""
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("index", range(len(SAME_AS_BASH)), ids=[repr(text)[:40] for text in SAME_AS_BASH])
def test_same_as_bash(by_bash: list[str], index: int) -> None:
    assert values(SAME_AS_BASH[index])["A"] == by_bash[index]


def test_windows_line_ends() -> None:
    assert values("A=48h\r\nB='x'\r\n") == {"A": "48h", "B": "x"}


def test_lines_and_subscripts() -> None:
    text = "\n# c\nA=1\ndeclare -A M\nM[ceph]=1; M['a.b']=\nB='x\ny'\nC=3"
    assert Reader(text, "rc", lambda _name: "").read() == [
        Assignment("A", None, "1", 3),
        Assignment("M", "ceph", "1", 5),
        Assignment("M", "a.b", "", 5),
        Assignment("B", None, "x\ny", 6),
        Assignment("C", None, "3", 8),
    ]


def test_nothing_to_read() -> None:
    for text in ("", "\n\n", "# only a comment", " \t\n;\n"):
        assert values(text) == {}


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("A=1\nif [ -f /x ]; then\nB=1\nfi", 2, "'if' is shell code; "),
        ("source /etc/other", 1, "'source' is shell code; "),
        (". /etc/other", 1, "'.' is shell code; "),
        ('[ -n "$A" ] && B=1', 1, "'[' is shell code; "),
        ("function f { :; }", 1, "'function' is shell code; "),
        ("unset A", 1, "'unset' is shell code; "),
        ("A=$(cat /etc/shadow)", 1, "'$(' is shell code; "),
        ('A="$(cat x)"', 1, "'$(' is shell code; "),
        ("A=`id`", 1, "'`' is shell code; "),
        ('A="x `id`"', 1, "'`' is shell code; "),
        ("A=$((1+1))", 1, "'$(' is shell code; "),
        ("((A=1))", 1, "'((' is shell code; "),
        ("A=(a b)", 1, "'(' is shell code; "),
        ("A=1 | tee x", 1, "'|' is shell code; "),
        ("A=1 && B=2", 1, "'&&' is shell code; "),
        ("A=1 > /tmp/x", 1, "'>' is shell code; "),
        ("A=a&b", 1, "'&' is shell code; "),
        ("A=${B%x}", 1, "'${' is shell code; "),
        ("A=${#B}", 1, "'${' is shell code; "),
        ("A=${B/x/y}", 1, "'${' is shell code; "),
        ("A=$1", 1, "'$' is shell code; "),
        ("A=$'a'", 1, "'$' is shell code; "),
        ("\n\nrm -rf /", 3, ""),
        ("A =1", 1, ""),
        ("1A=2", 1, ""),
        ("A-B=2", 1, ""),
        ("A[$x]=2", 1, ""),
    ],
)
def test_shell_code_is_refused_with_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        values(text)
    assert str(caught.value).startswith(f"rc:{line}: {what}only NAME=value is read here, and nothing is run;")


@pytest.mark.parametrize(
    ("text", "line", "mark"), [("A=1\nB='x", 2, "'"), ('A="x\n\n', 1, '"'), ("A=${B:-x", 1, "}")]
)
def test_quote_that_is_never_closed(text: str, line: int, mark: str) -> None:
    with pytest.raises(ConfigError, match=f"rc:{line}: a {mark} that is opened here is never closed"):
        values(text)


@pytest.mark.parametrize(
    "text",
    [
        "SP_AUTH_TOKEN=$(s3cret)",
        "SP_AUTH_TOKEN s3cret",
        "SP_AUTH_TOKEN= s3cret",
        "SP_AUTH_TOKEN=(s3cret)",
        "SP_AUTH_TOKEN=x&s3cret",
        "SP_AUTH_TOKEN='s3cret",
        "SP_AUTH_TOKEN=${s3cret%x}",
    ],
)
def test_error_repeats_nothing_that_may_be_secret(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        values(text)
    assert "s3cret" not in str(caught.value)


def test_nothing_is_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        values(f"A=$(touch {tmp_path}/ran)")
    assert list(tmp_path.iterdir()) == []


def test_long_file_is_read_quickly() -> None:
    text = "".join(f"# comment {each}\nKEY_{each}='value {each}'\n" for each in range(5000))
    assert len(values(text)) == 5000
