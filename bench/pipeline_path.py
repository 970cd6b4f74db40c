"""From a log to a trained model with the functions that `make run` calls: what the benchmark times."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.hashing.contract import HashContract
from tasks.hashing.feature_set import FeatureSet
from tasks.hashing.store import write_features
from tasks.logs.log import Log
from tasks.models import make_learner
from tasks.training.fit import fit_stream
from tasks.training.history import History


def hash_rows(log: Log, span: tuple[int, int], contract: HashContract, folder: Path) -> FeatureSet:
    """Hash a span of rows of a log into a feature set, as the task `hash_features` does."""
    write_features(log, span, contract, folder)
    return FeatureSet(folder)


def train(
    features: FeatureSet,
    valid: FeatureSet,
    *,
    kind: str | Mapping[str, Any] = "ftrl",
    checkpoint: Path | None = None,
) -> tuple[Any, History]:
    """Return a learner with default parameters after one epoch, and its losses; `valid` is judged once."""
    learner = make_learner(kind, features.contract.n_features, n_tokens=features.contract.n_tokens)
    history = fit_stream(learner, features, valid, max_epochs=1, checkpoint=checkpoint)
    return learner, history
