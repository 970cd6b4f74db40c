"""What scores rows with a saved scikit-learn estimator or LightGBM model; slower than the kernels of other kinds.

Neither file holds a pickle. ``lightgbm.txt`` is LightGBM's own text. ``estimator.skops`` is skops': it names classes, of
which only scikit-learn's estimators, what they are made of (:data:`TRUSTED`) and those of ``tasks.models`` are loaded;
no function is.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tasks.errors import ConfigError, InputError
from tasks.hashing.codes import NO_TOKEN
from tasks.models.golden import LIGHTGBM, MAX_BYTES
from tasks.models.scoring import Scorer

if TYPE_CHECKING:  # of numbers alone; sgd makes its matrices here, too
    from tasks.hashing.contract import HashContract

TRUSTED = (  # classes besides those that skops trusts by itself, which are estimators: what these are made of
    "scipy.sparse._csr.csr_matrix",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
)
_OURS = "tasks.models."
_MOST = float(np.finfo(np.float32).max)
_LEAST = 1e-15  # trees answer 0 and 1, whose logits are infinite

Predict = Callable[[np.ndarray], np.ndarray]


def estimator_scorer(
    parts: Mapping[str, Any], intercept: float, contract: Any, params: Mapping[str, Any]
) -> Scorer:
    """Return the scorer of a saved estimator.

    Parameters
    ----------
    parts
        Its one file, by name.
    intercept
        What is added to each logit.
    contract
        The hash contract.
    params
        ``input`` and ``cardinality``, as in ``env.yaml``.

    Raises
    ------
    InputError
        If the file cannot be read as an estimator.
    ConfigError
        If a package that it needs is not installed.
    """
    predict = predictor(parts, params, contract.n_features, number_columns(contract))

    def decision(codes: np.ndarray, out: np.ndarray) -> None:
        out[:] = logits_of(predict(codes))
        out += intercept

    def predict_row(codes: np.ndarray) -> float:
        logit = float(logits_of(predict(codes[None, :]))[0]) + intercept
        tail = math.exp(-abs(logit))
        return (1.0 if logit >= 0 else tail) / (1.0 + tail)

    return Scorer(decision, predict_row)


def predictor(
    parts: Mapping[str, Any],
    params: Mapping[str, Any],
    n_features: int,
    numbers: Sequence["NumberColumn"] = (),
) -> Predict:
    """Return the function from codes to click probabilities; errors as :func:`estimator_scorer`."""
    if len(parts) != 1 or not isinstance(next(iter(parts.values())), bytes):
        raise InputError(f"an estimator is one file, found {', '.join(parts) or 'none'}")
    ((name, content),) = parts.items()
    model = _booster(content) if name == LIGHTGBM else load_estimator(content)

    def predict(codes: np.ndarray) -> np.ndarray:
        if not len(codes):
            return np.empty(0)
        rows = as_input(codes, params, n_features, numbers)
        if name == LIGHTGBM:  # a thread of its own for each core costs more than a request
            return np.asarray(model.predict(rows, num_threads=1))
        column = list(model.classes_).index(1)
        return np.asarray(model.predict_proba(rows))[:, column]

    return predict


def logits_of(p_click: np.ndarray) -> np.ndarray:
    """Return logits of probabilities, float64 ``(n_rows,)``; those of 0 and 1 are those of 1e-15 and 1 - 1e-15.

    Raises
    ------
    InputError
        If one is not a number in [0, 1].
    """
    p_click = np.asarray(p_click, dtype=np.float64)
    wrong = ~((p_click >= 0) & (p_click <= 1))
    if wrong.any():
        raise InputError(f"the model answers {p_click[wrong][0]} where a probability is expected")
    p_click = np.clip(p_click, _LEAST, 1 - _LEAST)
    return np.log(p_click) - np.log1p(-p_click)


class NumberColumn(NamedTuple):
    """A column of codes that stand for a number's buckets, and the value of each."""

    place: int
    codes: np.ndarray  # int32, (n_buckets,), rising
    values: np.ndarray  # float32, (n_buckets,)


def number_columns(contract: "HashContract") -> list[NumberColumn]:
    """Return the columns of numbers: the value of a bucket is its middle, beyond the first and last edge the edge.

    They are the fields of the type number, and the features with buckets, statistics of the past among them. A row's
    number is read back from its code, so that training, live request and every other door agree.
    """
    from tasks.hashing import murmur
    from tasks.hashing.buckets import middles
    from tasks.hashing.columns import texts_of
    from tasks.hashing.encode import token_prefixes

    columns, found = contract.columns_of_token_fields, []
    for name, edges, texts_in_order in _bucketed(contract):
        place = columns[name].start
        state, carry, n_prefix = token_prefixes(contract)[place]
        values = np.clip(middles(edges), -_MOST, _MOST).astype(np.float32)
        texts = texts_of(texts_in_order)
        codes = np.empty(len(values) + 1, dtype=np.int32)
        murmur.hash_texts(state, carry, n_prefix, texts.offsets, texts.data, codes)
        murmur.fold_hashes(codes, contract.bits)
        known, first = np.unique(codes[:-1], return_index=True)
        found.append(NumberColumn(place, known, values[first]))
    return found


def _bucketed(
    contract: "HashContract",
) -> Iterator[tuple[str, tuple[float, ...], list[str]]]:
    """Yield each token column of numbers, with the edges of its buckets and their texts in tokens, in order."""
    from tasks.hashing.features.rows import bucket_names

    for name, edges in contract.numbers:
        yield name, edges, list(map(str, range(len(edges) + 1)))
    for key in contract.features:
        if key.buckets:
            texts = bucket_names(key.buckets)
            yield from ((column, key.buckets, texts) for column in key.columns)


def _values_of(codes: np.ndarray, column: NumberColumn) -> np.ndarray:
    """Return the numbers of a column of codes, float32; NaN where it is missing."""
    at = np.searchsorted(column.codes, codes).clip(max=len(column.codes) - 1)
    return np.where(column.codes[at] == codes, column.values[at], np.float32(np.nan))


def as_input(
    codes: np.ndarray,
    params: Mapping[str, Any],
    n_features: int,
    numbers: Sequence[NumberColumn] = (),
) -> Any:
    """Return hashed rows as an estimator gets them.

    Returns
    -------
    csr_matrix or ndarray
        ``hashed``: ``(n_rows, n_features)``, +1 or -1 where a token is. ``categorical``: float32
        ``(n_rows, n_tokens)``, each column the token's index modulo `cardinality`: a category, not a size; NaN where
        there is no token. Of a number it holds the value (:func:`number_columns`), NaN where it is missing.
    """
    if params["input"] == "hashed":
        return to_csr(codes, n_features)
    columns = ((codes ^ (codes >> 31)) % params["cardinality"]).astype(np.float32)
    columns[codes == NO_TOKEN] = np.nan
    for one in numbers:
        columns[:, one.place] = _values_of(codes[:, one.place], one)
    return columns


def to_csr(codes: np.ndarray, n_features: int) -> Any:
    """Return codes as a matrix of +1 and -1; tokens of a row in one bucket stay entries of their own."""
    from scipy import sparse

    n_rows, n_tokens = codes.shape
    negative = codes >> 31
    data = (negative | 1).ravel().astype(np.float64)
    indices = (codes ^ negative).ravel()
    indptr = np.arange(0, codes.size + 1, n_tokens, dtype=np.int32)
    here = codes != NO_TOKEN
    if not here.all():
        data, indices = data[here.ravel()], indices[here.ravel()]
        indptr = np.append(0, np.cumsum(here.sum(axis=1))).astype(np.int32)
    return sparse.csr_matrix((data, indices, indptr), shape=(n_rows, n_features))


def load_estimator(content: bytes) -> Any:
    """Return the estimator in the content of a skops file.

    Raises
    ------
    InputError
        If it cannot be read, unpacks to more than 256 MiB, or names a class that is not trusted.
    ConfigError
        If skops or scikit-learn is not installed.
    """
    try:
        import skops.io
    except ImportError as error:
        raise _not_installed(error) from None
    check_size(content)
    try:
        if distrusted := untrusted(content):
            raise InputError(
                f"the file names {distrusted[0]}, which is not trusted: only estimators of scikit-learn, what they are made "
                "of and estimators of tasks.models are loaded"
            )
        return skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))
    except InputError:
        raise
    except ImportError as error:
        raise _not_installed(error) from None
    except Exception as error:  # a damaged file may raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"no readable estimator ({reason}); train the model again") from None


def untrusted(content: bytes) -> list[str]:
    """Return the classes and functions that a skops file names and that may not be loaded."""
    import skops.io

    named = skops.io.get_untrusted_types(data=content)
    return [name for name in named if name not in TRUSTED and not _is_our_estimator(name)]


def _is_our_estimator(name: str) -> bool:
    """Return whether a name is that of an estimator's class, where it is defined in ``tasks.models``.

    Anything else there could be made to call what the file wants: a function by a FunctionTransformer, a class that is
    no estimator by its constructor.
    """
    module, _, class_name = name.rpartition(".")
    if not module.startswith(_OURS):
        return False
    from sklearn.base import BaseEstimator

    try:
        found = getattr(import_module(module), class_name, None)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.startswith(_OURS):
            return False  # a method of a class, for example
        raise
    return (
        isinstance(found, type) and issubclass(found, BaseEstimator) and found.__module__ == module
    )


def check_size(content: bytes) -> None:
    """Raise InputError if a skops file unpacks to more than 256 MiB, or is no archive."""
    import io
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            n_bytes = sum(item.file_size for item in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise InputError(f"no readable estimator ({error}); train the model again") from None
    if n_bytes > MAX_BYTES:
        raise InputError(
            f"the estimator unpacks to {n_bytes >> 20} MiB, more than {MAX_BYTES >> 20}; make it smaller"
        )


def _booster(content: bytes) -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise _not_installed(error) from None
    try:
        return lightgbm.Booster(model_str=content.decode())
    except (UnicodeDecodeError, ValueError, KeyError, lightgbm.basic.LightGBMError) as error:
        raise InputError(f"no readable LightGBM model ({error}); train it again") from None


def _not_installed(error: ImportError) -> ConfigError:
    return ConfigError(
        f"the model needs {error.name}, which is not installed here: a service gets it with a Bento that was packed "
        "with such a model"
    )
