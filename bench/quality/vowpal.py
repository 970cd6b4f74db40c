"""Vowpal Wabbit: a namespace per column, tuned rate and passes, in its own environment."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np

from bench.peers import peers_python
from bench.process import run_child
from bench.quality.choice import Fitted, Setting, best_pass
from bench.quality.rows import Fold, Part

MAX_PASSES, TIMEOUT_S = 6, 900


@dataclass(frozen=True)
class Vowpal:
    """The command line's learner with some options; a setting holds more of them by name."""

    key: str
    label: str
    options: tuple[str, ...]
    settings: Sequence[Setting]
    with_crosses: bool = True
    ours: bool = False

    def trial(self, setting: Setting, fold: Fold) -> tuple[float, int]:
        """Return validation log loss and number of passes of the best pass."""
        with tempfile.TemporaryDirectory(dir=fold.folder) as work:
            found = self._run(setting, fold.train, fold.valid, fold, Path(work), n_passes=MAX_PASSES, until_worse=True)  # fmt: skip
        return best_pass(found["losses"])

    def fit(self, setting: Setting, n_passes: int, rows: Part, fold: Fold) -> Fitted:
        """Return the predictions of the test rows after that many passes over the binary cache."""
        with tempfile.TemporaryDirectory(dir=fold.folder) as folder:
            work = Path(folder)
            found = self._run(setting, rows, fold.test, fold, work, n_passes=n_passes, until_worse=False)  # fmt: skip
            p_click = np.load(work / "p_click.npy")
        return Fitted(lambda part: p_click, found["cpu_s"])

    def _run(
        self, setting: Setting, rows: Part, held_out: Part, fold: Fold, work: Path, **task: Any
    ) -> dict[str, Any]:
        n_columns = rows.columns.shape[1] if self.with_crosses else fold.n_fields
        for name, part in (("train", rows), ("held_out", held_out)):
            write_text(work / f"{name}.txt", part.columns[:, :n_columns], part.label)
            task[name] = str(work / f"{name}.txt")
        np.save(work / "labels.npy", held_out.label)
        given = [word for name, value in setting.items() for word in (f"--{name}", str(value))]
        task |= {"labels": str(work / "labels.npy"), "options": [*self.options, *given]}
        (work / "task.json").write_text(json.dumps(task))
        command = [str(peers_python()), "-m", "bench.quality.vowpal_passes", str(work / "task.json")]  # fmt: skip
        run_child(command, name=self.label, timeout_s=TIMEOUT_S)
        found: dict[str, Any] = json.loads((work / "result.json").read_text())
        return found


def write_text(path: Path, columns: np.ndarray, label: np.ndarray) -> None:
    """Write rows as VW text: ``1 |a 17 |b 3``, a namespace per column."""
    labels = np.where(label == 1, "1", "-1").tolist()
    with path.open("w") as out:
        for said, values in zip(labels, columns.tolist(), strict=True):
            out.write(said + "".join(f" |{letter} {value}" for letter, value in zip(ascii_lowercase, values, strict=False)) + "\n")  # fmt: skip
