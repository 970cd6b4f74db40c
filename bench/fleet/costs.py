"""Machines and dollars by formula. The prices are those of docs/aws.md: set your own."""

from dataclasses import dataclass
from math import ceil

HOURS_PER_MONTH = 730.0
HOURS_PER_DAY = 24.0


@dataclass(frozen=True)
class Prices:
    """List prices in USD: region eu-west-1, 2026-11, from memory and not looked up, without discounts. Set your own."""

    vcpu_hour: float = 0.04048
    gb_hour: float = 0.004445
    balancer_hour: float = 0.0252
    lcu_hour: float = 0.008
    stored_gb_month: float = 0.023
    thousand_puts: float = 0.005


@dataclass(frozen=True)
class Load:
    """What the fleet does in a day.

    Attributes
    ----------
    mean_per_s
        Requests per second, mean of the day.
    request_bytes, response_bytes
        Of one request, head included.
    exposure_bytes
        Of one request in the exposure log, as it is stored.
    task_hours
        Hours of tasks in a day.
    """

    mean_per_s: float
    request_bytes: float
    response_bytes: float
    exposure_bytes: float
    task_hours: float


def tasks_needed(peak_per_s: float, *, task_per_s: float, utilisation: float) -> int:
    """Return the number of tasks that answer a peak at a share of their capacity.

    Examples
    --------
    >>> tasks_needed(10_000, task_per_s=2_000, utilisation=0.5)
    10
    """
    return max(1, ceil(peak_per_s / (task_per_s * utilisation) - 1e-9))


def monthly_usd(
    load: Load,
    prices: Prices,
    *,
    vcpu: float = 1.0,
    memory_gb: float = 2.0,
    kept_days: int = 90,
    file_bytes: float = 64e6,
) -> dict[str, float]:
    """Return the cost of a month by item: tasks, load balancer, exposures stored and written.

    Notes
    -----
    A load balancer's capacity unit (LCU) is a gigabyte per hour where connections are kept open; its other three
    measures (new and open connections, rules) are then smaller. Files are written when they are full; small fleets
    write more of them, since files are also finished by age.

    Examples
    --------
    >>> quiet = Load(0.0, 500, 300, 700, task_hours=24.0)
    >>> round(monthly_usd(quiet, Prices(), memory_gb=0.0)["tasks"], 4) == round(730 * 0.04048, 4)
    True
    """
    per_hour = load.mean_per_s * 3_600
    lcus = per_hour * (load.request_bytes + load.response_bytes) / 1e9
    bytes_per_hour = per_hour * load.exposure_bytes
    stored_gb = bytes_per_hour * HOURS_PER_DAY * kept_days / 1e9
    task_hour = vcpu * prices.vcpu_hour + memory_gb * prices.gb_hour
    return {
        "tasks": load.task_hours / HOURS_PER_DAY * HOURS_PER_MONTH * task_hour,
        "load balancer": HOURS_PER_MONTH * (prices.balancer_hour + lcus * prices.lcu_hour),
        "exposures stored": stored_gb * prices.stored_gb_month,
        "exposures written": bytes_per_hour / file_bytes * HOURS_PER_MONTH / 1e3 * prices.thousand_puts,
    }  # fmt: skip
