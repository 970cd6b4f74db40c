"""What is fixed before an experiment starts: who is compared with whom, and what one wants to see."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.errors import ConfigError
from tasks.storage.workspace import resolve
from tasks.storage.yaml_mapping import read_mapping

NONE, BEFORE, SHADOW = "none", "before", "shadow:"


@dataclass(frozen=True)
class Plan:
    """The plan of an experiment.

    Attributes
    ----------
    weights
        Weight of each variant, as ``experiment.yaml`` declares it; those of weight 0 take no part.
    control
        The variant that the others are compared with.
    smallest_lift, smallest_loss_change
        The smallest difference worth knowing, as a share of the control's clicks per impression and of its log loss.
        Intervals are narrowest near the precision that it needs; the promise holds for any number that is not changed
        after the data was seen.
    alpha
        Chance of a false verdict about clicks, over all looks and all treatments together; log loss has its own.
    power
        Chance of seeing the smallest lift.
    covariate
        ``none``; ``before``, each unit's clicks before the experiment; or ``shadow:NAME``, the predictions of a model
        that scored every impression of all variants.
    """

    weights: Mapping[str, float]
    control: str = "champion"
    smallest_lift: float = 0.02
    smallest_loss_change: float = 0.005
    alpha: float = 0.05
    power: float = 0.8
    covariate: str = BEFORE

    @classmethod
    def from_knobs(cls, knobs: Mapping[str, Any], weights: Mapping[str, float]) -> "Plan":
        """Return the plan of the section ``ab_test`` of env.yaml, with the weights of the experiment."""
        names = ("control", "smallest_lift", "smallest_loss_change", "alpha", "power", "covariate")
        return cls(dict(weights), **{name: knobs[name] for name in names})

    def __post_init__(self) -> None:
        for name in ("smallest_lift", "smallest_loss_change", "alpha", "power"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 < value < 1:
                raise ConfigError(f"{name} must be a number between 0 and 1, found {value!r}")
        for variant, weight in self.weights.items():
            if not _is_number(weight) or not 0 <= weight < float("inf"):
                raise ConfigError(f"the weight of {variant!r} must be 0 or more, found {weight!r}")
        if not self.weights.get(self.control):
            raise ConfigError(
                f"control is {self.control!r}, which has no weight; variants are {', '.join(self.weights) or 'none'}"
            )
        if not self.treatments:
            raise ConfigError(
                f"{self.control!r} is the only variant with a weight; an experiment needs two"
            )
        if self.covariate not in (NONE, BEFORE) and not self.shadow:
            raise ConfigError(
                f"covariate must be {NONE}, {BEFORE} or {SHADOW}NAME, found {self.covariate!r}"
            )

    @property
    def treatments(self) -> list[str]:
        """The variants that are compared with the control."""
        return [name for name, weight in self.weights.items() if weight and name != self.control]

    @property
    def shadow(self) -> str:
        """The model whose predictions are the covariate, or the empty text."""
        return self.covariate.removeprefix(SHADOW) if self.covariate.startswith(SHADOW) else ""

    @property
    def alpha_each(self) -> float:
        """The share of `alpha` that each treatment has (Bonferroni)."""
        return self.alpha / len(self.treatments)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def declared_weights(path: str) -> dict[str, float]:
    """Return the weight of each variant that ``experiment.yaml`` declares.

    Raises
    ------
    ConfigError
        If the file declares no variants with a name and a weight.
    """
    found = read_mapping(resolve(path), holds="an experiment").values
    try:
        return {str(one["name"]): one["weight"] for one in found["variants"]}
    except (KeyError, TypeError):
        raise ConfigError(f"{path}: `variants` must be a list of {{name, weight, model}}") from None
