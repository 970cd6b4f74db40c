"""Builds the Bento: the service, this library and a model in one package, proved before it is built.

It is built only if the golden rows of the evaluation get the same predictions from the notebook, the
pipeline's model and the files to be packed, in process and as a live endpoint.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.errors import ChangedError, ClicklabError, ContractError, GateError, InputError
from tasks.logs.origin import slug
from tasks.models.golden import GOLDEN, model_files, read_golden
from tasks.models.golden import MODEL as MODEL_FILE
from tasks.pipeline.code_behind import files_below
from tasks.serving.bento_store import bento_home
from tasks.serving.packed_service import last_lines
from tasks.serving.proof import prove
from tasks.serving.receipt import MODEL, PROOF
from tasks.serving.requirements import SERVING, serving_requirements
from tasks.storage.files import write_atomic

_ROOT = Path(__file__).parents[1]
_SERVICE = Path("bentos/ctr")


def package(
    product: Any,
    upstream: Any,
    bento: Mapping[str, str],
    tracking: Mapping[str, str],
    code: str = "",
) -> None:
    """Ploomber task: package the champion, proved by the evaluation's golden rows."""
    from tasks.registry import mlflow_store

    evaluation = Path(str(upstream["evaluate"]["evaluation"]))
    record = json.loads(evaluation.read_text())
    decision = json.loads(Path(str(upstream["promote"]["promotion"])).read_text())
    version = decision["champion_version"]
    if version is None:
        best = next(iter(record.get("ranking", [])), None)
        raise GateError(
            "no model passed the gates and none serves, so there is nothing to package; see the verdicts in evaluate.html"
            + (f', or serve one all the same: make promote FORCE={best} WHY="..."' if best else "")
        )
    receipt = Path(str(product["receipt"]))
    client = mlflow_store.connect(tracking["tracking_uri"])
    with tempfile.TemporaryDirectory(prefix="clicklab-champion-") as folder:
        champion = mlflow_store.find_alias(
            client, decision["registered_name"], mlflow_store.CHAMPION, folder=folder
        )
        if champion is None or champion.registry_version != str(version):
            evaluation.unlink()  # so that the next run compares the models with the new champion
            raise ChangedError(
                f"the champion of {decision['registered_name']} is no longer version {version}; "
                "run again, and the models are compared with the new one"
            )
        golden, log_digest = _golden_of(record, decision, str(version)), record["log_digest"]
        if champion.is_renewed:  # and predicts other numbers than the model that was evaluated
            golden = read_golden(champion.folder)._asdict()
            log_digest = json.loads((champion.folder / MODEL_FILE).read_text())["info"][
                "log_digest"
            ]
        receipt.unlink(missing_ok=True)
        package_model(
            champion.folder,
            golden,
            name=bento["name"],
            receipt_path=receipt,
            data_digest=log_digest,
            facts={
                "registered_name": decision["registered_name"],
                "registered_version": str(version),
                "origin": champion.origin,
            },
        )


def _golden_of(
    record: Mapping[str, Any], decision: Mapping[str, Any], version: str
) -> dict[str, Any]:
    """Return the golden rows with the predictions of the model behind that version."""
    golden = record["golden"]
    names = [name for name, registered in decision["versions"].items() if registered == version]
    name = names[0] if names else "champion"
    if name not in golden["p_click"] and record.get("champion_left_out"):
        raise GateError(
            f"no model passed the gates, and version {version} stays, which cannot be proved on this log "
            f"({record['champion_left_out']}); the Bento that was built of it still serves"
        )
    if name not in golden["p_click"]:
        raise ContractError(
            f"version {version} is to be packaged, but `evaluate` made no predictions of it to prove it by; "
            "run `evaluate` again"
        )
    return {"rows": golden["rows"], "p_click": golden["p_click"][name]}


def package_model(
    model_dir: str | Path,
    golden: Mapping[str, Any],
    *,
    name: str,
    receipt_path: str | Path | None = None,
    data_digest: str | None = None,
    facts: Mapping[str, str | None] | None = None,
) -> dict[str, Any]:
    """Prove a model against its golden rows, build its Bento, and return the receipt.

    Parameters
    ----------
    model_dir
        A folder written by ``save_model``.
    golden
        ``rows`` (requests) and ``p_click`` (the pipeline's predictions, one per row).
    name
        Name of the Bento in the project's store (:func:`tasks.serving.bento_store.bento_home`).
    receipt_path
        Where to write the receipt as JSON.
    data_digest
        Digest of the log that the rows are from.
    facts
        What else the receipt states: registered name and version, and the ``origin`` of the model's rows, which
        becomes a label of the Bento, too.

    Returns
    -------
    dict
        ``bento`` (the tag), ``model``, ``version``, ``contract``, ``n_golden``, ``max_abs_diff``,
        ``built_utc``, and ``proof`` as :func:`tasks.serving.proof.prove` returns it; the Bento holds that too.

    Raises
    ------
    ContractError
        If the model or the service does not reproduce the notebook's predictions.
    ClicklabError
        If the service does not start.
    InputError
        If there is no model, or BentoML refuses to build.
    """
    with staged(model_dir, golden) as folder:
        proof = _prove(folder, golden, Path(model_dir), data_digest)
        write_atomic(folder / MODEL / PROOF, json.dumps(proof, indent=2))
        record = json.loads((folder / MODEL / "model.json").read_text())
        labels = {"model": record["name"], "version": record["version"]}
        labels["contract"] = proof["digests"]["contract"]
        if facts and facts.get("origin"):
            labels["origin"] = slug(str(facts["origin"]))
        tag = build_bento(folder, name=name, labels=labels)
    receipt = {
        "bento": tag,
        **labels,
        **(facts or {}),
        "n_golden": proof["rows"],
        "max_abs_diff": max(proof["max_abs_diff"].values()),
        "built_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "proof": proof,
    }
    if receipt_path is not None:
        write_atomic(receipt_path, json.dumps(receipt, indent=2))
    return receipt


def _prove(
    folder: Path, golden: Mapping[str, Any], model_dir: Path, data_digest: str | None
) -> dict[str, Any]:
    try:
        return prove(folder, golden, model_dir, data_digest=data_digest)
    except ClicklabError as error:
        raise type(error)(f"not packaged: {error}") from None


@contextmanager
def staged(model_dir: str | Path, golden: Mapping[str, Any]) -> Iterator[Path]:
    """Yield a temporary folder with the Bento's contents, for ``bentoml build``."""
    model_dir = Path(model_dir)
    if not model_dir.is_dir():
        raise InputError(f"{model_dir}: no such model folder; train and promote a model first")
    with tempfile.TemporaryDirectory(prefix="clicklab-bento-") as name:
        folder = Path(name).resolve()
        for part in (Path("tasks"), _SERVICE):
            for path in files_below(_ROOT / part):
                copy = folder / path.relative_to(_ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copy)
        (folder / MODEL).mkdir(parents=True)
        for name in model_files(model_dir):  # a run's folder also holds what MLflow needs
            shutil.copy2(model_dir / name, folder / MODEL)
        write_atomic(folder / MODEL / GOLDEN, json.dumps(golden))
        lock = (_ROOT / "requirements.lock").read_text()
        roots = (*SERVING, *_packages(model_dir))
        (folder / "requirements.txt").write_text(
            "\n".join(serving_requirements(lock, roots)) + "\n"
        )
        _share_kernels(_ROOT / "tasks", folder / "tasks")
        yield folder
        _share_kernels(folder / "tasks", _ROOT / "tasks")


def _share_kernels(source: Path, target: Path) -> None:
    """Copy the kernels that Numba compiled, where `target` has none; compiling them takes longer than the proof.

    Numba uses them only for a file of the same time and size.
    """
    for index in source.rglob("*.nbi"):
        place = target / index.parent.relative_to(source)
        if (place / index.name).exists():
            continue
        with suppress(OSError):  # a read-only installation, or another process that cleans up
            place.mkdir(exist_ok=True)
            for path in (*index.parent.glob(f"{index.stem}.*.nbc"), index):
                shutil.copy2(path, place)


def _packages(model_dir: Path) -> list[str]:
    """Return the packages that the model itself needs; none for one of an older release."""
    try:
        return list(json.loads((model_dir / "model.json").read_text()).get("packages", []))
    except (OSError, ValueError, AttributeError):
        return []  # the proof says what is wrong with it


def build_bento(folder: Path, *, name: str, labels: Mapping[str, str]) -> str:
    """Build the Bento of a staged folder into the local store and return its tag.

    Raises
    ------
    InputError
        If BentoML refuses.
    """
    words = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    bentofile = str(_SERVICE / "bentofile.yaml")
    with _uv_on_path() as path:
        build = (
            "-m",
            "bentoml",
            "build",
            "--bentofile",
            bentofile,
            "--name",
            name,
            *words,
            "--output",
            "tag",
            ".",
        )
        done = _run(folder, *build, PATH=path)
    found = re.search(r"^__tag__:(\S+)$", done.stdout, re.M)
    if done.returncode != 0 or found is None:
        raise InputError(
            f"BentoML could not build {name!r} ({last_lines(done.stderr or done.stdout)})"
        )
    _keep_times(folder, found[1])
    return found[1]


def _keep_times(folder: Path, tag: str) -> None:
    """Give the Bento's files the times of the staged ones, so that cached kernels stay valid."""
    source = bento_home() / "bentos" / tag.replace(":", "/") / "src"
    for path in source.rglob("*.py"):
        staged_path = folder / path.relative_to(source)
        if staged_path.is_file():
            shutil.copystat(staged_path, path)


@contextmanager
def _uv_on_path() -> Iterator[str]:
    """Yield a PATH with a ``uv`` on it, the real one if installed.

    BentoML requires it even where nothing is locked, and otherwise installs it from the network into
    its own environment; it does not call it.
    """
    with tempfile.TemporaryDirectory(prefix="clicklab-uv-") as folder:
        program = Path(folder) / "uv"
        program.write_text("#!/bin/sh\necho 'packaging does not call uv' >&2\nexit 1\n")
        program.chmod(0o755)
        yield f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{folder}"


def _run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in `folder`, importing only its copy of the library."""
    fixed = {
        "PYTHONPATH": str(folder),
        "BENTOML_HOME": str(bento_home()),
        "BENTOML_DO_NOT_TRACK": "True",
        "CLICKLAB_MODEL_DIR": "",
    }
    command = [sys.executable, "-W", "ignore", *words]
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | fixed | environment,
        capture_output=True,
        text=True,
        check=False,
    )
