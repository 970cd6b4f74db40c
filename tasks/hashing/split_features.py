"""The feature sets of all parts of a split, hashed in this process or on the cluster that `engine` names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.hashing.contract import HashContract
from tasks.hashing.feature_set import FeatureSet
from tasks.hashing.store import write_features
from tasks.logs.log import Log
from tasks.logs.split import Split

PARTS = ("train", "valid", "test")


def write_split(
    log: Log,
    split: Split,
    contract: HashContract,
    folder: str | Path,
    batch_rows: int = 65_536,
    *,
    engine: str | Mapping[str, Any] | None = "local",
) -> dict[str, FeatureSet]:
    """Hash each part of the log into a folder of its own, save the contract beside them, return the feature sets.

    Parameters
    ----------
    log, split
        The log and its parts.
    contract
        What to hash, and how.
    folder
        Holds the folders ``train``, ``valid`` and ``test`` afterwards; finished files are kept.
    batch_rows
        Rows per file, which is also what is held in memory.
    engine
        ``local``, or a Dask cluster as in ``env.yaml`` (:mod:`tasks.cluster`).

    Raises
    ------
    ConfigError
        If `engine` is malformed.
    InputError, DiskFullError
        As :func:`tasks.hashing.store.write_features`.
    """
    folder = Path(folder)
    if engine in ("local", None):
        for name in PARTS:
            write_features(log, getattr(split, name), contract, folder / name, batch_rows)
    else:
        from tasks.cluster.engine import connect
        from tasks.cluster.hashing import write_features_on

        with connect(engine) as client:  # type: ignore[arg-type]
            for name in PARTS:
                span = getattr(split, name)
                write_features_on(client, log, span, contract, folder / name, batch_rows)
    contract.save(folder / "contract.json")
    return {name: FeatureSet(folder / name) for name in PARTS}
