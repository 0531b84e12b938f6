"""A client with as little of its own as can be: one connection, one request, the bytes as they came."""

from __future__ import annotations

import http.client
import json
from typing import Any

from storpool_addon.simulator import Endpoint

PREFIX = "/ctrl/1.0/"


class Failure(Exception):
    """The API answered with an error."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(body["error"]["name"], body["error"]["descr"])
        self.status = status
        self.body = body
        self.name = body["error"]["name"]
        self.descr = body["error"]["descr"]
        self.transient = body["error"]["transient"]


class PlainApi:
    """Calls the API; `get` and `post` give what is under "data"."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.generation = 0

    def raw(
        self, method: str, path: str, body: bytes | None = None, token: str = ""
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Status line, headers and the body's bytes."""
        connection = http.client.HTTPConnection(self.endpoint.host, self.endpoint.port, timeout=20)
        try:
            headers = {"Authorization": f"Storpool v1:{token or self.endpoint.token}"}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def call(self, method: str, query: str, body: Any = None) -> Any:
        raw = None if body is None else json.dumps(body).encode()
        response, answer = self.raw(method, PREFIX + query, raw)
        parsed = json.loads(answer)
        if "error" in parsed:
            raise Failure(response.status, parsed)
        self.generation = parsed["generation"]
        return parsed["data"]

    def get(self, query: str) -> Any:
        return self.call("GET", query)

    def post(self, query: str, body: Any = None) -> Any:
        return self.call("POST", query, body)

    def control(self, method: str, what: str, body: Any = None) -> tuple[int, Any]:
        """A request to /sim/: status and answer."""
        raw = None if body is None else json.dumps(body).encode()
        response, answer = self.raw(method, f"/sim/{what}", raw)
        return response.status, json.loads(answer)

    def create(self, name: str, size: int = 1 << 20, **more: Any) -> Any:
        return self.post("VolumeCreate", {"name": name, "size": size, **more})

    def volume(self, name: str) -> Any:
        return self.get(f"Volume/{name}")[0]

    def snapshot(self, name: str) -> Any:
        return self.get(f"Snapshot/{name}")[0]

    def reassign(self, *items: Any, timeout_s: int = 5) -> Any:
        return self.post("VolumesReassignWait", {"reassign": list(items), "attachTimeout": timeout_s})

    def attached(self) -> dict[tuple[str, int], str]:
        """Rights by volume and client."""
        return {(each["volume"], each["client"]): each["rights"] for each in self.get("AttachmentsList")}
