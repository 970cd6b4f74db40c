"""Raw logs to the canonical log: streamed, counted, in order of time, complete or not at all.

Every row read is either in the log or in quarantine with a reason. The log is written to a hidden
folder beside its place and moved there at the end; what a killed run leaves behind is removed by
the next one.
"""

import json
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError, InputError, disk_errors
from tasks.logs.intake.assembly import Assembly, Refused, Run
from tasks.logs.intake.pieces import Piece, cut_source
from tasks.logs.intake.quarantine import QUARANTINE
from tasks.logs.intake.readers import Fit, Reader
from tasks.logs.intake.reading import Options, read_piece
from tasks.logs.intake.replacement import check_target, replace, workplace
from tasks.logs.log import MANIFEST
from tasks.logs.origin import origin_of
from tasks.logs.sources import FINGERPRINTS, fingerprint
from tasks.schema import Schema, load_schema
from tasks.storage.files import write_atomic
from tasks.storage.progress import report

BATCH_ROWS = 65_536
BLOCK_BYTES = 8 << 20
PIECE_BYTES = 16 << 20
_PIECES_PER_WORKER = 4  # enough for an even load
_SCRATCH = ".pieces"


def ingest(
    product: Any,
    data: str,
    schema: str,
    max_bad_share: float,
    origin: str | None = None,
    engine: str | Mapping[str, Any] | None = "local",
    code: str = "",
) -> None:
    """Ploomber task: read `data` into the log whose manifest is the product ``log``."""
    ingest_log(
        data,
        Path(str(product["log"])).parent,
        schema=load_schema(schema),
        max_bad_share=max_bad_share,
        origin=origin,
        engine=engine,
        on_progress=report,
    )


def ingest_log(
    source: str,
    folder: str | Path,
    *,
    schema: Schema,
    max_bad_share: float = 0.01,
    origin: str | None = None,
    batch_rows: int = BATCH_ROWS,
    block_bytes: int = BLOCK_BYTES,
    engine: str | Mapping[str, Any] | None = "local",
    piece_bytes: int = PIECE_BYTES,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Write the log of a source to a folder and return its manifest.

    Parameters
    ----------
    source : str
        CSV, JSON lines or Parquet, packed or in an archive; a folder of those; ``archive!member``;
        ``s3://bucket/key-or-prefix``; or ``sim://avazu?rows=...&seed=...``.
    folder : path
        Where the log goes; an existing log is replaced once the new one is complete.
    schema : Schema
        What the columns mean.
    max_bad_share : float
        Share of bad rows, in [0, 1], above which the log is refused.
    origin : str, optional
        A name for where the rows come from, instead of one derived from `source` (:func:`tasks.logs.origin.origin_of`).
    batch_rows, block_bytes : int
        Rows of Parquet and bytes of CSV per batch; the log does not depend on them.
    engine
        ``"local"``, or a Dask cluster as in ``env.yaml`` (:func:`tasks.cluster.engine.connect`), whose workers see source
        and folder under the same paths. The log is the same, byte for byte.
    piece_bytes
        The least that is worth a worker's while.
    on_progress
        Called with the number of rows read so far.

    Raises
    ------
    InputError
        In one line: what is wrong with which file, and what to do. No log is left then.
    DiskFullError
        If the disk is full; nothing is left of the log.
    """
    if not 0 <= max_bad_share <= 1:
        raise ConfigError(f"max_bad_share must be between 0 and 1, got {max_bad_share}")
    folder = Path(folder)
    source = str(source)
    check_target(folder)
    cache_path = folder.parent / FINGERPRINTS
    mark = fingerprint(source, cache_path=cache_path)
    with disk_errors(folder), workplace(folder) as work, _runner(engine) as (run, n_workers):
        scratch = work / _SCRATCH
        assembly = Assembly(source, schema, max_bad_share, work, scratch, run)
        options = Options(batch_rows, block_bytes)
        try:
            pieces = cut_source(
                source,
                schema,
                assembly.note,
                n_pieces=_PIECES_PER_WORKER * n_workers if n_workers else 1,
                min_bytes=piece_bytes,
                block_bytes=block_bytes,
            )
            _read(assembly, pieces, schema, scratch, options, run, bool(n_workers), on_progress)
            assembly.finish()
        except Refused:
            kept_at = refused_path(folder)
            assembly.quarantine.close()
            shutil.move(assembly.quarantine.path, kept_at)
            raise assembly.refusal(kept_at) from None
        finally:
            with suppress(OSError):  # a full disk was already reported by the write before
                assembly.quarantine.close()
        if fingerprint(source, cache_path=cache_path) != mark:
            raise InputError(f"{source}: changed while it was read; run again when it is complete")
        shutil.rmtree(scratch)
        manifest = assembly.manifest(mark) | {"origin": origin_of(source, origin)}
        write_atomic(work / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        replace(folder, work)
    refused_path(folder).unlink(missing_ok=True)
    return manifest


@contextmanager
def _runner(engine: str | Mapping[str, Any] | None) -> Iterator[tuple[Run, int]]:
    """Yield what calls functions of files, and the number of workers that it has; 0 means this process."""
    if engine in ("local", None):
        yield _run_here, 0
        return
    from tasks.cluster.engine import connect
    from tasks.cluster.in_order import run_in_order

    with connect(engine) as client:  # type: ignore[arg-type]
        yield partial(run_in_order, client), len(client.nthreads())


def _run_here(
    function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]
) -> Generator[Any, None, None]:
    for one in arguments:
        yield function(*one)


def _read(
    assembly: Assembly,
    pieces: list[Piece],
    schema: Schema,
    scratch: Path,
    options: Options,
    run: Run,
    is_cluster: bool,
    on_progress: Callable[[int], None] | None,
) -> None:
    """Read the pieces, each into the assembly in its turn."""
    if is_cluster:
        options = options._replace(n_threads=0, has_truth=_has_truth(pieces, schema, options))
    else:
        options = options._replace(max_bad_share=assembly.max_bad_share)
    called = None if is_cluster else on_progress
    arguments = [(piece, schema, scratch, options, called) for piece in pieces]
    with closing(run(read_piece, arguments)) as results:
        for piece, rows in zip(pieces, results, strict=True):
            if is_cluster and not rows.folder.is_dir():
                raise InputError(
                    f"{rows.folder}: written by a worker, but not visible here; source and log must lie on storage that all machines share"
                )
            assembly.take(piece, rows)
            if is_cluster and on_progress:
                on_progress(assembly.n_rows_in)


def _has_truth(pieces: list[Piece], schema: Schema, options: Options) -> bool:
    """Return whether the first rows of the source have true probabilities; errors are left to the reading."""
    if not schema.truth:
        return False
    reader = Reader(
        pieces[0].source, schema, lambda _: None, options.batch_rows, options.block_bytes, 0
    )
    with suppress(InputError):
        for piece in pieces:
            with closing(reader.rows(piece.files, piece.span, Fit())) as rows:
                for raw in rows:
                    return schema.truth in raw.columns
    return False


def refused_path(folder: str | Path) -> Path:
    """Return where the bad rows of a refused log are kept."""
    folder = Path(folder)
    return folder.with_name(f"{folder.name}-refused-{QUARANTINE}")
