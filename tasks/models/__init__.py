"""Learners and the model files they write."""

from typing import Any

from tasks.errors import ConfigError

KINDS = ("sgd", "ftrl", "fm")


def learner_class(kind: str) -> Any:
    """Return the estimator class of a kind of learner.

    Raises
    ------
    ConfigError
        If there is no such kind.
    """
    if kind == "sgd":
        from tasks.models.sgd import SGDLogistic

        return SGDLogistic
    if kind == "ftrl":
        from tasks.models.ftrl import FTRLProximal

        return FTRLProximal
    if kind == "fm":
        from tasks.models.fm import FactorizationMachine

        return FactorizationMachine
    raise ConfigError(f"models: kind {kind!r} is unknown; choose from {', '.join(KINDS)}")


def make_learner(
    kind: str, n_features: int, *, random_state: int | None = None, **params: Any
) -> Any:
    """Return an unfitted learner for hashed rows.

    Parameters
    ----------
    kind
        One of :data:`KINDS`.
    n_features
        Number of weights, ``contract.n_features``.
    random_state
        Seed of a learner that draws random numbers; ignored by the others.
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
    """
    cls = learner_class(kind)
    known = set(cls().get_params())
    unknown = sorted(set(params) - (known - {"n_features", "random_state"}))
    if unknown:
        choices = ", ".join(sorted(known - {"n_features", "random_state"}))
        raise ConfigError(f"models: {kind!r} has no parameter {unknown[0]!r}; it has {choices}")
    if "random_state" in known:
        params["random_state"] = random_state
    learner = cls(n_features=n_features, **params)
    learner.check_params()
    return learner
