"""What serves now: the loaded models and the experiment that says which of them answers whom.

A state never changes. Whoever loads another model makes another state and puts it in the old one's
place with one assignment; a request keeps the one that it began with.
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
    """A model that may answer: its golden rows came out right in this very process.

    Attributes
    ----------
    name
        What ``serving.yaml`` calls it.
    scorer, reader
        Score requests and read them; both belong to the event loop from the moment they serve.
    source
        Where it came from, in words.
    loaded_at, trained_at
        Seconds since 1970; None if the model does not say when it was trained.
    n_golden, max_abs_diff
        Golden rows compared, and how far the worst prediction was from the pipeline's.
    """

    name: str
    scorer: "LiveScorer"
    reader: "RequestReader"
    source: str
    loaded_at: float
    trained_at: float | None
    n_golden: int
    max_abs_diff: float

    @property
    def model_name(self) -> str:
        """What the pipeline calls the model."""
        return self.scorer.model.name

    @property
    def version(self) -> str:
        """Twelve hex digits of the model's content."""
        return self.scorer.model.version

    @property
    def tail(self) -> bytes:
        """What an answer says of the model, as the inside of a JSON object: ``, "model": ..., "version": ...``."""
        model = self.scorer.model
        return (
            f', "model": {json.dumps(model.name)}, "version": {json.dumps(model.version)}'.encode()
        )


class ServingState:
    """The models and the experiment that serve together; immutable.

    Parameters
    ----------
    models
        By the names of ``serving.yaml``; those that could not be loaded are absent.
    experiment
        As declared. A variant whose model is absent is left out: its units go to the others, as if its
        weight were 0, and come back when the model is there. So does a shadow.

    Attributes
    ----------
    champion : LoadedModel
        The model whose requests are served: the one named ``champion``, else the first.
    experiment : Experiment
        The variants that can answer.
    shadows : tuple of LoadedModel
        What scores every request besides.

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

    def of(self, variant: str) -> LoadedModel:
        """Return the model that answers for a variant."""
        return self._by_variant[variant]

    def tail(self, variant: str) -> bytes:
        """Return what an answer of a variant says besides its numbers: model, version and variant."""
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
            f"experiment {experiment.name!r}: no variant can answer, as of its models none is loaded"
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
    )
