"""The values of a field in a few bins: the most frequent by name, the others together, missing and never seen apart.

Conventions: a field has `N_TOP` bins of frequent values (of a number, of its quantiles), then `REST`, `MISSING` and
`UNSEEN`; a row's bin is one byte. Two of those are one value to a distribution: what is unseen is one of the rest.
"""

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.hashing import murmur
from tasks.hashing.columns import read_column
from tasks.logs.value_text import FieldText

N_TOP = 30
REST, MISSING, UNSEEN = N_TOP, N_TOP + 1, N_TOP + 2
N_BINS = N_TOP + 3
SEEN_BITS = 20


def text_hashes(texts: pa.Array) -> np.ndarray:
    """Return the hash of each text, int64 from 0 to 2**32 - 1, the same everywhere; null is the empty text."""
    column = read_column(texts, name="text").texts
    out = np.empty(column.n_texts + 1, np.int32)
    murmur.hash_texts(*murmur.prefix_of("", seed=0), column.offsets, column.data, out)
    return out[:-1].astype(np.int64) & 0xFFFFFFFF


class SeenValues:
    """Which values occurred, as one bit per hash: of constant size, at the price of a few false positives.

    References
    ----------
    Whang, Vander-Zanden and Taylor (1990), "A linear-time probabilistic counting algorithm": the same bitmap.
    """

    def __init__(self, bits: np.ndarray | None = None):
        self._bits = np.zeros(1 << SEEN_BITS, bool) if bits is None else bits
        self._n = int(self._bits.sum())

    def add(self, hashes: np.ndarray) -> None:
        """Take in values by their hashes."""
        self._bits[hashes >> (32 - SEEN_BITS)] = True
        self._n = -1

    def has(self, hashes: np.ndarray) -> np.ndarray:
        """Return whether each value occurred, bool; a new one is taken for known with the chance `load`."""
        found: np.ndarray = self._bits[hashes >> (32 - SEEN_BITS)]
        return found

    @property
    def load(self) -> float:
        """The share of bits that are set."""
        if self._n < 0:
            self._n = int(self._bits.sum())
        return self._n / len(self._bits)

    def to_text(self) -> str:
        """Return it as text; :meth:`from_text` reads it."""
        return base64.b64encode(zlib.compress(np.packbits(self._bits).tobytes(), 6)).decode()

    @classmethod
    def from_text(cls, text: str) -> "SeenValues":
        """Return what :meth:`to_text` wrote."""
        packed = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
        return cls(np.unpackbits(packed)[: 1 << SEEN_BITS].astype(bool))


@dataclass
class FieldBins:
    """The bins of one field.

    Attributes
    ----------
    name, kind
        The field and its kind in the schema.
    values
        The frequent values, most frequent first.
    edges
        Of a number in place of those, the edges between bins.
    seen
        All values that occurred; not of a number.
    rule
        How the log writes the field's values, for rows that are not of the canonical log, such as exposures: one
        value has one text, and what stands for a missing value is missing.
    """

    name: str
    kind: str
    values: list[str]
    edges: list[float]
    seen: SeenValues
    rule: FieldText | None = field(default=None, compare=False, repr=False)

    def codes(self, column: pa.Array) -> np.ndarray:
        """Return the bin of each row, uint8 ``(n_rows,)``; the empty text is missing."""
        if self.rule is not None:
            column = _canonical(column, self.rule)
        if self.kind == "number":
            return self.number_codes(column)
        rows, codes, hashes = self.coded(column)
        known = np.append(self.seen.has(hashes), True)
        return np.where(known | (codes != REST), codes, UNSEEN).astype(np.uint8)[rows]

    def coded(self, column: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return each row's text, and the bin of each text, unseen ones among the rest, and its hash.

        The last bin, one past the last text, is that of a missing value; it has no hash.
        """
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        texts = column.dictionary.cast(pa.string())
        found = pc.index_in(texts, value_set=pa.array(self.values, pa.string()))
        codes = np.append(pc.fill_null(found, REST).to_numpy(zero_copy_only=False), MISSING)
        codes[:-1][pc.equal(texts, "").to_numpy(zero_copy_only=False)] = MISSING
        rows = pc.fill_null(column.indices, len(texts)).to_numpy(zero_copy_only=False)
        return rows, codes.astype(np.uint8), text_hashes(texts)

    def number_codes(self, column: pa.Array) -> np.ndarray:
        """Return the bin of each row of a number, uint8 ``(n_rows,)``."""
        values = as_numbers(column)
        codes = np.searchsorted(self.edges, values, side="right").astype(np.uint8)
        return np.where(np.isnan(values), MISSING, codes).astype(np.uint8)

    def label(self, code: int) -> str:
        """Return what a bin holds, in words."""
        if code >= N_TOP:
            return {REST: "(other)", MISSING: "(missing)", UNSEEN: "(unseen)"}[code]
        if self.kind != "number":
            return self.values[code] if code < len(self.values) else "-"
        edges = [f"{edge:g}" for edge in self.edges]
        return f"{['', *edges][code]}..{[*edges, ''][code]}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; :meth:`from_dict` reads it."""
        plain = {key: getattr(self, key) for key in ("name", "kind", "values", "edges")}
        return plain | {"seen": self.seen.to_text()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "FieldBins":
        """Return what :meth:`to_dict` wrote."""
        return cls(**{**raw, "seen": SeenValues.from_text(raw["seen"])})


def _canonical(column: pa.Array, rule: FieldText) -> pa.Array:
    """Return a column of texts as the canonical log holds them: text is coded, numbers are float64."""
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).dictionary_encode()
    texts = column.dictionary.cast(pa.string())
    if rule.kind == "number":
        return rule.numbers(texts)[0].take(column.indices)
    found = pc.fill_null(rule.texts(texts), "")
    return pa.DictionaryArray.from_arrays(column.indices, found)


def as_numbers(column: pa.Array) -> np.ndarray:
    """Return a column as float64, NaN for what is no number."""
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan), np.float64)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    text = column.cast(pa.string())
    sound = pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    kept = pc.if_else(sound, text, pa.scalar(None, pa.string())).cast(pa.float64())
    return np.asarray(pc.fill_null(kept, np.nan), np.float64)
