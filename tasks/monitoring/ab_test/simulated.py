"""Experiments with a known truth: units that return, whose clicks hang together, and predictions of two models.

A unit has a click rate of its own (a beta distribution, so that its clicks are beta-binomial) and impressions on its
first day and, with some chance, on each later one. The treatment multiplies the rate.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.monitoring.ab_test.impressions import Coded, Impressions
from tasks.monitoring.simulated import UNIT
from tasks.serving.exposure_files import record_schema
from tasks.storage.files import open_atomic

CONTROL, TREATMENT, SHADOW, FIELD = "champion", "challenger", "fixed", "device_type"
PAST, TRIAL = "0" * 12, "1" * 12
FIRST_DAY = 20_454  # 2026-01-01
_DEVICES = {"0": 0.6, "1": 1.0, "4": 1.6, "5": 0.8}  # by how much each is clicked more often
_DEVICE_SHARES = (0.1, 0.6, 0.2, 0.1)
_EFFECT = 0.5  # standard deviation of what a prediction knows of a unit, in logits


@dataclass(frozen=True)
class World:
    """What is true.

    Attributes
    ----------
    units_per_day, days, days_before
        New units a day; days of the experiment, and before it, when only the control answered.
    ctr, lift, loss
        Clicks per impression of the control; how much more the treatment has, as a share; by how much more noise its
        model predicts worse (negative: better), in logits.
    concentration
        Of the beta distribution of the units' rates: the smaller, the more a unit's clicks hang together.
    mean_impressions, return_chance
        Of a unit on a day; chance of each later day.
    share
        Of the treatment's units.
    lost
        Share of the treatment's units whose exposures get lost.
    lift_by_device
        Lift of single devices in place of `lift`.
    """

    units_per_day: int = 1000
    days: int = 14
    days_before: int = 0
    ctr: float = 0.1
    lift: float = 0.0
    loss: float = 0.0
    concentration: float = 20.0
    mean_impressions: float = 3.0
    return_chance: float = 0.1
    share: float = 0.5
    lost: float = 0.0
    lift_by_device: dict[str, float] | None = None


def simulate_experiment(world: World, *, seed: int = 7) -> Impressions:
    """Return the impressions of an experiment.

    Examples
    --------
    >>> rows = simulate_experiment(World(units_per_day=10, days=2))
    >>> len(np.unique(rows.unit.codes)), sorted(set(rows.variant.names))
    (20, ['challenger', 'champion'])
    """
    rng = np.random.default_rng(seed)
    n_days = world.days_before + world.days
    n_units = world.units_per_day * n_days
    first = np.repeat(np.arange(n_days), world.units_per_day)
    is_treated = rng.random(n_units) < world.share
    device = rng.choice(len(_DEVICES), n_units, p=_DEVICE_SHARES)
    factor = np.array(list(_DEVICES.values()))[device]
    mean = world.ctr * factor / np.dot(list(_DEVICES.values()), _DEVICE_SHARES)
    rate = rng.beta(mean * world.concentration, (1 - mean) * world.concentration)
    unit, day = _visits(rng, first, n_days, world.return_chance)
    n = rng.geometric(1 / world.mean_impressions, len(unit))
    unit, day = np.repeat(unit, n), np.repeat(day, n)
    is_trial = day >= world.days_before
    kept = ~(is_treated[unit] & is_trial & (rng.random(n_units) < world.lost)[unit])
    unit, day, is_trial = unit[kept], day[kept], is_trial[kept]
    treated = is_treated[unit] & is_trial
    lifts = [(world.lift_by_device or {}).get(name, world.lift) for name in _DEVICES]
    p_true = np.minimum(rate[unit] * np.where(treated, 1 + np.array(lifts)[device[unit]], 1), 1)
    y_true = (rng.random(len(unit)) < p_true).astype(float)
    fixed = _predictions(rng, mean, rate, unit, 0.0)
    theirs = _predictions(rng, mean, rate, unit, world.loss, lift=world.lift)
    own = np.where(treated, theirs, fixed)
    labels = [f"{number:016x}" for number in range(n_units)]
    return Impressions(
        Coded(unit, labels),
        Coded(treated.astype(np.int64), [CONTROL, TREATMENT]),
        Coded(is_trial.astype(np.int64), [PAST, TRIAL]),
        day + FIRST_DAY,
        y_true,
        own,
        {SHADOW: fixed},
        {FIELD: Coded(device[unit], list(_DEVICES))},
        {"exposures": len(unit)},
    )


def _visits(
    rng: np.random.Generator, first: np.ndarray, n_days: int, chance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return unit and day of each visit: the first day, and later ones by chance."""
    units, days = [np.arange(len(first))], [first]
    for day in range(n_days):
        known = np.flatnonzero(first < day)
        back = known[rng.random(len(known)) < chance]
        units.append(back)
        days.append(np.full(len(back), day))
    return np.concatenate(units), np.concatenate(days)


def _predictions(
    rng: np.random.Generator,
    mean: np.ndarray,
    rate: np.ndarray,
    unit: np.ndarray,
    loss: float,
    *,
    lift: float = 0.0,
) -> np.ndarray:
    """Return probabilities that know part of what is special about a unit."""
    logit = np.log(mean / (1 - mean))[unit] + np.log1p(lift)
    special = np.clip(np.log(np.maximum(rate, 1e-6) / mean), -2, 2)[unit]
    noise = rng.normal(0, 0.3 + max(loss, -0.3), len(unit))
    return 1 / (1 + np.exp(-(logit + _EFFECT * special + noise - 0.1)))


def write_experiment(folder: str | Path, rows: Impressions, *, seed: int = 7) -> dict[str, str]:
    """Write impressions as the logs of the service, and return the addresses of exposures and clicks."""
    rng = np.random.default_rng(seed)
    n = len(rows.day)
    time_us = (rows.day * 86_400 + rng.integers(0, 86_400, n)) * 1_000_000
    schema = record_schema([FIELD])
    one_each = pa.array(np.arange(n + 1), pa.int32())
    p_click = pa.ListArray.from_arrays(one_each, pa.array(rows.p_click))
    shadow = [
        [{"model": name, "p_click": [p]}] for name, one in rows.shadow.items() for p in one.tolist()
    ]
    of = {
        name: one.take(np.arange(n))
        for name, one in zip(("unit_hash", "variant", "experiment"), rows[:3], strict=True)
    }
    columns = {
        name: pa.array(np.array(one.names, object)[one.codes], pa.string())
        for name, one in of.items()
    }
    field = rows.fields[FIELD]
    values = pa.array(np.array(field.names, object)[field.codes], pa.string())
    columns |= {
        "request_id": pa.array([f"r{number}" for number in range(n)]),
        "time": pa.array(time_us).cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC")),
        "call": pa.array(["predict"] * n),
        "version": columns["variant"],
        "unit_field": pa.array([UNIT] * n),
        "forced": pa.array(np.zeros(n, bool)),
        "p_click": p_click,
        "shadow": pa.array(shadow or [[]] * n, schema.field("shadow").type),
        "fields": pa.StructArray.from_arrays([values], [FIELD]),
        "candidates": pa.nulls(n, schema.field("candidates").type),
    }
    table = pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)
    with open_atomic(Path(folder) / "exposures" / "part-0.parquet") as handle:
        pq.write_table(table, handle, compression="zstd")
    clicked = np.flatnonzero(rows.y_true)
    moments = np.datetime_as_string((time_us[clicked] + 60_000_000).astype("M8[us]"), unit="us")
    lines = (
        json.dumps({"request_id": f"r{row}", "position": 0, "clicked_utc": f"{moment}Z"})
        for row, moment in zip(clicked.tolist(), moments.tolist(), strict=True)
    )
    with open_atomic(Path(folder) / "clicks" / "part-0.jsonl") as handle:
        handle.write("".join(f"{line}\n" for line in lines).encode())
    return {"exposures": str(Path(folder) / "exposures"), "clicks": str(Path(folder) / "clicks")}
