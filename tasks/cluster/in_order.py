"""Functions of files called on the workers of a cluster, their results in the order of their arguments.

What a function writes has a name of its own or is renamed into place, so that Dask may call it again when a worker dies.
"""

from collections.abc import Callable, Generator, Iterable
from typing import Any

import pyarrow as pa


def run_in_order(
    client: Any, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]
) -> Generator[Any, None, None]:
    """Yield ``function(*one)`` for each of the arguments, in order.

    The first error ends it, and so does closing the generator; tasks that have not begun are cancelled.

    Parameters
    ----------
    client
        A Dask client.
    function
        A function of a module that workers have as well.
    """
    futures = [client.submit(_with_one_core, function, one, pure=False) for one in arguments]
    try:
        for future in futures:
            yield future.result()
            future.release()
    finally:
        client.cancel(futures)


def _with_one_core(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """On a worker: call the function; Arrow, too, keeps to the cores that the worker has."""
    from dask.distributed import get_worker

    pa.set_cpu_count(get_worker().state.nthreads)
    return function(*arguments)
