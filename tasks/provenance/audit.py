"""One answer of the service, explained: what was asked, what answered, what that was made of, and the same number again."""

import tempfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tasks.errors import ClicklabError, InputError
from tasks.hashing.row_encoder import RowEncoder
from tasks.models.artifact import load_model
from tasks.models.golden import TOLERANCE
from tasks.provenance.lineage import Line, lineage
from tasks.provenance.models import TrainedModel, find_model, model_files
from tasks.serving.exposures import find_exposures

_SHOWN = 5  # candidates


class Audit(NamedTuple):
    """Lines about an answer, and whether the same model gives the same numbers again (None: it cannot be asked)."""

    lines: list[Line]
    agrees: bool | None


def audit(env: Mapping[str, Any], request_id: str, exposures: str) -> Audit:
    """Return what is known about the answer to a request.

    Parameters
    ----------
    env
        The knobs, which say where store and ledger are.
    request_id
        As the answer holds it.
    exposures
        The service's exposure log: its folder, a file in it, or an S3 address.

    Raises
    ------
    InputError
        If the log does not hold the request.
    """
    rows = find_exposures(exposures, request_id)
    first = rows.slice(0, 1).to_pylist()[0]
    lines = [
        ("request", f"{request_id}, {first['call']}, {first['time']:%Y-%m-%d %H:%M:%S} UTC"),
        ("variant", _variant(first)),
        ("answer", _answer(rows["p_click"].to_numpy())),
        ("fields", _fields(first.get("fields") or {})),
    ]
    try:
        found = find_model(env, version=first["version"])
    except ClicklabError as error:
        return Audit([*lines, ("model", str(error))], None)
    again, agrees = _again(found, first["version"], rows)
    return Audit([*lines, ("again", again), *lineage(found)], agrees)


def _variant(row: Mapping[str, Any]) -> str:
    how = "requested by a header" if row["forced"] else f"by {row['unit_field'] or 'the request'}"
    return f"{row['variant']}, {how}; experiment {row['experiment'] or 'none'}; version {row['version']}"


def _answer(p_click: np.ndarray) -> str:
    shown = ", ".join(f"{value:.6f}" for value in p_click[:_SHOWN])
    more = len(p_click) - _SHOWN
    return f"{shown}, and {more:,} more candidates" if more > 0 else shown


def _fields(fields: Mapping[str, str | None]) -> str:
    sent = {name: value for name, value in fields.items() if value is not None}
    left_out = [name for name in fields if name not in sent]
    shown = ", ".join(f"{name} {value or '(null)'}" for name, value in sent.items()) or "none"
    return f"{shown}; not sent or not logged: {', '.join(left_out)}" if left_out else shown


def _again(found: TrainedModel, version: str, rows: Any) -> tuple[str, bool | None]:
    """Return a sentence about the probabilities of the logged fields, and whether they are those of the answer."""
    with tempfile.TemporaryDirectory(prefix="clicklab-audit-") as folder:
        try:
            model = load_model(model_files(found, folder, version=version))
        except ClicklabError as error:
            return f"cannot be computed: {' '.join(str(error).split())}", None
        if model.version != version:
            return f"cannot be computed: the run holds version {model.version}", None
        encoder = RowEncoder(model.contract)
        try:
            codes = encoder.encode_rows([_sent(row) for row in rows["fields"].to_pylist()])
        except InputError as error:
            return f"cannot be computed: {error}", False
        p_click = model.predict_codes(codes)
    worst = float(np.abs(p_click - rows["p_click"].to_numpy()).max())
    if worst <= TOLERANCE:
        return f"{_answer(p_click)}: the same, within {TOLERANCE:.0e}", True
    reason = "fields that `redact:` leaves out of the log, or a changed line, would explain it"
    return f"{_answer(p_click)}: it differs by up to {worst:.1e}; {reason}", False


def _sent(fields: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return a request's fields: those that were not sent are left out."""
    return {name: value for name, value in fields.items() if value is not None}
