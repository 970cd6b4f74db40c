"""A trained model on disk: ``weights.npy`` and ``model.json``, the hash contract inside; no pickle.

The version is a digest of weights, contract and parameters: training the same thing again, or under
another name, gives the same version, and a file that was cut or changed no longer fits its own.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tasks.errors import ContractError, InputError
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import RowEncoder, encode_batch
from tasks.models import scoring
from tasks.storage import write_atomic

WEIGHTS, MODEL = "weights.npy", "model.json"
FORMAT = 1


class ScoringModel:
    """A model that predicts and no longer learns; safe to share between threads.

    Attributes
    ----------
    name, kind, version
        What the pipeline calls it, its kind of learner, twelve hex digits of its content.
    contract
        What its rows are hashed with.
    params, info
        The learner's parameters; what was noted about the training.
    weights
        float32 ``(n_features,)``, read-only.
    intercept
        The bias.
    """

    def __init__(
        self,
        weights: np.ndarray,
        intercept: float,
        contract: HashContract,
        *,
        name: str,
        kind: str,
        params: Mapping[str, Any],
        info: Mapping[str, Any] | None = None,
    ):
        if weights.shape != (contract.n_features,) or weights.dtype != np.float32:
            raise ContractError(
                f"weights must be float32 of shape ({contract.n_features},) for a contract of {contract.bits} bits, "
                f"found {weights.dtype} {weights.shape}"
            )
        if not (np.isfinite(weights).all() and np.isfinite(intercept)):
            raise InputError(
                f"model {name!r} holds weights that are not finite; train it again, with a smaller learning rate"
            )
        self.weights = scoring.frozen(weights)
        self.intercept = float(intercept)
        self.contract = contract
        self.name, self.kind = name, kind
        self.params, self.info = dict(params), dict(info or {})
        self.encoder = RowEncoder(contract)
        self.version = _version(self.weights, self.intercept, contract, kind, self.params)

    def logits(self, codes: np.ndarray) -> np.ndarray:
        """Return logits of hashed rows, float64 ``(n_rows,)``."""
        codes = scoring.checked_codes(codes, len(self.weights))
        out = np.empty(len(codes))
        scoring.decision_codes(codes, self.weights, self.intercept, out)
        return out

    def predict_codes(self, codes: np.ndarray) -> np.ndarray:
        """Return click probabilities of hashed rows, float64 ``(n_rows,)`` in [0, 1]."""
        return scoring.sigmoid(self.logits(codes))

    def contributions_codes(self, codes: np.ndarray) -> np.ndarray:
        """Return what each token adds to its row's logit, float64 ``(n_rows, n_tokens)``."""
        codes = scoring.checked_codes(codes, len(self.weights))
        out = np.empty(codes.shape)
        scoring.contributions(codes, self.weights, out)
        return out

    def predict_row(self, row: Mapping[str, Any]) -> float:
        """Return the click probability of one request: column name to value, missing ones allowed.

        Raises
        ------
        InputError
            If a value cannot be hashed; the message names the field.
        """
        codes = self.encoder.encode_row(row)
        return scoring.predict_row(codes, self.weights, self.intercept)

    def predict_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the click probabilities of several requests, float64 ``(n_rows,)``."""
        return self.predict_codes(self.encoder.encode_rows(rows))

    def predict_batch(self, batch: Any) -> np.ndarray:
        """Return the click probabilities of an Arrow batch or table, hashed with the model's own contract."""
        return self.predict_codes(encode_batch(batch, self.contract))


def _version(
    weights: np.ndarray,
    intercept: float,
    contract: HashContract,
    kind: str,
    params: Mapping[str, Any],
) -> str:
    head = [kind, contract.digest, intercept.hex(), dict(params)]
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(weights, dtype="<f4").view(np.uint8).data)
    return digest.hexdigest()[:12]


def freeze(
    learner: Any, contract: HashContract, *, name: str, info: Mapping[str, Any] | None = None
) -> ScoringModel:
    """Return what a trained learner knows as a model in memory, exactly as it would be saved.

    Raises
    ------
    ContractError
        If the learner has another number of weights than the contract.
    InputError
        If a weight is not finite; such a model must not serve.
    """
    weights = learner.coef_[0].astype(np.float32)
    weights += np.float32(0)  # turns -0.0 into 0.0, which are equal but not the same bytes
    intercept = float(learner.intercept_[0]) + 0.0
    params = {
        key: _plain(value) for key, value in learner.get_params().items() if key != "n_features"
    }
    kind = {"SGDLogistic": "sgd", "FTRLProximal": "ftrl"}.get(
        type(learner).__name__, type(learner).__name__
    )
    return ScoringModel(
        weights, intercept, contract, name=name, kind=kind, params=params, info=info
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def save_model(
    folder: str | Path,
    learner: Any,
    contract: HashContract,
    *,
    name: str,
    info: Mapping[str, Any] | None = None,
) -> ScoringModel:
    """Write a trained learner to `folder` and return it as a model; ``model.json`` is written last.

    Raises
    ------
    ContractError, InputError
        As :func:`freeze`.
    """
    folder, model = Path(folder), freeze(learner, contract, name=name, info=info)
    buffer = io.BytesIO()
    np.save(buffer, model.weights.astype("<f4", copy=False), allow_pickle=False)
    record = {
        "format": FORMAT,
        "name": name,
        "kind": model.kind,
        "version": model.version,
        "intercept": model.intercept,
        "params": model.params,
        "info": model.info,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "weights": {"file": WEIGHTS, "n_nonzero": int(np.count_nonzero(model.weights))},
        "contract": contract.to_dict(),
    }
    text = json.dumps(record, indent=2)
    write_atomic(folder / WEIGHTS, buffer.getvalue())
    write_atomic(folder / MODEL, text + "\n")
    return model


def load_model(folder: str | Path) -> ScoringModel:
    """Return the model in `folder`, its weights memory-mapped: processes share one copy.

    Raises
    ------
    InputError
        If a file is missing, cut, or does not fit the version written beside it.
    ContractError
        If its contract is not one that this version of the code holds.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / MODEL).read_text())
        if record["format"] != FORMAT:
            raise InputError(
                f"{folder / MODEL}: format {record['format']!r} is not {FORMAT}; train the model again"
            )
        weights = np.load(folder / WEIGHTS, mmap_mode="r", allow_pickle=False)
        contract = HashContract.from_dict(record["contract"])
        fields = {key: record[key] for key in ("name", "kind", "params", "info")}
        intercept, version = float(record["intercept"]), record["version"]
    except (InputError, ContractError):
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise InputError(
            f"{folder}: no readable model ({type(error).__name__}: {error}); train it again"
        ) from None
    model = ScoringModel(np.asarray(weights), intercept, contract, **fields)
    if model.version != version:
        raise InputError(
            f"{folder}: the content has the version {model.version}, {MODEL} says {version}; "
            "a file was changed or only half of it was copied; restore both files or train again"
        )
    return model
