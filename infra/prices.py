"""What a bill is made of: priced items, assumed usage, and the table that prices come from."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from infra.cadence import runs_a_month
from tasks.errors import ConfigError

Variables = Mapping[str, Any]


class Line(NamedTuple):
    """One item: what, how it is counted, and what it costs a month at `price_usd` a unit."""

    part: str
    what: str
    how: str
    quantity: float
    unit: str
    price_usd: float

    @property
    def usd(self) -> float:
        """What it costs a month."""
        return self.quantity * self.price_usd


class Assumption(NamedTuple):
    """Something that no file knows: how much is used."""

    name: str
    value: float
    says: str


class Table(NamedTuple):
    """Prices, assumed usage, and counts of what Terraform makes."""

    prices: Mapping[str, Any]
    usage: Mapping[str, float]
    counts: Mapping[str, Mapping[str, int]]

    def price(self, name: str, key: str | None = None) -> float:
        """Return a price; `key` chooses where there is one for each kind."""
        price = self.prices[name] if key is None else self.prices[name].get(key)
        if price is None:
            known = ", ".join(self.prices[name])
            raise ConfigError(f"prices.yaml has no {name} for {key!r}; add it (known: {known})")
        return price

    def n_made(self, name: str, variables: Variables) -> int:
        """Return how many Terraform makes with the parts that are switched on."""
        return sum(
            number
            for part, number in self.counts[name].items()
            if part == "always" or variables[part]
        )


def assumptions(usage: Mapping[str, Any], variables: Variables) -> list[Assumption]:
    """Return the assumed usage; what is null follows from the variables."""
    follow: dict[str, Callable[[], float]] = {
        "runs": lambda: runs_a_month(variables["schedule"]["expression"]),
        "average_tasks": lambda: variables["service_tasks"]["min"],
    }
    return [
        Assumption(name, follow[name]() if use["value"] is None else use["value"], use["says"])
        for name, use in usage.items()
    ]
