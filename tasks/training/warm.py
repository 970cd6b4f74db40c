"""What a learner needs to go on with newer rows, kept beside its model; and which learners can."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tasks.errors import InputError
from tasks.models.learner import learns_at_the_end
from tasks.storage.files import open_atomic
from tasks.training.checkpoint import learned_state, local_learner, pack, unpack

STATE = "state/learned.npz"  # in a model's folder; services copy none of its subfolders
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
