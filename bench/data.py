"""One simulated log in every format that a contestant reads, created once and kept in ``bench/data``."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from tasks.errors import ClicklabError, ConfigError
from tasks.hashing.contract import HashContract
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.schema import Schema, load_schema
from tasks.storage.files import write_atomic

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "bench" / "data"
SEED = 7
BYTES_PER_ROW = 1_500  # log, CSV, VW text and cache, features, and room to write them
MIN_ROWS = 10_000  # fewer do not show speed and may leave a day without clicks


@dataclass(frozen=True)
class Data:
    """The files of one bench run; the last day is held out.

    Attributes
    ----------
    folder
        Where the files are; contestants know their names.
    n_train, n_test
        Number of rows before the last day, and on it.
    meta
        The content of ``meta.json``.
    """

    folder: Path
    n_train: int
    n_test: int
    meta: dict[str, Any]


def contract_of(bits: int) -> HashContract:
    """Return our hash contract: the fields that all contestants read, without the crosses of our schema."""
    plain = load_schema("avazu").to_dict() | {"crosses": []}
    return HashContract.from_schema(Schema.from_dict(plain), bits=bits)


def prepare(n_rows: int, *, folder: Path = FOLDER, seed: int = SEED) -> Data:
    """Return the data of the bench, created if missing or if the simulator has changed.

    Raises
    ------
    ConfigError
        If `n_rows` is too small to measure speed.
    ClicklabError
        If there is not enough free disk space.
    """
    if n_rows < MIN_ROWS:
        raise ConfigError(f"rows must be at least {MIN_ROWS:,} for a bench, got {n_rows:,}")
    target = folder / f"rows-{n_rows}"
    wanted = {"n_rows": n_rows, "seed": seed, "maker": _maker_digest()}
    meta = _read_meta(target)
    if any(meta.get(key) != value for key, value in wanted.items()):
        require_disk(folder, n_rows * BYTES_PER_ROW)
        shutil.rmtree(target, ignore_errors=True)
        meta = wanted | _make(target, n_rows, seed)
        write_atomic(target / "meta.json", json.dumps(meta, indent=1) + "\n")
    return Data(target, meta["n_train"], meta["n_test"], meta)


def require_disk(folder: Path, n_bytes: int) -> None:
    """Raise ClicklabError unless the disk of `folder` has that much free space."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise ClicklabError(
            f"{folder}: {n_bytes / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; free some space or use fewer rows"
        )


def _maker_digest() -> str:
    """Return a digest of the code and the schema that determine the rows."""
    made_by = [
        Path(__file__),
        *sorted((ROOT / "tasks" / "simulation").glob("*.py")),
        ROOT / "tasks" / "schemas" / "avazu.yaml",
    ]
    return hashlib.sha256(b"".join(path.read_bytes() for path in made_by)).hexdigest()[:16]


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "meta.json").read_text()))
    except (OSError, ValueError):
        return {}


def _make(folder: Path, n_rows: int, seed: int) -> dict[str, Any]:
    folder.mkdir(parents=True)
    schema = load_schema("avazu")
    ingest_log(f"sim://avazu?rows={n_rows}&seed={seed}", folder / "log", schema=schema)
    log = Log.open(folder / "log")
    n_test = list(log.rows_by_day.values())[-1]
    n_train = log.n_rows - n_test
    for name, start, stop in (("train", 0, n_train), ("test", n_train, log.n_rows)):
        _write_csv(log, schema, folder / f"{name}.csv", start, stop)
        _write_vw(log, schema, folder / f"{name}.vw", start, stop)
    sizes = {
        path.name: sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        if path.is_dir()
        else path.stat().st_size
        for path in sorted(folder.iterdir())
    }
    counts = {"n_train": n_train, "n_test": n_test}
    return {**counts, "log_digest": log.digest, "n_bytes": sizes, **_parquet_files(log)}


def _texts(
    log: Log, schema: Schema, start: int, stop: int
) -> Iterator[tuple[pa.RecordBatch, dict[str, pa.Array]]]:
    """Yield batches of the log with their fields as the raw log writes them: a missing value as its constant."""
    for batch in log.batches(start=start, stop=stop):
        yield (
            batch,
            {
                spec.name: batch.column(spec.name).cast(pa.string()).fill_null(spec.missing or "")
                for spec in schema.fields
            },
        )


def _write_csv(log: Log, schema: Schema, path: Path, start: int, stop: int) -> None:
    """Write rows in the layout of Kaggle's file: id, click, hour, then the fields."""
    options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
    header = [str(schema.id), schema.label, schema.time_column, *schema.field_names]
    with path.open("wb") as out:
        out.write((",".join(header) + "\n").encode())
        for batch, fields in _texts(log, schema, start, stop):
            hour = pc.strftime(batch.column(schema.time_column), format=schema.time.format)
            columns = [batch.column(header[0]), batch.column(schema.label), hour, *fields.values()]
            pa_csv.write_csv(pa.RecordBatch.from_arrays(columns, header), out, options)


def _write_vw(log: Log, schema: Schema, path: Path, start: int, stop: int) -> None:
    """Write rows as VW text, ``1 | a1005 b0 ... v13``: one letter per field, the shortest text to parse."""
    options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
    with path.open("wb") as out:
        for batch, fields in _texts(log, schema, start, stop):
            hour = pc.hour(batch.column(schema.time_column)).cast(pa.string())
            pieces = [pc.if_else(pc.equal(batch.column(schema.label), 1), "1 |", "-1 |")]
            for letter, texts in zip(ascii_lowercase, [*fields.values(), hour], strict=False):
                pieces += [pa.scalar(f" {letter}"), texts]
            lines = pc.binary_join_element_wise(*pieces, "")
            pa_csv.write_csv(pa.RecordBatch.from_arrays([lines], ["line"]), out, options)


def _parquet_files(log: Log) -> dict[str, list[str]]:
    """Return the files of the log for readers that do not know its manifest."""
    days = [
        [f"{log.folder.name}/{file['path']}" for file in day["files"]]
        for day in log.manifest["days"]
    ]
    return {"train_parquet": [path for day in days[:-1] for path in day], "test_parquet": days[-1]}
