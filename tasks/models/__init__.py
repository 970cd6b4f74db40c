"""Learners and the model files they write.

A kind of model is a class, named by its import path or by a short name of :data:`KINDS`. Nothing else lists the kinds.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError

KINDS = {
    "sgd": "tasks.models.sgd:SGDLogistic",
    "ftrl": "tasks.models.ftrl:FTRLProximal",
    "ftrl_pairs": "tasks.models.ftrl_pairs:FTRLPairs",
    "fm": "tasks.models.fm:FactorizationMachine",
}
# What serves a kind whose own module needs scikit-learn, which the service has only for models that are made of it.
_SCORERS = {
    "sgd": "tasks.models.scoring:linear_scorer",
    "ftrl": "tasks.models.scoring:linear_scorer",
    "ftrl_pairs": "tasks.models.hashed_pair_scoring:hashed_pair_scorer",
    "fm": "tasks.models.pair_scoring:pair_scorer",
}
BLEND = "blend"  # no learner: a weighted mean of other models' logits
_HERE = Path(__file__).parent
_OURS = f"{__name__}."
INPUT = ("input", "cardinality", "max_rows")  # of a block: how an estimator gets its rows
INPUTS = ("hashed", "categorical")  # what `input` may be
NOT_SEARCHED = {"n_features", "random_state"}  # parameters that the pipeline gives


def learner_class(kind: str) -> Any:
    """Return the class of a kind of model.

    Parameters
    ----------
    kind
        A short name, or ``package.module:Class``.

    Raises
    ------
    ConfigError
        If there is no such class, or its module cannot be imported; the message names the nearest one.

    Examples
    --------
    >>> learner_class("ftrl") is learner_class("tasks.models.ftrl:FTRLProximal")
    True
    """
    module_name, _, class_name = KINDS.get(kind, str(kind)).partition(":")
    if not class_name:
        raise ConfigError(f"there is no kind {kind!r}; {_nearest_kind(str(kind))}")
    module = _module(module_name, kind)
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        near = get_close_matches(class_name, classes, 1)
        meant = f"did you mean {module_name}:{near[0]}?" if near else "name a class that it defines"
        raise ConfigError(f"{module_name} has no class {class_name!r}; {meant}")
    return found


def make_learner(
    model: str | Mapping[str, Any],
    n_features: int,
    *,
    random_state: int | None = None,
    n_tokens: int | None = None,
    **params: Any,
) -> Any:
    """Return an unfitted learner for hashed rows.

    Parameters
    ----------
    model
        A short name, ``package.module:Class``, or a block of ``env.yaml``, of which ``kind`` and what an estimator gets
        (``input``, ``cardinality``, ``max_rows``) are used.
    n_features
        Number of weights, ``contract.n_features``.
    random_state
        Seed of a learner that draws random numbers; ignored by the others.
    n_tokens
        Tokens of a row, as :func:`tasks.training.sampling.tokens_per_row` counts them, for defaults that depend on it
        (:meth:`tasks.models.learner.Learner.defaults_for`).
    **params
        The learner's own parameters; those left out keep its defaults.

    Raises
    ------
    ConfigError
        If the kind or a parameter is unknown, or a value is out of its range.

    Examples
    --------
    >>> make_learner("ftrl", 2**20, alpha=0.05).alpha
    0.05
    >>> make_learner("ftrl", 2**20, n_tokens=240).alpha
    0.005
    """
    kind = model if isinstance(model, str) else model["kind"]
    given = {} if isinstance(model, str) else {key: model[key] for key in INPUT if key in model}
    cls = learner_class(kind)
    if not is_learner(cls):
        from tasks.models.estimators.learner import EstimatorLearner

        learner = EstimatorLearner(
            kind, cls, params, **given, n_features=n_features, random_state=random_state
        )
        learner.check_params()
        return learner
    if given:
        raise ConfigError(f"{kind!r} learns row by row and has no {next(iter(given))!r}")
    known = learner_params(cls)
    unknown = sorted(set(params) - (known - NOT_SEARCHED))
    if unknown:
        choices = ", ".join(sorted(known - NOT_SEARCHED))
        raise ConfigError(f"models: {kind!r} has no parameter {unknown[0]!r}; it has {choices}")
    if "random_state" in known:
        params["random_state"] = random_state
    if n_tokens is not None:
        params = {**cls.defaults_for(n_tokens), **params}
    learner = cls(n_features=n_features, **params)
    learner.check_params()
    return learner


def is_learner(cls: Any) -> bool:
    """Return whether a class is a streaming learner; any other has to be an estimator."""
    from tasks.models.learner import Learner

    return issubclass(cls, Learner)


def learner_params(cls: Any) -> set[str]:
    """Return the parameters of a streaming learner's class; ConfigError if it cannot be made without any."""
    try:
        return set(cls().get_params())
    except Exception as error:  # a class of the user's may raise anything
        raise ConfigError(
            f"{cls.__name__}() cannot be made ({type(error).__name__}: {' '.join(str(error).split())}); "
            "give each parameter a default"
        ) from None


def may_be_served(cls: Any) -> bool:
    """Return whether a saved model may name a learner's class: :func:`scorer_of` imports no other."""
    return cls.kind in _SCORERS or str(cls.kind).startswith(_OURS)


def scorer_of(
    kind: str,
    parts: Mapping[str, Any],
    intercept: float,
    contract: Any,
    params: Mapping[str, Any],
) -> Any:
    """Return what scores with a saved model's arrays or file: a :class:`tasks.models.scoring.Scorer`.

    Model files come from registries, so only what lies in ``tasks/models`` is imported by their word.

    Raises
    ------
    ConfigError
        If there is no such kind here.
    InputError, ContractError
        If the arrays are not those of the kind, or do not fit the contract.
    """
    if kind == BLEND:
        from tasks.models.blend_scoring import blend_scorer

        return blend_scorer(parts, intercept, contract, params)
    if kind in _SCORERS:
        module_name, _, function = _SCORERS[kind].partition(":")
        return getattr(import_module(module_name), function)(parts, intercept, contract)
    if any(isinstance(part, bytes) for part in parts.values()):
        from tasks.models.estimators.scoring import estimator_scorer

        return estimator_scorer(parts, intercept, contract, params)
    if not str(kind).startswith(_OURS):
        raise ConfigError(
            f"a saved model may not name {kind!r}: only classes of {__name__} are imported"
        )
    cls = learner_class(kind)
    if not is_learner(cls):
        raise ConfigError(f"{kind} is not a learner: {cls.__name__} does not derive from Learner")
    return cls.scorer(parts, intercept, contract)


def scorer_module(kind: str) -> str:
    """Return the module that scores with the arrays of a kind; of a blend, the one that takes the mean of its parts."""
    if kind == BLEND:
        return f"{_OURS}blend_scoring"
    return _SCORERS.get(kind, kind).partition(":")[0]


def kinds_within(kind: str, params: Mapping[str, Any]) -> set[str]:
    """Return the kind of a saved model and, of a blend, those of its parts."""
    parts = params.get("parts", ()) if kind == BLEND else ()
    return {kind}.union(*(kinds_within(one["kind"], one["params"]) for one in parts))


def _module(name: str, kind: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(f"there is no module {name!r}; {_nearest_kind(kind)}") from None
        raise ConfigError(
            f"{name} cannot be imported: it needs {error.name!r}, which is not installed; `make add PACKAGE=...`"
        ) from None
    except Exception as error:  # a module of the user's may raise anything
        raise ConfigError(
            f"{name} cannot be imported ({type(error).__name__}: {' '.join(str(error).split())})"
        ) from None


def _nearest_kind(kind: str) -> str:
    """Return which kind was probably meant, else how a kind is named."""
    module_name, _, class_name = kind.partition(":")
    modules = [f"{__name__}.{path.stem}" for path in sorted(_HERE.glob("[a-z]*.py"))]
    modules += [] if "." in module_name else sorted(packages_distributions())
    near = get_close_matches(kind, KINDS, 1)
    if not near and (close := get_close_matches(module_name, modules, 1, 0.8)):
        near = [f"{close[0]}:{class_name}"]
    if near:
        return f"did you mean {near[0]}?"
    return f"choose from {', '.join(KINDS)}, or name a class, such as tasks.models.neural_net:NeuralNet"
