"""What the bytes of an HTTP answer say: data, a refusal, or nothing that belongs to StorPool's protocol."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from storpool_addon.errors import StorPoolLost, StorPoolNonsense, StorPoolRefused

OK = 200
SERVER_ERROR = 500
# What HTTP has for a token that is wrong, or that may not do this.
_NOT_YOU = (401, 403)
_LONGEST_LINE = 500


class Answer(NamedTuple):
    """An HTTP answer, whole. read: what became of its body, where that was read while it arrived."""

    status: int
    body: bytes
    read: Any = None


def data_of(answer: Answer, what: str) -> Any:
    """The `data` of an answer.

    what: the call and its object, for error texts. Raises StorPoolRefused for an error, whether with HTTP
    status 200 or not; StorPoolLost for half an answer or a gateway's error page, behind which anything may
    have happened; StorPoolNonsense for what is not StorPool's JSON.
    """
    document = _document(answer, what)
    if "error" in document or answer.status != OK:
        raise _refusal(document.get("error"), answer.status, what)
    if "data" not in document:
        raise StorPoolNonsense(f"StorPool's answer to {what} has no data")
    return document["data"]


def _document(answer: Answer, what: str) -> dict[str, Any]:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        document = None
    if type(document) is dict:
        return document
    # It began as StorPool's JSON and did not end as that: the node that sent it is going down.
    if answer.body.lstrip().startswith(b"{") or (not answer.body and answer.status == OK):
        raise StorPoolLost("the answer was cut off")
    if answer.status >= SERVER_ERROR:
        raise StorPoolLost(f"HTTP {answer.status} without StorPool's answer")
    raise StorPoolNonsense(
        f"what answers {what} is not StorPool: HTTP {answer.status}, and its {len(answer.body)} bytes are not"
        " StorPool's JSON; check SP_API_HTTP_HOST and SP_API_HTTP_PORT"
    )


def _refusal(error: Any, status: int, what: str) -> StorPoolRefused:
    # PVE's tests have a bare string; and of an object any member may be missing (spapi.py of the binding).
    if type(error) is not dict:
        error = {"descr": error}
    name = one_line(error.get("name"))
    descr = one_line(error.get("descr")) or ("" if name else f"HTTP {status}")
    if status in _NOT_YOU:
        descr = f"{descr or name}; check SP_AUTH_TOKEN"
    return StorPoolRefused(what, name, descr, error.get("transient") is True)


def one_line(value: Any) -> str:
    """The value as one short line without control characters: it ends in a log and in Sunstone."""
    text = "" if value is None else str(value)
    return " ".join("".join(c if c.isprintable() else " " for c in text[:_LONGEST_LINE]).split())
