"""A trained model found by the names that people have for it: alias, version, Bento, run."""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import ClicklabError, ConfigError, InputError
from tasks.evaluation.champion import difference
from tasks.models.artifact import MODEL, ScoringModel, load_model
from tasks.registry import mlflow_store
from tasks.registry.anchor import read_anchored
from tasks.registry.ledger import ledger_place, read_ledger
from tasks.registry.mlflow_client import reason_of
from tasks.registry.mlflow_store import ARTIFACT_VERSION
from tasks.registry.registration import SERVED_VERSION
from tasks.schema import Schema, load_schema
from tasks.serving.bento_store import bento_home
from tasks.training.warm import STARTED_FROM

_VERSION = re.compile(r"[0-9a-f]{12}")
_RUN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class TrainedModel:
    """The MLflow run of a training, and the store it is in.

    Attributes
    ----------
    client, run
        MLflow's.
    decisions
        The ledger's lines for it, oldest first.
    versions
        What it is registered as: ``ctr-avazu version 1 (champion)``.
    """

    client: Any
    run: Any
    decisions: tuple[Mapping[str, Any], ...]
    versions: tuple[str, ...]

    @property
    def version(self) -> str | None:
        """The digest of weights, contract and parameters; None for a run of an older release that nothing judged."""
        tagged = self.run.data.tags.get(ARTIFACT_VERSION)
        judged = next((one["artifact_version"] for one in self.decisions), None)
        return tagged or judged

    @property
    def served_version(self) -> str | None:
        """That of the model that was renewed from it, if there is one."""
        return self.run.data.tags.get(SERVED_VERSION)


def find_model(
    env: Mapping[str, Any], *, model: str = "", bento: str = "", version: str = "", run: str = ""
) -> TrainedModel:
    """Return the model that one of these names means.

    Parameters
    ----------
    env
        The knobs, which say where the store and the ledger are.
    model
        ``ctr-avazu@champion`` or ``ctr-avazu/3``, a name in the registry with alias or version.
    bento
        Tag of a Bento in the project's store, ``ctr:n3mz4wxkv24iaax4``.
    version
        The version in a model's files, 12 hex digits, as `/predict` answers it.
    run
        Id of an MLflow run, 32 hex digits, or a version.

    Raises
    ------
    ConfigError
        If not exactly one is given, or it is not such a name.
    InputError
        If there is no such model.
    """
    given = {"MODEL": model, "BENTO": bento, "VERSION": version, "RUN": run}
    named = [name for name, value in given.items() if value]
    if len(named) != 1:
        raise ConfigError(
            f"name one model, found {' and '.join(named) or 'none'}: MODEL=ctr-avazu@champion, BENTO=ctr:latest, "
            "VERSION= (12 hex digits) or RUN= (an MLflow run)"
        )
    client = mlflow_store.connect(env["mlflow"]["tracking_uri"])
    place = ledger_place(env["mlflow"]["ledger"])
    ours = mlflow_store.registered_name(load_schema(env["schema"])) if "schema" in env else ""
    ledger = read_anchored(client, ours, place) if ours else read_ledger(place)
    if model:
        run_id = _run_of_name(client, model)
    elif _RUN.fullmatch(run):
        run_id = run
    else:
        version = _version_of_bento(bento) if bento else version or run
        run_id = _run_of_version(client, version, ledger, bento)
    try:
        found = client.get_run(run_id)
    except Exception as error:
        if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise InputError(f"there is no run {run_id} in this store; `make ui` lists them") from None
    decisions = tuple(entry for entry in ledger if entry.get("run_id") == run_id)
    return TrainedModel(client, found, decisions, tuple(_registered(client, run_id)))


def model_files(found: TrainedModel, place: str | Path, *, version: str | None = None) -> Path:
    """Return a folder in `place` with a local copy of a run's model: of the one that serves, or that of a `version`.

    Raises
    ------
    InputError
        If the files are gone.
    """
    is_served = found.served_version not in (None, "") and version in (None, found.served_version)
    path = mlflow_store.SERVED_PATH if is_served else mlflow_store.MODEL_PATH
    run_id = found.run.info.run_id
    try:
        return mlflow_store.download_model(found.client, run_id, path, Path(place))
    except Exception as error:
        if isinstance(error, ClicklabError):
            raise
        raise InputError(
            f"the files of the model of run {run_id} cannot be read ({reason_of(error)}); restore them"
        ) from None


@contextmanager
def open_model(env: Mapping[str, Any], named: str, schema: Schema) -> Iterator[ScoringModel]:
    """Yield a model for rows of a schema: of a folder, of the registry, or by default the champion.

    Parameters
    ----------
    env
        The knobs, which say where the store is.
    named
        A model's folder; ``ctr-avazu@champion`` or ``ctr-avazu/3``; empty for the champion of `schema`'s log.
    schema
        Declares the rows.

    Raises
    ------
    InputError
        If there is no such model, its files are gone, or it reads other columns.
    """
    with tempfile.TemporaryDirectory(prefix="clicklab-model-") as scratch:
        if (Path(named) / MODEL).is_file() and named:
            folder = Path(named)
        else:
            named = named or f"{mlflow_store.registered_name(schema)}@{mlflow_store.CHAMPION}"
            found = find_model(env, model=named)
            folder = model_files(found, scratch)
        model = load_model(folder)
        other = difference(Schema.from_dict(model.contract.schema), schema)
        if other:
            raise InputError(f"{named or folder} cannot score these rows: {other}")
        yield model


def _run_of_name(client: Any, model: str) -> str:
    """Return the run behind ``name@alias`` or ``name/version``."""
    name, sign, which = (
        re.split(r"([@/])", model, maxsplit=1) if re.search("[@/]", model) else (model, "", "")
    )
    if not (name and which):
        raise ConfigError(
            f"MODEL={model} names no version; write {name or 'ctr-avazu'}@champion or {name or 'ctr-avazu'}/1"
        )
    found = list(client.search_model_versions(f"name='{name}'")) if "'" not in name else []
    if not found:
        known = ", ".join(one.name for one in client.search_registered_models()) or "none yet"
        raise InputError(f"no model is registered as {name!r}; there are: {known}")
    if sign == "@":
        aliases = mlflow_store.aliases(client, name)
        if which not in aliases:
            raise InputError(
                f"{name} has no alias {which!r}; it has {', '.join(aliases) or 'none'}"
            )
        which = aliases[which]
    for one in found:
        if str(one.version) == which:
            return str(one.run_id)
    numbers = ", ".join(sorted((str(one.version) for one in found), key=int))
    raise InputError(f"{name} has no version {which!r}; it has {numbers}")


def _version_of_bento(tag: str) -> str:
    """Return the version of the model in a Bento of the project's store."""
    name, _, number = tag.partition(":")
    home = bento_home() / "bentos" / name
    latest = home / "latest"
    if number in ("", "latest") and latest.is_file():
        number = latest.read_text().strip()
    try:
        labels = yaml.safe_load((home / number / "bento.yaml").read_text())["labels"]
        return str(labels["version"])
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        known = ", ".join(bento for bento, _ in bentos()) or "none yet"
        raise InputError(
            f"there is no Bento {tag} with a model in {bento_home()}; there are: {known}"
        ) from None


def bentos() -> list[tuple[str, Mapping[str, Any]]]:
    """Return tag and description of each Bento in the project's store."""
    found = []
    for path in sorted((bento_home() / "bentos").glob("*/*/bento.yaml")):
        try:
            described = yaml.safe_load(path.read_text())
            found.append((f"{described['name']}:{described['version']}", described))
        except (OSError, KeyError, TypeError, yaml.YAMLError):
            continue
    return found


def _run_of_version(client: Any, version: str, ledger: list[dict[str, Any]], bento: str) -> str:
    if not _VERSION.fullmatch(version):
        raise ConfigError(
            f"{version!r} is neither a version (12 hex digits, as /predict answers it) nor a run (32)"
        )
    for entry in reversed(ledger):
        if version in (entry.get("artifact_version"), entry.get("served_version")) and entry.get(
            "run_id"
        ):
            return str(entry["run_id"])
    everywhere = [one.experiment_id for one in client.search_experiments()]
    tagged = client.search_runs(
        everywhere, f"tags.`{ARTIFACT_VERSION}` = '{version}'", max_results=1
    )
    if tagged:
        return str(tagged[0].info.run_id)
    which = f"{bento} holds version {version}, which" if bento else f"version {version}"
    raise InputError(
        f"{which} is neither in the ledger nor in the runs of this store; another ENV= names another store"
    )


def _registered(client: Any, run_id: str) -> list[str]:
    lines = []
    for one in client.search_model_versions(f"run_id='{run_id}'"):
        known = mlflow_store.aliases(client, one.name).items()
        here = ", ".join(alias for alias, number in known if number == str(one.version))
        lines.append(f"{one.name} version {one.version}{f' ({here})' if here else ''}")
    return lines


def artifact(found: TrainedModel, path: str, folder: str | Path) -> Path | None:
    """Return a local copy, in `folder`, of a file of a model's run; None if the run does not hold it."""
    parent = path.rpartition("/")[0]
    if path not in [
        file.path for file in found.client.list_artifacts(found.run.info.run_id, parent or None)
    ]:
        return None
    return Path(found.client.download_artifacts(found.run.info.run_id, path, str(folder)))


def started_from(found: TrainedModel) -> str | None:
    """Return the version that a training went on from; None for one from scratch."""
    with tempfile.TemporaryDirectory(prefix="clicklab-replay-") as folder:
        path = artifact(found, "model/model.json", folder)
        return json.loads(path.read_text())["info"].get(STARTED_FROM) if path else None
