"""A bounded sample of a raw log, of any form that ingest reads, before there is a schema."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import InputError
from tasks.logs.inference.text_form import sniff
from tasks.logs.intake.archives import Opener, Part
from tasks.logs.intake.csv_block import RawRows
from tasks.logs.intake.headers import WrongColumns
from tasks.logs.intake.json_lines import json_object
from tasks.logs.intake.readers import file_errors, is_json, read_source
from tasks.logs.intake.values import texts
from tasks.logs.origin import split_member
from tasks.logs.sources import list_files
from tasks.logs.value_text import ITEM_MARK, value_text
from tasks.schema import Schema

MAX_ROWS = 50_000
_MAX_CELLS = 3_000_000  # a log of thousands of columns is judged by fewer rows
_MAX_FILES = 8  # of a folder: spread over it, so that a log by day shows several
_MAX_PARTS = 16  # of archives
_HEAD_BYTES = 512 << 10
_BLOCK_BYTES = 1 << 20
_MAX_BLOCKS = 64


@dataclass
class Look:
    """What the beginning of one table says: its columns, and how it is written."""

    name: str
    columns: list[str]
    file: dict[str, Any] = field(default_factory=dict)
    lists: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)  # columns that no field can be, and why


@dataclass
class Sample:
    """Rows of a log as text, null where nothing is, in the order of the source; items of lists are joined."""

    source: str
    look: Look
    columns: dict[str, pa.Array]
    files: list[str]
    n_rows: int
    n_bad: int
    is_whole: bool
    types: dict[str, pa.DataType]


def take_sample(source: str, *, max_rows: int = MAX_ROWS) -> Sample:
    """Return the first rows of a source; of a folder, those of up to eight files spread over it.

    At most `max_rows`, and a block of a megabyte more; fewer where there are many columns.

    Raises
    ------
    InputError
        If there is nothing to read, or one column only.
    """
    sources = _spread(source)
    looks = [look for one in sources for look in _looks(one)]
    if not looks:
        raise InputError(f"{source}: nothing to read in it; is the export complete?")
    look = max(looks, key=lambda one: len(one.columns))  # a test set lacks the label
    usable = [name for name in look.columns if name not in look.refused]
    if len(usable) < 2:
        raise InputError(
            f"{look.name}: {len(usable)} usable column{'s' * (len(usable) != 1)}; a schema needs a label and a field"
        )
    schema = _every_column(usable, look)
    max_rows = min(max_rows, max(1_000, _MAX_CELLS // len(usable)))
    found: list[RawRows] = []
    is_whole = len(sources) == 1 or len(sources) == len(list_files(source))
    for one in sources:
        rows, ended = _rows(one, schema, max(1, max_rows // len(sources)))
        found += rows
        is_whole &= ended
    return _joined(source, look, usable, found, is_whole)


def _spread(source: str) -> list[str]:
    files = list_files(source)
    if len(files) == 1 or split_member(source)[1] is not None:
        return [source]
    n_files = min(len(files), _MAX_FILES)
    places = [place * (len(files) - 1) // (n_files - 1) for place in range(n_files)]
    return [files[place].uri for place in places]


def _looks(source: str) -> Iterator[Look]:
    opener = Opener(lambda _: None, split_member(source)[1])
    for file in list_files(source):
        with file_errors(file.uri), file.open() as handle:
            for part in islice(opener.parts(handle, file.uri, file.size_bytes), _MAX_PARTS):
                yield _look(part)


def _look(part: Part) -> Look:
    folders = [step.partition("=") for step in part.name.split("/")[:-1]]
    partition = [unquote(key) for key, mark, _ in folders if mark and key]
    if part.is_parquet:
        look = _look_at_parquet(part)
    else:
        head = part.stream.read(_HEAD_BYTES)
        if is_json(part.name):
            look = _look_at_json(part.name, head)
        else:
            found = sniff(head, part.name, is_whole=len(head) < _HEAD_BYTES)
            look = Look(part.name, list(found.columns), found.declared)
    look.columns += [name for name in partition if name not in look.columns]
    times = Counter(look.columns)
    for name in times:
        if not name:
            look.refused[name] = "a column without a name"
        elif "=" in name or "*" in name:
            look.refused[name] = "its name holds '=' or '*'; rename the column to use it"
        elif times[name] > 1:
            look.refused[name] = "the file has it twice"
    look.columns = list(times)
    return look


def _look_at_parquet(part: Part) -> Look:
    with pq.ParquetFile(part.stream) as file:
        schema = file.schema_arrow
    look = Look(part.name, list(schema.names))
    for item in schema:
        kind = item.type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            look.lists.add(item.name)
            kind = kind.value_type
        if pa.types.is_nested(kind) or pa.types.is_float16(kind):
            look.refused[item.name] = f"its type is {item.type}"
    return look


def _look_at_json(name: str, head: bytes) -> Look:
    look = Look(name, [])
    columns: dict[str, None] = {}
    for line in head.split(b"\n"):
        for key, value in (json_object(line) or {}).items():  # the last one is cut
            columns[key] = None
            if isinstance(value, list):
                look.lists.add(key)
                value = value[0] if value else None
            if isinstance(value, dict | list):
                look.refused[key] = "its values are objects, which the log cannot hold"
    look.columns += columns
    if not columns:
        raise InputError(f"{name}: the first line is no JSON object; expected one per line")
    return look


def _every_column(names: list[str], look: Look) -> Schema:
    """Return a schema by which every column is read."""
    label, *others = names
    kinds = {name: {"type": "list"} if name in look.lists else {} for name in others}
    return Schema.from_dict({"name": "sample", "label": label, "fields": kinds, "file": look.file})


def _rows(source: str, schema: Schema, max_rows: int) -> tuple[list[RawRows], bool]:
    """Return the first batches of a source, and whether they are all of it; nothing if its columns are others."""
    found: list[RawRows] = []
    n_rows = 0
    batches = read_source(
        source, schema, note=lambda _: None, batch_rows=5_000, block_bytes=_BLOCK_BYTES
    )
    with closing(batches):
        try:
            for raw in batches:
                if n_rows >= max_rows or len(found) >= _MAX_BLOCKS:
                    return found, False
                found.append(raw)
                n_rows += len(raw.numbers)
        except WrongColumns:
            return [], True
    return found, True


def _joined(
    source: str, look: Look, names: list[str], found: list[RawRows], is_whole: bool
) -> Sample:
    n_rows = sum(len(raw.numbers) for raw in found)
    n_bad = sum(len(raw.bad) for raw in found)
    if not n_rows:
        raise InputError(f"{source}: no rows that can be read ({n_bad} bad lines)")
    columns, types = {}, {}
    for name in names:
        arrays = [raw.columns[name] for raw in found]
        types[name] = arrays[0].type
        try:
            columns[name] = pa.chunked_array(
                [_texts(one, name, raw.file) for one, raw in zip(arrays, found, strict=True)],
                pa.string(),
            )
        except InputError:
            look.refused[name] = f"its type is {types[name]}"
    files = list(dict.fromkeys(raw.file for raw in found))
    return Sample(source, look, columns, files, n_rows, n_bad, is_whole, types)


def _texts(column: pa.Array, name: str, file: str) -> pa.Array:
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        lists = column.to_pylist()
        joined = [one and "".join(value_text(item) + ITEM_MARK for item in one) for one in lists]
        return pa.array([text or None for text in joined], pa.string())
    return texts(column, name, file)
