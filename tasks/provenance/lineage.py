"""What a model was made of, in lines: code, parameters, data, notebooks, packages, and what was decided about it."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from tasks.pipeline.lineage_record import LOCK, NAME, text_digest
from tasks.provenance.models import TrainedModel, artifact, bentos
from tasks.registry.mlflow_store import ORIGIN
from tasks.storage.workspace import resolve

Line = tuple[str, str]  # what, and the words about it
COMMIT, DIRTY, CODE = (
    "mlflow.source.git.commit",
    "clicklab.code_dirty",
    "clicklab.code_digest",
)  # tags of runs


def lineage(found: TrainedModel) -> list[Line]:
    """Return the lines about a model; what an older release did not record is said so."""
    record = read_record(found)
    return [
        ("model", _model(found)),
        ("run", _run(found)),
        ("code", _code(found, record)),
        ("parameters", _parameters(found)),
        ("data", _data(found, record)),
        ("contract", found.run.data.tags.get("clicklab.contract", "not recorded")),
        ("notebooks", _notebooks(record)),
        ("packages", _packages(record)),
        *_decisions(found),
        *_bentos(found),
    ]


def read_record(found: TrainedModel) -> dict[str, Any] | None:
    """Return the record that :mod:`tasks.pipeline.lineage_record` left with the run, None if it did not."""
    with tempfile.TemporaryDirectory(prefix="clicklab-lineage-") as folder:
        path = artifact(found, NAME, folder)
        return dict(json.loads(path.read_text())) if path else None


def _model(found: TrainedModel) -> str:
    name = found.run.data.params.get("model") or found.run.info.run_name
    words = [f"{name}, version {found.version or 'not recorded'}", *found.versions]
    if found.served_version:
        words.append(f"serves as {found.served_version}, which has learned the test rows too")
    return "; ".join(words) if found.versions else f"{words[0]}; not registered"


def _run(found: TrainedModel) -> str:
    info = found.run.info
    began = datetime.fromtimestamp(info.start_time / 1000, UTC)
    experiment = found.client.get_experiment(info.experiment_id).name
    by_hand = ", run by hand" if found.run.data.tags.get("clicklab.interactive") == "true" else ""
    return f"{info.run_id} of {experiment}, {began:%Y-%m-%d %H:%M} UTC, {info.status}{by_hand}"


def _code(found: TrainedModel, record: Mapping[str, Any] | None) -> str:
    tags = found.run.data.tags
    commit = tags.get(COMMIT)
    where = f"commit {commit[:12]}" if commit else "no git commit"
    state = {"true": ", with changes that were not committed", "false": ", nothing uncommitted"}
    n_files = f"; {len(record['files'])} files behind it" if record else ""
    return f"{where}{state.get(tags.get(DIRTY, ''), '')}; tasks/ {tags.get(CODE, 'not recorded')}{n_files}"


def _parameters(found: TrainedModel) -> str:
    params = found.run.data.params
    return ", ".join(f"{key} {params[key]}" for key in sorted(params) if key != "model")


def _data(found: TrainedModel, record: Mapping[str, Any] | None) -> str:
    tags = found.run.data.tags
    inputs = found.run.inputs.dataset_inputs if found.run.inputs else []
    source = json.loads(inputs[0].dataset.source).get("uri", "") if inputs else "not recorded"
    rows = json.loads(inputs[0].dataset.profile or "{}") if inputs else {}
    counted = ", ".join(f"{number:,} rows to {part}" for part, number in rows.items())
    digest = tags.get("clicklab.log_digest", "not recorded")
    return f"{source}, origin {tags.get(ORIGIN, 'not recorded')}, digest {digest}; {counted}"


def _notebooks(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "not recorded"
    named = {
        task["source"]: task["source_digest"]
        for task in record["tasks"].values()
        if task["source"].endswith(".ipynb")
    }
    shown = ", ".join(f"{path} {digest}" for path, digest in named.items())
    return f"{shown}; executed: notebook/{record['task']}.html of the run"


def _packages(record: Mapping[str, Any] | None) -> str:
    then = record["lock"] if record else None
    if then is None:
        return "not recorded"
    lock = resolve(LOCK)
    same = lock.is_file() and text_digest(lock.read_text()) == then
    return f"{LOCK} {then}, {'the one here' if same else 'another than the one here'}"


def _decisions(found: TrainedModel) -> Iterator[Line]:
    if not found.decisions:
        yield "decision", "none: no evaluation has judged it"
    for entry in found.decisions:
        before = entry.get("previous_champion")
        words = [
            f"{entry['decision']} {entry['time_utc'].replace('T', ' ')[:16]} UTC",
            f"test log loss {entry['metrics']['log_loss']:.4f}",
            f"the champion was version {before}" if before else "there was no champion",
            *entry.get("reasons", []),
        ]
        yield "decision", "; ".join(words)


def _bentos(found: TrainedModel) -> Iterator[Line]:
    for tag, described in bentos():
        version = (described.get("labels") or {}).get("version")
        if version and version in (found.version, found.served_version):
            yield (
                "Bento",
                f"{tag}, built {str(described.get('creation_time', ''))[:16].replace('T', ' ')}",
            )
