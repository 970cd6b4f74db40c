"""The hash contract: everything that decides which weight a value of a row falls on.

It is a small JSON that travels with the arrays, the model and the Bento; two sides that do not
hold the same contract refuse to work together.

Tokens, in this order, one column of the code array each:

- a field: ``field=value``, for example ``C1=1005``;
- a time feature: ``hour_of_day=13`` (0 to 23, UTC) or ``weekday=0`` (Monday is 0);
- a cross of two or more of those: ``a*b=va*vb``, for example ``site_id*C14=1fbe01fe*15706``.

Values become text so that a request and a Parquet column agree: an integer is its decimal digits,
a float without a fraction is written as an integer (pandas turns an integer column with gaps into
floats), any other float is its shortest decimal, booleans are ``true`` and ``false``. A missing
value (null, None, NaN, absent key) is the empty text, ``C1=``.

A token's UTF-8 bytes go through MurmurHash3 (x86, 32 bit, signed result ``h``). As in
scikit-learn's ``FeatureHasher``, ``abs(h) % 2**bits`` is the index and the sign of ``h`` the value,
+1 or -1. Both are kept in one int32 *code*: the index where the sign is +1, ``~index`` where -1;
:func:`split_codes` takes them apart.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from tasks.errors import ConfigError, ContractError
from tasks.schema import TIME_FEATURES, Schema

TOKEN_FORM = "field=value;a*b=va*vb;murmur3_x86_32;v1"  # a change in what a token is changes this
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
    fields, time_features, crosses
        Names, in token order.
    time_column, time_format
        Where the time features come from, and how its text is read.
    schema_digest
        Of the schema that declared all this.

    Examples
    --------
    >>> from tasks.schema import load_schema
    >>> contract = HashContract.from_schema(load_schema("avazu"), bits=20)
    >>> contract.n_tokens, contract.n_features, contract.token_names[-1]
    (22, 1048576, 'hour_of_day')
    """

    bits: int
    fields: tuple[str, ...]
    time_column: str
    time_format: str
    schema_digest: str
    time_features: tuple[str, ...] = ()
    crosses: tuple[tuple[str, ...], ...] = ()
    seed: int = 0
    token_form: str = TOKEN_FORM

    def __post_init__(self) -> None:
        if not isinstance(self.bits, int) or not 1 <= self.bits <= MAX_BITS:
            raise ConfigError(f"hash: bits must be an integer from 1 to {MAX_BITS}, found {self.bits!r}")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**32:
            raise ConfigError(f"hash: seed must be an integer from 0 to 2**32 - 1, found {self.seed!r}")
        for name in self.fields:
            if "=" in name or "*" in name:
                raise ConfigError(f"hash: field name {name!r} holds '=' or '*', which tokens need; rename the column")
        known = {*self.fields, *self.time_features}
        unknown = [part for cross in self.crosses for part in cross if part not in known]
        unknown += [name for name in self.time_features if name not in TIME_FEATURES]
        if unknown:
            raise ConfigError(f"hash: {unknown[0]!r} is neither a field nor a time feature of the contract")
        if self.token_form != TOKEN_FORM:
            raise ContractError(
                f"hash: tokens of the form {self.token_form!r} cannot be made by this version, "
                f"which makes {TOKEN_FORM!r}; use the version that trained the model, or train again"
            )

    @classmethod
    def from_schema(cls, schema: Schema, *, bits: int, seed: int = 0) -> "HashContract":
        """Return the contract for a schema; ConfigError if a knob is out of its range."""
        return cls(
            bits=bits,
            seed=seed,
            fields=schema.field_names,
            time_column=schema.time_column,
            time_format=schema.time_format,
            time_features=schema.time_features,
            crosses=schema.crosses,
            schema_digest=schema.digest,
        )

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "HashContract":
        """Return the contract that :meth:`to_dict` wrote; ContractError if it is not one."""
        names = {item.name for item in fields(cls)}
        if not isinstance(raw, Mapping) or set(raw) - {"digest"} != names:
            raise ContractError(f"not a hash contract: expected the keys {sorted(names)}")
        values = {key: value for key, value in raw.items() if key != "digest"}
        values |= {key: tuple(values[key]) for key in ("fields", "time_features")}
        contract = cls(**values | {"crosses": tuple(tuple(cross) for cross in values["crosses"])})
        if raw.get("digest", contract.digest) != contract.digest:
            raise ContractError("the hash contract was changed by hand: its digest does not fit; restore the file")
        return contract

    @classmethod
    def load(cls, path: str | Path) -> "HashContract":
        """Return the contract in a JSON file; ContractError if it is missing or damaged."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text()))
        except (OSError, json.JSONDecodeError) as error:
            raise ContractError(f"{path}: no readable hash contract ({error})") from None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data, with the digest."""
        return json.loads(json.dumps(asdict(self))) | {"digest": self.digest}

    def save(self, path: str | Path) -> None:
        """Write the contract as JSON, whole or not at all."""
        from tasks.storage import write_atomic

        write_atomic(path, json.dumps(self.to_dict(), indent=1) + "\n")

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change whenever any part of the contract does."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def token_names(self) -> tuple[str, ...]:
        """Names of the token columns, in order: fields, time features, crosses (``a*b``)."""
        return (*self.fields, *self.time_features, *("*".join(cross) for cross in self.crosses))

    @property
    def n_tokens(self) -> int:
        """Tokens a row has, the width of the code array."""
        return len(self.fields) + len(self.time_features) + len(self.crosses)

    @property
    def n_features(self) -> int:
        """Number of weights, ``2**bits``."""
        return 1 << self.bits

    def require_same(self, other: "HashContract", *, where: str) -> None:
        """Raise ContractError, naming what differs, unless `other` is this contract."""
        if self == other:
            return
        differing = [item.name for item in fields(self) if getattr(self, item.name) != getattr(other, item.name)]
        name = differing[0]
        raise ContractError(
            f"{where} holds another hash contract: {name} is {getattr(other, name)!r}, "
            f"expected {getattr(self, name)!r}; build both from the same schema and `hash` knobs"
        )


def split_codes(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return index (0 to 2**bits - 1) and sign (+1 or -1), int32 arrays of the shape of `codes`.

    Examples
    --------
    >>> [part.tolist() for part in split_codes(np.array([5, -6], dtype=np.int32))]
    [[5, 5], [1, -1]]
    """
    negative = codes >> 31
    return codes ^ negative, negative | 1
