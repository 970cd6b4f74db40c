"""The model that serves, on another log's rows: hashed with its own contract, or left out with the reason."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tasks.errors import ContractError
from tasks.evaluation.predictions import fault_of
from tasks.hashing.encode import encode_batch
from tasks.logs.learned import JUDGED, last_moment, unlearned
from tasks.logs.log import Log
from tasks.models.artifact import ScoringModel, load_model
from tasks.registry import mlflow_store
from tasks.schema import Schema


@dataclass(frozen=True)
class Champion:
    """The model behind the alias.

    Attributes
    ----------
    model, found
        Its files and its entry in the registry.
    p_click
        Its predictions for the test rows; None if it cannot be compared on them.
    left_out
        Why it cannot, in a sentence; None if it can.
    fresh
        Which test rows it has not learned, bool ``(n_rows,)``, by which alone it may be judged; None: all of them.
        Of a model that was renewed and has learned all of them, the predictions are those of the one that was judged.
    note
        What else there is to know, in a sentence: how many rows it has learned.
    is_unbeaten
        Whether it is left out because it learned all of the test rows, so that no model may take its place unasked.
    """

    model: ScoringModel
    found: mlflow_store.RegisteredModel
    p_click: np.ndarray | None
    left_out: str | None = None
    fresh: np.ndarray | None = None
    note: str | None = None
    is_unbeaten: bool = False

    @property
    def learned_until(self) -> int | None:
        """The last moment that it had learned when it was judged, in microseconds since 1970, UTC; None if unknown."""
        return last_moment(self.model.info.get(JUDGED) or self.model.info)

    @property
    def known(self) -> dict[str, Any]:
        """Its version in the registry and the origin of its rows, as the record of an evaluation names them."""
        return {"registry_version": self.found.registry_version, "origin": self.found.origin}


def find_champion(
    log: Log, span: tuple[int, int], schema: Schema, tracking: Mapping[str, str], folder: Path
) -> Champion | None:
    """Return the champion with its predictions for rows of the log; None while nothing serves.

    Raises
    ------
    ContractError
        If this code cannot score it.
    """
    client = mlflow_store.connect(tracking["tracking_uri"])
    name = mlflow_store.registered_name(schema)
    alias = mlflow_store.CHAMPION
    found = mlflow_store.find_alias(client, name, alias, folder=folder, judged=True)
    if found is None:
        return None
    try:
        model = load_model(found.folder)
    except ContractError as error:
        raise ContractError(
            f"the champion, version {found.registry_version}, cannot be scored by this code: {error}. Or remove the "
            f"alias {mlflow_store.CHAMPION!r} in `make ui`: the best new model then takes its place"
        ) from None
    who = f"the champion, version {found.registry_version},"
    why = difference(Schema.from_dict(model.contract.schema), schema)
    if why is not None:
        return Champion(model, found, None, f"{who} is left out of the comparison: {why}")
    info = {"origin": found.origin, **model.info}
    fresh, n_rows = unlearned(info, log, schema.time_column, span), span[1] - span[0]
    note = None
    is_known = fresh is not None and not fresh.any()
    if is_known and (stand_in := _before_renewal(found, log, schema, span)) is not None:
        model, fresh = stand_in
        note = (
            f"{who} has learned all {n_rows:,} test rows since it was judged; the model that it was renewed from stands in "
            f"for it here, which has learned {n_rows - int(fresh.sum()):,} of them"
        )
    if fresh is not None and not fresh.any():
        why = f"{who} has learned all {n_rows:,} test rows, so there is nothing to compare it on"
        return Champion(model, found, None, why, is_unbeaten=True)
    p_click = score_log(model, log, span)
    if (why := fault_of(p_click)) is not None:
        return Champion(model, found, None, f"{who} is left out of the comparison: {why}")
    if fresh is None:
        note = f"{who} does not say which rows it has learned: some of these may be among them"
    elif note is None and not fresh.all():
        left = int(fresh.sum())
        note = f"{who} has learned {n_rows - left:,} of the {n_rows:,} test rows and is judged by the other {left:,}"
    return Champion(model, found, p_click, fresh=fresh, note=note)


def _before_renewal(
    found: mlflow_store.RegisteredModel, log: Log, schema: Schema, span: tuple[int, int]
) -> tuple[ScoringModel, np.ndarray] | None:
    """Return the model that a champion was renewed from and the rows that it has not learned; None without any."""
    if found.judged is None:
        return None
    model = load_model(found.judged)
    fresh = unlearned({"origin": found.origin, **model.info}, log, schema.time_column, span)
    return None if fresh is None or not fresh.any() else (model, fresh)


def difference(theirs: Schema, ours: Schema) -> str | None:
    """Return why a model of one declaration cannot be compared on a log of the other; None if it can."""
    for what, his, now in (
        ("label", theirs.label, ours.label),
        ("time column", theirs.time_column, ours.time_column),
    ):
        if his != now:
            return f"its {what} is {his!r}, that of this log is {now!r}"
    kinds = {spec.name: spec.kind for spec in ours.fields}
    for spec in theirs.learned.fields:
        if spec.name not in kinds:
            return f"it reads the field {spec.name!r}, which this log does not have"
        if spec.kind != kinds[spec.name]:
            return f"it reads {spec.name!r} as a {spec.kind}, which is a {kinds[spec.name]} in this log"
    return None


def score_log(model: ScoringModel, log: Log, span: tuple[int, int]) -> np.ndarray:
    """Return the model's predictions for rows of the log, hashed with the *model's own* contract."""
    columns = [model.contract.time_column, *model.contract.fields]
    pieces = [
        model.predict_codes(encode_batch(batch, model.contract))
        for batch in log.batches(columns=columns, start=span[0], stop=span[1])
    ]
    return np.concatenate(pieces)
