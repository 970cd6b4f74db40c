"""Our kinds of models, each learned as the pipeline learns it: early stopping, then anew with the validation rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.quality.choice import Fitted, Setting, timed
from bench.quality.rows import Fold, Part
from tasks.models import make_learner
from tasks.models.learner import learns_at_the_end
from tasks.models.predict import predict_stream
from tasks.training.epochs import Training
from tasks.training.fit import fit_stream
from tasks.training.sampling import tokens_per_row

MAX_EPOCHS, SEED = 12, 7


@dataclass(frozen=True)
class Ours:
    """A kind of model, by its short name or as a block of ``env.yaml``; a setting holds its parameters."""

    key: str
    label: str
    kind: str | Mapping[str, Any]
    settings: Sequence[Setting]
    ours: bool = True

    def trial(self, setting: Setting, fold: Fold) -> tuple[float, int]:
        """Return validation log loss and epoch of the best epoch."""
        learner = self._learner(setting, fold.train)
        n_epochs = 1 if learns_at_the_end(learner) else MAX_EPOCHS
        history = fit_stream(
            learner, fold.train.features, fold.valid.features, max_epochs=n_epochs, seed=SEED
        )
        return history.best_log_loss, history.best_epoch

    def fit(self, setting: Setting, n_passes: int, rows: Part, fold: Fold) -> Fitted:
        """Return the model after that many epochs, from feature sets on disk."""
        learner, cpu_s = timed(lambda: self._learn(setting, n_passes, rows))

        def predict(part: Part) -> np.ndarray:
            return predict_stream(learner, part.features)[1]

        return Fitted(predict, cpu_s)

    def _learn(self, setting: Setting, n_passes: int, rows: Part) -> Any:
        learner = self._learner(setting, rows)
        with Training(learner, rows.features, None, max_epochs=n_passes, seed=SEED) as run:
            for epoch in run.epochs():
                for some in epoch.batches():
                    run.learner.partial_fit_codes(*some)
                epoch.finish()
        return run.learner

    def _learner(self, setting: Setting, rows: Part) -> Any:
        n_features, n_tokens = rows.features.contract.n_features, tokens_per_row(rows.features)
        return make_learner(self.kind, n_features, random_state=SEED, n_tokens=n_tokens, **setting)
