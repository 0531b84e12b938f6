"""oned's XML-RPC, as far as a storage driver uses it."""

from __future__ import annotations

import re
import socket
import struct
import threading
import xmlrpc.client
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable

from storpool_addon.lab.conductor import Conductor
from storpool_addon.lab.documents import element, elements
from storpool_addon.lab.machine import DONE
from storpool_addon.lab.oned import Oned
from storpool_addon.lab.resizing import Cannot, Resizing

# From oned's error codes (RequestManager): authentication, no such object, action, internal.
AUTHENTICATION, NO_EXISTS, ACTION, INTERNAL = 0x0100, 0x0400, 0x0800, 0x2000
# ACTIVE as RUNNING or UNKNOWN, and POWEROFF (DispatchManager::resched).
RESCHEDULABLE = ((3, 3), (3, 16), (8, 0))
_ASSIGNMENT = re.compile(r'\s*(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"\s*')
_XML_ATTRIBUTE = re.compile(r"<(\w+)>(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))</\1>", re.DOTALL)
Method = Callable[..., "str | int"]


class Refusal(Exception):
    """What oned answers instead of a result."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Methods:
    """The calls, by their name."""

    def __init__(self, oned: Oned) -> None:
        self._oned = oned
        self.resizing = Resizing()
        self.table: dict[str, Method] = {
            "one.system.version": lambda: f"{oned.version}.0",
            "one.vm.info": self._vm,
            "one.image.info": self._image,
            "one.datastore.info": self._datastore,
            "one.host.info": self._host,
            "one.hostpool.info": self._host_pool,
            "one.datastorepool.info": self._datastore_pool,
            "one.imagepool.info": self._image_pool,
            "one.zone.raftstatus": self._raft_status,
            "one.vmpool.info": self._vm_pool,
            "one.vmpool.infoextended": self._vm_pool,
            "one.vm.action": self._vm_action,
            "one.vm.resize": self._resize,
            "one.vm.update": self._updater("virtual machine", oned.vms, "user_attributes"),
            "one.image.update": self._updater("image", oned.images, "attributes"),
            "one.datastore.update": self._updater("datastore", oned.datastores, "attributes"),
            "one.host.update": self._updater("host", oned.hosts, "attributes"),
        }

    def call(self, name: str, params: tuple[Any, ...]) -> list[Any]:
        """[success, result or text, code], as every call of oned answers."""
        try:
            if not params or params[0] != self._oned.session:
                raise Refusal(AUTHENTICATION, "User couldn't be authenticated, aborting call.")
            if name not in self.table:
                raise Refusal(INTERNAL, f"method {name} is not known to the lab's oned")
            return [True, self.table[name](*params[1:]), 0]
        except Refusal as refusal:
            return [False, f"[{name}] {refusal}", refusal.code]

    def _vm(self, vm_id: int, decrypt: bool = False) -> str:
        return str(_found("virtual machine", self._oned.vms, vm_id).document(self._oned.version))

    def _image(self, image_id: int, decrypt: bool = False) -> str:
        return str(_found("image", self._oned.images, image_id).document(self._oned.version))

    def _datastore(self, datastore_id: int, decrypt: bool = False) -> str:
        clear = decrypt and self._oned.may_decrypt
        return str(_found("datastore", self._oned.datastores, datastore_id).document(decrypt=clear))

    def _host(self, host_id: int, decrypt: bool = False) -> str:
        host = _found("host", self._oned.hosts, host_id)
        return str(host.document(self._oned.vms_on(host.name)))

    def _host_pool(self) -> str:
        return element(
            "HOST_POOL", *(host.document(self._oned.vms_on(host.name)) for host in self._oned.hosts.values())
        )

    def _datastore_pool(self) -> str:
        every = self._oned.datastores.values()
        return element("DATASTORE_POOL", *(each.document(decrypt=False) for each in every))

    def _raft_status(self) -> str:
        return element("RAFT", elements(SERVER_ID=0, STATE=self._oned.raft_state, TERM=1))

    def _image_pool(self, *_filter: int) -> str:
        return element(
            "IMAGE_POOL", *(each.document(self._oned.version) for each in self._oned.images.values())
        )

    def _vm_pool(self, _filter: int = -2, start: int = -1, end: int = -1, state: int = -1, *_: object) -> str:
        """start, end: ids; or, with end below -1, page number `start` of `-end` VMs."""
        vms = [
            vm
            for _, vm in sorted(self._oned.vms.items())
            if state in (-2, vm.state) or (state == -1 and vm.state != DONE)
        ]
        if end < -1:
            vms = vms[start : start - end]
        elif start >= 0:
            vms = [vm for vm in vms if start <= vm.id and (end == -1 or vm.id <= end)]
        return element("VM_POOL", *(vm.document(self._oned.version, whole_history=False) for vm in vms))

    def _vm_action(self, action: str, vm_id: int) -> int:
        """What the scheduler then acts on; oned refuses it in other states."""
        vm = _found("virtual machine", self._oned.vms, vm_id)
        if action != "resched" or (vm.state, vm.lcm_state) not in RESCHEDULABLE:
            raise Refusal(ACTION, f"Error performing action {action} on virtual machine [{vm_id}].")
        vm.resched = True
        return vm_id

    def _resize(self, vm_id: int, text: str, _enforce: bool = True) -> int:
        try:
            self.resizing.begin(_found("virtual machine", self._oned.vms, vm_id), assignments(text))
        except Cannot as reason:
            raise Refusal(ACTION, str(reason)) from None
        return vm_id

    def _updater(self, kind: str, pool: Mapping[int, object], where: str) -> Method:
        def update(object_id: int, text: str, how: int = 0) -> int:
            attributes = getattr(_found(kind, pool, object_id), where)
            self._oned.update(attributes, assignments(text), how == 1)
            return object_id

        return update


def assignments(text: str) -> dict[str, str]:
    """The attributes of a template, in either of the forms that oned takes."""
    if text.lstrip().startswith("<"):
        return {name: data or plain for name, data, plain in _XML_ATTRIBUTE.findall(text)}
    return {name: value.replace('\\"', '"') for name, value in _ASSIGNMENT.findall(text)}


def _found(kind: str, pool: Mapping[int, Any], object_id: int) -> Any:
    if object_id not in pool:
        raise Refusal(NO_EXISTS, f"Error getting {kind} [{object_id}].")
    return pool[object_id]


class RpcServer(ThreadingHTTPServer):
    """Serves at http://127.0.0.1:PORT/RPC2."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, oned: Oned, conductor: Conductor, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        super().__init__(address, _Handler)
        self.methods = Methods(oned)
        self.conductor = conductor
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True, name="oned").start()

    def server_bind(self) -> None:
        """Like the parent's, without its reverse DNS look-up."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    @property
    def endpoint(self) -> str:
        """The address for ONE_XMLRPC or ~/.one/one_endpoint."""
        return f"http://127.0.0.1:{self.server_address[1]}/RPC2"

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is what the lab is for."""


class _Handler(BaseHTTPRequestHandler):
    server: RpcServer
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        params, name = xmlrpc.client.loads(raw)
        shown = " ".join([str(name), *(str(each) for each in params[1:2])])
        ticket = self.server.conductor.enter("rpc", shown)
        if not ticket.may_act and not ticket.is_refused:
            return self._reset()
        if not ticket.may_act:
            answer: list[Any] = [False, f"[{name}] refused by the lab", INTERNAL]
            return self._send(xmlrpc.client.dumps((answer,), methodresponse=True).encode())
        answer = self.server.methods.call(str(name), params)
        if not ticket.may_answer():
            return self._reset()
        return self._send(xmlrpc.client.dumps((answer,), methodresponse=True).encode())

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/xml; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        """End the connection so that the client sees it reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.wfile.close()
        self.connection.close()
