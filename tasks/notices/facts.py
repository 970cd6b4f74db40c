"""What a notice tells of a day, and what the day before had: kept beside the products as ``notices/told.json``.

Learning and serving are renewed at different hours, so each has a day before of its own.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tasks.monitoring.record import MonitorRecord, finite, read_record
from tasks.registry.ledger import ledger_place, read_ledger
from tasks.storage.files import write_atomic

FOLDER = "notices"  # below `products`
_SERVES = ("promoted", "forced")  # decisions of the ledger after which a model serves
_METRICS = ("log_loss", "normalized_entropy", "roc_auc", "calibration_ratio")


class Decision(msgspec.Struct):
    """One line of the ledger: ``decision`` is ``promoted``, ``forced``, ``passed`` or ``refused``."""

    model: str
    decision: str
    version: str | None
    reasons: list[str]


class Learned(msgspec.Struct):
    """What the evaluation found: metrics by model, best first, and what was decided.

    ``importance`` is that of each field for the model ``importance_of``, in nats of log loss, largest first.
    """

    name: str
    source: str
    log_digest: str
    n_test_rows: int
    metrics: dict[str, dict[str, float | None]]
    decisions: list[Decision]
    champion: str
    importance_of: str | None
    importance: list[tuple[str, float]]
    notes: list[str]


class Variant(msgspec.Struct):
    """How the predictions of one variant compare with its clicks; ``low`` and ``high`` are of the calibration ratio."""

    name: str
    n_exposures: int
    ctr: float | None
    log_loss: float | None
    calibration_ratio: float | None
    low: float | None
    high: float | None


class Served(msgspec.Struct):
    """What monitoring found; ``drift`` is a field's PSI and the usual one, largest first."""

    start_utc: str
    now_utc: str
    variants: list[Variant]
    drift: list[tuple[str, float, float | None]]
    alerts: dict[str, str]
    notes: list[str]


class Told(msgspec.Struct):
    """The facts that were told last, those before them, and whether every receiver took them."""

    learned: Learned | None = None
    learned_before: Learned | None = None
    served: Served | None = None
    served_before: Served | None = None
    delivered: bool = False
    seconds: float | None = None

    @property
    def name(self) -> str:
        """The registered name of the models, or what stands for it."""
        return self.learned.name if self.learned else "Clicklab"


def learned_facts(products: Path, ledger: str) -> Learned | None:
    """Return what the newest evaluation found, with the ledger's decisions about it; None if there is none."""
    record = _json(products / "evaluation.json")
    if record is None:
        return None
    entries = read_ledger(ledger_place(ledger))
    ours = [one for one in entries if one.get("registered_name") == record["registered_name"]]
    serving = [one for one in ours if one["decision"] in _SERVES]
    last = serving[-1] if serving else None
    order = [*record["ranking"], *(name for name in record["metrics"] if name not in record["ranking"])]  # fmt: skip
    decisions = _decisions(record, ours)
    chosen = _explained(record, decisions)
    table = record.get("importance", {}).get(chosen, [])
    return Learned(
        record["registered_name"],
        record["source"],
        record["log_digest"],
        record["n_test_rows"],
        {name: _metrics(record["metrics"][name]) for name in order if name in record["metrics"]},
        decisions,
        f"{last['model']}, version {last['version']}" if last else "none",
        chosen,
        [(one["field"], one["importance"]) for one in table],
        [*record.get("harm", []), *(f"{k}: {v}" for k, v in record.get("failed", {}).items())],
    )


def _metrics(found: Mapping[str, Any]) -> dict[str, float | None]:
    return {key: found.get(key) for key in _METRICS}


def _decisions(record: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> list[Decision]:
    """Return the last decision about each model of this evaluation, in the order of the ledger."""
    runs = {one["run_id"] for one in record["models"].values()}
    of_model: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        if entry.get("log_digest") == record["log_digest"] and entry.get("run_id") in runs:
            of_model.pop(entry["model"], None)
            of_model[entry["model"]] = entry
    return [
        Decision(name, one["decision"], one.get("version"), list(one.get("reasons") or []))
        for name, one in of_model.items()
    ]


def _explained(record: Mapping[str, Any], decisions: Sequence[Decision]) -> str | None:
    """Return the model whose fields are told: the one that takes over, else the best that was explained."""
    known = record.get("importance", {})
    names = [one.model for one in decisions if one.decision in _SERVES] + list(record["ranking"])
    return next((name for name in names if name in known), None)


def served_facts(products: Path) -> Served | None:
    """Return what monitoring found last; None if it never ran."""
    path = products / "monitor.json"
    return _served(read_record(path)) if path.is_file() else None


def _served(record: MonitorRecord) -> Served:
    shown = [*record.parts("all"), *record.parts("variant")]
    variants = [
        Variant(
            one.name, one.n_exposures, one.ctr, one.log_loss, one.calibration_ratio,
            one.calibration_ratio_low, one.calibration_ratio_high,
        )
        for one in shown
    ]  # fmt: skip
    drift = sorted(record.drift, key=lambda one: -one.psi)
    return Served(
        record.start_utc,
        record.now_utc,
        variants,
        [(one.field, one.psi, one.psi_usual) for one in drift],
        {f"{one.kind} {one.subject}": one.sentence for one in record.alerts if one.is_open},
        record.notes,
    )


def renewed(told: Told, learned: Learned | None, served: Served | None) -> Told:
    """Return the facts to tell now: what is new moves what was told to the day before.

    Telling the same again compares with the same day before.
    """
    old, new = told, Told(seconds=told.seconds)
    is_new = learned is not None and learned != old.learned
    # a decision that a person adds to the same evaluation is no new day
    same_day = is_new and old.learned is not None and _same_evaluation(learned, old.learned)
    new.learned = learned or old.learned
    new.learned_before = old.learned if is_new and not same_day else old.learned_before
    is_later = served is not None and (old.served is None or served.now_utc != old.served.now_utc)
    new.served = served or old.served
    new.served_before = old.served if is_later else old.served_before
    return new


def _same_evaluation(one: Any, other: Any) -> bool:
    return one.log_digest == other.log_digest and one.metrics == other.metrics


def read_told(products: Path) -> Told:
    """Return what was told last; nothing if there is no record or another version wrote it."""
    try:
        return msgspec.json.decode((products / FOLDER / "told.json").read_bytes(), type=Told)
    except (OSError, msgspec.DecodeError):
        return Told()


def write_told(products: Path, told: Told) -> None:
    """Keep what was told, whole or not at all."""
    path = products / FOLDER / "told.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = finite(msgspec.to_builtins(told))
    write_atomic(path, msgspec.json.format(msgspec.json.encode(plain)))


def _json(path: Path) -> dict[str, Any] | None:
    return finite(json.loads(path.read_text())) if path.is_file() else None
