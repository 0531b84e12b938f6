"""What the caller of a script sees: output, one line of error, exit code; also on SIGTERM and on bugs."""

import base64
import io
import os
import signal
from typing import NamedTuple

import pytest

from storpool_addon import edge
from storpool_addon.errors import HostError, StateError
from storpool_addon.opennebula.protocol import number, protocol
from storpool_addon.undo import Undo


@pytest.fixture(autouse=True)
def signals():
    """The edge installs handlers for the process: give pytest its own back."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


def call(action, *argv, stdin=b""):
    process = edge.Process(
        ["/remotes/tm/storpool/work", *argv], {}, io.BytesIO(stdin), io.StringIO(), io.StringIO()
    )
    status = edge.main(action, process)
    return status, process.stdout.getvalue(), process.stderr.getvalue()


@protocol(vm_id=number)
def answers(driver, vm_id):
    return f"{vm_id + 1}"


@protocol(vm_id=number)
def silent(driver, vm_id):
    return None


@protocol(stdin=("document", base64.b64decode))
def reads(driver, document):
    return document.decode()


class Asked(NamedTuple):
    document: bytes
    vm_id: int
    host: str = "node1"


@protocol(vm_id=number, stdin=("document", base64.b64decode), into=Asked)
def asked(driver, given):
    return f"{given}"


def failing(error):
    @protocol(vm_id=number)
    def fails(driver, vm_id):
        raise error

    return fails


def test_the_answer_is_all_that_is_printed():
    assert call(answers, "41") == (0, "42\n", "")


def test_nothing_is_printed_without_an_answer():
    assert call(silent, "41") == (0, "", "")


def test_a_document_on_standard_input():
    assert call(reads, stdin=base64.b64encode(b"<VM/>")) == (0, "<VM/>\n", "")


def test_all_that_oned_gives_in_one_record():
    line = "Asked(document=b'<VM/>', vm_id=42, host='node1')\n"
    assert call(asked, "42", stdin=base64.b64encode(b"<VM/>")) == (0, line, "")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (StateError("VM 42 has no disk 3"), 1, "VM 42 has no disk 3\n"),
        (StateError("two\nlines  of\ttext"), 1, "two lines of text\n"),
        (
            HostError("node1", "linking", 1, "no space"),
            1,
            "linking on host node1 failed (exit code 1): no space\n",
        ),
        (
            KeyError("x"),
            3,
            "work met a bug of the driver (KeyError: 'x'); please report it\n",
        ),
        (MemoryError(), 3, "work met a bug of the driver (MemoryError: ); please report it\n"),
    ],
)
def test_an_error_is_one_plain_line(error, status, line):
    assert call(failing(error), "41") == (status, "", line)


@pytest.mark.parametrize("argv", [(), ("1", "2"), ("x",)])
def test_wrong_arguments_are_usage(argv):
    status, out, err = call(answers, *argv)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1 and "VM_ID" in err


def test_an_endless_document_is_refused(monkeypatch):
    monkeypatch.setattr(edge, "MAX_STDIN", 1 << 20)
    status, out, err = call(reads, stdin=b"x" * ((1 << 20) + 1))
    assert (status, out, err) == (2, "", "work: standard input is larger than 1 MiB\n")


@pytest.mark.parametrize("number_of_signal", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_undoes_what_was_begun(number_of_signal):
    undone = []

    def slow_undo():
        # A second signal must not cut the undo short.
        os.kill(os.getpid(), signal.SIGTERM)
        undone.append("volume")

    @protocol()
    def interrupted(driver):
        with Undo(driver.log) as undo:
            undo.add("delete volume", slow_undo)
            os.kill(os.getpid(), number_of_signal)
            raise AssertionError("the signal did not arrive")

    status, out, err = call(interrupted)
    assert (status, out, undone) == (128 + number_of_signal, "", ["volume"])
    assert err == f"work was ended by signal {int(number_of_signal)}; what it had begun was undone\n"


def test_children_of_an_action_do_not_outlive_it():
    children = []

    @protocol()
    def leaves_a_child(driver):
        children.append(driver.processes.start(["sleep", "60"]))

    assert call(leaves_a_child)[0] == 0
    assert children[0].poll() == -signal.SIGTERM
