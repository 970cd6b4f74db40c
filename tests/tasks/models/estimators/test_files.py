"""Estimators as bytes: equal ones are equal to the byte, and what they hold survives."""

import io
import zipfile

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from tasks.errors import InputError
from tasks.models.estimators import scoring
from tasks.models.estimators.files import dumped

X = np.random.default_rng(0).normal(size=(80, 4))
Y = (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize(
    "make", [LogisticRegression, DecisionTreeClassifier, lambda: LogisticRegression(C=0.25, tol=1e-3)]
)  # fmt: skip
def test_equal_estimators_give_equal_bytes(make):
    """Addresses in memory and times are not in the file; parameters and numbers are as they were."""
    one, two = (dumped("k", make().fit(X, Y))["estimator.skops"] for _ in range(2))
    assert one == two
    loaded, own = scoring.load_estimator(one), make().fit(X, Y)
    np.testing.assert_array_equal(loaded.predict_proba(X), own.predict_proba(X))
    assert loaded.get_params() == own.get_params()
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        assert {item.date_time[0] for item in archive.infolist()} == {1980}


def test_other_content_gives_other_bytes():
    """A parameter, or a row."""
    base = dumped("k", LogisticRegression().fit(X, Y))
    assert dumped("k", LogisticRegression(C=2.0).fit(X, Y)) != base
    assert dumped("k", LogisticRegression().fit(X[1:], Y[1:])) != base


def test_what_is_not_trusted_is_not_written():
    """It is refused where it is trained, not in a service."""
    model = LogisticRegression().fit(X, Y)
    model.extra_ = KNeighborsClassifier
    with pytest.raises(InputError, match="cannot be saved without pickle"):
        dumped("k", model)


def test_a_model_too_large_to_be_loaded_is_not_written(monkeypatch):
    """The same limit on both sides."""
    model = LogisticRegression().fit(X, Y)
    monkeypatch.setattr(scoring, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="more than 0; make it smaller"):
        dumped("k", model)
