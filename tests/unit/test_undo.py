"""Taking back what a failed action has done."""

import pytest

from storpool_addon.errors import StateError, StorPoolUnreachable, Terminated
from storpool_addon.undo import Undo


def test_nothing_is_taken_back_when_all_went_well():
    done = []
    with Undo(done.append) as undo:
        undo.add("a", done.append, "undone")
    assert done == []


@pytest.mark.parametrize("error", [StateError("no"), Terminated(15), RuntimeError("bug")])
def test_steps_run_newest_first_whatever_the_error(error):
    done = []
    with pytest.raises(type(error)), Undo(lambda text: None) as undo:
        undo.add("a", done.append, 1)
        undo.add("b", done.append, 2)
        raise error
    assert done == [2, 1]


def test_a_step_that_fails_is_named_and_does_not_stop_the_others():
    done, log = [], []

    def fails():
        raise StorPoolUnreachable("no endpoint answers")

    with pytest.raises(StateError) as caught, Undo(log.append) as undo:
        undo.add("delete volume a", done.append, "a")
        undo.add("detach volume b", fails)
        raise StateError("the device is missing")
    assert done == ["a"]
    assert str(caught.value) == (
        "the device is missing; could not undo this: detach volume b (no endpoint answers)"
    )
    assert "undo failed: detach volume b: no endpoint answers" in log
