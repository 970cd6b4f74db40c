"""The proof that a click probability is the same wherever it is computed.

The golden rows, whose predictions the ``evaluate`` notebook recorded, go through the pipeline's
artifact, the packed service in process, and its live HTTP endpoint, by both calls.
"""

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from itertools import combinations
from pathlib import Path
from typing import Any

from tasks.errors import ContractError, InputError
from tasks.models.golden import GOLDEN, TOLERANCE, check_golden_rows
from tasks.serving.bento_store import PROMOTION, Packaged, packaged
from tasks.serving.packed_service import Answers, Requests, ask_in_process, isolated, serving
from tasks.serving.receipt import (
    MODEL,
    PROOF,
    changed_files,
    digest_json,
    packed_digests,
    render_proof,
)
from tasks.storage.files import write_atomic
from tasks.storage.workspace import resolve

NOTEBOOK, PIPELINE = "notebook", "pipeline"
_CHUNK = 100  # candidates per call, as a bidder would send


def prove(
    folder: Path, golden: Mapping[str, Any], artifact: Path, *, data_digest: str | None = None
) -> dict[str, Any]:
    """Return the receipt of a proof that all predictions agree.

    Parameters
    ----------
    folder
        A packed service: ``bentos/``, ``tasks/``, and the model beside the service.
    golden
        ``rows`` (requests) and ``p_click``, the notebook's predictions for them.
    artifact
        The model folder written by the pipeline.
    data_digest
        Digest of the log that the rows are from.

    Returns
    -------
    dict
        ``rows`` (number), ``tolerance``, ``max_abs_diff`` by pair of places (notebook, pipeline, calls), ``digests``,
        ``versions``, ``proved_utc``.

    Raises
    ------
    ContractError
        If two places differ by more than 1e-6, or one gives no prediction; names row, place, numbers.
    ClicklabError
        If the service cannot be started.
    """
    rows, expected = check_golden_rows(golden, source="the evaluation")
    requests = [*_predict_requests(rows), *_rank_requests(rows)]
    digests = packed_digests(folder)
    asked = len(rows), digests["model"]
    with isolated(folder) as environment, serving(folder, environment) as server:
        places = {NOTEBOOK: expected, PIPELINE: predict_artifact(artifact, rows)}
        differences(
            places
        )  # first, as a service that checks its own rows would only report not being ready
        places |= _predictions("in process", ask_in_process(folder, requests, environment), *asked)
        server.wait_until_ready()
        places |= _predictions("live", server.ask(requests), *asked)
    return {
        "rows": len(rows),
        "tolerance": TOLERANCE,
        "max_abs_diff": differences(places),
        "digests": {"data": data_digest, "golden": digest_json(golden), **digests},
        "versions": {"python": platform.python_version(), "bentoml": metadata.version("bentoml")},
        "proved_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def predict_artifact(model_dir: Path, rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the predictions of a folder's model for rows in columns, as in the pipeline."""
    import pyarrow as pa

    from tasks.hashing.encode import columns_of
    from tasks.hashing.row_encoder import field_readers
    from tasks.logs.value_text import value_text
    from tasks.models.artifact import load_model

    model = load_model(model_dir)
    readers = field_readers(model.contract)
    columns = {
        name: pa.array(
            [readers.get(name, value_text)(row.get(name)) or None for row in rows], pa.string()
        )
        for name in columns_of(model.contract)
    }
    return model.predict_batch(pa.table(columns)).tolist()


# ---- asking


def _predict_requests(rows: Sequence[Mapping[str, Any]]) -> Requests:
    return [("/predict", row) for row in rows]


def _rank_requests(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield each chunk as a ranking: its first row is the context, candidates hold what differs."""
    for begin in range(0, len(rows), _CHUNK):
        context, *_ = chunk = rows[begin : begin + _CHUNK]
        candidates = [_difference(context, row) or row for row in chunk]
        yield "/rank", {"context": context, "candidates": candidates}


def _difference(context: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    names = {**context, **row}
    return {name: row.get(name) for name in names if row.get(name) != context.get(name)}


def _predictions(
    service: str, answers: Answers, n_rows: int, version: str
) -> dict[str, list[float]]:
    """Return the predictions by call; ContractError unless the packed model made them all."""
    for number, (status, answer) in enumerate(answers):
        call = f"row {number}: /predict" if number < n_rows else "/rank"
        if status != 200:
            reason = answer.get("error") if isinstance(answer, dict) else answer
            raise ContractError(f"{call} {service} answers {status} ({reason})")
        if answer["version"] != version:
            raise ContractError(
                f"{call} {service} answers with version {answer['version']}, packed is {version}"
            )
    predicted = [answer["prediction"] for _, answer in answers[:n_rows]]
    ranked = [p for _, answer in answers[n_rows:] for p in answer["predictions"]]
    return {f"/predict {service}": predicted, f"/rank {service}": ranked}


# ---- comparing


def differences(places: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the largest difference of each pair of places.

    Raises
    ------
    ContractError
        If a pair differs by more than ``TOLERANCE`` in a row, or in its number of rows.

    Examples
    --------
    >>> differences({"notebook": [0.25, 0.5], "live": [0.25, 0.5]})
    {'notebook | live': 0.0}
    """
    return {
        f"{left} | {right}": _largest(left, places[left], right, places[right])
        for left, right in combinations(places, 2)
    }


def _largest(left: str, lefts: Sequence[float], right: str, rights: Sequence[float]) -> float:
    if len(lefts) != len(rights):
        raise ContractError(f"{left} predicts {len(lefts)} rows, {right} {len(rights)}")
    apart = [abs(one - other) for one, other in zip(lefts, rights, strict=True)]
    for row, diff in enumerate(apart):
        if not diff <= TOLERANCE:  # nan too
            raise ContractError(
                f"row {row}: {right} predicts {rights[row]!r}, {left} {lefts[row]!r}; they may differ "
                f"by {TOLERANCE:g}. Train, evaluate and package with one version of `tasks`"
            )
    return max(apart)


# ---- repeating the proof


def prove_products(env: Mapping[str, Any], *, console: Any = None) -> dict[str, Any]:
    """Repeat the proof of the Bento that the pipeline packaged, show a table, and return the receipt.

    The receipt is written to ``proof.json`` among the products.

    Parameters
    ----------
    env
        The knobs of ``env.yaml``.
    console
        A rich console to show the table on.

    Raises
    ------
    InputError
        If there is no Bento, or it holds no proof.
    ContractError
        If it is not the promoted champion, one of its files has changed since packaging, or two places differ.
    """
    bento = packaged(env)
    tag, folder = bento.tag, bento.folder / "src"
    champion = _promoted(resolve(env["products"]) / PROMOTION, bento)
    before, golden = (_packed_json(folder, name, tag) for name in (PROOF, GOLDEN))
    if before["digests"]["model"] != bento.receipt["version"]:
        raise ContractError(
            f"{tag} holds model {before['digests']['model']}, but its receipt names {bento.receipt['version']}; "
            "run `make run` again"
        )
    changed = changed_files(before["digests"]["files"], packed_digests(folder)["files"])
    if changed:
        raise ContractError(
            f"{tag}: {changed[0]} is not what was proved when it was packaged "
            f"({len(changed)} files differ); run `make run` again"
        )
    products = resolve(env["products"])
    artifact = _artifact(products / "models", before["digests"]["model"]) or folder / MODEL
    proof = {"bento": tag, "champion": champion}
    proof |= prove(folder, golden, artifact, data_digest=before["digests"]["data"])
    write_atomic(products / PROOF, json.dumps(proof, indent=2))
    render_proof(proof, artifact, console=console)
    return proof


def _promoted(path: Path, bento: Packaged) -> str:
    """Return which registered version the Bento holds; ContractError unless it is the one promoted."""
    receipt = bento.receipt
    try:
        decision = json.loads(path.read_text())
        name, version = decision["registered_name"], str(decision["champion_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no readable promotion ({type(error).__name__}), so nothing says which model should be "
            "packaged; run `make run`"
        ) from None
    if (receipt.get("registered_name"), receipt.get("registered_version")) != (name, version):
        raise ContractError(
            f"{bento.tag} holds version {receipt.get('registered_version')} of {receipt.get('registered_name')}, but "
            f"version {version} of {name} was promoted; run `make run`"
        )
    return f"version {version} of {name}"


def _packed_json(folder: Path, name: str, tag: str) -> dict[str, Any]:
    try:
        return json.loads((folder / MODEL / name).read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{tag} holds no readable {name} ({type(error).__name__}); package it again with `make run`"
        ) from None


def _artifact(models: Path, version: str) -> Path | None:
    """Return the folder below `models` with this version, None if a later run replaced it."""
    for path in sorted(models.glob("*/model.json")):
        if json.loads(path.read_text()).get("version") == version:
            return path.parent
    return None
