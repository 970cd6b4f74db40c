"""The folds of the quality bench, each judged in a process of its own."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.quality.choice import judge
from bench.quality.contestants import CONTESTANTS
from bench.quality.rows import Fold, real_folds, simulated
from tasks.errors import ConfigError, InputError

SIMULATOR, REAL = "simulator", "first hour"
Job = tuple[str, dict[str, Any]]


def jobs_of(options: argparse.Namespace) -> list[Job]:
    """Return what makes each fold; ConfigError or InputError before any work if an option cannot be met."""
    if options.folds < 3:
        raise ConfigError(f"folds must be at least 3, got {options.folds}: to train, tune and test")
    jobs: list[Job] = [
        (SIMULATOR, {"shape": shape, "n_rows": options.rows, "seed": seed})
        for seed in options.seeds
        for shape in options.shapes
    ]
    if options.real and not Path(options.real).is_file():
        raise InputError(f"{options.real}: no such file; unset CLICKLAB_REAL_LOG to go without it")
    if options.real:
        real = {"path": Path(options.real), "n_folds": options.folds}
        jobs += [(REAL, real | {"number": number}) for number in range(options.folds)]
    return jobs


def work(job: Job, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return a record for each contestant on one fold; runs in a process of its own."""
    log, of_fold = job
    with tempfile.TemporaryDirectory(prefix="clicklab-quality-") as folder:
        fold = _fold(log, of_fold, Path(folder))
        about = {"log": log, "fold": fold.name}
        return [about | judge(CONTESTANTS[key], fold) for key in keys]


def _fold(log: str, of_fold: dict[str, Any], folder: Path) -> Fold:
    if log == SIMULATOR:
        return simulated(**of_fold, folder=folder)
    others = {name: value for name, value in of_fold.items() if name != "number"}
    return list(real_folds(**others, folder=folder))[of_fold["number"]]
