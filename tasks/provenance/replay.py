"""A training done again: at its commit, with its parameters, from its data, in a folder of its own; and what differs."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tasks.errors import ClicklabError, InputError
from tasks.logs.sources import fingerprint
from tasks.pipeline.dependencies import pins
from tasks.pipeline.lineage_record import LOCK, NAME
from tasks.provenance.lineage import COMMIT, read_record
from tasks.provenance.models import TrainedModel, artifact, started_from
from tasks.storage.workspace import MARKER, project_root
from tasks.storage.yaml_mapping import read_mapping

_ENV = "env.replay.yaml"
_PLACEHOLDER = re.compile(r"\{\{\s*([\w.]+)\s*\}\}")
_STORE = {
    "tracking_uri": "sqlite:///products/store/mlflow.db",
    "artifact_root": "products/store/artifacts",
    "ledger": "products/store/ledger.jsonl",
}


@dataclass(frozen=True)
class Replay:
    """What a replay found.

    Attributes
    ----------
    differences
        One line each; empty if every file of the model is equal to the bit.
    reasons
        What else was not the same: code, packages, data, parameters.
    folder
        The worktree.
    files
        Names of the files that were compared.
    version
        Of the model that was trained again.
    """

    differences: tuple[str, ...]
    reasons: tuple[str, ...]
    folder: Path
    files: tuple[str, ...]
    version: str


def replay(found: TrainedModel, folder: Path) -> Replay:
    """Train a model again in a worktree of its commit, and compare.

    Parameters
    ----------
    found
        The model's run.
    folder
        Where the worktree is made; one of an earlier replay is removed once it is clear that this one can begin.

    Raises
    ------
    InputError
        If that cannot be tried: the run does not say what it was made of, its commit or its data is gone.
    ClicklabError
        If the training fails, naming its log.
    """
    record = read_record(found)
    commit = found.run.data.tags.get(COMMIT)
    name = found.run.info.run_id[:12]
    if record is None:
        raise InputError(
            f"run {name} has no {NAME}: it was made by hand or by an older release, so it cannot be made again"
        )
    if not commit:
        raise InputError(f"run {name} was made outside git, so its code cannot be found again")
    data = str(record["tasks"]["ingest"]["params"]["data"])
    try:
        fingerprint(data if "://" in data else str(project_root() / data))
    except InputError as error:
        raise InputError(f"the data of run {name} is gone: {error}") from None
    if (before := started_from(found)) is not None:
        raise InputError(
            f"run {name} went on from version {before}, so it cannot be made again from its data alone; a training with "
            "`renewal: {way: anew}` can"
        )
    worktree(project_root(), commit, folder)
    _link(data, folder)
    knobs = knobs_of(record, folder)
    (folder / _ENV).write_text(yaml.safe_dump(knobs, sort_keys=False))
    _train(folder, record["task"])
    model = folder / "products" / "models" / record["tasks"][record["task"]]["params"]["name"]
    result = json.loads((folder / "products" / f"{record['task']}.json").read_text())
    again = _record_of(folder, result["run_id"])
    compared = _compare(found, model)
    return Replay(
        tuple(compared),
        tuple(_reasons(record, again, folder)),
        folder,
        tuple(files_of_model(model)),
        str(result["version"]),
    )


def worktree(root: Path, commit: str, folder: Path) -> None:
    """Make a worktree of a commit in place of an earlier one; InputError, and that stays, if git does not have it."""
    _git(root, "worktree", "prune")
    if _git(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode:
        raise InputError(
            f"commit {commit[:12]} is not in this clone; fetch it (git fetch origin {commit[:12]})"
        )
    remove_worktree(root, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = _git(root, "worktree", "add", "--detach", str(folder), commit)
    if done.returncode:
        raise InputError(
            f"{folder}: git cannot check out {commit[:12]} there ({' '.join(done.stderr.split())[:200]})"
        )


def remove_worktree(root: Path, folder: Path) -> None:
    """Remove a worktree and all that was written in it."""
    _git(root, "worktree", "remove", "--force", str(folder))


def _git(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=False
        )
    except OSError:
        raise InputError("git is not installed, and a replay needs it") from None


def _link(data: str, folder: Path) -> None:
    """Show the data in the worktree where its relative name leads to."""
    if "://" in data or Path(data).is_absolute():
        return
    place = folder / data
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to((project_root() / data).resolve())


def knobs_of(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the knobs that give the tasks of a record their parameters, for the ``pipeline.yaml`` in `folder`.

    A parameter that ``pipeline.yaml`` fills from a knob tells what the knob was. Store and products are those of the
    folder.
    """
    spec = read_mapping(folder / MARKER, holds="a mapping with `tasks`").values
    knobs: dict[str, Any] = {}
    for task in spec["tasks"]:
        then = record["tasks"].get(task["name"])
        for key, value in (task.get("params") or {}).items() if then else ():
            if isinstance(value, str) and (knob := _PLACEHOLDER.fullmatch(value)):
                _set(knobs, knob[1].split("."), then["params"][key])
            elif isinstance(value, Mapping) and {"name", "models"} <= value.keys():
                _set(knobs, ["models", value["name"]], _local_search(then["params"][key]))
    experiment = (knobs.get("mlflow") or {}).get("experiment", "ctr")
    return {**knobs, "products": "products", "mlflow": {**_STORE, "experiment": experiment}}


def _set(knobs: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        knobs = knobs.setdefault(name, {})
    knobs[path[-1]] = value


def _local_search(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's block with its study in the folder of the replay."""
    search = dict(block.get("search") or {})
    if "storage" in search:
        search["storage"] = "sqlite:///products/store/optuna.db"
    return {**block, "search": search}


def _train(folder: Path, task: str) -> None:
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "ENTRY_POINT")
    }
    environment |= {
        "PYTHONPATH": str(folder),
        "PLOOMBER_ENV_FILENAME": _ENV,
        "BENTOML_HOME": str(folder / ".bentos"),
    }
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        "from tasks.pipeline.ploomber_cli import main; main()",
        "build",
        "--partially",
        task,
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        text=True,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        raise ClicklabError(
            f"{task} failed in {folder}: {(told or done.stderr.splitlines() or ['no message'])[-1].removeprefix('error: ')}"
        )


def _record_of(folder: Path, run_id: str) -> dict[str, Any]:
    """Return what the replay's own run was made of."""
    found = sorted(
        (folder / "products" / "store" / "artifacts").rglob(f"{run_id}/artifacts/{NAME}")
    )
    return dict(json.loads(found[0].read_text())) if found else {"tasks": {}, "files": {}}


def _compare(found: TrainedModel, model: Path) -> Iterator[str]:
    """Yield how each file of the new model differs from that of the run."""
    before = model.parent / "before"
    before.mkdir(exist_ok=True)
    for name in files_of_model(model):
        then, now = artifact(found, f"model/{name}", before), model / name
        if then is None:
            yield f"{name} is there now only"
        elif then.read_bytes() == now.read_bytes():
            continue
        elif name == "model.json":  # says how long the training took, too
            old, new = (json.loads(path.read_text())["version"] for path in (then, now))
            if old != new:
                yield f"version {old} then, {new} now"
        elif name.endswith(".npy"):
            yield f"{name}: {_array_difference(np.load(then), np.load(now))}"
        else:
            yield f"{name} has other bytes"


def files_of_model(folder: Path) -> list[str]:
    """Return the names of the files that a training wrote for its model."""
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.name[0] != ".")


def _array_difference(then: Any, now: Any) -> str:
    if then.shape != now.shape:
        return f"shape {then.shape} then, {now.shape} now"
    differs = then != now
    largest = np.abs(then.astype(float) - now.astype(float)).max()
    return f"{int(differs.sum()):,} of {then.size:,} values differ, by at most {largest:.1e}"


def _reasons(then: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield what was not the same when the training was done again."""
    files = [
        name
        for name in sorted({**then["files"], **now["files"]})
        if then["files"].get(name) != now["files"].get(name)
    ]
    for name in files[:5]:
        yield f"{name} was not as committed when the run was made"
    if len(files) > 5:
        yield f"{len(files) - 5} more files were not as committed"
    for name, task in then["tasks"].items():
        other = now["tasks"].get(name)
        if other is None:
            continue
        if task["source"].endswith(".ipynb") and task["source_digest"] != other["source_digest"]:
            yield f"{task['source']} was not as committed when the run was made"
        for key, value in task["params"].items():
            if key not in ("tracking", "model") and other["params"].get(key) != value:
                yield f"{name}: {key} was {value!r}, is {other['params'].get(key)!r}"
    ids = [record["tasks"].get("ingest", {}).get("products") for record in (then, now)]
    if None not in ids and ids[0] != ids[1]:
        yield f"the log that ingest made is another one ({ids[0]} then, {ids[1]} now)"
    yield from _packages(then, folder)


def _packages(then: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Yield which installed packages are not those of the commit's lock."""
    here = project_root() / LOCK
    if not here.is_file() or not (folder / LOCK).is_file():
        return
    old, new = pins((folder / LOCK).read_text()), pins(here.read_text())
    moved = [
        f"{name} {old.get(name, 'none')} then, {new.get(name, 'none')} now"
        for name in sorted({**old, **new})
        if old.get(name) != new.get(name)
    ]
    for line in moved[:5]:
        yield f"package {line}"
    if len(moved) > 5:
        yield f"{len(moved) - 5} more packages have another version"
