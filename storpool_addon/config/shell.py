"""Reads `NAME=value` files written for bash, without running anything in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from storpool_addon.errors import ConfigError

_BLANK = re.compile(r"(?:[ \t\r\n;]|\\\n)+")
_COMMENT = re.compile(r"#[^\n]*")
# `declare -A NAME` and `export NAME` set nothing; what is assigned after such a word is read as any other.
_DECLARE = re.compile(
    r"(?:export|readonly|declare|typeset)(?:[ \t]+-[A-Za-z]+)*"
    r"(?:[ \t]+[A-Za-z_][A-Za-z0-9_]*(?=[ \t\r\n;]|\Z))*(?=[ \t\r\n;]|\Z)"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SUBSCRIPT = re.compile(r"\[\s*(['\"]?)([A-Za-z0-9_.\-]+)\1\s*\]")
_EQUALS = re.compile(r"\+?=")
_PLAIN = re.compile(r"[^\s;'\"\\$`()<>|&]+")
_QUOTED_PLAIN = re.compile(r'[^"\\$`]+')
_SHELL = re.compile(
    r"(?:case|do|done|echo|elif|else|eval|exec|exit|fi|for|function|if|local|return|set|source|test|then|unset|while"
    r"|\.|\[\[?)(?=\s)|[$`()<>|&{]{1,2}"
)
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(:?[-=])?)")


class Assignment(NamedTuple):
    """`name=value`, or `name[subscript]=value`, at a line of the file (the first is 1)."""

    name: str
    subscript: str | None
    value: str
    line: int


class Reader:
    """Reads one text. variable: what a name that the text uses holds so far, "" for none."""

    def __init__(self, text: str, path: str, variable: Callable[[str], str]) -> None:
        self._text = text
        self._path = path
        self._outer = variable
        self._own: dict[str, str] = {}
        self._at = 0

    def read(self) -> list[Assignment]:
        """All assignments in order; ConfigError at the first line that is anything else."""
        found = []
        while self._skip_to_word():
            if not self._take(_DECLARE):
                found.append(self._assignment())
        return found

    def _assignment(self) -> Assignment:
        start = self._at
        name = self._take(_NAME)
        subscript = self._take(_SUBSCRIPT) if name else None
        equals = self._take(_EQUALS)
        if name is None or equals is None:
            self._refuse(start)
        value = self._word()
        if equals[0] == "+=":
            value = self._own.get(name[0], "") + value
        if subscript is None:
            self._own[name[0]] = value
        return Assignment(name[0], subscript[2] if subscript else None, value, self._line(start))

    def _skip_to_word(self) -> bool:
        """Go past blanks and comments; False at the end."""
        while self._take(_BLANK) or self._take(_COMMENT):
            pass
        return self._at < len(self._text)

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._at)
        if match:
            self._at = match.end()
        return match

    def _word(self, end: str = "") -> str:
        """A bash word from here; with `end`, up to that character and past it."""
        parts: list[str] = []
        while self._at < len(self._text):
            char = self._text[self._at]
            if end and char == end:
                self._at += 1
                return "".join(parts)
            if not end and char in " \t\r\n;":
                break
            parts.append(self._part(char, end))
        if end:
            self._unclosed(end)
        return "".join(parts)

    def _part(self, char: str, end: str) -> str:
        start = self._at
        if char == "'":
            return self._single_quoted()
        if char == '"':
            self._at += 1
            return self._double_quoted(start)
        if char == "$":
            return self._expansion()
        if char == "\\":
            self._at += 2
            return self._text[start + 1 : start + 2].replace("\n", "")
        if end and char.isspace():
            self._at += 1
            return char
        match = _PLAIN.match(self._text, self._at)
        if match is None:
            self._refuse(start)
        plain = match[0].partition(end)[0] if end else match[0]
        self._at += len(plain)
        return plain

    def _single_quoted(self) -> str:
        start = self._at + 1
        stop = self._text.find("'", start)
        if stop < 0:
            self._unclosed("'")
        self._at = stop + 1
        return self._text[start:stop]

    def _double_quoted(self, start: int) -> str:
        parts: list[str] = []
        while self._at < len(self._text) and self._text[self._at] != '"':
            parts.append(self._double_quoted_part(self._text[self._at]))
        if self._at >= len(self._text):
            self._at = start
            self._unclosed('"')
        self._at += 1
        return "".join(parts)

    def _double_quoted_part(self, char: str) -> str:
        if char == "$":
            return self._expansion()
        if char == "`":
            self._refuse(self._at)
        if char == "\\":
            following = self._text[self._at + 1 : self._at + 2]
            self._at += 2
            # Between double quotes bash keeps the backslash before any other character.
            return {"\n": ""}.get(following, following if following in '$`"\\' else "\\" + following)
        match = _QUOTED_PLAIN.match(self._text, self._at)
        assert match is not None
        self._at = match.end()
        return match[0]

    def _expansion(self) -> str:
        start = self._at
        match = self._take(_VARIABLE)
        if match is None:
            following = self._text[start + 1 : start + 2]
            if following and following in "({'\"@*#?$!0123456789-":
                self._refuse(start)
            self._at = start + 1
            return "$"
        name = match[1] or match[2]
        value = self._own.get(name) if name in self._own else self._outer(name)
        if match[1]:
            return value or ""
        operator = match[3]
        if operator is None:
            if not self._text.startswith("}", self._at):
                self._refuse(start)
            self._at += 1
            return value or ""
        fallback = self._word("}")
        return value or fallback

    def _line(self, at: int) -> int:
        return self._text.count("\n", 0, at) + 1

    def _unclosed(self, mark: str) -> NoReturn:
        raise ConfigError(
            f"{self._path}:{self._line(self._at)}: a {mark} that is opened here is never closed"
        )

    def _refuse(self, at: int) -> NoReturn:
        # Nothing else of the line is repeated: it may be a token with a character that wants quotes.
        match = _SHELL.match(self._text, at)
        what = f"{match[0]!r} is shell code; " if match else ""
        raise ConfigError(
            f"{self._path}:{self._line(at)}: {what}only NAME=value is read here, and nothing is run;"
            " write the value itself, in single quotes if it has special characters"
        )
