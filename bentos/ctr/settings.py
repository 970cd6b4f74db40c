"""The service's settings: ``serving.yaml``, and environment variables that override it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bentos.ctr.exposures import ExposureSettings
from bentos.ctr.positive_number import positive_number
from tasks.errors import ConfigError

HERE = Path(__file__).parent
_NOT_WHOLE = ("body_seconds", "scoring_ms", "head_seconds", "idle_seconds")
_KEYS = {"models", "poll_s", "experiment", "exposures", "forced_variants", "limits"}


class Limits(NamedTuple):
    """Upper limits of a request, and of the connections of one worker.

    ``body_bytes``, ``candidates`` of one ``/rank`` call, ``body_seconds`` to send it, ``scoring_ms`` to score it;
    ``head_bytes`` and ``head_seconds`` of a request's head, ``idle_seconds`` between requests (more than a load
    balancer keeps a connection, or it reuses one that was just closed), ``connections`` that are open (and no more than
    half of the process's file descriptors), ``connections_per_client``: by the address that connects, which behind a
    proxy is the proxy's.

    A worker scores one request at a time, so a slow model delays the requests of the fast ones; a model is measured
    before it serves (:func:`bentos.ctr.models.admission.affordable`).
    """

    body_bytes: int = 262_144
    candidates: int = 1_000
    body_seconds: float = 5.0
    scoring_ms: float = 50.0
    head_bytes: int = 16_384
    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    connections: int = 4_096
    connections_per_client: int = 4_096


class Settings(NamedTuple):
    """All settings of the service.

    Attributes
    ----------
    models
        Model name to its source, see :mod:`bentos.ctr.models.sources`.
    poll_s
        Seconds between two polls of the sources.
    experiment
        The file that declares the variants.
    exposures
        Where exposures are logged, and how.
    limits
        Upper limits of a request.
    api_key
        The key that clients must send, or None.
    forced_variants
        Whether clients may force a variant, even without a key.
    """

    models: Mapping[str, Mapping[str, Any]]
    poll_s: float
    experiment: Path
    exposures: ExposureSettings
    limits: Limits
    api_key: str | None
    forced_variants: bool = False


def load_settings(path: str | Path | None = None) -> Settings:
    """Return the settings in a file, or in the one that CLICKLAB_SERVING names, or the shipped ones.

    CLICKLAB_EXPOSURES overrides ``exposures.sink``, CLICKLAB_EXPERIMENT ``experiment``, and
    CLICKLAB_MODEL_POINTER (a pointer file or ``s3://``) the source of the model ``champion``;
    CLICKLAB_API_KEY, which belongs in no file, is the API key.

    Raises
    ------
    ConfigError
        If the file cannot be read or holds anything but settings.
    """
    path = Path(path or os.environ.get("CLICKLAB_SERVING") or HERE / "serving.yaml")
    raw = _read(path)
    exposures = dict(raw.get("exposures") or {})
    if sink := os.environ.get("CLICKLAB_EXPOSURES"):
        exposures["sink"] = sink
    experiment = os.environ.get("CLICKLAB_EXPERIMENT") or raw.get("experiment") or "experiment.yaml"
    try:
        return Settings(
            models=_models(raw.get("models"))
            | _pointed_to(os.environ.get("CLICKLAB_MODEL_POINTER")),
            poll_s=positive_number("poll_s", raw.get("poll_s", 10)),
            experiment=path.parent / experiment,
            exposures=ExposureSettings.from_mapping(exposures),
            limits=_limits(raw.get("limits") or {}),
            api_key=os.environ.get("CLICKLAB_API_KEY") or None,
            forced_variants=_switch("forced_variants", raw.get("forced_variants", False)),
        )
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{path}: the service's settings cannot be read ({reason})") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected settings, key by key, found {type(raw).__name__}")
    if unknown := sorted(map(str, set(raw) - _KEYS)):
        raise ConfigError(f"{path}: unknown setting {unknown[0]!r}; known are {sorted(_KEYS)}")
    return raw


def _models(raw: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(raw, dict) or not raw:
        raise ConfigError("models: expected at least one name with its source, as {from: bundle}")
    for name, source in raw.items():
        if not isinstance(name, str) or not isinstance(source, dict) or "from" not in source:
            raise ConfigError(
                f"models: {name!r} needs a source, as {{from: bundle}}, found {source!r}"
            )
    return raw


def _pointed_to(pointer: str | None) -> dict[str, dict[str, Any]]:
    if not pointer:
        return {}
    if pointer.startswith("s3://"):
        return {"champion": {"from": "s3", "pointer": pointer}}
    return {"champion": {"from": "folder", "path": pointer}}


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false, found {value!r}")
    return value


def _limits(raw: Any) -> Limits:
    if not isinstance(raw, dict) or (unknown := sorted(map(str, set(raw) - set(Limits._fields)))):
        found = repr(raw) if not isinstance(raw, dict) else repr(unknown[0])
        raise ConfigError(f"limits: expected some of {list(Limits._fields)}, found {found}")
    limits = {
        name: positive_number(f"limits.{name}", value, is_integer=name not in _NOT_WHOLE)
        for name, value in raw.items()
    }
    return Limits(**limits)
