"""What StorPool's configuration files say, compared with the reader that StorPool's binding uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from storpool_addon.errors import ConfigError
from storpool_addon.storpool.conf import client_id, parse, read_conf

TOKEN = "1556129910218014736"

MAIN = f"""\
# the cluster
SP_CLUSTER_ID=d.n
SP_API_HTTP_HOST = 10.0.0.1
SP_AUTH_TOKEN={TOKEN}

[ node1 ]
SP_OURID=11
SP_API_HTTP_HOST=10.0.0.11
[node2.example.org]
  SP_OURID = 12
"""


class Files:
    """A storpool.conf with its directory."""

    def __init__(self, root: Path) -> None:
        self.path = root / "storpool.conf"
        self.directory = root / "storpool.conf.d"
        self.directory.mkdir()
        self.path.write_text(MAIN)

    def add(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    def read(self, host: str = "front", missing_ok: bool = False, **environ: str) -> dict[str, str]:
        return read_conf(
            host, path=str(self.path), directory=str(self.directory), environ=environ, missing_ok=missing_ok
        )

    def client_id(self, host: str) -> int | None:
        return client_id(host, path=str(self.path), directory=str(self.directory))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_defaults_stand_below_everything(files: Files) -> None:
    assert files.read()["SP_API_HTTP_PORT"] == "81"
    files.path.write_text("")
    assert files.read()["SP_API_HTTP_HOST"] == "127.0.0.1"


def test_a_host_section_goes_before_the_unnamed_one(files: Files) -> None:
    assert files.read("node1")["SP_API_HTTP_HOST"] == "10.0.0.11"
    assert files.read("node3")["SP_API_HTTP_HOST"] == "10.0.0.1"
    assert "SP_OURID" not in files.read("front")


def test_a_later_file_goes_before_an_earlier_one_and_its_host_section(files: Files) -> None:
    files.add("20-last.conf", "SP_API_HTTP_HOST=10.0.0.20\n")
    files.add("10-first.conf", "SP_API_HTTP_HOST=10.0.0.10\n")
    assert files.read("node1")["SP_API_HTTP_HOST"] == "10.0.0.20"


@pytest.mark.parametrize("name", [".hidden.conf", "readme.txt", "old.conf.bak"])
def test_only_conf_files_of_the_directory_count(files: Files, name: str) -> None:
    files.add(name, "SP_API_HTTP_HOST=10.9.9.9\n")
    assert files.read()["SP_API_HTTP_HOST"] == "10.0.0.1"


def test_the_environment_overrides_three_keys_and_no_more(files: Files) -> None:
    environ = {
        "SP_API_HTTP_HOST": "h",
        "SP_API_HTTP_PORT": "8181",
        "SP_AUTH_TOKEN": "2",
        "SP_CLUSTER_ID": "x.y",
        "SP_OURID": "1",
    }
    found = files.read("node1", **environ)
    assert (found["SP_API_HTTP_HOST"], found["SP_API_HTTP_PORT"], found["SP_AUTH_TOKEN"]) == (
        "h",
        "8181",
        "2",
    )
    assert (found["SP_CLUSTER_ID"], found["SP_OURID"]) == ("d.n", "11")


def test_an_empty_variable_overrides_nothing(files: Files) -> None:
    assert files.read(SP_API_HTTP_HOST="")["SP_API_HTTP_HOST"] == "10.0.0.1"


def test_a_missing_file_is_an_error_unless_it_may_be_missing(files: Files) -> None:
    files.path.unlink()
    with pytest.raises(ConfigError, match=r"storpool\.conf cannot be read: No such file"):
        files.read()
    files.add("a.conf", "SP_AUTH_TOKEN=3\n")
    assert files.read(missing_ok=True)["SP_AUTH_TOKEN"] == "3"


def test_a_directory_need_not_be_there(files: Files) -> None:
    files.directory.rmdir()
    assert files.read()["SP_CLUSTER_ID"] == "d.n"


def test_what_is_no_directory_is_named(files: Files) -> None:
    files.directory.rmdir()
    files.directory.write_text("")
    with pytest.raises(ConfigError, match=r"conf\.d cannot be read: Not a directory"):
        files.read()


@pytest.mark.parametrize(
    ("host", "expected"), [("node1", 11), ("node2.example.org", 12), ("node2", None), ("", None)]
)
def test_client_ids_come_from_the_hosts_own_section(files: Files, host: str, expected: int | None) -> None:
    files.add("a.conf", "SP_OURID=99\n")
    assert files.client_id(host) == expected


def test_the_last_client_id_counts(files: Files) -> None:
    files.add("a.conf", "[node1]\nSP_OURID=21\n")
    files.add("b.conf", "[node1]\nSP_OTHER=1\n")
    assert files.client_id("node1") == 21


def test_no_files_give_no_client_id(files: Files) -> None:
    files.path.unlink()
    assert files.client_id("node1") is None


@pytest.mark.parametrize("value", ["", "0", "4096", "-1", "eleven", "11 # node1", "١١"])
def test_a_client_id_is_a_number_in_range(files: Files, value: str) -> None:
    files.path.write_text(f"[node1]\nSP_OURID={value}\n")
    with pytest.raises(ConfigError, match=r"\[node1\] SP_OURID is .*from 1 to 4095"):
        files.client_id("node1")


GRAMMAR = {
    "comments and blanks": "\n  \n# a=b\n   ; c=d\nx=1\n",
    "blanks around": "  x  =   a b  c   \n",
    "nothing after": "x=\ny = \n",
    "equals in the value": "x=a=b==\n",
    "no inline comment": "x=a # b ; c\n",
    "quotes stay": "x=\"a\"\ny='b'\n",
    "percent stays": "x=%(y)s 100%\n",
    "last of equals": "x=1\nx=2\n",
    "sections": "a=1\n[s]\na=2\n[ t u ]\na=3\n[s]\nb=4\n",
    "joined": "x=a\\\n  b\\\nc  \ny=1\n",
    "joined with blanks before": "x=a  \\\nb\n",
    "joined to a comment": "x=a\\\n# b\ny=1\n",
    "joined to a section": "x=a\\\n[b]\ny=1\n",
    "backslash in a comment": "# a\\\nx=1\n",
    "backslash inside": "x=a\\b\n",
    "carriage returns": "x=1\r\n[s]\r\ny=2\r\n",
    "no newline at the end": "x=1",
    "never joined": "x=1\ny=a\\",
    "empty section": "[s]\n",
    "not only ascii": "x=søren\n",
}


@pytest.mark.parametrize("text", GRAMMAR.values(), ids=GRAMMAR.keys())
def test_files_are_read_as_confget_reads_them(tmp_path: Path, text: str) -> None:
    confget = pytest.importorskip("confget")
    backend = pytest.importorskip("confget.backend.ini_re").INIRegexBackend
    path = tmp_path / "c.conf"
    path.write_bytes(text.encode())
    expected = backend(confget.Config([], filename=str(path))).read_file()
    with path.open(encoding="utf-8") as file:
        assert parse(file, "c.conf") == expected


@pytest.mark.parametrize("line", ["nonsense", "[unclosed", "= value", "two words = 1", "[]"])
def test_what_is_no_line_of_such_a_file_is_named_by_number(files: Files, line: str) -> None:
    files.path.write_text(f"SP_CLUSTER_ID=d.n\n\n{line}\n")
    with pytest.raises(ConfigError, match=r"storpool\.conf:3: "):
        files.read()


def test_a_bad_line_is_not_shown_for_it_may_hold_the_token(files: Files) -> None:
    files.path.write_text(f"SP_AUTH_TOKEN {TOKEN}\n")
    with pytest.raises(ConfigError) as caught:
        files.read()
    assert TOKEN not in str(caught.value)


def test_bytes_that_are_no_utf8_hurt_nobody(files: Files) -> None:
    files.path.write_bytes(b"# caf\xe9\nSP_AUTH_TOKEN=1\nSP_X=\xff\n")
    assert files.read()["SP_AUTH_TOKEN"] == "1"
