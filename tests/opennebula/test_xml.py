from __future__ import annotations

import base64

import pytest

from storpool_addon.errors import OpenNebulaError, UsageError
from storpool_addon.opennebula import xml

LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE VM [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><VM><ID>1</ID><NAME>&c;</NAME></VM>"""
EXTERNAL = b'<!DOCTYPE VM [<!ENTITY x SYSTEM "file:///etc/passwd">]><VM><ID>1</ID><NAME>&x;</NAME></VM>'


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"", "standard input is empty"),
        (b" \n\t ", "standard input is empty"),
        (b"hello", "standard input is (not|neither) XML"),
        (b"\xff\xfe\x00", "standard input is (not|neither) XML"),
        (b"PFZNPjwvVk0", "neither XML nor base64"),
        (b"<VM><ID>1</ID>", "standard input is (not|neither) XML"),
        (b"<VM></DISK>", "standard input is (not|neither) XML"),
        (b"<VM>&unknown;</VM>", "standard input is (not|neither) XML"),
        (b"<VM>\x00</VM>", "standard input is (not|neither) XML"),
        ("<VM></VM>".encode("utf-16"), "standard input is (not|neither) XML"),
        (LAUGHS, "does not begin with an element"),
        (EXTERNAL, "does not begin with an element"),
        (b"<!-- x --><!DOCTYPE VM [<!ENTITY a 'b'>]><VM/>", "does not begin with an element"),
        (b"<?xml version='1.0'?>\n<!DOCTYPE VM><VM/>", "does not begin with an element"),
        (b"<?x <!DOCTYPE VM [<!ENTITY a 'b'>]><VM>&a;</VM>", "does not begin with an element"),
        (base64.b64encode(LAUGHS), "does not begin with an element"),
        (b'{"VM": 1}', "standard input is (not|neither) XML"),
        (b"<" * 100_000, "standard input is (not|neither) XML"),
    ],
)
def test_what_is_not_a_document_of_oned_is_refused_in_one_line(given: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        xml.parse(given)
    assert "\n" not in str(caught.value)
    assert "root:" not in str(caught.value)


def test_document_larger_than_the_cap_is_refused_unread() -> None:
    with pytest.raises(UsageError, match="larger than 64 MiB"):
        xml.parse(b"<" + b"a" * (64 << 20))


def test_entity_that_the_document_cannot_declare_is_not_expanded() -> None:
    node = xml.parse(b"<VM><NAME>&lt;b&gt; &amp; &#65;</NAME></VM>")
    assert node.text("NAME") == "<b> & A"


def test_ten_megabytes_in_one_text_are_read() -> None:
    """libxml2 ends a text node at 10 MB unless it is told otherwise; a pool of VMs arrives as one."""
    text = "x" * (11 << 20)
    assert len(xml.parse(f"<R><V>{text}</V></R>".encode()).text("V")) == len(text)


def test_doctype_inside_a_value_is_only_text() -> None:
    script = "<!DOCTYPE html><html>"
    node = xml.parse(f"<VM><START_SCRIPT><![CDATA[{script}]]></START_SCRIPT></VM>".encode())
    assert node.text("START_SCRIPT") == script


@pytest.mark.parametrize(
    "given",
    [
        b"<VM><ID>7</ID></VM>",
        b"\n  <VM><ID>7</ID></VM>\n",
        b"<?xml version='1.0' encoding='UTF-8'?>\n<VM><ID>7</ID></VM>",
        base64.b64encode(b"<VM><ID>7</ID></VM>"),
        base64.encodebytes(b"<VM><ID>7</ID></VM>"),
        base64.b64encode(b"<?xml version='1.0'?><VM><ID>7</ID></VM>") + b"\n",
        b"<VM><!-- a comment --><ID><?pi?>7</ID></VM>",
    ],
)
def test_plain_and_base64_are_both_read(given: bytes) -> None:
    assert xml.parse(given).number("ID") == 7


def test_bytes_that_are_not_utf8_do_not_make_an_object_unreadable() -> None:
    node = xml.parse("<VM><ID>7</ID><NOTE>caf\u00e9</NOTE></VM>".encode("latin-1"))
    assert node.number("ID") == 7
    assert node.text("NOTE") == "caf\ufffd"


def test_declared_encoding_is_honoured() -> None:
    node = xml.parse('<?xml version="1.0" encoding="ISO-8859-1"?><V><N>café</N></V>'.encode("latin-1"))
    assert node.text("N") == "café"


def test_error_of_the_caller_and_its_name_for_the_source() -> None:
    with pytest.raises(OpenNebulaError, match=r"the answer to one\.vm\.info is (not|neither) XML"):
        xml.parse(b"garbage", "the answer to one.vm.info", OpenNebulaError)


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("-1", -1), (" 42 ", 42), ("007", 7), ("999999999999999999", 10**18 - 1)]
)
def test_number(text: str, value: int) -> None:
    assert xml.parse(f"<V><N>{text}</N></V>".encode()).number("N") == value


@pytest.mark.parametrize("text", ["", "x", "1.5", "1e3", "0x10", "٣", "--1", "9" * 19, "1 2", "+1"])
def test_not_a_number(text: str) -> None:
    node = xml.parse(f"<V><N>{text}</N></V>".encode()).named("VM 42")
    with pytest.raises(UsageError, match=r"VM 42: N (is missing|is '.*'); a whole number is expected"):
        node.number("N")


def test_missing_number_has_its_default_and_a_wrong_one_has_not() -> None:
    node = xml.parse(b"<V><E/><W>w</W></V>")
    assert node.number("M", -1) == node.number("E", -1) == -1
    with pytest.raises(UsageError):
        node.number("W", -1)


@pytest.mark.parametrize("text", ["-1", str(1 << 43), str(1 << 63), "9" * 25, "ten"])
def test_size_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match="SIZE"):
        xml.parse(f"<V><SIZE>{text}</SIZE></V>".encode()).size_mib("SIZE")


def test_largest_size() -> None:
    assert xml.parse(f"<V><SIZE>{(1 << 43) - 1}</SIZE></V>".encode()).size_mib("SIZE") << 20 < 1 << 63
    assert xml.parse(b"<V/>").size_mib("SIZE") == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [(word, True) for word in ("1", "Y", "yes", "T", "True", "ON", " on ")]
    + [(word, False) for word in ("0", "NO", "false", "2", "enabled", "-1")],
)
def test_flag(text: str, value: bool) -> None:
    node = xml.parse(f"<V><F>{text}</F></V>".encode())
    assert node.flag("F") is value
    assert node.flag("F", default=not value) is value
    assert node.flag("MISSING", default=value) is value


def test_attributes_are_the_plain_children_and_hide_their_values() -> None:
    node = xml.parse(
        b"<D><T><A>1</A><B/><C><D>2</D></C><SP_AUTH_TOKEN>s3cret</SP_AUTH_TOKEN><A>3</A></T></D>"
    )
    attributes = node.attributes("T")
    assert attributes == {"A": "3", "B": "", "SP_AUTH_TOKEN": "s3cret"}
    assert "s3cret" not in repr(attributes)
    assert "SP_AUTH_TOKEN" in repr(attributes)
    assert node.attributes("NONE") == {}


def test_required_element_is_named() -> None:
    with pytest.raises(UsageError, match="standard input has no DATASTORE"):
        xml.parse(b"<V/>").required("DATASTORE")


ODD = """<VM><ID>7</ID><!-- c --><NOTE>a&#13;
b &lt;&amp; é</NOTE><T k="v&#13;&quot;"><A>1</A><B/><C><A>2</A></C></T>
<T><A>3</A><X><TOKEN>t</TOKEN></X></T><TOKEN/></VM>"""


def everything(node: xml.Node) -> list[object]:
    """What each method makes of a document."""
    node.write("NEW", "<n>")
    node.write("ID", "8")
    node.remove("TOKEN")
    return [
        node.document().replace(b" />", b"/>"),
        [each.document() for each in node.nodes("T/C")],
        node.attributes("T"),
        node.attributes(),
        node.walk("ID", "NOTE", "T", "A", "B", "C"),
        node.walk("A", "C"),
        [node.text(path) for path in ("T/C/A", "NOTE", ".", "T/X/TOKEN", "NONE")],
        node.numbers("T/A"),
        node.node("T/NONE"),
    ]


def test_a_large_document_reads_like_a_small_one() -> None:
    small, large = ODD.encode(), (" " * (1 << 20) + ODD).encode()
    found = everything(xml.parse(small))
    assert everything(xml.parse(large)) == found
    texts = "<ID>8</ID><NOTE>a&#13;\nb &lt;&amp; é</NOTE>"
    nested = '<T k="v&#13;&quot;"><A>1</A><B/><C><A>2</A></C></T>\n<T><A>3</A><X/></T>'
    assert found[0] == f"<VM>{texts}{nested}<NEW>&lt;n&gt;</NEW></VM>".encode()
    within = [("T", "", [("A", "1", {}), ("B", "", {}), ("C", "", {"A": "2"})]), ("T", "", [("A", "3", {})])]
    assert found[4:6] == [[("ID", "8", []), ("NOTE", "a\r\nb <& é", []), *within], []]
    with pytest.raises(UsageError, match="standard input is not XML: "):
        xml.parse(large[:-1])
    with pytest.raises(UsageError, match="does not begin with an element"):
        xml.parse(b" " * (1 << 20) + LAUGHS.partition(b"?>")[2])
