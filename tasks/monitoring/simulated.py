"""Traffic that was served, simulated: exposures as the service writes them, and clicks that arrive late.

The rows are those of a simulated log (:mod:`tasks.simulation.simulate`), the predictions its true probabilities, the
clicks its labels after an exponential delay. So monitoring can be judged against a known truth.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import ConfigError
from tasks.monitoring.bins import text_hashes
from tasks.serving.exposure_files import record_schema
from tasks.simulation.simulate import FIELDS, parse_uri, simulate_batches
from tasks.storage.files import open_atomic
from tasks.storage.workspace import resolve

UNIT = "device_ip"
VARIANTS = ("champion", "challenger")


class Served(NamedTuple):
    """Answered impressions, ``(n_rows,)`` each, and their fields as columns of a batch.

    ``time_us`` is the moment of the answer (microseconds since 1970), ``clicked_us`` that of the click, -1 without one.
    """

    fields: pa.RecordBatch
    request_id: list[str]
    time_us: np.ndarray
    clicked_us: np.ndarray
    p_click: np.ndarray
    unit: np.ndarray

    @property
    def variant(self) -> np.ndarray:
        """The variant of each row's unit: one fifth are the challenger's."""
        return np.where(self.unit % 5 == 0, VARIANTS[1], VARIANTS[0])


Change = Callable[[pa.RecordBatch, np.ndarray, np.ndarray], tuple[pa.RecordBatch, np.ndarray]]


def serve(
    n_rows: int,
    *,
    days: int = 10,
    start: str = "2014-10-21",
    seed: int = 7,
    ctr: float = 0.17,
    mean_delay_s: float = 600.0,
    change: Change | None = None,
    skip_rows: int = 0,
    batch_rows: int = 65_536,
) -> Iterator[Served]:
    """Yield simulated answers in batches, hour by hour in time order.

    Parameters
    ----------
    n_rows, days, start, seed, ctr
        Of the simulated log.
    mean_delay_s
        Mean time from answer to click, seconds.
    change
        Given fields, times (microseconds) and whether each row is clicked, returns fields and clicks: a drift.
    skip_rows
        Rows at the beginning that are not served: those that a model was trained on.
    batch_rows
        Rows per batch.
    """
    rng = np.random.default_rng(seed + 1_000_003)
    batches = simulate_batches(
        n_rows, days=days, start=start, seed=seed, ctr=ctr, batch_rows=batch_rows
    )
    n_before = 0
    n_skipped = 0
    for found in batches:
        batch = found.slice(min(skip_rows - n_skipped, found.num_rows))
        n_skipped += found.num_rows - batch.num_rows
        if not (n := batch.num_rows):
            continue
        hours = np.array([_micros(text) for text in batch["hour"].unique().to_pylist()])
        of_row = batch["hour"].dictionary_encode().indices.to_numpy()
        time_us = hours[of_row] + rng.integers(0, 3_600_000_000, n)
        clicked = batch["click"].to_numpy() == 1
        p_click = batch["p_true"].to_numpy()
        fields = batch.select(list(FIELDS))
        unit = text_hashes(batch[UNIT].dictionary)[batch[UNIT].indices.to_numpy()]
        if change is not None:
            fields, clicked = change(fields, time_us, clicked)
        delay_us = (rng.exponential(mean_delay_s, n) * 1e6).astype(np.int64)
        ids = [f"s{seed}-{number}" for number in range(n_before, n_before + n)]
        n_before += n
        yield Served(fields, ids, time_us, np.where(clicked, time_us + delay_us, -1), p_click, unit)


def write_traffic(folder: str | Path, served: Iterator[Served]) -> dict[str, int]:
    """Write exposures (Parquet) and clicks (JSON lines) below a folder and return how many of each there are."""
    counts = {"exposures": 0, "clicks": 0}
    for number, batch in enumerate(served):
        with open_atomic(Path(folder) / "exposures" / f"part-{number:05}.parquet") as handle:
            pq.write_table(exposure_table(batch), handle, compression="zstd")
        clicked = np.flatnonzero(batch.clicked_us >= 0)
        with open_atomic(Path(folder) / "clicks" / f"part-{number:05}.jsonl") as handle:
            handle.write(b"".join(_click_line(batch, row) for row in clicked.tolist()))
        counts["exposures"] += len(batch.time_us)
        counts["clicks"] += len(clicked)
    return counts


def simulate_for(knobs: Mapping[str, Any]) -> dict[str, str]:
    """Serve the test rows of a simulated log and return the knobs with which they are monitored.

    Parameters
    ----------
    knobs
        Those of env.yaml; the pipeline has run with them.

    Raises
    ------
    ConfigError
        If the log is not a simulated one, or nothing was hashed yet.
    """
    arguments = parse_uri(str(knobs["data"]))
    products = resolve(str(knobs["products"]))
    manifest = products / "features" / "manifest.json"
    if not manifest.is_file():
        raise ConfigError(f"{manifest} not found; `make run` first")
    skip = int(json.loads(manifest.read_text())["split"]["test"][0])
    same = {key: arguments[key] for key in ("days", "seed", "ctr") if key in arguments}
    folder = products / "monitor" / "simulated"
    shutil.rmtree(folder, ignore_errors=True)
    last_us = 0

    def watched() -> Iterator[Served]:
        nonlocal last_us
        for batch in serve(arguments["n_rows"], skip_rows=skip, **same):
            last_us = int(batch.time_us.max())
            yield batch

    write_traffic(folder, watched())
    now = datetime.fromtimestamp(last_us / 1e6, UTC).replace(microsecond=0)
    places = {f"monitor.{name}": str(folder / name) for name in ("exposures", "clicks")}
    return places | {"monitor.now_utc": f"'{now.isoformat()}'"}


def exposure_table(batch: Served) -> pa.Table:
    """Return answers as records of the exposure log, one request each."""
    n = len(batch.time_us)
    texts = [column.dictionary_decode() for column in batch.fields.columns]
    none = pa.nulls(
        n, pa.struct([(name, pa.list_(pa.string())) for name in batch.fields.schema.names])
    )
    one_each = pa.array(np.arange(n + 1), pa.int32())
    columns = {
        "request_id": pa.array(batch.request_id),
        "time": pa.array(batch.time_us).cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")),
        "call": pa.array(["predict"] * n),
        "experiment": pa.array(["simulated"] * n),
        "variant": pa.array(batch.variant),
        "version": pa.array(["simulated"] * n),
        "unit_hash": pa.array([f"{unit:08x}" for unit in batch.unit.tolist()]),
        "unit_field": pa.array([UNIT] * n),
        "forced": pa.array(np.zeros(n, bool)),
        "p_click": pa.ListArray.from_arrays(one_each, pa.array(batch.p_click)),
        "shadow": pa.array([[]] * n, record_schema([]).field("shadow").type),
        "fields": pa.StructArray.from_arrays(texts, batch.fields.schema.names),
        "candidates": none,
    }
    schema = record_schema(batch.fields.schema.names)
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _click_line(batch: Served, row: int) -> bytes:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(batch.clicked_us[row]))
    record = {"request_id": batch.request_id[row], "position": 0, "clicked_utc": moment.isoformat()}
    return json.dumps(record).encode() + b"\n"


def _micros(hour: str) -> int:
    moment = datetime.strptime(hour, "%y%m%d%H").replace(tzinfo=UTC)
    return round(moment.timestamp()) * 1_000_000
