from __future__ import annotations

import socket
import ssl
import subprocess
import time
from pathlib import Path
from xml.sax.saxutils import escape
from xmlrpc.client import Fault, dumps, loads

import pytest

from storpool_addon.errors import ConfigError, OpenNebulaError, OpenNebulaRefused, OpenNebulaUnreachable
from storpool_addon.opennebula import rpc, xml
from storpool_addon.opennebula.rpc import OpenNebula
from tests.opennebula.documents import document
from tests.opennebula.fakeoned import FakeOned, drip, hang_up, http, oned, refusal, say, silence, success
from tests.programs import require

SECRET = "oneadmin:p&ss<word>"
VM = document("vm_running.xml").decode()
HOST = document("host.xml").decode()
DATASTORE = "<DATASTORE><ID>101</ID><NAME>sp-images</NAME><TEMPLATE><A>1</A></TEMPLATE></DATASTORE>"


def client(server: FakeOned, *, timeout_s: float = 5.0, retries: int = 3) -> OpenNebula:
    return OpenNebula(server.endpoint, SECRET, timeout_s=timeout_s, retries=retries)


def test_objects_are_asked_for_by_their_ids() -> None:
    image = "<IMAGE><ID>7</ID><NAME>ubuntu</NAME></IMAGE>"
    with oned(say(success(VM)), say(success(DATASTORE)), say(success(HOST)), say(success(image))) as server:
        one = client(server)
        assert one.vm(42).name == "web-42"
        assert one.datastore(101).name == "sp-images"
        assert one.host(1).client_id == 11
        assert one.image(7).name == "ubuntu"
    assert server.requests == [
        ("one.vm.info", (SECRET, 42)),
        ("one.datastore.info", (SECRET, 101, True)),
        ("one.host.info", (SECRET, 1)),
        ("one.image.info", (SECRET, 7)),
    ]


def test_request_is_one_that_oned_takes() -> None:
    with oned(say(success(VM))) as server:
        client(server).vm(42)
    assert server.heads[0].startswith("POST /RPC2 HTTP/1.0\r\n")
    assert "Content-Type: text/xml" in server.heads[0]


def test_object_is_asked_for_once_until_it_is_forgotten() -> None:
    with oned(say(success(VM))) as server:
        one = client(server)
        assert one.vm(42) is one.vm(42)
        assert server.connections == 1
        one.forget("vm", 42)
        one.forget("image", 42)
        one.vm(42)
        assert server.connections == 2


def test_encrypted_and_decrypted_datastore_are_not_mixed_up() -> None:
    plain = DATASTORE.replace("<A>1", "<A>plain")
    with oned(say(success(DATASTORE)), say(success(plain))) as server:
        one = client(server)
        assert one.datastore(101, decrypt=False).attribute("A") == "1"
        assert one.datastore(101).attribute("A") == "plain"


def test_host_by_name() -> None:
    other = HOST.replace("<ID>1</ID>", "<ID>2</ID>", 1).replace("<NAME>node1", "<NAME>node2")
    with oned(say(success(f"<HOST_POOL>{HOST}{other}</HOST_POOL>"))) as server:
        one = client(server)
        assert one.host_by_name("node2").id == 2
        with pytest.raises(OpenNebulaRefused, match="OpenNebula knows no host node"):
            one.host_by_name("node")
    assert server.requests[0] == ("one.hostpool.info", (SECRET,))


def test_pools() -> None:
    pool = f"<DATASTORE_POOL>{DATASTORE}</DATASTORE_POOL>"
    images = "<IMAGE_POOL><IMAGE><ID>7</ID></IMAGE></IMAGE_POOL>"
    with oned(say(success(pool)), say(success(images))) as server:
        one = client(server)
        assert [each.id for each in one.datastores()] == [101]
        assert [each.id for each in one.images()] == [7]


def test_vms_are_asked_for_in_pages_and_one_broken_vm_does_not_hide_the_others() -> None:
    def page(first: int, count: int) -> bytes:
        vms = "".join(f"<VM><ID>{each}</ID></VM>" for each in range(first, first + count))
        return success(f"<VM_POOL>{vms}</VM_POOL>")

    broken = success("<VM_POOL><VM><ID>x</ID></VM><VM><ID>900</ID></VM></VM_POOL>")
    with oned(say(page(0, 200)), say(page(200, 200)), say(broken)) as server:
        ids = [each.id for each in client(server).vms()]
    assert ids == [*range(400), 900]
    assert [arguments[1:4] for _, arguments in server.requests] == [
        (-2, 0, -200),
        (-2, 200, -200),
        (-2, 400, -200),
    ]


def test_ten_megabytes_of_pool() -> None:
    note = "<USER_TEMPLATE><N>" + "x" * 1_000_000 + "</N></USER_TEMPLATE>"
    vms = "".join(f"<VM><ID>{each}</ID>{note}</VM>" for each in range(12))
    with oned(say(success(f"<VM_POOL>{vms}</VM_POOL>"))) as server:
        assert len(list(client(server).vms())) == 12


def test_update_quotes_and_forgets() -> None:
    with oned(say(success(VM)), say(success(42)), say(success(VM))) as server:
        one = client(server)
        one.vm(42)
        one.update("vm", 42, {"A": 'say "x" \\ ]]> <b>', "B": "1"})
        one.vm(42)
    method, (_, vm_id, template, append) = server.requests[1]
    assert (method, vm_id, append) == ("one.vm.update", 42, 1)
    assert xml.parse(str(template).encode()).attributes() == {"A": 'say "x" \\ ]]> <b>', "B": "1"}
    assert server.connections == 3


def test_refusal_carries_what_oned_says() -> None:
    with oned(say(refusal("[one.vm.info] Error getting virtual machine [42]."))) as server:
        with pytest.raises(
            OpenNebulaRefused, match=r"refused one\.vm\.info\(42\): \[one\.vm\.info\] Error getting"
        ):
            client(server).vm(42)
        assert server.connections == 1


def test_fault_is_a_refusal() -> None:
    fault = http(dumps(Fault(-506, "Method 'one.vm.info' not defined"), methodresponse=True).encode())
    with (
        oned(say(fault)) as server,
        pytest.raises(OpenNebulaRefused, match=r"Method 'one\.vm\.info' not defined"),
    ):
        client(server).vm(42)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>It works</body></html>",
        b"not XML",
        b"<methodResponse></methodResponse>",
        b"<methodResponse><params><param><value>x</value></param></params></methodResponse>",
        b"<!DOCTYPE m [<!ENTITY a 'b'>]><methodResponse>&a;</methodResponse>",
        b"<methodResponse><params>",
        success("<VM><ID>x</ID></VM>").partition(b"\r\n\r\n")[2],
        success("garbage").partition(b"\r\n\r\n")[2],
        success("").partition(b"\r\n\r\n")[2],
    ],
)
def test_garbage_is_an_error_in_one_line_and_is_not_asked_for_again(body: bytes) -> None:
    with oned(say(http(body))) as server:
        with pytest.raises(OpenNebulaError) as caught:
            client(server).vm(42)
        assert server.connections == 1
    assert "\n" not in str(caught.value)
    assert "p&ss" not in str(caught.value)


@pytest.mark.parametrize(
    "first",
    [
        hang_up,
        say(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n<methodRes"),
        say(b"HTTP/1.1 200 OK\r\nContent-Le"),
        say(http(b"busy", "503 Service Unavailable")),
        say(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    ],
)
def test_answer_that_was_lost_is_asked_for_again(first: object) -> None:
    assert callable(first)
    with oned(first, say(success(VM))) as server:
        assert client(server).vm(42).id == 42
        assert server.connections == 2


def test_answer_without_a_length_ends_with_the_connection() -> None:
    whole = success(VM)
    without = b"HTTP/1.0 200 OK\r\n\r\n" + whole.partition(b"\r\n\r\n")[2]
    with oned(say(without)) as server:
        assert client(server).vm(42).id == 42


def test_answer_in_small_pieces() -> None:
    whole = success(VM)

    def script(_server: FakeOned, connection: object, _request: bytes) -> None:
        for start in range(0, len(whole), 997):
            connection.sendall(whole[start : start + 997])  # type: ignore[attr-defined]

    with oned(script) as server:
        assert client(server).vm(42).id == 42


def test_dead_oned_is_named_with_its_address_after_the_retries() -> None:
    with oned(hang_up) as server:
        with pytest.raises(OpenNebulaUnreachable, match=f"OpenNebula at {server.endpoint} cannot be asked"):
            client(server, retries=1).vm(42)
        assert server.connections == 2
    with pytest.raises(OpenNebulaUnreachable, match=r"refused.*is oned running"):
        OpenNebula(server.endpoint, SECRET, retries=0).vm(42)


@pytest.mark.parametrize(
    "script",
    [silence, drip(success(VM), 0.01), drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9000, 0.01)],
    ids=["silence", "drip of the head and body", "drip of an endless head"],
)
def test_total_deadline(script: object) -> None:
    assert callable(script)
    with oned(script) as server:
        began = time.monotonic()
        with pytest.raises(OpenNebulaUnreachable, match="did not answer in time"):
            client(server, timeout_s=0.4).vm(42)
        assert 0.3 < time.monotonic() - began < 1.5


def test_head_without_end_is_not_collected_for_ever() -> None:
    endless = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000
    with oned(say(endless)) as server, pytest.raises(OpenNebulaUnreachable, match="is not HTTP"):
        client(server, retries=0).vm(42)


def test_answer_that_claims_to_be_huge_is_not_waited_for() -> None:
    huge = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
    with oned(say(huge)) as server, pytest.raises(OpenNebulaUnreachable, match="larger than 64 MiB"):
        client(server, retries=0).vm(42)


@pytest.mark.parametrize("endpoint", ["", "localhost:2633", "ftp://x/RPC2", "http://"])
def test_address_that_is_none(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="ONE_XMLRPC"):
        OpenNebula(endpoint, SECRET)


def test_password_in_the_address_is_in_no_error() -> None:
    one = OpenNebula("http://user:hunter2@127.0.0.1:1/RPC2", SECRET, retries=0)
    with pytest.raises(OpenNebulaUnreachable) as caught:
        one.vm(1)
    assert "hunter2" not in str(caught.value)
    assert "p&ss" not in f"{caught.value} {one!r}"


@pytest.mark.parametrize(
    "value", ["", "a", "<&>]]>\"'", "é\u20ac\U0001f4be", "line\nline\ttab", " both ends "]
)
def test_strings_arrive_as_they_are(value: str) -> None:
    arguments, method = loads(rpc.encode("one.x", (value, 1, True, False, -5)).decode())
    assert (method, arguments) == ("one.x", (value, 1, True, False, -5))


def test_control_characters_cannot_break_the_request() -> None:
    arguments, _ = loads(rpc.encode("one.x", ("a\x00b\x1bc",)).decode())
    assert arguments == ("abc",)


@pytest.mark.parametrize(
    ("value", "text"),
    [("<string>a</string>", "a"), ("a", "a"), ("<i4>7</i4>", "7"), ("<int>7</int>", "7"), ("<string/>", "")],
)
def test_kinds_of_values(value: str, text: str) -> None:
    values = f"<value><boolean>1</boolean></value><value>{value}</value><value><i4>0</i4></value>"
    inner = f"<array><data>{values}</data></array>"
    answer = f"<methodResponse><params><param><value>{inner}</value></param></params></methodResponse>"
    assert rpc.decode(answer.encode(), "one.x()") == text


def test_from_environment(tmp_path: Path) -> None:
    (tmp_path / "auth").write_text(f"{SECRET}\n")
    with oned(say(success(VM))) as server:
        environ = {"ONE_AUTH": str(tmp_path / "auth"), "ONE_XMLRPC": server.endpoint}
        assert OpenNebula.from_environment(environ).vm(42).id == 42
    assert server.requests == [("one.vm.info", (SECRET, 42))]


def test_document_is_unescaped_once() -> None:
    text = "<VM><ID>1</ID><NAME>" + escape("a & b") + "</NAME></VM>"
    with oned(say(success(text))) as server:
        assert client(server).vm(1).name == "a & b"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that nobody signed, with its key."""
    require("openssl")
    directory: Path = tmp_path_factory.mktemp("tls")
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([*argv, *more], cwd=directory, check=True, capture_output=True, timeout=60)
    return directory


@pytest.mark.parametrize("trusted", [True, False])
def test_https_is_verified(certificate: Path, trusted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))

    with oned(say(success(VM)), wrap=lambda plain: context.wrap_socket(plain, server_side=True)) as server:
        endpoint = server.endpoint.replace("http://127.0.0.1", "https://localhost")
        one = OpenNebula(endpoint, SECRET, retries=0)
        if trusted:
            assert one.vm(42).id == 42
        else:
            with pytest.raises(OpenNebulaUnreachable, match=r"(?i)certificate.verify.failed"):
                one.vm(42)
            assert server.requests == []


def test_silent_https_port_has_the_same_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = OpenNebula(f"https://127.0.0.1:{listener.getsockname()[1]}/", SECRET, timeout_s=0.3, retries=0)
        with pytest.raises(OpenNebulaUnreachable, match="did not answer in time"):
            one.vm(42)
