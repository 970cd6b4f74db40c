"""Values from Terraform's files, read without Terraform: ``*.tfvars`` and the defaults of ``variables.tf``.

Only literals are understood: text, numbers, true, false, null, lists and objects of those. That is all that
a ``.tfvars`` file may hold anyway.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import ConfigError, InputError

_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\n]+|\#[^\n]*|//[^\n]*|/\*.*?\*/)
      | (?P<text>"(?:[^"\\]|\\.)*")
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<word>[A-Za-z_][A-Za-z0-9_-]*)
      | (?P<sign>.)""",
    re.X | re.S,
)
_WORDS = {"true": True, "false": False, "null": None}
_OPEN, _CLOSE = "([{", ")]}"


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def read_tfvars(path: Path) -> dict[str, Any]:
    """Return the assignments of a ``.tfvars`` file.

    Raises
    ------
    InputError
        If there is no such file.
    ConfigError
        If it holds something else than names and literals.
    """
    reader = _Reader(path)
    values: dict[str, Any] = {}
    while reader.has_more():
        name = reader.take("word").text
        if name in values:
            raise reader.error(f"{name} is set twice")
        reader.take("sign", "=")
        values[name] = reader.value()
    return values


def read_defaults(path: Path) -> dict[str, Any]:
    """Return the variables that a ``.tf`` file declares with their defaults; those that have none are left out.

    Raises
    ------
    InputError
        If there is no such file.
    ConfigError
        If a default is no literal.
    """
    reader = _Reader(path)
    defaults = {}
    while reader.has_more():
        if reader.next().text == "variable" and reader.peek().kind == "text":
            name = json.loads(reader.next().text)
            reader.take("sign", "{")
            for value in _default(reader):
                defaults[name] = value
    return defaults


def _default(reader: "_Reader") -> Iterator[Any]:
    """Read to the end of a variable's block; yield its default, if it has one."""
    depth = 1
    while depth:
        token = reader.next()
        if depth == 1 and token.text == "default" and reader.peek().text == "=":
            reader.next()
            yield reader.value()
        elif token.kind == "sign":
            depth += (token.text in _OPEN) - (token.text in _CLOSE)


class _Reader:
    """A file's tokens, one after the other."""

    def __init__(self, path: Path):
        self._path = path
        try:
            self._tokens = list(_tokens(path.read_text()))
        except OSError as error:
            raise InputError(
                f"{path}: cannot be read ({error.strerror}); name a file of variables"
            ) from None
        self._at = 0

    def has_more(self) -> bool:
        return self._at < len(self._tokens)

    def peek(self) -> _Token:
        if not self.has_more():
            raise ConfigError(f"{self._path}: ends in the middle of a value")
        return self._tokens[self._at]

    def next(self) -> _Token:
        token = self.peek()
        self._at += 1
        return token

    def take(self, kind: str, text: str | None = None) -> _Token:
        token = self.next()
        if token.kind != kind or (text is not None and token.text != text):
            raise self.error(f"expected {text or 'a name'}, found {token.text!r}", token)
        return token

    def error(self, what: str, token: _Token | None = None) -> ConfigError:
        line = (token or self._tokens[self._at - 1]).line
        return ConfigError(f"{self._path}:{line}: {what}; only names and literals are understood")

    def value(self) -> Any:
        """Return the literal that comes next."""
        token = self.next()
        if token.kind == "text":
            return json.loads(token.text)
        if token.kind == "number":
            number = float(token.text)
            return int(number) if number.is_integer() else number
        if token.kind == "word" and token.text in _WORDS:
            return _WORDS[token.text]
        if token.text == "[":
            return list(self._items("]"))
        if token.text == "{":
            return dict(self._pair() for _ in self._until("}"))
        raise self.error(f"{token.text!r} is no literal", token)

    def _items(self, end: str) -> Iterator[Any]:
        for _ in self._until(end):
            yield self.value()

    def _until(self, end: str) -> Iterator[None]:
        """Yield before each element, and pass commas, until the closing sign."""
        while self.peek().text != end or self.peek().kind != "sign":
            yield
            if self.peek() == _Token("sign", ",", self.peek().line):
                self.next()
        self.next()

    def _pair(self) -> tuple[str, Any]:
        key = self.next()
        if key.kind not in ("word", "text"):
            raise self.error(f"expected a key, found {key.text!r}", key)
        if self.next().text not in ("=", ":"):
            raise self.error(f"expected = after {key.text}")
        return (json.loads(key.text) if key.kind == "text" else key.text), self.value()


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "skip":
            yield _Token(str(match.lastgroup), match.group(), line)
        line += match.group().count("\n")
