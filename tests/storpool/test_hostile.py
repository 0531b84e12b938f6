"""Answers that are damaged at random end in a record or in an error of ours, never in anything else."""

from __future__ import annotations

import json
import random

import pytest

from storpool_addon.errors import AddonError
from storpool_addon.storpool import Api, Endpoint, Volume
from storpool_addon.storpool.answer import Answer, data_of
from storpool_addon.storpool.reading import list_of, services, snapshot, statuses, template_status, volume
from tests.storpool.servers import TOKEN, RawServer, data, say
from tests.storpool.volumes import SNAPSHOT, VOLUME

DOCUMENTS = {
    "volumes": (lambda value: list_of(volume, value), [VOLUME, VOLUME]),
    "snapshots": (lambda value: list_of(snapshot, value), [SNAPSHOT]),
    "statuses": (statuses, {"v": {"status": "up", "storedSize": 4, "tags": {"a": "b"}}}),
    "templates": (
        lambda value: list_of(template_status, value),
        [{"name": "t", "stored": {"capacity": 5, "free": 4, "internal": {"u1": 1, "u2": 2, "u3": 3}}}],
    ),
    "services": (services, {"clusterStatus": "running", "clients": {"11": {"id": 11, "status": "running"}}}),
}
# They turn one kind of JSON into another, numbers into huge ones, text into something that is no UTF-8.
PIECES = [
    b"",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b":",
    b"null",
    b"-",
    b"1e999",
    b"9" * 5000,
    b"\xff",
    b"\\ud800",
    b"\0",
]


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """The bytes with a few places cut out and replaced by pieces."""
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(whole))
        whole = whole[:start] + chance.choice(PIECES) + whole[start + chance.choice([0, 1, 2, 8, 40]) :]
        if not whole:
            break
    return whole


@pytest.mark.parametrize("name", DOCUMENTS)
def test_damaged_documents(name: str) -> None:
    read, document = DOCUMENTS[name]
    chance = random.Random(name)
    body = json.dumps({"generation": 7, "data": document}).encode()
    read(data_of(Answer(200, body), "a call"))
    outcomes = {"read": 0, "refused": 0}
    for _ in range(2000):
        try:
            read(data_of(Answer(chance.choice([200, 500]), damaged(body, chance)), "a call"))
            outcomes["read"] += 1
        except AddonError as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 0


def test_damaged_http() -> None:
    chance = random.Random(1)
    good = data([VOLUME])
    handlers = [say(damaged(good, chance)) for _ in range(400)]
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    with RawServer(handlers) as server:
        api = Api(
            Endpoint(("127.0.0.1",), server.port, TOKEN), clock=lambda: now, sleep=sleep, deadline_s=1.0
        )
        while server.connections < len(handlers) - 10:
            try:
                assert type(api.volume("v")) is Volume
            except AddonError as error:
                assert "\n" not in str(error)
