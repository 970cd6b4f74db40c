"""What is wrong with a value in a request, in words."""

import math
from typing import Any

MAX_CHARS = 1_024  # of one value
MAX_ITEMS = 1_000  # of one list
_FOUND = {bool: "true or false", list: "a list", dict: "an object", type(None): "null"}


def fault(value: Any, *, may_be_bool: bool = True) -> str | None:
    """Return what is wrong with a value, None if it is valid."""
    kind = type(value)
    if kind is str:
        return _text_fault(value)
    if value is None or (kind is bool and may_be_bool) or (kind is float and math.isfinite(value)):
        return None
    if kind is int:
        n_digits = len(str(value))
        return None if n_digits <= MAX_CHARS else _too_long(n_digits, "digits")
    boolean = ", a boolean" if may_be_bool else ""
    return f"expected text, a finite number{boolean} or null, found {found(value)}"


def list_fault(items: list[Any]) -> str | None:
    """Return what is wrong with the value of a list, None if it is valid."""
    if len(items) > MAX_ITEMS:
        return f"a list of {len(items)} items is too long; the maximum is {MAX_ITEMS}"
    faults = (wrong for item in items if (wrong := fault(item)))
    return next(faults, None)


def _text_fault(text: str) -> str | None:
    if len(text) > MAX_CHARS:
        return _too_long(len(text), "characters")
    if "\0" in text:
        return "the text holds the character NUL; leave it out"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"the text cannot be written as UTF-8 ({error.reason}); send valid Unicode"
    return None


def _too_long(n_found: int, what: str) -> str:
    return f"a value of {n_found} {what} is too long; the maximum is {MAX_CHARS}"


def found(value: Any) -> str:
    """Return what a value is, as a message says it."""
    kind = type(value)
    if kind is float:
        return "infinity" if math.isinf(value) else "a number"
    return _FOUND.get(kind) or ("text" if kind is str else "a number")
