"""Reading feature sets: the codes, labels, times and weights of a span of a log, memory-mapped."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tasks.errors import ClicklabError, InputError
from tasks.hashing.contract import HashContract

MANIFEST = "manifest.json"
REFERENCE = (
    "reference.json"  # beside the feature sets and models: what the training rows looked like
)


class Batch(NamedTuple):
    """Row-aligned arrays; those of a feature set are read-only views of its files."""

    codes: np.ndarray  # int32, (n_rows, n_tokens), C-contiguous; see `codes.split_codes`
    label: np.ndarray  # uint8, 0 or 1
    time: np.ndarray  # datetime64[ms], UTC
    weight: np.ndarray | None = None  # float64, impressions of a row; None: each is one


class FeatureSet:
    """A complete feature set on disk.

    Parameters
    ----------
    folder
        Where :func:`tasks.hashing.store.write_features` put it.

    Attributes
    ----------
    contract
        What its rows were hashed with.
    manifest
        Plan, digest of the plan, digest and source of the log, and the parts.

    Raises
    ------
    InputError
        If it is not complete: the manifest or a part is missing or truncated.
    ContractError
        If its contract is not one of this version.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        try:
            self.manifest: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text())
            self.contract = HashContract.from_dict(self.manifest["contract"])
            parts = [
                (self.folder / part["file"], part["n_bytes"]) for part in self.manifest["parts"]
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, ClicklabError):
                raise
            raise InputError(
                f"{self.folder}: no complete feature set ({error}); run `hash_features` again"
            ) from None
        for path, n_bytes in parts:
            if not path.is_file() or path.stat().st_size != n_bytes:
                raise InputError(f"{path}: missing or truncated; run `hash_features` again")

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.manifest["n_rows"]

    @property
    def n_batches(self) -> int:
        """Number of parts, which is how many :meth:`batches` yields."""
        return len(self.manifest["parts"])

    @property
    def label_rate(self) -> float:
        """Share of rows with label 1, of impressions where rows have weights; NaN without rows."""
        if not self.n_rows:
            return float("nan")
        if "weight" in self.manifest:
            return self.manifest["weight_clicks"] / self.manifest["weight"]
        return self.manifest["n_clicks"] / self.n_rows

    def weights(self) -> np.ndarray | None:
        """Return how many impressions each row stands for, float64 ``(n_rows,)``; None: each is one."""
        found = [batch.weight for batch in self.batches() if batch.weight is not None]
        return np.concatenate(found) if found else None

    def batches(self) -> Iterator[Batch]:
        """Yield the parts in row order as read-only, memory-mapped arrays; nothing is copied."""
        for part in self.manifest["parts"]:
            yield read_part(self.folder / part["file"])

    def head(self, n_rows: int) -> Batch:
        """Return the first `n_rows` rows (or all, if there are fewer) as arrays."""
        parts: list[Batch] = []
        n_read = 0
        for batch in self.batches():
            if n_read >= n_rows:
                break
            arrays: Any = (one if one is None else one[: n_rows - n_read] for one in batch)
            parts.append(Batch(*arrays))
            n_read += len(parts[-1].label)
        return self._joined(parts)

    def load(self) -> Batch:
        """Return all rows as arrays in memory; for sets that fit into memory."""
        return self._joined(list(self.batches()))

    def _joined(self, parts: Sequence[Batch]) -> Batch:
        nothing = Batch(
            np.empty((0, self.contract.n_tokens), dtype=np.int32),
            np.empty(0, dtype=np.uint8),
            np.empty(0, dtype="datetime64[ms]"),
            np.empty(0) if self.contract.declared.weight_column else None,
        )
        columns = zip(nothing, *parts, strict=True)
        joined: Any = (None if one[0] is None else np.concatenate(one) for one in columns)
        return Batch(*joined)


def read_part(path: Path) -> Batch:
    """Return the arrays of one part as views of the mapped file."""
    with pa.ipc.open_file(pa.memory_map(str(path))) as reader:
        record = reader.get_batch(0)
    codes = record.column("codes")
    return Batch(
        codes.flatten().to_numpy().reshape(len(codes), codes.type.list_size),
        record.column("label").to_numpy(),
        record.column("time").cast(pa.int64()).to_numpy().view("datetime64[ms]"),
        record.column("weight").to_numpy() if "weight" in record.schema.names else None,
    )
