"""Plain CSV to codes in one pass over the bytes: no column, no text and no dictionary is ever made.

Most CSV is plain: no quotes, ``\\n`` at the ends of lines, ASCII, labels 0 and 1. A block that is not
(:meth:`CsvCodes.parse` returns None) is for :mod:`tasks.logs.intake.csv_block`, which gives the same codes slowly,
or says what is wrong.
"""

from functools import lru_cache

import numpy as np

from tasks.hashing.contract import HashContract
from tasks.hashing.feature_set import Batch
from tasks.hashing.moments import bad_time, moment_parser, to_ms
from tasks.hashing.murmur import prefix_of
from tasks.hashing.row_encoder import RowEncoder
from tasks.logs.intake.csv_block import Layout
from tasks.streaming import csv_kernels as kernels

PAD_BYTES = 16  # kernels load up to 8 bytes at any byte of a block


class CsvCodes:
    """Turns blocks of one CSV into codes; safe to share between threads.

    Parameters
    ----------
    layout
        Where the columns are.
    contract
        What to hash, and how; without crosses.
    """

    def __init__(self, layout: Layout, contract: HashContract):
        self._contract = contract
        roles = np.full(layout.n_columns, kernels.SKIP, dtype=np.int32)
        roles[layout.kept[contract.schema["label"]]] = kernels.LABEL
        roles[layout.kept[contract.time_column]] = kernels.TIME
        for token, name in enumerate(contract.fields):
            roles[layout.kept[name]] = token
        self._roles = roles
        prefixes = [prefix_of(name, seed=contract.seed) for name in contract.fields]
        self._prefixes = np.array(prefixes, dtype=np.uint32).T.copy()
        self._moment = lru_cache(maxsize=4096)(self._read_moment)
        self._encoder, self._parse = RowEncoder(contract), moment_parser(contract)

    @staticmethod
    def can_hash(contract: HashContract) -> bool:
        """Return whether there are no tokens that need more than one column."""
        return not contract.crosses

    def parse(self, block: np.ndarray, n_bytes: int) -> Batch | None:
        """Return the rows of whole lines, or None if they are not plain.

        Parameters
        ----------
        block
            uint8; the lines, the last one ended too, and :data:`PAD_BYTES` more of anything.
        n_bytes
            Bytes of the lines.

        Raises
        ------
        InputError
            If a time cannot be read.
        """
        n_rows = kernels.count_rows(block, n_bytes)
        if n_rows < 0:
            return None
        n_fields, n_tokens = len(self._contract.fields), self._contract.n_tokens
        codes = np.empty((n_rows, n_tokens), dtype=np.int32)
        labels = np.empty(n_rows, dtype=np.uint8)
        times = np.empty((n_rows, 3), dtype=np.int64)
        prefixes, bits = self._prefixes, self._contract.bits
        found = kernels.parse_rows(
            block.ctypes.data, self._roles, prefixes, bits, codes, labels, times
        )
        if found < 0:
            return None
        moments = np.empty(n_rows, dtype="datetime64[ms]")
        ends = [*times[1:found, 0].tolist(), n_rows]
        for (first, start, stop), end in zip(times[:found].tolist(), ends, strict=True):
            time_codes, ms = self._moment(block[start:stop].tobytes())
            codes[first:end, n_fields:] = time_codes
            moments[first:end] = np.datetime64(ms, "ms")
        return Batch(codes, labels, moments)

    def _read_moment(self, text: bytes) -> tuple[np.ndarray, int]:
        """Return the codes of the time features, and the milliseconds since 1970."""
        time = text.decode()
        try:
            ms = to_ms(self._parse(time))
        except ValueError as error:
            raise bad_time(self._contract, time, error) from None
        codes = self._encoder.encode_row({self._contract.time_column: time})
        return codes[len(self._contract.fields) :], ms
