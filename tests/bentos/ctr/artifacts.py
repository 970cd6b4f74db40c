"""Model folders with golden rows, and the ways in which one can be spoilt."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tasks.hashing.contract import HashContract
from tasks.models import make_learner
from tasks.models.artifact import save_model
from tasks.schema import Schema, load_schema
from tests.bentos.ctr.serving import golden_rows, trained_model


def artifact(folder: Path, *, seed: int = 1, bits: int = 10, schema: Schema | None = None) -> Path:
    """Write a linear model with its golden rows and return the folder."""
    model = trained_model(folder, schema or load_schema("avazu"), bits=bits, seed=seed)
    (folder / "golden.json").write_text(json.dumps(golden_rows(model)))
    return folder


def fm_artifact(folder: Path, *, bits: int = 10) -> Path:
    """Write a factorization machine with its golden rows and return the folder."""
    contract = HashContract.from_schema(load_schema("avazu"), bits=bits)
    draw = np.random.default_rng(5)
    shape = (500, contract.n_tokens)
    codes = draw.integers(-contract.n_features, contract.n_features, shape).astype(np.int32)
    learner = make_learner("fm", contract.n_features, random_state=5)
    learner.partial_fit_codes(codes, (draw.random(len(codes)) < 0.2).astype(np.uint8))
    model = save_model(folder, learner, contract, name="fm")
    (folder / "golden.json").write_text(json.dumps(golden_rows(model)))
    return folder


def net_artifact(folder: Path) -> Path:
    """Write a small neural network with its golden rows and return the folder."""
    return _made(folder, "tasks.models.neural_net:NeuralNet", hidden=4, n_rows=32)


def boosted_artifact(folder: Path) -> Path:
    """Write a LightGBM model with its golden rows and return the folder."""
    block = {"kind": "lightgbm:LGBMClassifier", "input": "categorical"}
    return _made(folder, block, n_estimators=5)


def _made(folder: Path, model: Any, **params: Any) -> Path:
    contract = HashContract.from_schema(load_schema("avazu"), bits=10)
    draw = np.random.default_rng(5)
    codes = draw.integers(0, contract.n_features, (500, contract.n_tokens)).astype(np.int32)
    learner = make_learner(model, contract.n_features, random_state=5, **params)
    learner.partial_fit_codes(codes, (codes[:, 0] % 4 == 0).astype(np.uint8)).end_pass()
    saved = save_model(folder, learner, contract, name="any")
    (folder / "golden.json").write_text(json.dumps(golden_rows(saved)))
    return folder


def version_of(folder: Path) -> str:
    """Return the version of a model folder."""
    return json.loads((folder / "model.json").read_text())["version"]


def put(source: Path, target: Path) -> None:
    """Put a copy of a folder in the place of another one, in one step as `mv` does it."""
    copy = target.with_name(f".{target.name}.new")
    shutil.copytree(source, copy)
    if target.exists():
        target.rename(target.with_name(f".{target.name}.old"))
    copy.rename(target)
    shutil.rmtree(target.with_name(f".{target.name}.old"), ignore_errors=True)


def edited(**changes: Any) -> Callable[[Path], None]:
    """Return what changes keys of ``model.json``."""

    def spoil(folder: Path) -> None:
        record = json.loads((folder / "model.json").read_text())
        (folder / "model.json").write_text(json.dumps(record | changes))

    return spoil


def contract_edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Return what changes the contract in ``model.json``."""

    def spoil(folder: Path) -> None:
        record = json.loads((folder / "model.json").read_text())
        change(record["contract"])
        (folder / "model.json").write_text(json.dumps(record))

    return spoil


def golden_edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Return what changes ``golden.json``."""

    def spoil(folder: Path) -> None:
        golden = json.loads((folder / "golden.json").read_text())
        change(golden)
        (folder / "golden.json").write_text(json.dumps(golden))

    return spoil


def cut(name: str, keep: int) -> Callable[[Path], None]:
    """Return what cuts a file after some bytes."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep])


def without(name: str) -> Callable[[Path], None]:
    """Return what removes a file."""
    return lambda folder: (folder / name).unlink()


def _flip_a_weight(folder: Path) -> None:
    weights = np.load(folder / "weights.npy")
    weights[7] += 1
    np.save(folder / "weights.npy", weights)


def _shift(golden: dict[str, Any]) -> None:
    golden["p_click"][3] += 2e-6


# name: what is done to a whole folder, the kind of its refusal, what the message says
SPOILT: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "a weight changed": (_flip_a_weight, "unreadable", "a file was changed"),
    "weights cut": (cut("weights.npy", 1000), "unreadable", "no readable model"),
    "weights gone": (without("weights.npy"), "unreadable", r"weights\.npy"),
    "weights empty": (cut("weights.npy", 0), "unreadable", "no readable model"),
    "model.json cut": (cut("model.json", 300), "unreadable", "no readable model"),
    "model.json gone": (without("model.json"), "unreadable", r"model\.json"),
    "model.json nested": (
        lambda folder: (folder / "model.json").write_text("[" * 100_000),
        "unreadable",
        "RecursionError",
    ),
    "another version claimed": (edited(version="0" * 12), "unreadable", "a file was changed"),
    "another format": (edited(format=2), "unreadable", "format 2"),
    "intercept not finite": (edited(intercept=float("nan")), "unreadable", "not finite"),
    "no contract": (edited(contract=None), "unreadable|contract", "contract|readable"),
    "contract unsigned": (
        contract_edited(lambda contract: contract.pop("digest")),
        "contract",
        "not a hash contract",
    ),
    "contract signed wrongly": (
        contract_edited(lambda contract: contract.update(digest="0" * 16)),
        "contract",
        "digest does not match",
    ),
    "contract of more bits": (
        contract_edited(lambda contract: contract.update(bits=11)),
        "contract",
        "digest does not match",
    ),
    "tokens of another form": (
        contract_edited(lambda contract: contract.update(token_form="v0")),
        "contract",
        "tokens of the form",
    ),
    "no golden rows": (without("golden.json"), "golden_missing", r"without golden\.json"),
    "golden rows cut": (cut("golden.json", 200), "golden_missing", "no golden rows"),
    "golden rows empty": (
        golden_edited(lambda golden: golden.update(rows=[], p_click=[])),
        "golden_missing",
        "0 golden rows",
    ),
    "golden rows of another model": (
        golden_edited(lambda golden: golden.update(p_click=[0.5] * len(golden["rows"]))),
        "golden_differs",
        "golden row 0",
    ),
    "one golden row off": (golden_edited(_shift), "golden_differs", "golden row 3"),
    "a golden row not a number": (
        golden_edited(lambda golden: golden["p_click"].__setitem__(2, float("nan"))),
        "golden_differs",
        "golden row 2",
    ),
    "a golden row that cannot be asked": (
        golden_edited(lambda golden: golden["rows"][1].update(hour="x")),
        "golden_differs",
        "golden row 1 .*'hour'",
    ),
}
