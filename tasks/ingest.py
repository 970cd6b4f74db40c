"""Raw logs to the canonical log: streamed, counted, in order of time, complete or not at all.

Every row read is either in the log or in quarantine with a reason. The log is written to a hidden
folder beside its place and moved there at the end; what a killed run leaves behind is removed by
the next one.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError, InputError, disk_errors
from tasks.logs.intake.quarantine import QUARANTINE
from tasks.logs.intake.reading import Intake, Refused
from tasks.logs.intake.replacement import check_target, replace, workplace
from tasks.logs.log import MANIFEST
from tasks.logs.origin import origin_of
from tasks.logs.sources import FINGERPRINTS, fingerprint
from tasks.schema import Schema, load_schema
from tasks.storage.files import write_atomic
from tasks.storage.progress import report

BATCH_ROWS = 65_536
BLOCK_BYTES = 8 << 20


def ingest(
    product: Any,
    data: str,
    schema: str,
    max_bad_share: float,
    origin: str | None = None,
    code: str = "",
) -> None:
    """Ploomber task: read `data` into the log whose manifest is the product ``log``."""
    ingest_log(
        data,
        Path(str(product["log"])).parent,
        schema=load_schema(schema),
        max_bad_share=max_bad_share,
        origin=origin,
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
    with disk_errors(folder), workplace(folder) as work:
        run = Intake(source, schema, work, max_bad_share)
        try:
            run.read(batch_rows, block_bytes, on_progress)
            run.remove_strays()
            run.remove_duplicates()
            run.check()
            run.sort()
        except Refused:
            kept_at = refused_path(folder)
            run.quarantine.close()
            shutil.move(run.quarantine.path, kept_at)
            raise run.refusal(kept_at) from None
        finally:
            run.close()
        if fingerprint(source, cache_path=cache_path) != mark:
            raise InputError(f"{source}: changed while it was read; run again when it is complete")
        manifest = run.manifest(mark) | {"origin": origin_of(source, origin)}
        write_atomic(work / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        replace(folder, work)
    refused_path(folder).unlink(missing_ok=True)
    return manifest


def refused_path(folder: str | Path) -> Path:
    """Return where the bad rows of a refused log are kept."""
    folder = Path(folder)
    return folder.with_name(f"{folder.name}-refused-{QUARANTINE}")
