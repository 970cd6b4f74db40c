"""The training rows of the model that serves, as its version in the registry holds them."""

import tempfile
from collections.abc import Mapping

from tasks.errors import InputError
from tasks.hashing.feature_set import REFERENCE
from tasks.monitoring.reference import Reference, read_reference
from tasks.registry.mlflow_store import CHAMPION, MODEL_PATH, connect, registered_name
from tasks.schema import Schema
from tasks.storage.workspace import resolve


def champion_reference(
    tracking: Mapping[str, str], schema: Schema, path: str | None = None
) -> Reference:
    """Return the reference of the champion, or of a file.

    Parameters
    ----------
    tracking
        ``tracking_uri`` as in ``env.yaml``.
    schema
        The declaration of the log.
    path
        The knob ``monitor.reference``; None: the champion's.

    Raises
    ------
    InputError
        If there is no champion, or it was trained before references were written.
    """
    if path is not None:
        return read_reference(resolve(path))
    from mlflow.exceptions import MlflowException

    client, name = connect(tracking["tracking_uri"]), registered_name(schema)
    try:
        version = client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        raise InputError(f"no version of {name} is its champion; `make run` first") from None
    with tempfile.TemporaryDirectory(prefix="clicklab-reference-") as folder:
        try:
            found = client.download_artifacts(version.run_id, f"{MODEL_PATH}/{REFERENCE}", folder)
        except (MlflowException, OSError):
            raise InputError(
                f"version {version.version} of {name} has no {REFERENCE}: train it again, or name monitor.reference"
            ) from None
        return read_reference(found)
