"""The token goes to StorPool and nowhere else."""

from __future__ import annotations

import logging
import traceback

import pytest

from storpool_addon.errors import AddonError
from storpool_addon.storpool import Api, Endpoint
from tests.storpool.servers import Handler, RawServer, close, error, http, say

TOKEN = "1556129910218014736"

# Also servers that send back what they got, as a debugging gateway may.
ANSWERS: dict[str, Handler] = {
    "none": close,
    "a refusal": say(error("busy")),
    "a transient refusal": say(error("later", transient=True)),
    "garbage": say(http(b"no JSON")),
    "half": say(http(b"{")),
    "a gateway": say(http(b"oops", "502 Bad Gateway")),
    "an echo in an error": say(error("forbidden", f"Authorization: Storpool v1:{TOKEN} is not known")),
    "an echo in an error's name": say(error(TOKEN)),
    "an echo in the status line": say(f"NOPE {TOKEN}\r\n".encode()),
    "an echo in the body": say(http(f"GET / Storpool v1:{TOKEN}".encode(), "400 Bad Request")),
}


@pytest.mark.parametrize("handler", ANSWERS.values(), ids=ANSWERS.keys())
def test_no_error_and_no_log_shows_the_token(handler: Handler, caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []
    caplog.set_level(logging.DEBUG)
    with RawServer([handler]) as server:
        api = Api(Endpoint(("127.0.0.1",), server.port, TOKEN), deadline_s=0.2, log=lines.append)
        for call in (lambda: api.volume("v"), lambda: api.volume_delete("v"), lambda: api.volume_create("v")):
            with pytest.raises(AddonError) as caught:
                call()
            assert TOKEN not in "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
            assert TOKEN not in repr(vars(caught.value))
    assert TOKEN not in "\n".join(lines)
    assert TOKEN not in caplog.text
    assert TOKEN.encode() in server.requests[0]


def test_no_text_of_an_api_shows_the_token() -> None:
    api = Api(Endpoint(("127.0.0.1",), 81, TOKEN))
    assert TOKEN not in f"{api!r} {api} {vars(api)!r} {vars(api._transport)!r}"
