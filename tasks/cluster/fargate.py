"""A Dask cluster on AWS Fargate by dask-cloudprovider: options are checked before anything is started."""

import difflib
import inspect
import os
import re
from collections.abc import Mapping
from typing import Any

from tasks.errors import ConfigError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def start_fargate(options: Mapping[str, Any]) -> Any:
    """Return a Fargate cluster that is starting; closing it removes it.

    Parameters
    ----------
    options
        As ``FargateCluster`` takes them; ``${NAME}`` in a text is replaced by that variable of the
        environment, so that an account's names need not be written down.

    Raises
    ------
    ConfigError
        If dask-cloudprovider is missing, an option is unknown, a variable is not set, or AWS refuses.
    """
    cls = _fargate_class()
    _check_names(cls, options)
    filled = _filled(options)
    try:
        return cls(**filled)
    except Exception as error:  # from boto, the network, or Dask
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"engine: the Fargate cluster did not start ({reason}); "
            "check credentials, region and the options of `fargate`"
        ) from error


def _fargate_class() -> Any:
    try:
        from dask_cloudprovider.aws import FargateCluster
    except ImportError:
        raise ConfigError(
            "engine: fargate needs dask-cloudprovider; run pip install 'dask-cloudprovider[aws]'"
        ) from None
    return FargateCluster


def _check_names(cls: Any, options: Mapping[str, Any]) -> None:
    """Refuse an option that no class in the hierarchy takes; Dask itself reports it late and without its name."""
    known: set[str] = set()
    for base in cls.__mro__:
        if "__init__" in vars(base):
            known |= set(inspect.signature(base.__init__).parameters)
    unknown = sorted(set(options) - known)
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"engine: fargate has no option {unknown[0]!r}{hint}")


def _filled(options: Mapping[str, Any]) -> Any:
    """Return the options with environment variables filled in."""
    missing: set[str] = set()

    def value_of(found: re.Match[str]) -> str:
        if not os.environ.get(found[1]):
            missing.add(found[1])
        return os.environ.get(found[1], "")

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return _VARIABLE.sub(value_of, value)
        if isinstance(value, Mapping):
            return {name: fill(inner) for name, inner in value.items()}
        return [fill(inner) for inner in value] if isinstance(value, list) else value

    filled = fill(options)
    if missing:
        raise ConfigError(
            f"engine: fargate needs the variables {', '.join(sorted(missing))}, which are not set"
        )
    return filled
