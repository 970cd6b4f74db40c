"""The workload of the serving bench: models, the requests of a simulated day, bodies for both calls."""

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.data import Data
from bench.pipeline_path import hash_rows, train
from bench.process import run_child
from tasks.errors import ConfigError
from tasks.hashing.contract import HashContract
from tasks.logs.log import Log
from tasks.models.artifact import ScoringModel, save_model
from tasks.schema import load_schema

# What `--kind` names, as env.yaml would.
KINDS: Mapping[str, Any] = {
    "ftrl": "ftrl",
    "sgd": "sgd",
    "ftrl_pairs": "ftrl_pairs",
    "fm": "fm",
    "net": "tasks.models.neural_net:NeuralNet",
    "lightgbm": {"kind": "lightgbm:LGBMClassifier", "input": "categorical"},
    "logistic": {"kind": "sklearn.linear_model:LogisticRegression", "input": "hashed"},
}
N_CANDIDATES = 100
# The fields of an ad that competes for an impression: creative and campaign. The banner's size
# belongs to the slot, so it is part of the context.
CANDIDATE_FIELDS = ("C14", "C17", "C18", "C19", "C21")
N_RANKINGS = 200
N_GOLDEN = 8
TIMEOUT_S = 300
_NOT_SENT = ("id", "click")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Workload:
    """Files of one bench run.

    Attributes
    ----------
    folder
        Also holds ``fields.json`` (name to ``int`` or ``str``) and ``reference.npz``.
    models
        Two model folders with golden rows, one trained on all rows, one on half of them.
    impressions, rankings
        Bodies of ``/predict`` and ``/rank``, one per line.
    rows
        The impressions.
    versions
        Of the two models.
    """

    folder: Path
    models: tuple[Path, Path]
    impressions: Path
    rankings: Path
    rows: Sequence[Row]
    versions: tuple[str, str]


def make_workload(
    data: Data, *, kind: str, bits: int, n_requests: int, peers_python: Path | None
) -> Workload:
    """Return a new workload; without the peers' Python it has no model of the reference.

    Raises
    ------
    ConfigError
        If the last day has fewer rows than requested.
    """
    folder = data.folder / "serving"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = read_rows(data.folder / "test.csv", n_requests, n_rows=data.n_test)
    kinds = {name: type(value).__name__ for name, value in rows[0].items()}
    (folder / "fields.json").write_text(json.dumps(kinds))
    _write_lines(folder / "impressions.jsonl", rows)
    _write_lines(folder / "rankings.jsonl", rankings(rows))
    contract = HashContract.from_schema(load_schema("avazu"), bits=bits)
    sizes = {"model": data.n_train, "other": data.n_train // 2}
    models = [_train(data, folder / name, rows, kind, contract, n) for name, n in sizes.items()]
    if peers_python is not None:
        command = [str(peers_python), "-m", "bench.serving.apps.reference", "--bits", str(bits)]
        command += ["--csv", str(data.folder / "train.csv"), "--folder", str(folder)]
        run_child(command, name="training the reference's model", timeout_s=TIMEOUT_S)
    return Workload(
        folder,
        (folder / "model", folder / "other"),
        folder / "impressions.jsonl",
        folder / "rankings.jsonl",
        rows,
        (models[0].version, models[1].version),
    )


def read_rows(path: Path, n_wanted: int, *, n_rows: int) -> list[dict[str, Any]]:
    """Return distinct rows of a CSV, spread over it, without id and label; whole numbers as integers.

    A column holds integers if all its values are integers; hexadecimal ids stay text.
    """
    step = max(
        1, n_rows // (n_wanted + n_wanted // 10 + 1)
    )  # a tenth more, because some rows are equal
    with path.open(newline="") as lines:
        found = {
            tuple(row.items()): row
            for row in islice(csv.DictReader(lines), 0, None, step)
            if all(row.pop(name) is not None for name in _NOT_SENT)
        }
    rows = list(found.values())[:n_wanted]
    if len(rows) < n_wanted:
        raise ConfigError(
            f"the last day has {len(rows):,} distinct rows, {n_wanted:,} are needed; increase --rows"
        )
    numbers = [name for name in rows[0] if all(_is_number(row[name]) for row in rows)]
    return [row | {name: int(row[name]) for name in numbers} for row in rows]


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdigit() and str(int(text)) == text


def rankings(
    rows: Sequence[Row], *, n_rankings: int = N_RANKINGS, n_candidates: int = N_CANDIDATES
) -> list[dict[str, Any]]:
    """Return bodies of ``/rank``: the context of one row with the ads of many others."""
    bodies = []
    for number in range(min(n_rankings, len(rows))):
        context = {k: v for k, v in rows[number].items() if k not in CANDIDATE_FIELDS}
        ads = [rows[(number * 7 + place) % len(rows)] for place in range(n_candidates)]
        candidates = [{name: ad[name] for name in CANDIDATE_FIELDS} for ad in ads]
        bodies.append({"context": context, "candidates": candidates})
    return bodies


def _write_lines(path: Path, bodies: Sequence[Row]) -> None:
    path.write_text("".join(json.dumps(body, separators=(",", ":")) + "\n" for body in bodies))


def _train(
    data: Data, folder: Path, rows: Sequence[Row], kind: str, contract: HashContract, n_rows: int
) -> ScoringModel:
    """Train on the first rows of the log, save the model with golden rows, and return it."""
    log = Log.open(data.folder / "log")
    with TemporaryDirectory(dir=data.folder) as place:
        features = hash_rows(log, (0, n_rows), contract, Path(place) / "train")
        valid = hash_rows(log, (data.n_train, log.n_rows), contract, Path(place) / "valid")
        learner, _ = train(features, valid, kind=KINDS[kind])
    model = save_model(folder, learner, contract, name=kind)
    golden = [dict(row) for row in rows[:N_GOLDEN]]
    p_click = model.predict_rows(golden).tolist()
    (folder / "golden.json").write_text(json.dumps({"rows": golden, "p_click": p_click}))
    return model
