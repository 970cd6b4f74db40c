"""The part files of a feature set: which are planned, which are finished, how one is written.

A folder holds ``plan.json`` (written first: what is to be built), one Arrow IPC file per part, and
``manifest.json`` (written last: the set is complete). Part ``i`` starts at row ``i * batch_rows``,
however the log was read, so that a resumed run, in one process or many, writes just the missing
parts.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.errors import InputError, disk_errors
from tasks.hashing.batch import make_batch
from tasks.hashing.contract import HashContract
from tasks.hashing.feature_set import MANIFEST, Batch, read_part
from tasks.hashing.features.columns import Faults
from tasks.logs.learned import times_between
from tasks.logs.log import Log
from tasks.storage.files import open_atomic, write_atomic

PLAN = "plan.json"
_DIGEST_KEY, _FAULTS_KEY = b"clicklab.plan", b"clicklab.feature_faults"
_LEFT_OUT_KEY = b"clicklab.items_left_out"


class Parts:
    """The parts of one feature set.

    Parameters
    ----------
    log
        The log to read.
    span
        Its first row and the one past its last.
    contract
        What to hash, and how.
    folder
        Where the feature set goes.
    batch_rows
        Rows per part, which is also what is held in memory.

    Attributes
    ----------
    digest
        Of the plan: rows, contract and size of the parts; each part carries it.
    sizes
        Rows per part, a list.

    Raises
    ------
    InputError
        If the log does not have those rows.
    """

    def __init__(
        self,
        log: Log,
        span: tuple[int, int],
        contract: HashContract,
        folder: str | Path,
        batch_rows: int = 65_536,
    ):
        start, stop = span
        if not 0 <= start <= stop <= log.n_rows or batch_rows < 1:
            raise InputError(
                f"rows {start} to {stop} in parts of {batch_rows} do not exist in a log of {log.n_rows} rows"
            )
        self.folder = Path(folder)
        self._log, self._span, self._contract, self._batch_rows = log, span, contract, batch_rows
        self._plan = {
            "contract": contract.to_dict(),
            "log_digest": log.manifest["digest"],
            "span": [start, stop],
            "batch_rows": batch_rows,
        }
        self._schema = contract.declared
        if self._schema.weight_column:
            self._plan["weight"] = self._schema.weight_column
        text = json.dumps(self._plan, sort_keys=True)
        self.digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.sizes = [min(batch_rows, stop - begin) for begin in range(start, stop, batch_rows)]

    def path(self, number: int) -> Path:
        """Return the path of a part."""
        return self.folder / f"part-{number:06d}.arrow"

    def begin(self, *, is_shared: bool = False) -> None:
        """Prepare the folder: the plan is written, and parts of another plan are removed before.

        Partial files of a killed run are removed, unless other processes may be writing (`is_shared`).
        """
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / MANIFEST).unlink(missing_ok=True)
        if not is_shared:
            self.remove_partial()
        try:
            same = json.loads((self.folder / PLAN).read_text()) == self._plan
        except (OSError, ValueError):
            same = False
        if not same:
            (self.folder / PLAN).unlink(missing_ok=True)
            for path in self.folder.glob("part-*.arrow"):
                path.unlink(missing_ok=True)
            _write_json(self.folder / PLAN, self._plan)

    def remove_partial(self) -> None:
        """Remove partial files of killed processes."""
        for path in self.folder.glob(".part-*.partial"):
            path.unlink(missing_ok=True)

    def missing(self) -> list[int]:
        """Return the numbers of the parts that do not exist yet, complete and of this plan."""
        return [i for i, size in enumerate(self.sizes) if not self._is_finished(i, size)]

    def write(self, first: int, last: int) -> Iterator[int]:
        """Write parts `first` to `last` (exclusive), and yield the number of rows of each once it exists.

        Raises
        ------
        InputError
            If a column is missing, a label is not 0 or 1, or the log holds fewer rows than its manifest states.
        DiskFullError
            If the disk is full; finished parts stay.
        """
        start, stop = self._span
        span = start + first * self._batch_rows, min(start + last * self._batch_rows, stop)
        weight = self._schema.weight_column
        columns = [self._schema.label, self._contract.time_column, *([weight] if weight else [])]
        columns += self._contract.fields
        tables = _tables(self._log, columns, self._batch_rows, span)
        with ThreadPoolExecutor(1, thread_name_prefix="write-behind") as pool:
            writing: Future[int] | None = None
            for number, table in enumerate(tables, first):
                faults = Faults()
                batch = make_batch(table, self._contract, faults)
                if writing is not None:
                    yield writing.result()
                writing = pool.submit(_write_part, self.path(number), batch, self.digest, faults)
            if writing is not None:
                yield writing.result()

    def finish(self) -> None:
        """Write the manifest: the set is complete.

        Raises
        ------
        ConfigError
            If a feature fails in too many of the rows; see :meth:`tasks.hashing.features.columns.Faults.check`.
        """
        parts: list[dict[str, Any]] = []
        faults = Faults()
        for number, n_rows in enumerate(self.sizes):
            path = self.path(number)
            counts = {"n_rows": n_rows, **_clicks(read_part(path)), "n_bytes": path.stat().st_size}
            parts.append({"file": path.name, **counts})
            faults.add_dict(_noted(path, _FAULTS_KEY))
            faults.left_out.update(_noted(path, _LEFT_OUT_KEY))
        faults.check(sum(self.sizes))
        source, origin = (self._log.manifest.get(key, "") for key in ("source", "origin"))
        summed = ["n_rows", "n_clicks"]
        summed += ["weight", "weight_clicks"] if self._schema.weight_column else []
        totals = {name: sum(part[name] for part in parts) for name in summed}
        head = {**self._plan, "digest": self.digest, "source": source, "origin": origin}
        noted = {"feature_faults": faults.to_dict(), "items_left_out": dict(faults.left_out)}
        ends = [read_part(self.path(number)).time for number in (0, len(parts) - 1) if parts]
        has_time = self._log.manifest.get("has_time", True)
        times = times_between(ends[0][0], ends[-1][-1]) if ends and has_time else []
        found = {**head, **totals, **noted, "times": times, "parts": parts}
        _write_json(self.folder / MANIFEST, found)

    def _is_finished(self, number: int, n_rows: int) -> bool:
        path = self.path(number)
        try:
            with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
                metadata = reader.schema.metadata or {}
                digest = metadata.get(_DIGEST_KEY)
                return digest == self.digest.encode() and reader.get_batch(0).num_rows == n_rows
        except (OSError, pa.ArrowInvalid):
            return False


def _clicks(batch: Batch) -> dict[str, int | float]:
    """Return the number of rows with a click, and where rows have weights, of impressions and clicks."""
    n_clicks = int(batch.label.sum())
    if batch.weight is None:
        return {"n_clicks": n_clicks}
    weight, clicked = float(batch.weight.sum()), float(batch.weight @ batch.label)
    return {"n_clicks": n_clicks, "weight": weight, "weight_clicks": clicked}


def runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and one past the last of each run of consecutive numbers."""
    first = None
    for i, number in enumerate(numbers):
        first = number if first is None else first
        if i + 1 == len(numbers) or numbers[i + 1] != number + 1:
            yield first, number + 1
            first = None


def _write_json(path: Path, content: Any) -> None:
    write_atomic(path, json.dumps(content, indent=2) + "\n")


def _tables(
    log: Log, columns: Sequence[str], batch_rows: int, span: tuple[int, int]
) -> Iterator[pa.Table]:
    """Yield tables of exactly `batch_rows` rows, the last one shorter, reading one batch ahead."""
    start, stop = span
    batches = _read_ahead(
        log.batches(columns=columns, batch_rows=batch_rows, start=start, stop=stop)
    )
    held: list[pa.RecordBatch] = []
    n_held = n_read = 0
    for batch in batches:
        n_read += batch.num_rows
        while batch.num_rows and n_held + batch.num_rows >= batch_rows:
            n_taken = batch_rows - n_held
            yield pa.Table.from_batches([*held, batch.slice(0, n_taken)])
            held, n_held, batch = [], 0, batch.slice(n_taken)
        if batch.num_rows:
            held.append(batch)
            n_held += batch.num_rows
    if n_read != stop - start:
        raise InputError(f"the log gave {n_read} rows from {start} to {stop}; ingest it again")
    if held:
        yield pa.Table.from_batches(held)


def _read_ahead(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    iterator = iter(batches)
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        coming = pool.submit(next, iterator, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, iterator, None)
            yield batch


def _noted(path: Path, key: bytes) -> dict[str, Any]:
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
        return json.loads(reader.schema.metadata[key])


def _write_part(path: Path, batch: Batch, digest: str, faults: Faults) -> int:
    """Write a part, and return its number of rows."""
    codes = pa.FixedSizeListArray.from_arrays(
        pa.array(batch.codes.reshape(-1)), batch.codes.shape[1]
    )
    moments = pa.array(batch.time.view(np.int64)).cast(pa.timestamp("ms", tz="UTC"))
    columns = {"codes": codes, "label": pa.array(batch.label), "time": moments}
    if batch.weight is not None:
        columns["weight"] = pa.array(batch.weight)
    metadata = {
        _DIGEST_KEY: digest.encode(),
        _FAULTS_KEY: json.dumps(faults.to_dict()).encode(),
        _LEFT_OUT_KEY: json.dumps(faults.left_out).encode(),
    }
    record = pa.record_batch(columns).replace_schema_metadata(metadata)
    with open_atomic(path) as handle, pa.ipc.new_file(handle, record.schema) as writer:
        writer.write_batch(record)
    return record.num_rows
