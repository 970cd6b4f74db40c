"""Request bodies to rows: one flat JSON object, checked against the columns that the model reads."""

import json
import math
from collections.abc import Collection
from typing import Any, NoReturn

MAX_BODY_BYTES = 64 * 1024
_READABLE = (str, int, float, type(None))
_FOUND = {bool: "true or false", list: "a list", dict: "an object"}


class Refusal(Exception):
    """A request that gets no prediction: the HTTP status, and one line for whoever sent it."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def read_row(body: bytes, columns: Collection[str]) -> dict[str, Any]:
    """Return the object in a request body; keys outside `columns` are left in it and mean nothing.

    Raises
    ------
    Refusal
        If the body is not one JSON object, or the value of one of `columns` is neither text nor a
        number nor null.
    """
    try:
        row = _decode(str(body, "utf-8"))
    except UnicodeDecodeError as error:
        raise Refusal(
            400, f"the body is not UTF-8 ({error.reason} at byte {error.start})"
        ) from None
    except RecursionError:
        raise Refusal(400, "the body is nested too deeply; send one flat JSON object") from None
    except ValueError as error:
        raise Refusal(400, f"the body is not JSON ({error}); send one flat JSON object") from None
    if type(row) is not dict:
        raise Refusal(
            400, f"the body is {_found(row)}; send one flat JSON object, field names to values"
        )
    for name, value in row.items():
        kind = type(value)
        if kind is not str and name in columns and (kind not in _READABLE or value in _INFINITE):
            raise Refusal(
                422,
                f"field {name!r}: expected text, a finite number or null, found {_found(value)}",
            )
    return row


def _found(value: Any) -> str:
    if isinstance(value, float):
        return "infinity" if math.isinf(value) else "a number"
    return _FOUND.get(type(value)) or (
        "null" if value is None else "text" if type(value) is str else "a number"
    )


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON value")


_INFINITE = (math.inf, -math.inf)  # 1e999 is valid JSON
_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
