"""A trained model on disk: one ``.npy`` for each of its arrays, and ``model.json`` with the hash contract; no pickle.

Which arrays there are is the business of its kind (:mod:`tasks.models.learner`): ``weights.npy``, and ``latent.npy`` for
a factorization machine. The version is a digest of arrays, contract and parameters: the same training again, or under
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

from tasks.errors import ClicklabError, InputError
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import encode_batch
from tasks.hashing.row_encoder import RowEncoder
from tasks.models import scorer_of
from tasks.models.golden import MODEL, part_name, read_part
from tasks.models.packages import packages_of_model
from tasks.models.scoring import checked_codes, frozen, sigmoid
from tasks.storage.files import write_atomic

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
    arrays : dict of str to ndarray or bytes
        What it predicts with: float32, read-only; of an estimator the content of its one file.
    intercept
        The bias, corrected for rows that training left out.
    scorer : tasks.models.scoring.Scorer
        Its kind's functions, with the arrays.

    Raises
    ------
    InputError
        If a weight is not finite, or the content has another version than the `expected` one.
    ContractError
        If the arrays do not fit the contract.
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        intercept: float,
        contract: HashContract,
        *,
        name: str,
        kind: str,
        params: Mapping[str, Any],
        info: Mapping[str, Any] | None = None,
        expected: str | None = None,
        scorer: Any = None,
    ):
        self.arrays = {
            key: part if isinstance(part, bytes) else frozen(part) for key, part in arrays.items()
        }
        self.intercept = float(intercept)
        self.contract = contract
        self.name, self.kind = name, kind
        self.params, self.info = dict(params), dict(info or {})
        held = (part for part in self.arrays.values() if not isinstance(part, bytes))
        finite = (np.isfinite(array).all() for array in held)
        if not (all(finite) and np.isfinite(self.intercept)):
            raise InputError(
                f"model {name!r} holds weights that are not finite; train it again, with a smaller learning rate"
            )
        self.version = _version(self.arrays, self.intercept, contract, kind, self.params)
        if expected not in (None, self.version):
            raise InputError(
                f"model {name!r}: the content has the version {self.version}, but {MODEL} names {expected}; "
                "a file was changed or only partly copied; restore all files or train again"
            )
        self.scorer = (
            scorer(self.arrays, self.intercept, contract)  # of a class that may be a notebook's
            if scorer
            else scorer_of(kind, self.arrays, self.intercept, contract, self.params)
        )
        self.encoder = RowEncoder(contract)

    @property
    def weights(self) -> np.ndarray | None:
        """A weight per token's bucket, float32 ``(n_features,)``; None for a kind that has none."""
        return self.scorer.weights

    @property
    def packages(self) -> list[str]:
        """The packages it needs where it is served."""
        return packages_of_model(self.kind, self.params, self.arrays)

    @property
    def has_contributions(self) -> bool:
        """Whether its logit is a sum over tokens."""
        return self.scorer.contributions is not None

    def logits(self, codes: np.ndarray) -> np.ndarray:
        """Return logits of hashed rows, float64 ``(n_rows,)``."""
        codes = checked_codes(codes, self.contract.n_features)
        out = np.empty(len(codes))
        self.scorer.decision(codes, *self.scorer.inputs, out)
        return out

    def predict_codes(self, codes: np.ndarray) -> np.ndarray:
        """Return click probabilities of hashed rows, float64 ``(n_rows,)`` in [0, 1]."""
        return sigmoid(self.logits(codes))

    def contributions_codes(self, codes: np.ndarray) -> np.ndarray:
        """Return what each token adds to its row's logit, float64 ``(n_rows, n_tokens)``.

        The contribution of a pair is split evenly between its two tokens. Only where `has_contributions`.
        """
        codes = checked_codes(codes, self.contract.n_features)
        out = np.empty(codes.shape)
        self.scorer.contributions(codes, out)
        return out

    def predict_row(self, row: Mapping[str, Any]) -> float:
        """Return the click probability of one request: column name to value, missing ones allowed.

        Raises
        ------
        InputError
            If a value cannot be hashed; the message names the field.
        """
        codes = self.encoder.encode_row(row)
        p_click: float = self.scorer.predict_row(codes, *self.scorer.inputs)
        return p_click

    def predict_rows(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the click probabilities of several requests, float64 ``(n_rows,)``."""
        return self.predict_codes(self.encoder.encode_rows(rows))

    def predict_batch(self, batch: Any) -> np.ndarray:
        """Return the click probabilities of an Arrow batch or table, hashed with the model's own contract."""
        return self.predict_codes(encode_batch(batch, self.contract))


def _version(
    arrays: Mapping[str, Any],
    intercept: float,
    contract: HashContract,
    kind: str,
    params: Mapping[str, Any],
) -> str:
    """Return the digest; the shape of an array counts where it has not one entry per weight."""
    head = [kind, contract.digest, intercept.hex(), dict(params)]
    odd = {name: _shape(part) for name, part in arrays.items() if len(part) != contract.n_features}
    digest = hashlib.sha256(json.dumps([*head, odd] if odd else head, sort_keys=True).encode())
    for part in arrays.values():
        is_file = isinstance(part, bytes)
        digest.update(
            part
            if is_file
            else np.ascontiguousarray(part, dtype="<f4").reshape(-1).view(np.uint8).data
        )
    return digest.hexdigest()[:12]


def _shape(part: Any) -> list[int]:
    return [len(part)] if isinstance(part, bytes) else list(part.shape)


def freeze(
    learner: Any, contract: HashContract, *, name: str, info: Mapping[str, Any] | None = None
) -> ScoringModel:
    """Return a trained learner as a model in memory, exactly as it would be saved.

    Raises
    ------
    ContractError
        If the learner's arrays do not fit the contract.
    InputError
        If a weight is not finite; such a model must not serve.
    """
    params = {
        key: _plain(value) for key, value in learner.get_params().items() if key != "n_features"
    }
    return ScoringModel(
        {key: _float32(part) for key, part in learner.arrays().items()},
        learner.bias + learner.logit_offset_ + 0.0,
        contract,
        name=name,
        kind=learner.kind,
        params=params,
        info=info,
        scorer=learner.scorer,
    )


def _float32(array: Any) -> Any:
    if isinstance(array, bytes):
        return array
    with np.errstate(over="ignore"):  # ScoringModel refuses infinite weights
        out = np.array(array, dtype=np.float32, order="C", ndmin=1)
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
        "arrays": {
            key: {"file": part_name(key), **_about(part)} for key, part in model.arrays.items()
        },
        "packages": model.packages,
        "contract": contract.to_dict(),
    }
    text = json.dumps(record, indent=2)
    for key, part in model.arrays.items():
        write_atomic(folder / part_name(key), part if isinstance(part, bytes) else _npy(part))
    write_atomic(folder / MODEL, text + "\n")
    return model


def _about(part: Any) -> dict[str, int]:
    """Return the size of a file, or how many entries of an array (rows, if it has two dimensions) are not 0."""
    if isinstance(part, bytes):
        return {"n_bytes": len(part)}
    return {"n_nonzero": int(np.count_nonzero(part.reshape(len(part), -1).any(axis=1)))}


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array.astype("<f4", copy=False), allow_pickle=False)
    return buffer.getvalue()


def load_model(folder: str | Path) -> ScoringModel:
    """Return the model in `folder`, its arrays memory-mapped: processes share one copy.

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
        return _of_record(record, folder)
    except ClicklabError as error:
        named = str(folder) in str(error)
        raise type(error)(str(error) if named else f"{folder}: {error}") from None
    except Exception as error:  # a damaged file may raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"{folder}: no readable model ({reason}); train it again") from None


def _of_record(record: Mapping[str, Any], folder: Path) -> ScoringModel:
    names = record.get("arrays") or [key for key in _OLDER if key in record]
    return ScoringModel(
        {key: read_part(folder, key) for key in names},
        float(record["intercept"]),
        HashContract.from_dict(record["contract"]),
        expected=str(record["version"]),
        **{key: record[key] for key in ("name", "kind", "params", "info")},
    )


_OLDER = ("weights", "latent")  # models of releases whose model.json did not list the arrays
