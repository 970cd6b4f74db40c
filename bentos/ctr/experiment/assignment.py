"""Assigns units to variants by a weighted, salted hash: the same in every process, permanently.

Each variant draws a number from the unit's salted hash, and the minimum of an exponential race wins:
``argmin(-log(u) / weight)``, which variant ``v`` wins with probability ``weight[v] / sum(weights)``.
Unlike splitting [0, 1) into intervals, raising a weight moves units only into that variant, however many
others there are, and the order in the file does not matter.

References
----------
P. S. Efraimidis, P. G. Spirakis (2006), "Weighted random sampling with a reservoir"; the hashed form
is known as weighted rendezvous hashing.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b, sha256
from json import dumps
from math import log
from typing import Any, NamedTuple

from tasks.errors import ConfigError

REQUEST_ID = "request_id"  # the unit field of a request that names no unit
_SCALE = 2.0**-64


class Variant(NamedTuple):
    """One arm: its name, its share relative to the others, the model that answers for it."""

    name: str
    weight: float
    model: str


class Assignment(NamedTuple):
    """The variant of one request, the unit's salted hash (16 hex digits), and where the unit was found."""

    variant: Variant
    unit_hash: str
    unit_field: str


class Experiment:
    """Variants and the assignment of units to them; immutable. :func:`bentos.ctr.experiment.declaration.load_experiment` reads one.

    Parameters
    ----------
    name, salt
        Two experiments that differ in either assign independently. With the salt, unit hashes can be
        matched to units by trial: keep it as secret as a key.
    unit
        Fields that identify a unit, the best first; where one is missing, the next is used.
    unknown
        By field, values that mean "unknown", such as the null device.
    texts
        By field, the function from a request's value to its text, where it is not that of any value.
    variants
        One or more, of which one has a weight above 0; a weight of 0 is served only when forced.
    shadows
        Models that score every request without answering.

    Attributes
    ----------
    digest : str
        Twelve hex digits that change whenever an assignment may.

    Examples
    --------
    >>> arms = [Variant("champion", 9, "champion"), Variant("fm", 1, "challenger")]
    >>> trial = Experiment("fm-trial", "pepper", ("device_id", "device_ip"), arms)
    >>> found = trial.assign({"device_id": "0a1b"}, fallback="r-1")
    >>> found == trial.assign({"device_id": "0a1b", "device_ip": "ffff"}, fallback="r-2")
    True
    >>> found.variant.name, found.unit_field
    ('champion', 'device_id')
    """

    def __init__(
        self,
        name: str,
        salt: str,
        unit: tuple[str, ...],
        variants: list[Variant] | tuple[Variant, ...],
        shadows: tuple[str, ...] = (),
        *,
        unknown: Mapping[str, frozenset[str]] | None = None,
        texts: Mapping[str, Callable[[Any], str]] | None = None,
    ):
        from tasks.logs.value_text import value_text  # the text that the model hashes

        self.name, self.salt, self.unit = name, salt, tuple(unit)
        self.variants, self.shadows = tuple(variants), tuple(shadows)
        self.unknown = {field: frozenset((unknown or {}).get(field, ())) for field in self.unit}
        self.digest = self._digest()
        self.texts = {name: (texts or {}).get(name, value_text) for name in self.unit}
        self._by_name = {variant.name: variant for variant in self.variants}
        self._fields = tuple(
            (name, f"{name}=", self.unknown[name] | {""}, self.texts[name]) for name in self.unit
        )
        self._hash = self._hasher("")
        live = [variant for variant in self.variants if variant.weight > 0]
        self._sole = live[0] if len(live) == 1 else None
        self._race = tuple(
            (variant, -1 / variant.weight, self._hasher(variant.name)) for variant in live
        )

    def assign(
        self, row: Mapping[str, Any], *, fallback: str, forced: str | None = None
    ) -> Assignment:
        """Return the variant of a request.

        Parameters
        ----------
        row
            The request's fields, for a ranking those of its context.
        fallback
            The request's id, hashed where no unit field holds a value.
        forced
            The name of a variant that answers regardless of the hash.

        Raises
        ------
        ConfigError
            If there is no variant of the forced name.
        """
        for field, prefix, unknown, read in self._fields:
            text = _text_of(row.get(field), read)
            if text not in unknown:
                data = (prefix + text).encode("utf-8", "surrogatepass")
                break
        else:
            field = REQUEST_ID
            data = f"{REQUEST_ID}={fallback}".encode("utf-8", "surrogatepass")
        hasher = self._hash.copy()
        hasher.update(data)
        variant = self._sole or self._fastest(data) if forced is None else self._forced(forced)
        return Assignment(variant, hasher.hexdigest(), field)

    def _fastest(self, data: bytes) -> Variant:
        """Return the winner of the race: exponential waiting times with the weights as rates."""
        best, winner = float("inf"), self._race[0][0]
        for variant, scale, base in self._race:
            hasher = base.copy()
            hasher.update(data)
            # never 0; int to float rounds the same way everywhere
            wait = log((int.from_bytes(hasher.digest()) + 0.5) * _SCALE) * scale
            if wait < best:
                best, winner = wait, variant
        return winner

    def _forced(self, name: str) -> Variant:
        variant = self._by_name.get(name)
        if variant is None:
            raise ConfigError(
                f"no variant is called {name[:64]!r}; experiment {self.name!r} has {', '.join(self._by_name)}"
            )
        return variant

    def _hasher(self, purpose: str) -> Any:
        # a JSON list is self-delimiting, so that no two experiments share a prefix
        return blake2b(dumps([self.salt, self.name, purpose]).encode(), digest_size=8)

    def _digest(self) -> str:
        unit = [[field, sorted(self.unknown[field])] for field in self.unit]
        content = [self.name, self.salt, unit, sorted(self.variants), sorted(self.shadows)]
        return sha256(dumps(content).encode()).hexdigest()[:12]


def _text_of(value: Any, read: Callable[[Any], str]) -> str:
    """Return a value's text, empty if it has none: scoring reports what is wrong with it."""
    try:
        return read(value)
    except (TypeError, ValueError):
        return ""
