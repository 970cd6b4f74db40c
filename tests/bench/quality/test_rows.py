"""The rows of the quality bench in each form that contestants read."""

import numpy as np

from bench.quality.rows import real_folds, simulated
from bench.quality.vowpal import write_text
from tasks.logs.log import Log


def test_parts_follow_one_another_and_their_columns_are_the_log(tmp_path):
    """Train, validation and test rows are the whole log; equal values have equal numbers, in every part."""
    fold = simulated("trees", n_rows=3000, seed=7, folder=tmp_path)
    parts = (fold.train, fold.valid, fold.test)
    whole = fold.train.then(fold.valid, fold.test)
    assert [part.features.n_rows for part in parts] == [len(part.label) for part in parts]
    batches = Log.open(tmp_path / "log").batches(columns=["C17"])
    texts = np.concatenate([batch.column(0).cast("string").to_numpy(False) for batch in batches])
    place = 16  # C17 among the fields of the schema
    pairs = set(zip(texts.tolist(), whole.columns[:, place].tolist(), strict=True))
    assert len(pairs) == len(set(texts)) == len({number for _, number in pairs})
    assert whole.columns.shape == (3000, fold.n_fields + 2)
    assert whole.columns.min() == 0


def test_joined_parts_are_one_after_the_other(tmp_path):
    """Codes, labels and truths of both; without a truth on one side there is none."""
    fold = simulated("table", n_rows=2000, seed=7, folder=tmp_path)
    both = fold.train.then(fold.valid)
    codes = np.concatenate([batch.label for batch in both.features.batches()])
    assert codes.tolist() == both.label.tolist()
    assert len(both.p_true) == len(both.label)


def test_every_row_of_a_real_log_is_tested_once(tmp_path, make_csv_of_one_hour):
    """Three folds of a log of one hour; no block is both tuned on and tested in a fold."""
    folds = list(real_folds(make_csv_of_one_hour, n_folds=3, folder=tmp_path))
    assert sum(len(fold.test.label) for fold in folds) == 600
    for fold in folds:
        assert len(fold.train.label) + len(fold.valid.label) + len(fold.test.label) == 600
        assert fold.test.p_true is None


def test_vowpal_text_has_a_namespace_per_column(tmp_path):
    """Labels are 1 and -1."""
    write_text(tmp_path / "rows.txt", np.array([[3, 0], [1, 7]]), np.array([1, 0]))
    assert (tmp_path / "rows.txt").read_text() == "1 |a 3 |b 0\n-1 |a 1 |b 7\n"
