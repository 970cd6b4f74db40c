"""Estimators made from what stands in ``env.yaml``: parameters, and other estimators within them."""

import inspect
import logging
import re
from collections.abc import Mapping
from typing import Any

from tasks.errors import ConfigError
from tasks.models.learner import param_defaults

# Trainings run side by side, one per core, and the same rows give the same bits.
_LIGHTGBM: dict[str, Any] = {
    "verbose": -1,
    "n_jobs": 1,
    "deterministic": True,
    "force_row_wise": True,
}
_lightgbm_log = logging.getLogger(__name__)


def build(kind: str, cls: Any, params: Mapping[str, Any]) -> Any:
    """Return an estimator with parameters as they stand in ``env.yaml``.

    Raises
    ------
    ConfigError
        If a parameter is unknown, or it has no ``fit`` or ``predict_proba``.
    """
    try:
        made = _made(cls, params)
    except ConfigError:
        raise
    except Exception as error:  # a class of another package may raise anything
        raise ConfigError(
            f"{kind} cannot be made with these parameters ({one_line(error)})"
        ) from None
    if not hasattr(made, "get_params"):
        raise ConfigError(f"{kind} is no estimator: it has no get_params")
    for method, about in (("fit", "learn"), ("predict_proba", "answer with probabilities")):
        if not hasattr(made, method):
            raise ConfigError(f"{kind} has no {method}: a model must {about}; choose a classifier")
    return made


def param_names(cls: Any) -> list[str]:
    """Return the parameters that an estimator's block may set, aside from those of estimators within it."""
    known = set(param_defaults(cls))
    if is_lightgbm(cls):  # it takes any, and only warns of those that it does not know
        from lightgbm.basic import _ConfigAliases

        for name, others in _ConfigAliases._get_all_param_aliases().items():
            known |= {name, *others}
    return sorted(known)


def _made(cls: Any, params: Mapping[str, Any]) -> Any:
    if not hasattr(cls, "get_params") and not hasattr(cls, "get_n_splits"):  # before it is made
        raise ConfigError(
            f"{cls.__module__}:{cls.__qualname__} is no estimator: it has no get_params"
        )
    given = {name: _nested(value) for name, value in params.items()}
    later = {name: given.pop(name) for name in list(given) if "__" in name}
    if is_lightgbm(cls):
        import lightgbm

        _lightgbm_log.setLevel(logging.ERROR)
        lightgbm.register_logger(_lightgbm_log)  # its own prints to the terminal
        given = {**_LIGHTGBM, **given}
    made = cls(**given)
    return made.set_params(**later) if later else made


def _nested(value: Any) -> Any:
    """Return a value in which a mapping with ``kind`` has become an estimator, and a list of name and value a pair."""
    from tasks.models import learner_class

    if isinstance(value, Mapping) and "kind" in value and set(value) <= {"kind", "params"}:
        return _made(learner_class(value["kind"]), value.get("params") or {})
    if isinstance(value, list):
        inner = [_nested(one) for one in value]
        is_pair = len(inner) >= 2 and isinstance(inner[0], str) and hasattr(inner[1], "get_params")
        return tuple(inner) if is_pair else inner
    return value


def weight_param(estimator: Any) -> str | None:
    """Return the argument of ``fit`` that takes weights of rows, None if there is none; a Pipeline's is its last step's.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> weight_param(make_pipeline(LogisticRegression())), weight_param(KNeighborsClassifier())
    ('logisticregression__sample_weight', None)
    """
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list) and steps:
        name, last = steps[-1]
        inner = weight_param(last)
        return f"{name}__{inner}" if inner else None
    known = inspect.signature(estimator.fit).parameters if hasattr(estimator, "fit") else {}
    return "sample_weight" if "sample_weight" in known else None


def is_lightgbm(estimator: Any) -> bool:
    """Return whether an estimator, or a class, is LightGBM's or derives from one that is."""
    cls = estimator if isinstance(estimator, type) else type(estimator)
    return any(base.__module__ == "lightgbm.sklearn" for base in cls.__mro__)


def one_line(error: Exception) -> str:
    """Return an exception's kind and words on one line, without places in LightGBM's own source."""
    said = re.sub(r" at /\S+, line \d+ \.$", "", " ".join(str(error).split()))
    return f"{type(error).__name__}: {said[:300]}"
