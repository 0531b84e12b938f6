"""https:// with certificates of our own making: the right one is taken, and no other."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from storpool_addon.errors import ConfigError, StorPoolUnreachable
from storpool_addon.storpool import Api, Endpoint
from tests.programs import require
from tests.storpool.servers import TOKEN, RawServer, data, say
from tests.storpool.volumes import VOLUME

GOOD = say(data([VOLUME]))
NAME = str(VOLUME["name"])


class Certificates(NamedTuple):
    """A CA, another one, and a server's context with a certificate of the first for 127.0.0.1, localhost."""

    ca: str
    other_ca: str
    server: ssl.SSLContext


def openssl(directory: Path, *arguments: str) -> None:
    done = subprocess.run(
        ["openssl", *arguments], cwd=directory, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def make_ca(directory: Path, name: str) -> str:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"]
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    openssl(
        directory, "req", "-x509", *key, "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2", *usage
    )
    return str(directory / f"{name}.pem")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    require("openssl")
    directory = tmp_path_factory.mktemp("certificates")
    ca, other_ca = make_ca(directory, "ca"), make_ca(directory, "other")
    (directory / "extensions").write_text(
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nauthorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
    )
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "server.key"]
    openssl(directory, "req", *key, "-out", "server.csr", "-subj", "/CN=storpool")
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "extensions", "-days", "2"]
    openssl(directory, "x509", "-req", "-in", "server.csr", "-out", "server.pem", *signing)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem", directory / "server.key")
    return Certificates(ca, other_ca, context)


def api_at(host: str, ca_file: str | None, *, deadline_s: float = 5.0) -> Api:
    return Api(Endpoint((host,), 81, TOKEN, "https", ca_file), deadline_s=deadline_s)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_certificate_of_the_ca_is_taken(certificates: Certificates, name: str) -> None:
    with RawServer([GOOD], tls=certificates.server) as server:
        assert api_at(f"{name}:{server.port}", certificates.ca).volume(NAME).name == NAME
    assert f"Authorization: Storpool v1:{TOKEN}".encode() in server.requests[0]


@pytest.mark.parametrize("ca", ["other", "the system's"])
def test_any_other_certificate_is_refused_at_once_and_never_sees_the_token(
    certificates: Certificates, ca: str
) -> None:
    ca_file = certificates.other_ca if ca == "other" else None
    with (
        RawServer([GOOD], tls=certificates.server) as server,
        pytest.raises(ConfigError, match=r"certificate is not trusted .*SP_API_CA_FILE"),
    ):
        api_at(f"127.0.0.1:{server.port}", ca_file).volume(NAME)
    assert server.requests == []
    assert server.connections == 1


def test_a_certificate_for_another_name_is_refused(certificates: Certificates) -> None:
    with (
        RawServer([GOOD], tls=certificates.server, address="127.0.0.2") as server,
        pytest.raises(ConfigError, match="certificate is not trusted"),
    ):
        api_at(f"127.0.0.2:{server.port}", certificates.ca).volume(NAME)
    assert server.requests == []


def test_a_deadline_holds_over_tls(certificates: Certificates) -> None:
    drip = say(*[bytes([each]) for each in data([VOLUME])], pause_s=0.1)
    with (
        RawServer([drip], tls=certificates.server) as server,
        pytest.raises(StorPoolUnreachable, match="no answer in time"),
    ):
        api_at(f"127.0.0.1:{server.port}", certificates.ca, deadline_s=0.8).volume(NAME)


def test_what_speaks_no_tls_is_unreachable(certificates: Certificates) -> None:
    with (
        RawServer([say(b"HTTP/1.0 400 Bad Request\r\n\r\n")]) as server,
        pytest.raises(StorPoolUnreachable, match="did not answer"),
    ):
        api_at(f"127.0.0.1:{server.port}", certificates.ca, deadline_s=0.3).volume(NAME)


@pytest.mark.parametrize("content", [None, "", "not a certificate", "-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    with pytest.raises(ConfigError, match=r"SP_API_CA_FILE .*ca\.pem cannot be used") as caught:
        api_at("127.0.0.1", str(ca_file)).services_list()
    assert "\n" not in str(caught.value)
