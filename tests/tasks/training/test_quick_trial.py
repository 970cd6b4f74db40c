"""What an idea competes with on a sample; the trial itself is tested with the numbers of bits that it compares, too."""

import json

import numpy as np
import pyarrow as pa
import pytest

from tasks.evaluation import metrics
from tasks.hashing.batch import make_batch
from tasks.hashing.contract import HashContract
from tasks.logs.split import Split
from tasks.models import make_learner
from tasks.schema import Schema
from tasks.training.quick_trial import champion_learner, quick_trial
from tests.tasks.hashing.test_store import RAW, FakeLog


@pytest.mark.parametrize(
    ("receipt", "model", "name"),
    [
        ({"model": "mine"}, {"kind": "fm", "params": {"n_factors": 3, "random_state": 1}}, "champion (mine)"),
        (None, None, "ftrl"),
        ({"model": "gone"}, None, "ftrl"),
        ({}, None, "ftrl"),
        ({"model": "mine"}, {"kind": "no_such_kind", "params": {}}, "ftrl"),
    ],
)  # fmt: skip
def test_the_champions_kind_and_parameters_or_ftrl(tmp_path, receipt, model, name):
    """Whatever is missing or unreadable, there is something to compare with."""
    if receipt is not None:
        (tmp_path / "package.json").write_text(json.dumps(receipt))
    if model is not None:
        (tmp_path / "models/mine").mkdir(parents=True)
        (tmp_path / "models/mine/model.json").write_text(json.dumps(model))
    found, learner = champion_learner(tmp_path, 64)
    assert found == name
    assert learner.n_features == 64
    assert getattr(learner, "n_factors", 3) == 3


def test_candidates_share_the_rows(tmp_path):
    """The same learner twice has the same loss and no excess; a worse one has it with its standard error."""
    schema = Schema.from_dict(RAW)
    contract = HashContract.from_schema(schema, bits=10)
    split = Split((0, 600), (600, 900), (900, 1000), "row", "")
    made = {name: (contract, make_learner("ftrl", contract.n_features, alpha=alpha)) for name, alpha in (("a", 0.1), ("b", 0.1), ("c", 100.0))}  # fmt: skip
    table = quick_trial(FakeLog(), schema, split, made, n_rows=500)
    assert table.index.tolist() == ["a", "b", "c"]
    assert table.loc["a"].equals(table.loc["b"])
    assert table["excess"].min() == 0
    np.testing.assert_allclose(table["excess"], table["valid_log_loss"] - table["valid_log_loss"].min())  # fmt: skip
    assert (table.loc["c", "excess_se"] > 0) == (table.loc["c", "excess"] != table.loc["a", "excess"])  # fmt: skip


def test_rows_count_by_their_weights():
    """In learning and in the loss: weights of 3 are three rows, to what one step of three differs from three."""
    raw = RAW | {"weight": "n"}
    schema, log = Schema.from_dict(raw), FakeLog()
    weight = np.where(log.table["click"].to_numpy() == 1, 3.0, 1.0)
    log.table, log.columns = log.table.append_column("n", pa.array(weight)), ["n"]
    contract = HashContract.from_schema(schema, bits=10)
    split = Split((0, 600), (600, 900), (900, 1000), "row", "")
    learner = make_learner("ftrl", contract.n_features)
    table = quick_trial(log, schema, split, {"a": (contract, learner)}, n_rows=600)
    rows = make_batch(log.table.slice(600, 300), contract)
    p_click = learner.predict_codes(rows.codes)
    assert p_click.mean() == pytest.approx(0.75, abs=0.1)
    expected = metrics.log_loss(rows.label, p_click, rows.weight)
    assert table.loc["a", "valid_log_loss"] == pytest.approx(expected, rel=1e-9)
