"""The client of oned's XML-RPC."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar, cast

from storpool_addon.errors import (
    AddonError,
    ConfigError,
    OpenNebulaError,
    OpenNebulaRefused,
    OpenNebulaUnreachable,
)
from storpool_addon.opennebula import http, session
from storpool_addon.opennebula.datastore import Datastore
from storpool_addon.opennebula.host import Host
from storpool_addon.opennebula.image import Image
from storpool_addon.opennebula.vm import Vm
from storpool_addon.opennebula.xml import Node, parse
from storpool_addon.tally import Call, Tally

T = TypeVar("T")

APPEND = 1
_ALL = -2
_PAGE = 200
# What is not worth the import of a module and the making of its patterns.
_LARGE = 1 << 17
_FIRST_PAUSE_S = 0.25


class OpenNebula:
    """oned. Each object is asked for once in a process; `forget` it when it has to be asked for again.

    Every call that is made here may be repeated: one that got no answer is, up to `retries` times, until
    `timeout_s` seconds are over for the call with all its repetitions. tally: where calls are counted.
    """

    def __init__(
        self,
        endpoint: str,
        secret: str,
        *,
        timeout_s: float = 60.0,
        retries: int = 3,
        tally: Tally | None = None,
    ) -> None:
        try:
            self._url = http.Url.parse(endpoint)
        except ValueError as error:
            raise ConfigError(f"ONE_XMLRPC: {error}") from None
        self._secret = secret
        self._timeout_s = timeout_s
        self._retries = retries
        self._tally = tally or Tally()
        self._known: dict[tuple[object, ...], tuple[object, str]] = {}

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        *,
        timeout_s: float = 60.0,
        retries: int = 3,
        tally: Tally | None = None,
    ) -> OpenNebula:
        """Endpoint and password as OpenNebula's own clients find them; ConfigError without a password."""
        endpoint, secret = session.endpoint(environ), session.secret(environ)
        return cls(endpoint, secret, timeout_s=timeout_s, retries=retries, tally=tally)

    def vm(self, vm_id: int) -> Vm:
        """A VM with all its history."""
        return self._object("vm", vm_id, Vm.from_node)

    def vm_document(self, vm_id: int) -> bytes:
        """What `vm` is read from, as `onevm show -x` prints it; one call gives both."""
        return self._text("vm", vm_id, Vm.from_node).encode("utf-8", "replace")

    def image(self, image_id: int) -> Image:
        """An image."""
        return self._object("image", image_id, Image.from_node)

    def datastore(self, datastore_id: int, *, decrypt: bool = True) -> Datastore:
        """A datastore. decrypt: with its encrypted attributes in plain text, as oneadmin may ask."""
        return self._object("datastore", datastore_id, Datastore.from_node, decrypt)

    def datastore_document(self, datastore_id: int) -> bytes:
        """What `datastore` is read from, without decryption."""
        return self._text("datastore", datastore_id, Datastore.from_node, False).encode("utf-8", "replace")

    def host(self, host_id: int) -> Host:
        """A host."""
        return self._object("host", host_id, Host.from_node)

    def host_by_name(self, name: str) -> Host:
        """A host by its name, which takes the whole pool; OpenNebulaRefused when there is none."""
        for host in self.hosts():
            if host.name == name:
                return host
        raise OpenNebulaRefused(f"OpenNebula knows no host {name}")

    def hosts(self) -> list[Host]:
        """All hosts."""
        return [Host.from_node(each) for each in self._document("one.hostpool.info").nodes("HOST")]

    def datastores(self) -> list[Datastore]:
        """All datastores, as they are in the pool: encrypted attributes stay encrypted."""
        return [
            Datastore.from_node(each) for each in self._document("one.datastorepool.info").nodes("DATASTORE")
        ]

    def datastore_pool(self) -> Iterator[Datastore | AddonError]:
        """All datastores, as `datastores`; in the place of one that cannot be read, why."""
        for node in self._document("one.datastorepool.info").nodes("DATASTORE"):
            try:
                yield Datastore.from_node(node)
            except AddonError as error:
                yield error

    def raft_state(self) -> int:
        """What this oned is among those of its zone, in OpenNebula's numbers (RaftState)."""
        return self._document("one.zone.raftstatus").number("STATE")

    def images(self) -> list[Image]:
        """All images."""
        pool = self._document("one.imagepool.info", _ALL, -1, -1)
        return [Image.from_node(each) for each in pool.nodes("IMAGE")]

    def image_pool(self) -> Iterator[Image | AddonError]:
        """All images, as `images`; in the place of one that cannot be read, why."""
        for node in self._document("one.imagepool.info", _ALL, -1, -1).nodes("IMAGE"):
            try:
                yield Image.from_node(node)
            except AddonError as error:
                yield error

    def vms(self) -> Iterator[Vm]:
        """All VMs but those that are done, asked for in pages; one that cannot be read is left out."""
        for page in self.vm_pages():
            for each in page.nodes("VM"):
                vm = _readable(each)
                if vm is not None:
                    yield vm

    def vm_pages(self, state: int = -1) -> Iterator[Node]:
        """The pool of VMs, as documents of some hundred each. state: -1 for all but those done."""
        start = 0
        while True:
            # A negative end is a count: oned then pages by offset.
            page = self._document("one.vmpool.infoextended", _ALL, start, -_PAGE, state, "")
            yield page
            if sum(1 for _ in page.nodes("VM")) < _PAGE:
                return
            start += _PAGE

    def update(self, kind: str, object_id: int, attributes: Mapping[str, str]) -> None:
        """Set attributes of a vm, image, datastore or host; the others stay."""
        self.call(f"one.{kind}.update", object_id, _template(attributes), APPEND)
        self.forget(kind, object_id)

    def resize(self, vm_id: int, capacity: Mapping[str, str]) -> None:
        """Give a VM, which may run, other CPU, VCPU or MEMORY, if quotas and its host allow it.

        A running VM has them when its driver is done: oned says in the VM's ERROR if that fails. Meanwhile,
        and so in answer to a repeat, oned refuses.
        """
        self.call("one.vm.resize", vm_id, _template(capacity), True)
        self.forget("vm", vm_id)

    def forget(self, kind: str, object_id: int) -> None:
        """Ask again the next time."""
        for known in [each for each in self._known if each[:2] == (kind, object_id)]:
            del self._known[known]

    def call(self, method: str, *arguments: bool | int | str) -> str:
        """The answer of a method; OpenNebulaRefused or OpenNebulaUnreachable when there is none."""
        what = f"{method}({', '.join(str(each) for each in arguments[:1])})"
        with self._tally.call(method) as timed:
            return decode(self._ask(encode(method, (self._secret, *arguments)), timed), what)

    def _object(self, kind: str, object_id: int, make: Callable[[Node], T], *more: bool) -> T:
        return self._asked(kind, object_id, make, *more)[0]

    def _text(self, kind: str, object_id: int, make: Callable[[Node], object], *more: bool) -> str:
        return self._asked(kind, object_id, make, *more)[1]

    def _asked(self, kind: str, object_id: int, make: Callable[[Node], T], *more: bool) -> tuple[T, str]:
        """The object, and the document that it was read from."""
        key = (kind, object_id, *more)
        if key not in self._known:
            method = f"one.{kind}.info"
            body = self.call(method, object_id, *more)
            self._known[key] = (make(_parsed(body, method)), body)
        return cast("tuple[T, str]", self._known[key])

    def _document(self, method: str, *arguments: bool | int | str) -> Node:
        return _parsed(self.call(method, *arguments), method)

    def _ask(self, body: bytes, timed: Call) -> bytes:
        deadline = time.monotonic() + self._timeout_s
        pause_s = _FIRST_PAUSE_S
        for tries_left in range(self._retries, -1, -1):
            try:
                return http.post(self._url, body, deadline - time.monotonic())
            except http.Failed as error:
                if not tries_left or time.monotonic() + pause_s >= deadline:
                    text = f"OpenNebula at {self._url} cannot be asked: {error}; is oned running?"
                    raise OpenNebulaUnreachable(text) from None
            time.sleep(pause_s)
            pause_s *= 2
            timed.retries += 1
        raise AssertionError("unreachable: the last try returns or raises")


def _parsed(body: str, method: str) -> Node:
    return parse(body.encode("utf-8", "replace"), f"the answer to {method}", OpenNebulaError)


def encode(method: str, arguments: tuple[bool | int | str, ...]) -> bytes:
    """A methodCall document. Written here because xmlrpc.client costs a tenth of an action's whole time."""
    parameters = "".join(f"<param><value>{_encoded(each)}</value></param>" for each in arguments)
    call = f"<methodCall><methodName>{method}</methodName><params>{parameters}</params></methodCall>"
    return f"<?xml version='1.0'?>{call}".encode("utf-8", "replace")


def decode(answer: bytes, what: str) -> str:
    """What oned answered: (true, text, …); OpenNebulaRefused for (false, why, code, …) and for a fault."""
    if len(answer) > _LARGE:
        from storpool_addon.opennebula.answer import text_of

        plain = text_of(answer)
        if plain is not None:
            return plain
    root = parse(answer, f"OpenNebula's answer to {what}", OpenNebulaError)
    fault = root.node("fault")
    if fault:
        texts = [each.text(".") for each in fault.nodes(".//string")]
        raise OpenNebulaRefused(f"OpenNebula refused {what}: {' '.join(texts) or 'no reason given'}")
    values = list(root.nodes("params/param/value/array/data/value"))
    if root.tag != "methodResponse" or len(values) < 2:
        raise OpenNebulaError(f"OpenNebula's answer to {what} is not an answer of oned; is ONE_XMLRPC right?")
    text = _text(values[1])
    if values[0].text("boolean") != "1":
        raise OpenNebulaRefused(f"OpenNebula refused {what}: {text or 'no reason given'}")
    return text


def _text(value: Node) -> str:
    # A value without a type is a string (XML-RPC specification).
    for kind in ("string", "i4", "int", "i8"):
        if value.node(kind):
            return value.text(kind)
    return value.text(".")


def _encoded(value: bool | int | str) -> str:
    if isinstance(value, bool):
        return f"<boolean>{int(value)}</boolean>"
    if isinstance(value, int):
        return f"<i4>{value}</i4>"
    # XML has no way to write most control characters.
    plain = "".join(char for char in value if char >= " " or char in "\t\n\r")
    return "<string>" + plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") + "</string>"


def _template(attributes: Mapping[str, str]) -> str:
    # As XML, which oned takes too: its own text form has no certain way to write quotes and backslashes.
    inside = "".join(f"<{name}>{_cdata(value)}</{name}>" for name, value in attributes.items())
    return f"<TEMPLATE>{inside}</TEMPLATE>"


def _cdata(value: str) -> str:
    return "<![CDATA[" + value.replace("]]>", "]]]]><![CDATA[>") + "]]>"


def _readable(node: Node) -> Vm | None:
    try:
        return Vm.from_node(node)
    except OpenNebulaError:
        return None
