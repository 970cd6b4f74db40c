"""How long a request waits in front of n cores: request by request, and by theory."""

import numpy as np


def waits_s(arrival_s: np.ndarray, service_s: np.ndarray, n_cores: int) -> np.ndarray:
    """Return how long each request waits for a core, first come, first served.

    Parameters
    ----------
    arrival_s, service_s
        Times of arrival, ascending in each row, and of service (s), ``(n_runs, n_requests)``.
    n_cores
        Cores that share one queue, 1 or more.

    Returns
    -------
    numpy.ndarray
        Waiting times (s), ``(n_runs, n_requests)``.

    References
    ----------
    Kiefer and Wolfowitz (1955), "On the theory of queues with many servers": a core's next free moment is all that matters.
    """
    n_runs, n_requests = arrival_s.shape
    free_s, runs = np.zeros((n_runs, n_cores)), np.arange(n_runs)
    found = np.empty((n_runs, n_requests))
    for number in range(n_requests):
        core = free_s.argmin(axis=1)
        begin_s = np.maximum(arrival_s[:, number], free_s[runs, core])
        found[:, number] = begin_s - arrival_s[:, number]
        free_s[runs, core] = begin_s + service_s[:, number]
    return found


def erlang_c(n_cores: int, load: float) -> float:
    """Return the probability that a request has to wait in M/M/c.

    Parameters
    ----------
    n_cores
        Cores that share one queue, 1 or more.
    load
        Arrival rate times mean service time, in cores, 0 to below `n_cores`.

    Raises
    ------
    ValueError
        If the load is not below the number of cores: the queue would grow without end.

    Notes
    -----
    By the recursion of Erlang's loss formula, which neither overflows nor cancels.

    Examples
    --------
    >>> round(erlang_c(1, 0.7), 12), round(erlang_c(2, 1.0), 6)
    (0.7, 0.333333)
    """
    if not 0 <= load < n_cores:
        raise ValueError(f"load must be from 0 to below n_cores = {n_cores}, not {load}")
    blocked = 1.0
    for number in range(1, n_cores + 1):
        blocked = load * blocked / (number + load * blocked)
    return float(blocked / (1 - (load / n_cores) * (1 - blocked)))


def mean_wait_s(n_cores: int, load: float, *, service_s: float, squared_cv: float = 1.0) -> float:
    """Return the mean waiting time (s): exact for M/M/c and M/G/1, Allen and Cunneen's approximation for M/G/c.

    Parameters
    ----------
    service_s
        Mean service time (s).
    squared_cv
        Squared coefficient of variation of the service time; 1 is exponential.

    Examples
    --------
    >>> mean_wait_s(1, 0.5, service_s=1.0)
    1.0
    """
    return erlang_c(n_cores, load) * service_s / (n_cores - load) * (1 + squared_cv) / 2
