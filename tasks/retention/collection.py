"""All that can go with the knobs of ``keep``: listed, and removed while no run is at work."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasks.errors import UnavailableError
from tasks.registry import mlflow_store
from tasks.registry.anchor import read_anchored
from tasks.registry.ledger import ledger_place
from tasks.retention.bentos import old_bentos, versions_of_bentos
from tasks.retention.leftovers import leftovers
from tasks.retention.models import old_models, serving_versions
from tasks.retention.removable import Removable
from tasks.schema import load_schema
from tasks.storage.locks import lock_or_holder
from tasks.storage.workspace import resolve


def removable(env: Mapping[str, Any]) -> list[Removable]:
    """Return what nothing uses.

    Raises
    ------
    InputError
        If the ledger is damaged or a pointer of ``keep.pointers`` cannot be read: what they need is unknown then.
    ConfigError, UnavailableError
        As :func:`tasks.registry.mlflow_store.connect`.
    """
    client = mlflow_store.connect(env["mlflow"]["tracking_uri"])
    name = mlflow_store.registered_name(load_schema(env["schema"]))
    entries = read_anchored(client, name, ledger_place(env["mlflow"]["ledger"]))
    bentos = list(old_bentos(env, serving_versions(client, name)))
    packed = versions_of_bentos([one.name for one in bentos])
    models = old_models(client, env, name, entries=entries, packed=packed)
    return [*bentos, *models, *leftovers(env)]


def remove(
    env: Mapping[str, Any], found: Sequence[Removable], *, tell: Callable[[str], None]
) -> int:
    """Remove these things, say what came into use meanwhile, and return the bytes freed.

    Raises
    ------
    UnavailableError
        If a run is at work on the products.
    """
    freed = 0
    with lock_or_holder(resolve(env["products"]) / "logs" / "run") as holder:
        if holder is not None:
            raise UnavailableError(
                f"process {holder} is at work on {env['products']}; wait until it ends"
            )
        for one in found:
            if one.remove():
                freed += one.n_bytes
            else:
                tell(f"{one.kind} {one.name} is in use now, and stays")
    return freed
