"""A share of the batch files of ``hash_features``, so that several containers hash in parallel."""

from collections.abc import Mapping
from typing import Any

from tasks.hashing.features.past_counts import contract_for
from tasks.hashing.parts import Parts
from tasks.logs.log import Log
from tasks.logs.split import split_log
from tasks.schema import load_schema
from tasks.storage.workspace import resolve


def hash_shard(params: Mapping[str, Any], shard: int, n_shards: int) -> int:
    """Write the missing parts whose number modulo `n_shards` is `shard`; return how many were written.

    The task itself would write the same files; it finds them finished and writes the manifests. `params` are the
    task's, as rendered by Ploomber.
    """
    log = Log.open(resolve(str(params["upstream"]["ingest"]["log"])).parent)
    schema = load_schema(resolve(params["schema"]))
    split = split_log(log, **params["split_shares"])
    contract = contract_for(log, schema, split, bits=params["bits"])
    folder = resolve(str(params["product"]["manifest"])).parent
    n_written = 0
    for name in ("train", "valid", "test"):
        parts = Parts(log, getattr(split, name), contract, folder / name, params["batch_rows"])
        parts.begin()
        for number in parts.missing():
            if number % n_shards == shard:
                n_written += sum(1 for _ in parts.write(number, number + 1))
    return n_written
