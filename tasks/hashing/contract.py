"""The hash contract: everything that decides which weight a value belongs to.

It is a small JSON that travels with the arrays, the model and the Bento; a mismatch anywhere is an
error.

Tokens, in this order, each a column of the code array:

- a field: ``field=value``, for example ``C1=1005``; of a number the value is that of its bucket, ``floor=7``
  (:mod:`tasks.hashing.buckets`);
- a feature, a function of ``tasks/features``: ``hour_of_day=13``, or ``name.value=...`` where it has several values;
- a cross of two or more of those: ``a*b=va*vb``, for example ``site_id*C14=1fbe01fe*15706``;
- a list: one token per item, ``tags=item``, in as many columns as the list has items at most; unused ones hold
  :data:`~tasks.hashing.codes.NO_TOKEN`, which nothing learns from or scores. An empty list is a missing value: one token, ``tags=``.

Values become text so that a request and a Parquet column agree (:class:`tasks.logs.value_text.FieldText`): an integer is its decimal digits,
a float without a fraction is written as an integer (pandas turns an integer column with gaps into
floats), any other float is its shortest decimal, booleans are ``true`` and ``false``. A missing
value (null, None, NaN, absent key) is the empty text, ``C1=``. What a feature returns becomes text in the same
way (:mod:`tasks.hashing.features.rows`). The contract holds each feature's inputs, columns, bucket edges and a digest of its
source; the source itself is never in it, and nothing is executed from it.

A token's UTF-8 bytes go through MurmurHash3 (x86, 32 bit, signed result ``h``). As in
scikit-learn's ``FeatureHasher``, ``abs(h) % 2**bits`` is the index and the sign of ``h`` the value,
+1 or -1. Both are kept in one int32 *code*: the index where the sign is +1, ``~index`` where -1;
:func:`tasks.hashing.codes.split_codes` takes them apart. No code is :data:`~tasks.hashing.codes.NO_TOKEN`.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError, ContractError
from tasks.features.kinds.declaration import STEPS_MS, Feature
from tasks.features.kinds.finding import find_feature
from tasks.features.kinds.past import Past
from tasks.hashing.features.keys import FeatureKey, feature_key, require_features
from tasks.schema import Schema
from tasks.schemas.forms import TimeForm

TOKEN_FORM = (
    "field=value;a*b=va*vb;murmur3_x86_32;v3"  # changes whenever the definition of a token does
)
MAX_BITS = 30


@dataclass(frozen=True)
class HashContract:
    """What rows are hashed with. Build it with :meth:`from_schema`; it is hashable and immutable.

    Attributes
    ----------
    bits
        ``2**bits`` weights, 1 to 30.
    seed
        Of MurmurHash3, 0 to 2**32 - 1; scikit-learn's is 0.
    fields, features, crosses
        Names of fields, a :class:`FeatureKey` per feature, names of token columns.
    numbers
        The edges of each number's buckets, by name: pairs, in the order of the fields.
    lists
        How many items of each list count, by name: pairs, in the order of the fields.
    time
        What features of the time read, and how its text is read.
    past
        The table of each statistic, by its name.
    schema_digest, schema
        The declaration that all of this comes from, as plain data: ``Schema.from_dict(contract.schema)``.

    Examples
    --------
    >>> from tasks.schema import load_schema
    >>> contract = HashContract.from_schema(load_schema("avazu"), bits=20)
    >>> contract.n_tokens, contract.n_features, contract.token_fields[-1]
    (24, 1048576, 'site_category*app_category*C21')
    """

    bits: int
    fields: tuple[str, ...]
    time: TimeForm
    schema_digest: str
    features: tuple[FeatureKey, ...] = ()
    crosses: tuple[tuple[str, ...], ...] = ()
    numbers: tuple[tuple[str, tuple[float, ...]], ...] = ()
    lists: tuple[tuple[str, int], ...] = ()
    seed: int = 0
    token_form: str = TOKEN_FORM
    schema: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    past: Mapping[str, Past] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if type(self.bits) is not int or not 1 <= self.bits <= MAX_BITS:
            raise ConfigError(
                f"hash: bits must be an integer from 1 to {MAX_BITS}, found {self.bits!r}"
            )
        if type(self.seed) is not int or not 0 <= self.seed < 2**32:
            raise ConfigError(
                f"hash: seed must be an integer from 0 to 2**32 - 1, found {self.seed!r}"
            )
        for name in self.fields:
            if "=" in name or "*" in name:
                raise ConfigError(
                    f"hash: field name {name!r} holds '=' or '*', which tokens need; rename the column"
                )
        known = {*self.fields, *self.feature_columns}
        unknown = [part for cross in self.crosses for part in cross if part not in known]
        if unknown:
            raise ConfigError(
                f"hash: {unknown[0]!r} is neither a field nor a feature of the contract"
            )

    @classmethod
    def from_schema(
        cls,
        schema: Schema,
        *,
        bits: int,
        seed: int = 0,
        past: Mapping[str, Past] | None = None,
        edges: Mapping[str, Sequence[float]] | None = None,
    ) -> "HashContract":
        """Return the contract for a schema; ConfigError if a knob is out of its range.

        A schema with statistics or numbers needs their tables and edges:
        :func:`tasks.hashing.features.past_counts.contract_for`.
        """
        past, edges = past or {}, edges or {}
        return cls(
            bits=bits,
            seed=seed,
            fields=tuple(spec.name for spec in schema.learned.fields),
            time=schema.time,
            features=tuple(feature_key(name, past) for name in schema.learned.features),
            past={name: past[name] for name in schema.learned.features if name in past},
            crosses=schema.learned.crosses,
            numbers=tuple(
                (spec.name, _edges(spec.name, edges))
                for spec in schema.learned.fields
                if spec.kind == "number"
            ),
            lists=tuple(
                (spec.name, spec.max_items) for spec in schema.learned.fields if spec.kind == "list"
            ),
            schema_digest=schema.digest,
            schema=schema.to_dict(),
        )

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "HashContract":
        """Return the contract that :meth:`to_dict` wrote; ContractError if it is not one."""
        try:
            form, digest = raw["token_form"], raw["digest"]
            if form != TOKEN_FORM:
                raise ContractError(
                    f"the hash contract has tokens of the form {form!r}, this version makes {TOKEN_FORM!r}; "
                    "use the version that trained the model, or train again"
                )
            require_features(raw.get("features") or ())
            schema = Schema.from_dict(raw["schema"], source="the schema of the hash contract")
            past = {name: Past.from_dict(one) for name, one in (raw.get("past") or {}).items()}
            edges = dict(raw.get("numbers") or ())
            contract = cls.from_schema(
                schema, bits=raw["bits"], seed=raw["seed"], past=past, edges=edges
            )
        except ContractError:
            raise
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
        ) as error:  # a ConfigError is a ValueError
            raise ContractError(
                f"not a hash contract ({error}); write it again with `hash_features`"
            ) from None
        if digest != contract.digest:
            raise ContractError(
                "the hash contract was changed by hand: its digest does not match; restore the file"
            )
        return contract

    @classmethod
    def load(cls, path: str | Path) -> "HashContract":
        """Return the contract in a JSON file; ContractError if it is missing or damaged."""
        try:
            raw = json.loads(Path(path).read_text())
        except (OSError, ValueError) as error:
            raise ContractError(f"{path}: no readable hash contract ({error})") from None
        return cls.from_dict(raw)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data, with the digest."""
        return json.loads(json.dumps(self._compared())) | {
            "schema": dict(self.schema),
            "past": {name: past.to_dict() for name, past in self.past.items()},
            "digest": self.digest,
        }

    def save(self, path: str | Path) -> None:
        """Write the contract as JSON, atomically."""
        from tasks.storage.files import write_atomic

        write_atomic(Path(path), json.dumps(self.to_dict(), indent=2) + "\n")

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change whenever any part of the contract does."""
        return hashlib.sha256(json.dumps(self._compared(), sort_keys=True).encode()).hexdigest()[
            :16
        ]

    def _compared(self) -> dict[str, Any]:
        compared = {item.name: getattr(self, item.name) for item in fields(self) if item.compare}
        return compared | {"time": asdict(self.time)}

    @property
    def declared(self) -> Schema:
        """The declaration of the log."""
        return Schema.from_dict(self.schema, source="the schema of the hash contract")

    @property
    def token_fields(self) -> tuple[str, ...]:
        """Names of the token columns, in order: fields of one value, features, crosses (``a*b``), each list's items."""
        items = (name for name, n_items in self.lists for _ in range(n_items))
        crosses = ("*".join(cross) for cross in self.crosses)
        return (*self.single_fields, *self.feature_columns, *crosses, *items)

    @property
    def single_fields(self) -> tuple[str, ...]:
        """Names of the fields that have one value, and so one token column, in order."""
        lists = dict(self.lists)
        return tuple(name for name in self.fields if name not in lists)

    @property
    def columns_of_token_fields(self) -> dict[str, slice]:
        """The token columns of each name in `token_fields`: several of a list, one of any other."""
        found: dict[str, slice] = {}
        for place, name in enumerate(self.token_fields):
            found[name] = slice(found[name].start if name in found else place, place + 1)
        return found

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """Names of the token columns of features, in order."""
        return tuple(column for key in self.features for column in key.columns)

    @property
    def derived(self) -> tuple[Feature, ...]:
        """The features, as this version's functions; a statistic with its table."""
        found = [find_feature(key.name).feature for key in self.features]
        return tuple(
            one.with_past(self.past[one.name]) if one.is_statistic else one for one in found
        )

    @property
    def time_column(self) -> str:
        """Name of the time's column."""
        return self.time.name

    @property
    def reads_time(self) -> bool:
        """Whether a feature reads the time."""
        return any(name in STEPS_MS for key in self.features for name in key.inputs)

    @property
    def n_tokens(self) -> int:
        """Tokens per row, the width of the code array."""
        return self.n_alone + sum(n_items for _, n_items in self.lists)

    @property
    def n_alone(self) -> int:
        """Token columns before those of lists."""
        n_single = len(self.fields) - len(self.lists)
        return n_single + len(self.feature_columns) + len(self.crosses)

    @property
    def n_features(self) -> int:
        """Number of weights, ``2**bits``."""
        return 1 << self.bits

    def require_same(self, other: "HashContract", *, where: str) -> None:
        """Raise ContractError, naming what differs, unless `other` is this contract."""
        if self == other:
            return
        theirs = other._compared()
        name = next(name for name, value in self._compared().items() if theirs[name] != value)
        raise ContractError(
            f"{where} holds another hash contract: {name} is {theirs[name]!r}, "
            f"expected {getattr(self, name)!r}; build both from the same schema and `hash` knobs"
        )


def _edges(name: str, edges: Mapping[str, Sequence[float]]) -> tuple[float, ...]:
    if name not in edges:
        raise ConfigError(
            f"field {name!r} is a number whose buckets are learned, so its contract needs a log; see `contract_for`"
        )
    found = tuple(float(edge) for edge in edges[name])
    if not all(map(math.isfinite, found)) or sorted(set(found)) != [*found]:
        raise ConfigError(f"field {name!r}: edges of buckets must be finite and rise")
    return found
