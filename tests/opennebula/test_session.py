from __future__ import annotations

from pathlib import Path

import pytest

from storpool_addon.errors import ConfigError
from storpool_addon.opennebula import session


def home(directory: Path, **files: str) -> dict[str, str]:
    """An environment whose HOME has those files in .one."""
    (directory / ".one").mkdir(parents=True)
    for name, content in files.items():
        (directory / ".one" / name).write_text(content)
    return {"HOME": str(directory)}


def test_password_file_of_the_account(tmp_path: Path) -> None:
    assert session.secret(home(tmp_path, one_auth="oneadmin:secret\n")) == "oneadmin:secret"


def test_named_file_counts_before_the_account(tmp_path: Path) -> None:
    environ = home(tmp_path / "home", one_auth="home:1")
    (tmp_path / "other").write_text("other:2\nsecond line\n")
    assert session.secret({**environ, "ONE_AUTH": str(tmp_path / "other")}) == "other:2"


@pytest.mark.parametrize("named", ["", "/nowhere/one_auth"])
def test_named_file_that_is_missing_leaves_the_account(tmp_path: Path, named: str) -> None:
    assert session.secret({**home(tmp_path, one_auth="home:1"), "ONE_AUTH": named}) == "home:1"


def test_no_password_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run as oneadmin.*/home/\.one/one_auth.*/oneadmin/\.one/one_auth"):
        session.secret({"HOME": str(tmp_path / "home")}, str(tmp_path / "oneadmin"))


def test_home_of_oneadmin_is_the_last_resort(tmp_path: Path) -> None:
    home(tmp_path / "oneadmin", one_auth="oneadmin:3", one_endpoint="http://vip:2633/RPC2")
    environ = {"HOME": str(tmp_path / "nobody")}
    assert session.secret(environ, str(tmp_path / "oneadmin")) == "oneadmin:3"
    assert session.endpoint(environ, str(tmp_path / "oneadmin")) == "http://vip:2633/RPC2"


def test_without_home_the_account_is_looked_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pwd

    entry = pwd.struct_passwd(("u", "x", 1, 1, "", str(tmp_path), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: entry)
    home(tmp_path / "x")
    (tmp_path / ".one").mkdir()
    (tmp_path / ".one" / "one_auth").write_text("account:4")
    assert session.secret({}) == "account:4"


@pytest.mark.parametrize(
    ("environ", "stored", "endpoint"),
    [
        ({}, "", session.DEFAULT_ENDPOINT),
        ({}, "http://one:2633/RPC2\n", "http://one:2633/RPC2"),
        ({"ONE_XMLRPC": "http://env:1/RPC2"}, "http://one:2633/RPC2\n", "http://env:1/RPC2"),
        ({"ONE_XMLRPC": " "}, "", session.DEFAULT_ENDPOINT),
    ],
)
def test_endpoint(tmp_path: Path, environ: dict[str, str], stored: str, endpoint: str) -> None:
    account = home(tmp_path / "home", one_endpoint=stored)
    assert session.endpoint({**environ, **account}, str(tmp_path / "none")) == endpoint
