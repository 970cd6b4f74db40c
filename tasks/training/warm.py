"""A training that goes on from the champion with the rows that are new in a log, instead of beginning anew."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from tasks.errors import InputError
from tasks.logs.learned import KEY, last_moment, with_older
from tasks.models import make_learner
from tasks.models.artifact import load_model
from tasks.models.learner import learns_at_the_end
from tasks.registry import mlflow_store
from tasks.registry.mlflow_store import MODEL_PATH, SERVED_PATH
from tasks.storage.files import open_atomic
from tasks.training.checkpoint import learned_state, local_learner, pack, unpack
from tasks.training.epochs import Training
from tasks.training.fit import validate
from tasks.training.history import Epoch, History
from tasks.training.sampling import Slice

STATE = "state/learned.npz"  # in a model's folder; services copy none of its subfolders
RECIPE = "recipe"  # of the notes in a model's file: how it was trained
STARTED_FROM = "started_from"  # of the same: the version that a training went on from
WAYS = ("anew", "warm")
_HELD = "held"


def save_state(folder: str | Path, learner: Any) -> bool:
    """Write all that a learner has learned into its model's folder, and return whether it is a learner that can go on.

    Sums and rates of every weight are kept as they are, unlike the weights of the model, which are float32. A learner that
    fits all rows of a pass at once has nothing to go on from.
    """
    if learns_at_the_end(learner):
        return False
    arrays: list[np.ndarray] = []
    held = pack(learned_state(learner), arrays)
    text = np.frombuffer(json.dumps(held).encode(), dtype=np.uint8)
    with open_atomic(Path(folder) / STATE) as handle:
        named = {str(number): array for number, array in enumerate(arrays)}
        np.savez_compressed(handle, **{_HELD: text}, **named)  # type: ignore[arg-type]
    return True


def restore_state(folder: str | Path, learner: Any) -> bool:
    """Give a new learner what the model in `folder` had learned; False if that was not kept.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    path = Path(folder) / STATE
    if learns_at_the_end(learner) or not path.is_file():
        return False
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            learned = unpack(json.loads(found[_HELD].tobytes()), found)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not readable ({error}); set `renewal.way: anew`") from None
    vars(local_learner(learner)).update(learned)
    return True


def learner_of(recipe: Mapping[str, Any], n_features: int) -> Any:
    """Return a learner with the parameters of a model, which has learned nothing; `recipe` is that of the model's file."""
    given = {"random_state": recipe["seed"], "n_tokens": recipe["n_tokens"], **recipe["params"]}
    return make_learner(recipe["model"], n_features, **given)


class NewRows:
    """The rows of feature sets after a moment, read like one set.

    Parameters
    ----------
    rows
        Feature sets with one contract, the oldest first (:class:`tasks.training.sampling.Joined`).
    after
        Microseconds since 1970, UTC.
    """

    def __init__(self, rows: Any, after: int):
        self._rows, self._after, self.contract = rows, after, rows.contract
        self.n_rows = sum(len(batch.label) for batch in self.batches())
        self.manifest = {"digest": f"{rows.manifest['digest']}>{after}"}

    def batches(self) -> Iterator[Slice]:
        """Yield what is left of the batches, where anything is."""
        for batch in self._rows.batches():
            is_new = batch.time.astype("datetime64[us]").astype(np.int64) > self._after
            if is_new.any():
                weight = None if batch.weight is None else batch.weight[is_new]
                yield Slice(batch.codes[is_new], batch.label[is_new], weight)


class GoingOn:
    """A training that has begun long ago, in the place of :class:`tasks.training.epochs.Training`.

    It has no epochs to choose among: they are those of the model that it goes on from. Its history is how that model predicts
    the validation rows before anything new is learned.
    """

    def __init__(
        self, learner: Any, train: Any, valid: Any, *, after: int, n_epochs: int, **how: Any
    ):
        learner.meet(train.contract)
        self.learner, self.train, self.valid = learner, train, valid
        self._after, self._how = after, {**how, "max_epochs": n_epochs}

    def __enter__(self) -> "GoingOn":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def epochs(self) -> Iterator[Any]:
        """Yield nothing."""
        return iter(())

    @property
    def history(self) -> History:
        """How the model predicts the validation rows before it goes on."""
        loss, auc = validate(self.learner, self.valid)
        return History((Epoch(1, loss, loss, auc, 0.0),), 1, loss)

    @property
    def parameters(self) -> dict[str, Any]:
        """As those of a training."""
        own = self.learner.get_params()
        own.pop("n_epochs", None)
        return {"kind": self.learner.kind, **own, **self._how, "engine": "local", "way": "warm"}

    def anew(self, rows: Any, *, checkpoint: str | Path | None = None) -> Any:
        """Return a training that goes on with what is new in the rows; this one if nothing is."""
        new = NewRows(rows, self._after)
        if not new.n_rows:
            return self
        return Training(self.learner, new, None, checkpoint=checkpoint, **self._how)


@dataclass(frozen=True)
class Start:
    """Where a training begins.

    Attributes
    ----------
    line
        Says it, in a sentence; None if there is nothing to say.
    folder, recipe, info
        The model's folder that it goes on from, how that was trained, and its notes; None where it begins anew.
    version
        Of that model.
    """

    line: str | None = None
    folder: Path | None = None
    recipe: Mapping[str, Any] | None = None
    info: Mapping[str, Any] | None = None
    version: str | None = None

    def block(self, model: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the model's block of ``env.yaml``, with the parameters that are given by the start, if they are."""
        if self.recipe is None:
            return model
        return {**model, "params": self.recipe["params"], "search": {"method": "fixed"}}

    def training(self, learner: Any, train: Any, valid: Any, **options: Any) -> Any:
        """Return a training of a new learner, or one that goes on; options as :class:`tasks.training.epochs.Training`."""
        if self.recipe is None or self.folder is None or self.info is None:
            return Training(learner, train, valid, **options)
        restore_state(self.folder, learner)
        how = {"negative_rate": self.recipe["negative_rate"], "seed": self.recipe["seed"]}
        after, n_epochs = last_moment(self.info) or 0, self.recipe["n_epochs"]
        return GoingOn(learner, train, valid, after=after, n_epochs=n_epochs, **how)

    def n_epochs(self, history: History) -> int:
        """Return how many passes over the rows the training makes."""
        return max(1, history.best_epoch) if self.recipe is None else int(self.recipe["n_epochs"])

    def notes(self, recipe: Mapping[str, Any], learned: dict[str, Any]) -> dict[str, Any]:
        """Return what a model's file says of how it was trained, and on which rows, by which it must never be judged.

        `learned` are the rows of this log (:func:`tasks.logs.learned.learned_rows`).
        """
        if self.info is None:
            return {RECIPE: recipe, KEY: learned}
        older = with_older(self.info.get(KEY), learned)
        return {RECIPE: recipe, KEY: older, STARTED_FROM: self.version}


def find_start(
    name: str,
    block: Mapping[str, Any],
    train: Any,
    valid: Any,
    *,
    way: str,
    tracking: Mapping[str, str],
    folder: str | Path,
) -> Start:
    """Return where the training of a model begins: at the champion, if that is the same model of an earlier part of the log.

    Parameters
    ----------
    name, block
        The model's name and its block of ``env.yaml``.
    train, valid
        The feature sets.
    way
        ``warm`` to go on where that is possible, ``anew``.
    tracking
        ``tracking_uri`` as in ``env.yaml``.
    folder
        Where to put the champion's files.
    """
    if way != "warm":
        return Start()
    client = mlflow_store.connect(tracking["tracking_uri"])
    registered = mlflow_store.registered_name(train.contract.declared)
    found = mlflow_store.find_alias(client, registered, mlflow_store.CHAMPION, folder=folder)
    if found is None:
        return Start(f"{name} is trained anew: nothing serves yet that it could go on from")
    model = load_model(found.folder)
    who = f"the champion, version {found.registry_version},"
    if (why := _mismatch(name, block, train, valid, model, found.origin)) is not None:
        return Start(f"{name} is trained anew: {who} {why}")
    path = f"{SERVED_PATH if found.is_renewed else MODEL_PATH}/{STATE}"
    there = client.list_artifacts(found.run_id, path.rpartition("/")[0])
    if path not in [file.path for file in there]:  # of an older release, or an estimator
        return Start(f"{name} is trained anew: {who} keeps nothing to go on from")
    target = (found.folder / STATE).parent
    target.mkdir(exist_ok=True)
    client.download_artifacts(found.run_id, path, str(target))
    line = f"{name} goes on from {who} with what is newer; its validation metrics are those before, on rows that it may have learned"
    return Start(line, found.folder, model.info[RECIPE], model.info, model.version)


def _mismatch(
    name: str, block: Mapping[str, Any], train: Any, valid: Any, model: Any, origin: str | None
) -> str | None:
    """Return why a training cannot go on from a model, in a sentence's end; None if it can."""
    recipe, until, times = model.info.get(RECIPE), last_moment(model.info), valid.manifest["times"]
    ours = train.manifest.get("origin")
    if model.name != name:
        return f"is {model.name}"
    if recipe is None or until is None or not times:
        return "does not say how it was trained, and until when"
    if recipe["model"]["kind"] != block["kind"]:
        return f"is of the kind {recipe['model']['kind']}"
    if origin and ours and origin != ours:
        return f"learned from {origin}"
    if model.contract.digest != train.contract.digest:
        return "was hashed by another contract"
    if until > times[1]:
        return "has learned the rows that it would be judged by"
    return None
