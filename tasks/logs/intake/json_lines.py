"""JSON lines to rows: one object per line, as exporters and streams write them.

Arrow's reader fails on a line longer than its block, guesses types by block and takes some texts for times; a line here is
as long as it likes, and its values become text by the rule of requests.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from tasks.errors import InputError
from tasks.logs.intake.csv_block import BadLine, RawRows
from tasks.logs.intake.csv_rows import cut_at_lines
from tasks.logs.intake.headers import Note, check_columns
from tasks.logs.value_text import ITEM_MARK, value_text
from tasks.schema import Schema
from tasks.schemas.nested import NestedFields

JSON = "not a JSON object"
VALUE = "value is an object or a list"


def read_json_lines(
    stream: BinaryIO,
    file: str,
    schema: Schema,
    *,
    partition: Sequence[str],
    note: Note,
    block_bytes: int,
) -> Iterator[RawRows]:
    """Yield the rows of a stream; the columns are the keys of its first block, and what `from` of the schema leads to.

    Raises
    ------
    InputError
        If it begins with something else, or a column of the schema is in no object of the first block.
    """
    n_lines, kept = 0, None
    paths = {spec.name: spec.source for spec in schema.fields if spec.source is not None}
    flat = NestedFields(paths).flat if paths else None
    for block in cut_at_lines(stream, file, block_bytes):
        lines = block.split(b"\n")
        found = [
            (place, json_object(line, flat)) for place, line in enumerate(lines) if line.strip()
        ]
        if kept is None:
            keys = dict.fromkeys(key for _, one in found if one for key in one)
            if found and not keys:
                raise InputError(f"{file}: the first line is no JSON object; expected one per line")
            for name in (name for name in paths if name not in keys):
                note(f"{paths[name]} leads nowhere in the first lines: {name} is missing there")
            keys |= dict.fromkeys(paths)
            kept = check_columns(
                [*keys, *(key for key in partition if key not in keys)], file, schema, note
            )
            kept = [name for name in kept if name in keys]
        yield _rows(lines, found, file, n_lines + 1, kept, schema)
        n_lines += len(lines) - (not lines[-1])


def json_object(
    line: bytes, flat: Callable[[Any], dict[str, Any]] | None = None
) -> dict[str, Any] | None:
    """Return the object in a line, None if there is none; `flat` makes a row of a nested one."""
    try:
        found = json.loads(line.decode("utf-8-sig"))
        if b"\\ud" in line.lower():  # half a surrogate pair is no text
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # what is not UTF-8 is a ValueError, too
        return None
    if not isinstance(found, dict):
        return None
    return found if flat is None else flat(found)


def _rows(
    lines: list[bytes],
    found: list[tuple[int, dict[str, Any] | None]],
    file: str,
    first_number: int,
    kept: list[str],
    schema: Schema,
) -> RawRows:
    lists = {spec.name for spec in schema.fields if spec.kind == "list"}
    columns: dict[str, list[str]] = {name: [] for name in kept}
    places, bad = [], []
    for place, one in found:
        try:
            texts = None if one is None else [_text(one.get(name), name in lists) for name in kept]
            reason = JSON
        except (TypeError, ValueError):
            texts, reason = None, VALUE
        if texts is None:
            bad.append(BadLine(first_number + place, reason, _decode(lines[place])))
            continue
        places.append(place)
        for column, text in zip(columns.values(), texts, strict=True):
            column.append(text)
    arrays = {name: pa.array(texts, pa.string()) for name, texts in columns.items()}
    numbers = np.array(places, dtype=np.int64)
    return RawRows(
        file, arrays, numbers + first_number, lambda row: _decode(lines[places[row]]), bad
    )


def _text(value: Any, is_list: bool) -> str:
    if is_list and isinstance(value, list):
        return "".join(value_text(item) + ITEM_MARK for item in value)
    return value_text(value)


def _decode(line: bytes) -> str:
    return line.removesuffix(b"\r").decode(errors="backslashreplace")
