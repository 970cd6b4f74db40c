"""A trained model on disk: ``weights.npy`` and ``model.json``, the hash contract inside; no pickle.

A factorization machine has ``latent.npy`` too. The version is a digest of arrays, contract and parameters: the same training again, or under
another name, gives the same version, and a truncated or changed file no longer matches its version.
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
from tasks.hashing.encode import encode_batch
from tasks.hashing.row_encoder import RowEncoder
from tasks.models import pair_scoring, scoring
from tasks.storage.files import write_atomic

WEIGHTS, LATENT, MODEL = "weights.npy", "latent.npy", "model.json"
_WITH_LATENT = ("fm",)
FORMAT = 1


class ScoringModel:
    """A trained model, which only predicts; safe to share between threads.

    Attributes
    ----------
    name, kind, version
        Its name in the pipeline, its kind of learner, twelve hex digits that follow from its content.
    contract
        What its rows are hashed with.
    params, info
        The learner's parameters; notes about the training.
    weights
        float32 ``(n_features,)``, read-only.
    latent
        float32 ``(n_features, n_factors)``, read-only, of a factorization machine; else None.
    intercept
        The bias, corrected for rows that training left out.
    kernels, arrays
        The scoring functions, and what they take besides codes and intercept; see :mod:`tasks.models.scoring`.
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
        latent: np.ndarray | None = None,
    ):
        arrays = _checked_arrays(weights, latent, intercept, contract, name=name, kind=kind)
        self.weights = scoring.frozen(weights)
        self.latent = None if latent is None else scoring.frozen(latent)
        self.intercept = float(intercept)
        self.arrays = tuple(scoring.frozen(array) for array in arrays)
        self.kernels = scoring.LINEAR if latent is None else pair_scoring.PAIRS
        self.contract = contract
        self.name, self.kind = name, kind
        self.params, self.info = dict(params), dict(info or {})
        self.encoder = RowEncoder(contract)
        self.version = _version(self.arrays, self.intercept, contract, kind, self.params)

    def logits(self, codes: np.ndarray) -> np.ndarray:
        """Return logits of hashed rows, float64 ``(n_rows,)``."""
        codes = scoring.checked_codes(codes, len(self.weights))
        out = np.empty(len(codes))
        self.kernels.decision(codes, *self.arrays, self.intercept, out)
        return out

    def predict_codes(self, codes: np.ndarray) -> np.ndarray:
        """Return click probabilities of hashed rows, float64 ``(n_rows,)`` in [0, 1]."""
        return scoring.sigmoid(self.logits(codes))

    def contributions_codes(self, codes: np.ndarray) -> np.ndarray:
        """Return what each token adds to its row's logit, float64 ``(n_rows, n_tokens)``.

        The contribution of a pair is split evenly between its two tokens.
        """
        codes = scoring.checked_codes(codes, len(self.weights))
        out = np.empty(codes.shape)
        self.kernels.contributions(codes, *self.arrays, out)
        return out

    def predict_row(self, row: Mapping[str, Any]) -> float:
        """Return the click probability of one request: column name to value, missing ones allowed.

        Raises
        ------
        InputError
            If a value cannot be hashed; the message names the field.
        """
        codes = self.encoder.encode_row(row)
        return self.kernels.predict_row(codes, *self.arrays, self.intercept)

    def predict_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the click probabilities of several requests, float64 ``(n_rows,)``."""
        return self.predict_codes(self.encoder.encode_rows(rows))

    def predict_batch(self, batch: Any) -> np.ndarray:
        """Return the click probabilities of an Arrow batch or table, hashed with the model's own contract."""
        return self.predict_codes(encode_batch(batch, self.contract))


def _checked_arrays(
    weights: np.ndarray,
    latent: np.ndarray | None,
    intercept: float,
    contract: HashContract,
    *,
    name: str,
    kind: str,
) -> list[np.ndarray]:
    """Return the arrays of a model; an error unless they suit kind and contract and are finite."""
    if weights.shape != (contract.n_features,) or weights.dtype != np.float32:
        raise ContractError(
            f"weights must be float32 of shape ({contract.n_features},) for a contract of {contract.bits} bits, "
            f"found {weights.dtype} {weights.shape}"
        )
    if (latent is not None) != (kind in _WITH_LATENT):
        raise InputError(
            f"model {name!r}: kind {kind!r} {'has no' if latent is not None else 'needs the'} "
            f"vectors of {LATENT}; train it again"
        )
    if latent is not None and (
        latent.ndim != 2 or len(latent) != len(weights) or latent.dtype != np.float32
    ):
        raise ContractError(
            f"vectors must be float32 of shape ({contract.n_features}, n_factors), "
            f"found {latent.dtype} {latent.shape}"
        )
    arrays = [weights] if latent is None else [weights, latent]
    if not (all(np.isfinite(array).all() for array in arrays) and np.isfinite(intercept)):
        raise InputError(
            f"model {name!r} holds weights that are not finite; train it again, with a smaller learning rate"
        )
    return arrays


def _version(
    arrays: Sequence[np.ndarray],
    intercept: float,
    contract: HashContract,
    kind: str,
    params: Mapping[str, Any],
) -> str:
    head = [kind, contract.digest, intercept.hex(), dict(params)]
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype="<f4").reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:12]


def freeze(
    learner: Any, contract: HashContract, *, name: str, info: Mapping[str, Any] | None = None
) -> ScoringModel:
    """Return a trained learner as a model in memory, exactly as it would be saved.

    Raises
    ------
    ContractError
        If the learner has another number of weights than the contract.
    InputError
        If a weight is not finite; such a model must not serve.
    """
    weights = _float32(learner.coef_[0])
    intercept = float(learner.intercept_[0]) + learner.logit_offset_ + 0.0
    params = {
        key: _plain(value) for key, value in learner.get_params().items() if key != "n_features"
    }
    latent = _float32(learner.latent_) if learner.kind in _WITH_LATENT else None
    return ScoringModel(
        weights,
        intercept,
        contract,
        name=name,
        kind=learner.kind,
        params=params,
        info=info,
        latent=latent,
    )


def _float32(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # ScoringModel refuses infinite weights
        out = array.astype(np.float32, order="C")
    out += np.float32(0)  # turns -0.0 into 0.0, which are equal but not the same bytes
    return out


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
    if model.latent is not None:
        n_nonzero = int(model.latent.any(axis=1).sum())
        record["latent"] = {"file": LATENT, "n_nonzero": n_nonzero}
    text = json.dumps(record, indent=2)
    write_atomic(folder / WEIGHTS, _npy(model.weights))
    if model.latent is not None:
        write_atomic(folder / LATENT, _npy(model.latent))
    write_atomic(folder / MODEL, text + "\n")
    return model


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array.astype("<f4", copy=False), allow_pickle=False)
    return buffer.getvalue()


def load_model(folder: str | Path) -> ScoringModel:
    """Return the model in `folder`, its weights memory-mapped: processes share one copy.

    Raises
    ------
    InputError
        If a file is missing or truncated, or does not match the version in ``model.json``.
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
        latent = None
        if record["kind"] in _WITH_LATENT:
            latent = np.asarray(np.load(folder / LATENT, mmap_mode="r", allow_pickle=False))
        contract = HashContract.from_dict(record["contract"])
        fields = {key: record[key] for key in ("name", "kind", "params", "info")}
        intercept, version = float(record["intercept"]), record["version"]
    except (InputError, ContractError):
        raise
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise InputError(
            f"{folder}: no readable model ({type(error).__name__}: {error}); train it again"
        ) from None
    model = ScoringModel(np.asarray(weights), intercept, contract, latent=latent, **fields)
    if model.version != version:
        raise InputError(
            f"{folder}: the content has the version {model.version}, but {MODEL} names {version}; "
            "a file was changed or only partly copied; restore all files or train again"
        )
    return model
