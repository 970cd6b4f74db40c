"""What serves now: the loaded models, and the experiment that chooses among them.

A state is immutable. A newly loaded model makes a new state, which replaces the old one by a single
assignment; a request finishes with the state it began with.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bentos.ctr.experiment.declaration import Experiment
from tasks.errors import ConfigError

if TYPE_CHECKING:  # both pull in numba, which BentoML's supervisor can do without
    from bentos.ctr.scoring.request_reader import RequestReader
    from tasks.serving.live import LiveScorer

CHAMPION = "champion"


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model that may answer: it reproduced its golden rows in this process.

    Attributes
    ----------
    name
        Its name in ``serving.yaml``.
    scorer, reader
        They score and read requests; once serving, only the event loop uses them.
    source
        A description of its source.
    loaded_at, trained_at
        Seconds since 1970; None if the model does not say when it was trained.
    n_golden, max_abs_diff
        Number of golden rows compared, and the largest difference from the pipeline's predictions.
    max_candidates
        How many it ranks within the time that one request may take; None for as many as there may be.
    """

    name: str
    scorer: "LiveScorer"
    reader: "RequestReader"
    source: str
    loaded_at: float
    trained_at: float | None
    n_golden: int
    max_abs_diff: float
    max_candidates: int | None = None

    @property
    def model_name(self) -> str:
        """The model's name in the pipeline."""
        return self.scorer.model.name

    @property
    def version(self) -> str:
        """Twelve hex digits of the model's content."""
        return self.scorer.model.version

    def takes(self, n_candidates: int) -> bool:
        """Return whether it scores as many candidates within the time that one request may take."""
        return self.max_candidates is None or n_candidates <= self.max_candidates

    @property
    def tail(self) -> bytes:
        """The model's part of an answer, as the inside of a JSON object: ``, "model": ..., "version": ...``."""
        model = self.scorer.model
        return (
            f', "model": {json.dumps(model.name)}, "version": {json.dumps(model.version)}'.encode()
        )


class ServingState:
    """The models and the experiment that serve together; immutable.

    Parameters
    ----------
    models
        By name in ``serving.yaml``; those that could not be loaded are absent.
    experiment
        As declared. A variant or shadow whose model is absent is left out: its units go to the other
        variants, as if its weight were 0, and return once the model is loaded.

    Attributes
    ----------
    champion : LoadedModel
        The model whose requests are served: the one named ``champion``, else the first.
    experiment : Experiment
        The variants that can answer.
    shadows : tuple of LoadedModel
        Models that score every request without answering.

    Raises
    ------
    ConfigError
        If no variant can answer.
    """

    def __init__(self, models: Mapping[str, LoadedModel], experiment: Experiment):
        self.models = MappingProxyType(dict(models))
        self.declared = experiment
        self.experiment = without_missing_models(experiment, self.models)
        self.champion = self.models.get(CHAMPION) or next(iter(self.models.values()))
        self.shadows = tuple(self.models[name] for name in self.experiment.shadows)
        self._by_variant = {
            variant.name: self.models[variant.model] for variant in self.experiment.variants
        }
        self._tails = {
            name: b'%b, "variant": %b' % (loaded.tail, json.dumps(name).encode())
            for name, loaded in self._by_variant.items()
        }

    def shadows_for(self, n_candidates: int) -> list[LoadedModel]:
        """Return the shadows that can score as many candidates in time."""
        return [shadow for shadow in self.shadows if shadow.takes(n_candidates)]

    def of(self, variant: str) -> LoadedModel:
        """Return the model that answers for a variant."""
        return self._by_variant[variant]

    def tail(self, variant: str) -> bytes:
        """Return the part of a variant's answer after the numbers: model, version and variant."""
        return self._tails[variant]


def without_missing_models(experiment: Experiment, models: Mapping[str, Any]) -> Experiment:
    """Return the experiment without the variants and shadows whose model is not among `models`.

    Raises
    ------
    ConfigError
        If no variant with a weight is left.
    """
    variants = [variant for variant in experiment.variants if variant.model in models]
    shadows = tuple(name for name in experiment.shadows if name in models)
    if not any(variant.weight > 0 for variant in variants):
        raise ConfigError(
            f"experiment {experiment.name!r}: no variant can answer, as none of its models is loaded"
        )
    if len(variants) == len(experiment.variants) and shadows == experiment.shadows:
        return experiment
    return Experiment(
        experiment.name,
        experiment.salt,
        experiment.unit,
        variants,
        shadows,
        unknown=experiment.unknown,
        texts=experiment.texts,
    )
