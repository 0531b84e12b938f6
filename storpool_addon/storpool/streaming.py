"""The elements of a long answer one by one, while it arrives: all at once they would take a gigabyte."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, Callable

from storpool_addon.errors import StorPoolLost, StorPoolNonsense
from storpool_addon.storpool.answer import OK, Answer, data_of

_BLANK = re.compile(r"[ \t\r\n]*")
# What `raw_decode` calls; that makes an error of its own of StopIteration.
_decode: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
# No object of StorPool comes near; behind it the answer is not what it seems.
_LONGEST = 4 << 20


class _Text:
    """What has arrived and was not read yet."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.text = ""
        self.at = 0

    def more(self) -> None:
        """Let another piece arrive."""
        if len(self.text) - self.at > _LONGEST:
            raise StorPoolNonsense("StorPool's answer has an object that does not end, or is not JSON")
        try:
            arrived = self._decoder.decode(next(self._chunks))
        except StopIteration:
            raise StorPoolLost("the answer was cut off") from None
        self.text, self.at = self.text[self.at :] + arrived, 0

    def peek(self) -> str:
        """The next character that is not blank."""
        while True:
            self.at = _BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            self.more()

    def take(self, expected: str) -> str:
        """The next character, which has to be one of those."""
        found = self.peek()
        if found not in expected:
            raise StorPoolNonsense(f"StorPool's answer has {found!r} where one of {expected!r} belongs")
        self.at += 1
        return found

    def value(self) -> Any:
        """The next JSON value."""
        self.peek()
        while True:
            try:
                found, end = _decode(self.text, self.at)
            except (ValueError, StopIteration):
                end = -1
            # A number where the text ends for now may have more digits.
            if end >= 0 and (end < len(self.text) or type(found) not in (int, float)):
                self.at = end
                return found
            self.more()


def elements(chunks: Iterator[bytes], what: str) -> Iterator[Any]:
    """The elements of `data` in an answer of StorPool.

    what: the call, for error texts. Raises, as late as it is seen, StorPoolRefused, StorPoolLost for an
    answer that ends too early, and StorPoolNonsense.
    """
    text = _Text(chunks)
    text.take("{")
    seen = False
    while True:
        name = text.value()
        text.take(":")
        if name == "data" and text.peek() == "[":
            yield from _array(text)
            seen = True
        else:
            value = text.value()
            if name == "error":
                data_of(Answer(OK, json.dumps({"error": value}).encode()), what)
        if text.take(",}") == "}":
            break
    if not seen:
        raise StorPoolNonsense(f"StorPool's answer to {what} has no list of data")


def _array(text: _Text) -> Iterator[Any]:
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        yield text.value()
        # Nearly always another object is there already, without blanks.
        while text.text.startswith(",{", text.at):
            try:
                found, text.at = _decode(text.text, text.at + 1)
            except (ValueError, StopIteration):
                break
            yield found
        if text.take(",]") == "]":
            return
