"""The Dask cluster that ``engine`` in ``env.yaml`` names; with ``local`` this package is not even imported.

- ``dask`` or ``{dask: {workers: 2}}``: processes of this machine, reachable from this machine only;
- ``{dask: {address: "tcp://10.0.0.5:8786"}}``: a running cluster;
- ``{dask: {fargate: {n_workers: 4, ...}}}``: AWS Fargate (:mod:`tasks.cluster.fargate`).
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from tasks.cluster.fargate import start_fargate
from tasks.errors import ConfigError, UnavailableError
from tasks.logs.value_text import is_integer
from tasks.storage.availability import is_temporary

_CONNECT_S, _START_S = 30, 900  # limits for an answer, and for all workers to start
_PLACES = ("workers", "address", "fargate")


@contextmanager
def connect(engine: str | Mapping[str, Any]) -> Iterator[Any]:
    """Yield a Dask client; a cluster that was started is stopped at the end.

    Parameters
    ----------
    engine
        The knob as in ``env.yaml``; see the module docstring.

    Raises
    ------
    ConfigError
        If the knob is malformed or a package is missing.
    UnavailableError
        If the cluster cannot be reached just now.
    """
    place, options = _read(engine)
    with ExitStack() as stack:
        yield _open(stack, place, options)


def _read(engine: str | Mapping[str, Any] | None) -> tuple[str, Any]:
    """Return the kind of cluster and its options."""
    if engine == "dask":
        return "workers", None
    knobs = engine.get("dask", {}) if isinstance(engine, Mapping) and len(engine) == 1 else None
    if not isinstance(knobs, Mapping) or len(knobs) != 1 or not set(knobs) <= set(_PLACES):
        raise ConfigError(
            "engine must be local, dask, or {dask: {...}} with one of workers, address, fargate; "
            f"found {engine!r}"
        )
    ((place, options),) = knobs.items()
    if place == "workers" and not _is_count(options):
        raise ConfigError(f"engine: workers must be an integer of at least 1, found {options!r}")
    if place == "address" and not isinstance(options, str):
        raise ConfigError(
            f"engine: address must be text such as tcp://host:8786, found {options!r}"
        )
    if place == "fargate" and not (
        isinstance(options, Mapping) and _is_count(options.get("n_workers"))
    ):
        raise ConfigError(
            f"engine: fargate must be options of FargateCluster with n_workers, found {options!r}"
        )
    return place, options


def _is_count(value: Any) -> bool:
    return is_integer(value) and value >= 1


def _open(stack: ExitStack, place: str, options: Any) -> Any:
    """Return a client whose workers have started; cluster and client are closed with the stack."""
    try:
        from dask.distributed import Client
    except ImportError:
        raise ConfigError(
            "engine: dask is not installed; run pip install 'clicklab[dask]', or set engine: local"
        ) from None
    try:
        if place == "address":
            client, n_workers = stack.enter_context(Client(options, timeout=_CONNECT_S)), 1
        else:
            n_workers, cluster = _start(place, options)
            client = stack.enter_context(Client(stack.enter_context(cluster)))
        client.wait_for_workers(n_workers, timeout=_START_S)
    except (OSError, TimeoutError) as error:
        kind = UnavailableError if is_temporary(error) else ConfigError
        raise kind(
            f"engine: the Dask cluster {options if place == 'address' else f'({place})'} "
            f"does not answer ({error}); is it running?"
        ) from None
    return client


def _start(place: str, options: Any) -> tuple[int, Any]:
    """Return the number of workers to wait for, and the cluster that is starting them."""
    if place == "fargate":
        return options["n_workers"], start_fargate(options)
    from dask.distributed import LocalCluster
    from dask.system import CPU_COUNT

    n_workers = options or CPU_COUNT
    return n_workers, LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # None means port 8787, which two clusters cannot share
        scheduler_kwargs={"dashboard": False},
    )
