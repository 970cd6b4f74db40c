"""The contestants, the order of their runs, and the record of each run."""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import Data
from bench.process import run_child
from tasks.evaluation.metrics import log_loss, roc_auc
from tasks.logs.log import Log
from tasks.schema import load_schema


@dataclass(frozen=True)
class Contestant:
    """A module of :mod:`bench.contestants`, and the variant to run."""

    key: str
    label: str
    module: str
    variant: str
    is_peer: bool = True
    preparation: str | None = None  # unmeasured variant that writes the input of this one


CONTESTANTS = (
    Contestant("ours_csv", "ours, raw CSV", "ours", "csv", False, "prepare"),
    Contestant("ours_log", "ours, canonical log", "ours", "log", False, "prepare"),
    Contestant("ours_features", "ours, hashed features", "ours", "features", False, "prepare"),
    Contestant("reference", "reference, raw CSV", "reference", "csv"),
    Contestant("sklearn", "scikit-learn used well, Parquet", "sklearn_well", "parquet"),
    Contestant("vw_text", "Vowpal Wabbit, text", "vowpal", "text"),
    Contestant("vw_cache", "Vowpal Wabbit, cache", "vowpal", "cache", True, "make-cache"),
    Contestant("river", "River, raw CSV, 20,000 rows", "river_online", "csv"),
)


@dataclass
class Record:
    """The prediction quality of a contestant, and its measured runs."""

    quality: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)

    def median(self, name: str) -> float:
        """Return the median of a measure over the runs."""
        return float(np.median([run[name] for run in self.runs]))


class Contest:
    """Runs contestants on one set of data.

    Parameters
    ----------
    data
        From :func:`bench.data.prepare`.
    bits
        Hash bits of every contestant.
    peers_python
        The Python of the peers' environment.
    timeout_s
        Limit of one run; if it is exceeded, the bench fails.
    """

    def __init__(self, data: Data, *, bits: int, peers_python: Path, timeout_s: float):
        self.data = data
        self.bits = bits
        self.peers_python = peers_python
        self.timeout_s = timeout_s

    def run(
        self, contestants: Sequence[Contestant], n_runs: int, set_status: Callable[[str], None]
    ) -> dict[str, Record]:
        """Return a record of each contestant.

        First each predicts the held-out day once, unmeasured, which also warms every cache;
        then all run in turn, `n_runs` times.
        """
        records = {contestant.key: Record() for contestant in contestants}
        for contestant in contestants:
            set_status(f"{contestant.label}: held-out day")
            self._judge(contestant, records[contestant.key])
        for number in range(1, n_runs + 1):
            for contestant in contestants:
                set_status(f"{contestant.label}: run {number} of {n_runs}")
                records[contestant.key].runs.append(self._run(contestant, contestant.variant))
        return records

    def _judge(self, contestant: Contestant, record: Record) -> None:
        if contestant.preparation:
            self._run(contestant, contestant.preparation)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "p_click.npy"
            found = self._run(contestant, contestant.variant, predict=path)
            p_click = np.load(path)
        y_true = _labels(self.data)
        record.quality = {
            "log_loss": log_loss(y_true, p_click),
            "roc_auc": roc_auc(y_true, p_click),
        }
        if "progressive_log_loss" in found:
            record.quality["progressive_log_loss"] = found["progressive_log_loss"]
        record.versions = found["versions"]

    def _run(
        self, contestant: Contestant, variant: str, predict: Path | None = None
    ) -> dict[str, Any]:
        python = str(self.peers_python) if contestant.is_peer else sys.executable
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder) / "result.json"
            command = [python, "-m", f"bench.contestants.{contestant.module}", variant]
            command += ["--data", str(self.data.folder), "--bits", str(self.bits)]
            command += ["--result", str(result)]
            command += ["--predict", str(predict)] if predict else []
            cost = run_child(command, name=contestant.label, timeout_s=self.timeout_s)
            found: dict[str, Any] = json.loads(result.read_text())
        found["rows_per_s"] = found["n_rows"] / found["wall_s"]
        return found | {"process_wall_s": cost.wall_s, "process_cpu_s": cost.cpu_s}


def _labels(data: Data) -> np.ndarray:
    """Return the labels of the held-out day, in row order."""
    name = load_schema("avazu").label
    log = Log.open(data.folder / "log")
    batches = log.batches(columns=[name], start=data.n_train)
    return np.concatenate([batch.column(0).to_numpy() for batch in batches])
