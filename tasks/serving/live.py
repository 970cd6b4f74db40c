"""Scores requests one at a time, or one context with many candidates, without a batch of columns.

The scores equal those of :meth:`tasks.models.artifact.ScoringModel.predict_row` to the last bit: the
same codes go through the same kernels, and candidates through those of a batch, whose logits are the
same sum. This holds for factorization machines too: sharing the context's part of the sums among
candidates would save a few microseconds and change the last digits. A kind of model that scores in NumPy
(:mod:`tasks.models.learner`) may round a row and a batch differently.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numba import njit

from tasks.hashing.codes import NO_TOKEN
from tasks.models.artifact import ScoringModel
from tasks.models.scoring import frozen
from tasks.serving.candidates import Candidates, Catalogue
from tasks.serving.lookup import CodeLookup
from tasks.serving.rankings import RankingHasher

_ROWS_HELD = 256  # rows whose unseen tokens are counted at once


class LiveScorer:
    """Scores requests with one model; for one thread, such as a service's event loop.

    Parameters
    ----------
    model
        What to score with.
    cache_size
        Maximum number of cached codes per token column and of combinations per feature, 1 or more: about 100 bytes each, up to 300. A
        full cache is emptied, which takes 0.3 ms at the default and 10 ms at four times that size;
        hashing a value again costs about 6 us.

    Attributes
    ----------
    model : ScoringModel
        The model.
    n_missing : int
        Fields without a value in the last row; of the last ranking, those that the context and a candidate lack.
    n_rows : int
        Rows scored since the start; a candidate counts as a row, a refused request does not.

    Examples
    --------
    >>> from tasks.hashing.contract import HashContract
    >>> from tasks.schema import load_schema
    >>> contract = HashContract.from_schema(load_schema("avazu"), bits=10)
    >>> weights = np.linspace(-1, 1, contract.n_features, dtype=np.float32)
    >>> model = ScoringModel({"weights": weights}, -1.0, contract, name="any", kind="ftrl", params={})
    >>> scorer, row = LiveScorer(model), {"site_id": "1fbe01fe", "C14": 15706}
    >>> scorer.score(row) == model.predict_row(row)
    True
    >>> scores = scorer.score_candidates(row, [{"C14": 15706}, {"C14": 15707}])
    >>> bool(scores[0] == scorer.score(row)), scorer.n_rows
    (True, 4)
    """

    def __init__(self, model: ScoringModel, *, cache_size: int = 16_384):
        contract = model.contract
        self.model = model
        scorer = model.scorer
        self._predict_row, self._decision, self._inputs = (
            scorer.predict_row,
            scorer.decision,
            scorer.inputs,
        )
        self._weights = scorer.weights
        self._lookup = CodeLookup(contract, cache_size=cache_size)
        self._hasher = RankingHasher(self._lookup)
        features = self._lookup.features
        self._memories = [] if features is None else features.memories
        self._held = np.empty((_ROWS_HELD, contract.n_tokens), dtype=np.int32)
        self._held_bytes = self._held.data.cast("B")
        self._held_rows = list(self._held)
        self._pack_codes = struct.Struct(f"{contract.n_tokens}i").pack_into
        self._reset_counts()
        self._warm_up()
        self._reset_counts()

    def _warm_up(self) -> None:
        """Score through every code path, so that no request waits for a kernel to compile."""
        self.score({})
        self.score_candidates({}, [{}])
        for name in self.model.contract.fields:  # in crosses or not
            catalogue = Catalogue([name])
            catalogue.add([{name: ""}])
            for numbers in (
                (0,),
                (0, 0),
            ):  # a column of one row is contiguous, one of several is not
                self.score_candidates({}, Candidates.picked(catalogue, numbers))

    def _reset_counts(self) -> None:
        self.n_rows = self._n_held = self.n_missing = 0
        self._n_missing = [0] * len(self._lookup.caches)
        for name in self._lookup.left_out:
            self._lookup.left_out[name] = 0
        self._n_zero = np.zeros(self._lookup.n_tokens, dtype=np.int64)
        for memory in self._memories:
            memory.n_failed = 0

    @property
    def missing(self) -> np.ndarray:
        """How often each field was absent, null, NaN or empty, and each feature's value missing; int64 ``(n_single,)``.

        In the order of the contract's ``token_fields``, without the crosses.
        """
        return np.array(self._n_missing[: self._lookup.n_single], dtype=np.int64)

    @property
    def missing_lists(self) -> dict[str, int]:
        """How often each list was absent or empty."""
        return {name: self._n_missing[place] for name, place in self._lookup.lists.items()}

    @property
    def left_out(self) -> dict[str, int]:
        """How many items each list had beyond its maximum."""
        return dict(self._lookup.left_out)

    @property
    def failed(self) -> dict[str, int]:
        """How often each feature raised or returned no value; its token was that of a missing value."""
        return {memory.feature.name: memory.n_failed for memory in self._memories}

    @property
    def unseen(self) -> np.ndarray:
        """How often each token was present with a weight of exactly 0; int64 ``(n_tokens,)``.

        Nothing was learned about such a token, or a penalty reset it; in a factorization machine it
        may still have a vector. All 0 for a model without a weight per token. A value whose hash collides with another's counts as seen. A missing value is missing, not unseen; a cross is unseen whenever its weight is 0.
        """
        self._count_held()
        if self._weights is None:
            return self._n_zero.copy()
        lookup = self._lookup
        places = range(len(lookup.caches))
        codes = np.array(lookup.hash(places, [""] * len(places)), dtype=np.int32)
        not_learned = self._n_missing * (self._weights[codes ^ (codes >> 31)] == 0)
        missing = np.zeros(lookup.n_tokens, dtype=np.int64)
        missing[: lookup.n_alone] = not_learned[: lookup.n_alone]
        begin = lookup.n_alone
        for (
            name,
            place,
        ) in lookup.lists.items():  # a missing list has one token, in its first column
            missing[begin] = not_learned[place]
            begin += lookup.n_most[name]
        return self._n_zero - missing

    def score(self, row: Mapping[str, Any]) -> float:
        """Return the click probability of one request: column name to value, missing ones allowed.

        Raises
        ------
        InputError
            If a value cannot be hashed; the message names the field.
        """
        texts = self._lookup.texts(row)
        codes = self._lookup.codes(texts)
        if self._n_held == _ROWS_HELD:
            self._count_held()
        at = self._n_held
        self._pack_codes(self._held_bytes, at * self._held.strides[0], *codes)
        self._n_held = at + 1
        self.n_rows += 1
        self.n_missing = 0 if all(texts) else self._count_missing(texts)
        p_click: float = self._predict_row(self._held_rows[at], *self._inputs)
        return p_click

    def score_candidates(
        self, context: Mapping[str, Any], candidates: Candidates | Sequence[Mapping[str, Any]]
    ) -> np.ndarray:
        """Return ``score({**context, **candidate})`` of each candidate, float64 ``(n_candidates,)``.

        The context is hashed once; of each candidate, only its own fields. Rows become columns first.

        Raises
        ------
        InputError
            If a value cannot be hashed; the message names the field, and the candidate from 0.
        """
        if not isinstance(candidates, Candidates):
            candidates = Candidates.of(context, candidates)
        if not len(candidates):
            return np.empty(0)
        codes, missing = self._hasher.hash(context, candidates)
        p_click = np.empty(len(codes))
        self._decision(frozen(codes), *self._inputs, p_click)
        _to_probabilities(p_click)
        if self._weights is not None:
            _count_zero(codes, self._weights, self._n_zero)
        for column, n_candidates in missing.items():
            self._n_missing[column] += n_candidates
        n_fields, n_alone = self._lookup.n_fields, self._lookup.n_alone
        self.n_missing = sum(not n_fields <= column < n_alone for column in missing)
        self.n_rows += len(codes)
        return p_click

    def forget(self) -> Iterator[None]:
        """Release cached codes, column by column in about a millisecond each, after this scorer is replaced."""
        caches: list[dict[Any, Any]] = [*self._lookup.caches, *self._memories]
        for cache in caches:
            cache.clear()
            yield

    def forget_features(self) -> None:
        """Release the features' values, so that the next row computes its own; codes of values are kept."""
        for memory in self._memories:
            memory.clear()

    def _count_missing(self, texts: Sequence[Any]) -> int:
        """Count the missing values of a row, and return how many of them are fields'."""
        n_fields, n_alone, n_missing = self._lookup.n_fields, self._lookup.n_alone, 0
        for column, text in enumerate(texts):
            if not text:
                self._n_missing[column] += 1
                n_missing += not n_fields <= column < n_alone
        return n_missing

    def _count_held(self) -> None:
        if self._weights is not None:
            _count_zero(self._held[: self._n_held], self._weights, self._n_zero)
        self._n_held = 0


@njit(cache=True, nogil=True, error_model="numpy")
def _to_probabilities(logits):
    """Replace logits by probabilities as the single-row kernels do (`np.exp` may round differently)."""
    for i in range(logits.size):
        tail = math.exp(-abs(logits[i]))
        logits[i] = (1.0 if logits[i] >= 0 else tail) / (1.0 + tail)


@njit(cache=True, nogil=True, error_model="numpy")
def _count_zero(codes, weights, n_zero):
    """Add to `n_zero` how many of the tokens in each column have a weight of 0."""
    for i in range(codes.shape[0]):
        for j in range(codes.shape[1]):
            code = codes[i, j]
            if code == NO_TOKEN:
                continue
            n_zero[j] += weights[np.uint32(code ^ (code >> 31))] == 0
