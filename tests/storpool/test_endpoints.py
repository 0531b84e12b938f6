"""From SP_API_HTTP_HOST and its companions to URLs."""

from __future__ import annotations

import pytest

from storpool_addon.errors import ConfigError
from storpool_addon.storpool import Endpoint, endpoint

TOKEN = "1556129910218014736"

URLS = [
    ("10.0.0.1", ["http://10.0.0.1:81"]),
    ("", ["http://127.0.0.1:81"]),
    ("sp-api.example.org", ["http://sp-api.example.org:81"]),
    ("10.0.0.1,10.0.0.2", ["http://10.0.0.1:81", "http://10.0.0.2:81"]),
    (" 10.0.0.1 , 10.0.0.2\t10.0.0.3 ", ["http://10.0.0.1:81", "http://10.0.0.2:81", "http://10.0.0.3:81"]),
    ("10.0.0.1:8181", ["http://10.0.0.1:8181"]),
    ("::1", ["http://[::1]:81"]),
    ("[::1]", ["http://[::1]:81"]),
    ("[fd00::5]:8181", ["http://[fd00::5]:8181"]),
    ("fd00:0:0:0:0:0:0:5", ["http://[fd00:0:0:0:0:0:0:5]:81"]),
    ("::ffff:10.0.0.1", ["http://[::ffff:10.0.0.1]:81"]),
    ("fd00::5,[fd00::6]:82 a:83", ["http://[fd00::5]:81", "http://[fd00::6]:82", "http://a:83"]),
    ("http://10.0.0.1/", ["http://10.0.0.1:81"]),
    ("https://sp:443", ["https://sp:443"]),
    ("HTTPS://a,https://b", ["https://a:81", "https://b:81"]),
    ("https://a,b", ["https://a:81", "https://b:81"]),
    ("https://[::1]:443", ["https://[::1]:443"]),
]


@pytest.mark.parametrize(("hosts", "urls"), URLS)
def test_hosts_become_urls(hosts: str, urls: list[str]) -> None:
    assert endpoint({"SP_API_HTTP_HOST": hosts, "SP_AUTH_TOKEN": TOKEN}).urls() == urls


def test_the_port_is_for_hosts_without_one() -> None:
    made = endpoint({"SP_API_HTTP_HOST": "a,b:1", "SP_API_HTTP_PORT": " 8181 ", "SP_AUTH_TOKEN": TOKEN})
    assert made.urls() == ["http://a:8181", "http://b:1"]


def test_a_ca_file_is_kept() -> None:
    assert endpoint({"SP_AUTH_TOKEN": TOKEN, "SP_API_CA_FILE": "/ca.pem"}).ca_file == "/ca.pem"
    assert endpoint({"SP_AUTH_TOKEN": TOKEN, "SP_API_CA_FILE": ""}).ca_file is None


BAD = [
    ({}, "SP_AUTH_TOKEN is not set"),
    ({"SP_AUTH_TOKEN": "  "}, "SP_AUTH_TOKEN is not set"),
    ({"SP_AUTH_TOKEN": "secret\nX-Header: 1"}, "SP_AUTH_TOKEN has characters"),
    ({"SP_AUTH_TOKEN": "secret secret"}, "SP_AUTH_TOKEN has characters"),
    ({"SP_AUTH_TOKEN": "secretø"}, "SP_AUTH_TOKEN has characters"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_PORT": "http"}, "SP_API_HTTP_PORT is 'http'"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_PORT": "0"}, "SP_API_HTTP_PORT is '0'"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_PORT": "65536"}, "SP_API_HTTP_PORT is '65536'"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_HOST": "a:99999"}, "SP_API_HTTP_PORT is '99999'"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_HOST": "a/ctrl"}, "no paths"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_HOST": "ftp://a"}, "no paths"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_HOST": "http://a,https://b"}, "all http:// or all https://"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_HOST": "me@a"}, "neither a host name nor an address"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_HOST": "[::1"}, "neither a host name nor an address"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_HOST": "a..b"}, "neither a host name nor an address"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_HOST": "a" * 64}, "neither a host name nor an address"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_HOST": "fe80::1%eth0"}, "neither a host name nor an address"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_HOST": ":::"}, "no IPv6 address"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_HOST": "[1.2.3.4]"}, "no IPv6 address"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_HOST": "1:2:3:4:5:6:7:8:9"}, "no IPv6 address"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_HOST": "a?b"}, "neither a host name nor an address"),
    ({"SP_AUTH_TOKEN": "secret", "SP_API_HTTP_HOST": "høst"}, "neither a host name nor an address"),
]


@pytest.mark.parametrize(("values", "text"), BAD)
def test_what_cannot_be_an_endpoint_is_refused_without_the_token(values: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        endpoint(values)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)


def test_no_text_of_an_endpoint_shows_its_token() -> None:
    made = Endpoint(("a",), 81, TOKEN)
    for text in (repr(made), str(made), f"{made}", f"{[made]}"):
        assert TOKEN not in text
        assert "'a'" in text
