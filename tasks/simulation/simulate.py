"""An Avazu-shaped ad log of any size, streamed, with a known click probability per row.

Rows come from one seed and do not depend on the batch size; memory does not grow with their number.
The shapes (shares, tails, structure between fields) were measured on the first hour of the real log, and
the mix drifts from that hour to what is known of all ten days. No row of the real log is in here.
"""

import gzip
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from tasks.errors import ConfigError
from tasks.simulation.draws import hex_strings, mix64, stream
from tasks.simulation.extras import IMPRESSIONS, Extras
from tasks.simulation.shapes import SHAPES, Views
from tasks.simulation.truth import CTR
from tasks.simulation.world import World

BLOCK_ROWS = (
    65_536  # rows are drawn in blocks of this size, so that batches of any size show the same
)
FULL_ROWS = 40_428_967  # the real log
FIELDS = (
    "C1", "banner_pos", "site_id", "site_domain", "site_category", "app_id", "app_domain", "app_category",
    "device_id", "device_ip", "device_model", "device_type", "device_conn_type",
    "C14", "C15", "C16", "C17", "C18", "C19", "C20", "C21",
)  # fmt: skip
_CODES = pa.dictionary(pa.int32(), pa.string())
_KNOBS: dict[str, tuple[float, float]] = {
    "rows": (1, 10**12), "seed": (0, 2**31 - 1), "days": (1, 60), "ctr": (0.0001, 0.9),
    "numbers": (0, 3), "lists": (0, 1), "impressions": (1, 200),
}  # fmt: skip


def schema(*, with_truth: bool = True, extras: Extras | None = None) -> pa.Schema:
    """Return the Arrow schema of a batch: the raw log's columns, further ones, then `p_true` if asked for."""
    columns = [("id", pa.string()), ("click", pa.uint8()), ("hour", pa.string())]
    columns += [(name, _CODES) for name in FIELDS]
    columns += extras.schema if extras else []
    return pa.schema([*columns, ("p_true", pa.float64())] if with_truth else columns)


def simulate_batches(
    n_rows: int,
    *,
    seed: int = 7,
    batch_rows: int = 65_536,
    days: int = 10,
    start: str = "2014-10-21",
    ctr: float = CTR,
    numbers: int = 0,
    lists: int = 0,
    impressions: int = 1,
    truth: str = "factors",
    with_truth: bool = True,
) -> Iterator[pa.RecordBatch]:
    """Return an iterator over the log's batches, rows in time order; nothing is drawn before it is asked for.

    Parameters
    ----------
    n_rows : int
        Rows of the whole log, spread over `days` days; at least 1.
    seed : int
        Everything follows from it and the other arguments but `batch_rows`.
    batch_rows : int
        Rows per batch; the last one may be shorter. It does not change the rows.
    days : int
        Length of the log, 1 to 60 days.
    start : str
        First day, ISO format.
    ctr : float
        Click-through rate of the log, 0.0001 to 0.9; what sets values apart stays the same.
    numbers, lists, impressions : int
        Further columns with true effects: 0 to 3 of numbers, 0 or 1 of tags separated by "|"; above 1, `impressions`
        per row, of which `click` counts the clicks (:mod:`tasks.simulation.extras`).
    truth : str
        What the fields of a row do together: ``factors``, ``table``, ``trees``, ``fatigue`` or ``calendar``
        (:mod:`tasks.simulation.shapes`); all else stays the same.
    with_truth : bool
        Whether `p_true`, the probability from which `click` was drawn, is the last column.

    Raises
    ------
    ConfigError
        If an argument is out of its range.

    Examples
    --------
    >>> batch = next(simulate_batches(1000, batch_rows=100))
    >>> batch.num_rows, batch.num_columns, batch["hour"][0].as_py()
    (100, 25, '14102100')
    """
    more = {"numbers": numbers, "lists": lists, "impressions": impressions}
    given = {"rows": n_rows, "seed": seed, "days": days, "ctr": ctr, **more}
    for name, value in given.items():
        _check_range(name, value)
    _check_shape(truth)
    if batch_rows < 1:
        raise ConfigError(f"batch_rows must be at least 1, got {batch_rows}")
    try:
        first_day = date.fromisoformat(start)
    except ValueError:
        raise ConfigError(f"start must be a day such as 2014-10-21, got {start!r}") from None
    return _rebatch(
        _blocks(n_rows, (seed, days, first_day, ctr, truth), more, with_truth), batch_rows
    )


def _blocks(
    n_rows: int, of_world: tuple[int, int, date, float, str], more: dict[str, int], with_truth: bool
) -> Iterator[pa.RecordBatch]:
    """Draw block after block; each has streams of its own, clicks another than all the rest."""
    world, seed, ctr = _world(*of_world), of_world[0], of_world[3]
    extras = Extras(seed=seed, **more)
    if extras.has_effects:
        world.keep_rate(extras, ctr)
    ends, views = world.clock.ends(n_rows), Views(n_rows)
    for block, begin in enumerate(range(0, n_rows, BLOCK_ROWS)):
        row = np.arange(begin, min(begin + BLOCK_ROWS, n_rows))
        hour = np.searchsorted(ends, row, side="right").astype(np.int32)
        rows = world.draw(hour, stream(seed, 8, block))
        found, effect = extras.draw(len(row), block)
        p_true = world.p_click(rows, effect if extras.has_effects else None, views)
        rng = stream(seed, 9, block)
        if extras.impressions > 1:
            click = rng.binomial(found[IMPRESSIONS].to_numpy(), p_true).astype(np.uint8)
        else:
            click = (rng.random(len(row)) < p_true).view(np.uint8)
        columns = [pa.array(mix64(row, salt=seed)).cast(pa.string()), pa.array(click)]
        columns.append(
            pa.DictionaryArray.from_arrays(hour, pa.array(world.clock.labels)).dictionary_decode()
        )
        fields = _fields(world, rows)
        columns += [fields[name] for name in FIELDS]
        columns += [*found.values(), *([pa.array(p_true)] if with_truth else [])]
        layout = schema(with_truth=with_truth, extras=extras)
        yield pa.RecordBatch.from_arrays(columns, schema=layout)


@lru_cache(maxsize=4)
def _world(seed: int, days: int, first_day: date, ctr: float, truth: str) -> World:
    return World(seed=seed, days=days, start=first_day, ctr=ctr, truth=truth)


def _fields(world: World, rows: dict[str, np.ndarray]) -> dict[str, pa.DictionaryArray]:
    """Return the 21 fields of drawn rows; codes of the small pools refer to the whole pool."""
    pub, ads, people = world.publishers, world.campaigns, world.audience
    publisher, creative, campaign = rows["publisher"], rows["creative"], rows["campaign"]
    coded = {
        "C1": (rows["C1"], pub.c1_pool),
        "banner_pos": (rows["banner_pos"], pub.banner_pool),
        "site_id": (rows["site"], pub.site_pool),
        "site_domain": (rows["site_domain"], pub.site_domain_pool),
        "site_category": (pub.site_category[publisher], pub.site_category_pool),
        "app_id": (rows["app"], pub.app_pool),
        "app_domain": (pub.app_domain[publisher], pub.app_domain_pool),
        "app_category": (pub.app_category[publisher], pub.app_category_pool),
        "device_model": (rows["device_model"], people.model_pool),
        "device_type": (rows["device_type"], people.type_pool),
        "device_conn_type": (rows["device_conn_type"], people.conn_pool),
        "C14": (creative, ads.c14_pool),
        "C15": (ads.c15[creative], ads.c15_pool),
        "C16": (ads.c16[creative], ads.c16_pool),
        "C17": (campaign, ads.c17_pool),
        "C18": (ads.c18[campaign], ads.c18_pool),
        "C19": (ads.c19[campaign], ads.c19_pool),
        "C20": (rows["C20"], people.c20_pool),
        "C21": (ads.c21[campaign], ads.c21_pool),
    }
    fields = {
        name: pa.DictionaryArray.from_arrays(codes, pool) for name, (codes, pool) in coded.items()
    }
    for name in (
        "device_id",
        "device_ip",
    ):  # pools of millions: only the block's own values become text
        found = pc.dictionary_encode(pa.array(rows[name]))
        text = hex_strings(found.dictionary.to_numpy())
        fields[name] = pa.DictionaryArray.from_arrays(found.indices, text)
    return fields


def _rebatch(blocks: Iterator[pa.RecordBatch], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Cut or join blocks into batches of exactly `batch_rows` rows."""
    waiting: list[pa.RecordBatch] = []
    n_waiting = 0
    for block in blocks:
        while block.num_rows:
            part = block.slice(0, batch_rows - n_waiting)
            block = block.slice(part.num_rows)
            waiting.append(part)
            n_waiting += part.num_rows
            if n_waiting == batch_rows:
                yield _join(waiting)
                waiting, n_waiting = [], 0
    if waiting:
        yield _join(waiting)


def _join(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Return one batch of several, with one dictionary per field."""
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def parse_uri(uri: str) -> dict[str, Any]:
    """Return the arguments of :func:`simulate_batches` that a ``sim://avazu?...`` address names.

    Raises
    ------
    ConfigError
        If the address is not of that form, names an unknown knob, or a value is out of its range.

    Examples
    --------
    >>> parse_uri("sim://avazu?rows=1000&days=3")
    {'n_rows': 1000, 'days': 3}
    """
    parts = urlsplit(uri)
    if parts.scheme != "sim" or parts.netloc != "avazu" or parts.path.strip("/") or parts.fragment:
        raise ConfigError(
            f"{uri!r} is not a simulated log; write sim://avazu?rows=400000&seed=7&days=10"
        )
    found: dict[str, Any] = {}
    for key, text in parse_qsl(parts.query, keep_blank_values=True):
        if key not in (*_KNOBS, "truth"):
            known = ", ".join([*_KNOBS, "truth"])
            raise ConfigError(f"{uri!r}: unknown knob {key!r}; known are {known}")
        name = "n_rows" if key == "rows" else key
        if name in found:
            raise ConfigError(f"{uri!r}: {key} is given twice")
        if key == "truth":
            _check_shape(text)
            found[key] = text
            continue
        try:
            found[name] = float(text) if key == "ctr" else int(text)
        except ValueError:
            kind = "a number" if key == "ctr" else "a whole number"
            raise ConfigError(f"{uri!r}: {key} must be {kind}, got {text!r}") from None
        _check_range(key, found[name])
    if "n_rows" not in found:
        raise ConfigError(f"{uri!r}: rows is missing; write sim://avazu?rows=400000")
    return found


def _check_shape(truth: str) -> None:
    if truth not in SHAPES:
        raise ConfigError(f"truth must be one of {', '.join(SHAPES)}, got {truth!r}")


def _check_range(name: str, value: float) -> None:
    low, high = _KNOBS[name]
    if not low <= value <= high:
        raise ConfigError(f"{name} must be between {low} and {high}, got {value}")


def write_csv(path_or_file: str | Path | IO[bytes], n_rows: int, **knobs: Any) -> None:
    """Write the log as CSV in the layout of Kaggle's file; a path that ends in ``.gz`` is compressed.

    `knobs` are those of :func:`simulate_batches`; `p_true` is left out unless ``with_truth=True``.
    """
    knobs.setdefault("with_truth", False)
    batches = simulate_batches(n_rows, **knobs)
    with ExitStack() as stack:
        if isinstance(path_or_file, str | Path):
            opener: Any = gzip.open if str(path_or_file).endswith(".gz") else open
            out = stack.enter_context(opener(path_or_file, "wb"))
        else:
            out = path_or_file
        options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
        for number, batch in enumerate(batches):
            if not number:
                out.write((",".join(batch.schema.names) + "\n").encode())
            plain = [
                pc.cast(column, pa.string()) if pa.types.is_dictionary(column.type) else column
                for column in batch
            ]
            pa_csv.write_csv(pa.RecordBatch.from_arrays(plain, batch.schema.names), out, options)
