"""oned's XML-RPC in the lab, spoken to by a client that nobody here wrote."""

from __future__ import annotations

import http.client
import xmlrpc.client
from collections.abc import Iterator
from typing import Any

import pytest

from storpool_addon.lab.conductor import AFTER, BEFORE, Call, Conductor, Fault
from storpool_addon.lab.machine import DONE
from storpool_addon.lab.machines import Machines
from storpool_addon.lab.oned import Oned
from storpool_addon.lab.rpc import RpcServer, assignments

SESSION = "oneadmin:opennebula"


class Client:
    """Calls with the right session."""

    def __init__(self, server: RpcServer) -> None:
        self.proxy = xmlrpc.client.ServerProxy(server.endpoint)
        self.address = server.endpoint.split("/")[2]

    def __call__(self, name: str, *params: Any, session: str = SESSION) -> list[Any]:
        with self.proxy:
            return getattr(self.proxy, name)(session, *params)  # type: ignore[no-any-return]


@pytest.fixture
def oned() -> Oned:
    oned = Oned("fe", "/nowhere")
    oned.add_image_datastore()
    oned.add_system_datastore()
    oned.add_host("node1", 11)
    machines = Machines(oned, lambda path, text: None)
    for _ in range(5):
        machines.create()
    return oned


@pytest.fixture
def conductor() -> Conductor:
    return Conductor()


@pytest.fixture
def call(oned: Oned, conductor: Conductor) -> Iterator[Client]:
    server = RpcServer(oned, conductor)
    yield Client(server)
    server.close()


@pytest.mark.parametrize(
    ("name", "params", "beginning"),
    [
        ("one.vm.info", (42,), "<VM><ID>42</ID>"),
        ("one.datastore.info", (101, True), "<DATASTORE><ID>101</ID>"),
        ("one.host.info", (1,), "<HOST><ID>1</ID>"),
        ("one.hostpool.info", (), "<HOST_POOL><HOST>"),
        ("one.datastorepool.info", (), "<DATASTORE_POOL><DATASTORE><ID>101</ID>"),
        ("one.imagepool.info", (-2, -1, -1), "<IMAGE_POOL></IMAGE_POOL>"),
        ("one.system.version", (), "7.4.0"),
    ],
)
def test_documents(call: Client, name: str, params: tuple[Any, ...], beginning: str) -> None:
    success, text, code = call(name, *params)
    assert (success, code) == (True, 0)
    assert text.startswith(beginning)


def test_refusals(call: Client) -> None:
    assert call("one.vm.info", 42, session="somebody:else")[::2] == [False, 0x0100]
    missing = call("one.vm.info", 99)
    assert missing == [False, "[one.vm.info] Error getting virtual machine [99].", 0x0400]
    assert call("one.vm.fly", 42)[0] is False


@pytest.mark.parametrize(
    ("start", "end", "state", "ids"),
    [
        (-1, -1, -1, [42, 43, 45, 46]),
        (-1, -1, -2, [42, 43, 44, 45, 46]),
        (43, 45, -2, [43, 44, 45]),
        (0, -2, -2, [42, 43]),
        (2, -2, -2, [44, 45]),
        (-1, -1, 6, [44]),
    ],
)
def test_the_pool_of_vms_by_pages_and_states(
    call: Client, oned: Oned, start: int, end: int, state: int, ids: list[int]
) -> None:
    oned.vms[44].state = DONE
    _, text, _ = call("one.vmpool.infoextended", -2, start, end, state)
    assert [vm for vm in oned.vms if f"<VM><ID>{vm}</ID>" in text] == ids


def test_update_appends_or_replaces(call: Client, oned: Oned) -> None:
    assert call("one.vm.update", 42, 'A = "1"\nB="2"', 1)[0] is True
    assert call("one.vm.update", 42, 'A="x \\"y\\""', 1)[0] is True
    assert oned.vms[42].user_attributes == {"A": 'x "y"', "B": "2"}
    call("one.vm.update", 42, "<TEMPLATE><C><![CDATA[3]]></C><D>4</D></TEMPLATE>", 0)
    assert oned.vms[42].user_attributes == {"C": "3", "D": "4"}


def test_both_forms_of_a_template() -> None:
    assert assignments('A="1",B="2"') == {"A": "1", "B": "2"}
    assert assignments("") == {}


@pytest.mark.parametrize(
    ("fault", "happened"),
    [(Fault(1, BEFORE), False), (Fault(1, AFTER), True), (Fault(1, BEFORE, persistent=True), False)],
)
def test_the_conductor_is_asked(
    call: Client, conductor: Conductor, oned: Oned, fault: Fault, happened: bool
) -> None:
    conductor.begin(fault)
    conductor.started(0)
    if fault.persistent:
        assert call("one.vm.update", 42, 'A="1"', 1) == [False, "[one.vm.update] refused by the lab", 0x2000]
    else:
        # Not through the client: it quietly tries again after a reset.
        body = xmlrpc.client.dumps((SESSION, 42, 'A="1"', 1), "one.vm.update")
        connection = http.client.HTTPConnection(call.address)
        connection.request("POST", "/RPC2", body)
        with pytest.raises(ConnectionResetError):
            connection.getresponse()
        connection.close()
    assert conductor.end() == [Call("rpc", "one.vm.update 42")]
    assert ("A" in oned.vms[42].user_attributes) == happened
