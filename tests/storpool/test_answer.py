"""What an HTTP answer says, for every kind of answer that may come."""

from __future__ import annotations

import json
from typing import Any

import pytest

from storpool_addon.errors import StorPoolLost, StorPoolNonsense, StorPoolRefused
from storpool_addon.storpool.answer import Answer, data_of

WHAT = "VolumeDelete v"


def answer(document: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(document).encode())


@pytest.mark.parametrize("data", [[], {}, {"ok": True}, None, 0, "text"])
def test_data_are_handed_on(data: Any) -> None:
    assert data_of(answer({"generation": 1, "data": data, "more": 2}), WHAT) == data


REFUSALS: list[tuple[Any, int, tuple[str, str, bool]]] = [
    ({"error": {"name": "busy", "descr": "is open", "transient": False}}, 200, ("busy", "is open", False)),
    ({"error": {"name": "busy", "descr": "later", "transient": True}}, 500, ("busy", "later", True)),
    ({"error": {"name": "busy"}}, 409, ("busy", "", False)),
    ({"error": {"descr": "no"}}, 200, ("", "no", False)),
    ({"error": {"name": "x", "transient": "yes"}}, 200, ("x", "", False)),
    ({"error": "a bare string"}, 200, ("", "a bare string", False)),
    ({"error": {}}, 200, ("", "HTTP 200", False)),
    ({"error": None}, 200, ("", "HTTP 200", False)),
    ({"error": {"name": 5, "descr": ["a"]}}, 200, ("5", "['a']", False)),
    ({"error": {"name": "x", "descr": "a\nb\x1b[31m\tc"}}, 200, ("x", "a b [31m c", False)),
    ({"error": {"name": "busy"}, "data": {"ok": True}}, 200, ("busy", "", False)),
    ({"generation": 5, "data": {"ok": True}}, 500, ("", "HTTP 500", False)),
]  # fmt: skip


@pytest.mark.parametrize(("document", "status", "expected"), REFUSALS)
def test_errors_are_refusals_whatever_the_status(
    document: Any, status: int, expected: tuple[str, str, bool]
) -> None:
    with pytest.raises(StorPoolRefused) as caught:
        data_of(answer(document, status), WHAT)
    assert (caught.value.name, caught.value.descr, caught.value.transient) == expected
    assert WHAT in str(caught.value)


def test_a_long_text_is_cut() -> None:
    with pytest.raises(StorPoolRefused) as caught:
        data_of(answer({"error": {"descr": "x" * 10_000}}), WHAT)
    assert len(str(caught.value)) < 600


NONSENSE = [
    (200, b"OK"),
    (200, b"[]"),
    (200, b"null"),
    (200, b'{"generation": 4}'),
    (200, b"\xff\xfe\x00garbage"),
    (200, b"[" * 100_000),
    (301, b"<html>moved</html>"),
    (404, b"<html>not found</html>"),
    (403, b"forbidden"),
]


@pytest.mark.parametrize(("status", "body"), NONSENSE)
def test_what_is_no_storpool_is_nonsense(status: int, body: bytes) -> None:
    with pytest.raises(StorPoolNonsense) as caught:
        data_of(Answer(status, body), WHAT)
    assert WHAT in str(caught.value)
    assert len(str(caught.value)) < 300


HALVES = [(200, b""), (200, b'{"data": '), (500, b'{"error": {'), (200, b' \n{"data": {"ok": true}')]


@pytest.mark.parametrize(("status", "body"), HALVES)
def test_half_an_answer_leaves_the_outcome_open(status: int, body: bytes) -> None:
    with pytest.raises(StorPoolLost, match="cut off"):
        data_of(Answer(status, body), WHAT)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_gateways_error_page_leaves_the_outcome_open(status: int) -> None:
    with pytest.raises(StorPoolLost, match=f"HTTP {status}"):
        data_of(Answer(status, b"<html>Bad Gateway</html>"), WHAT)
