"""A saved blend: the mean of its parts' logits at every door, and refused if its files are not those of one."""

import json

import numpy as np
import pytest

from tasks.errors import ContractError, InputError
from tasks.models import make_learner
from tasks.models.artifact import freeze, load_model, save_model
from tasks.models.blend_scoring import blend_scorer
from tasks.models.golden import is_model_file
from tasks.serving.live import LiveScorer
from tasks.training.blending import Blend
from tests.tasks.models.rows import learnable_rows, small_contract

TREES = {"kind": "lightgbm:LGBMClassifier", "input": "categorical", "cardinality": 64}
KINDS = {
    "ftrl": ("ftrl", {}),
    "fm": ("fm", {"n_factors": 2}),
    "trees": (TREES, {"n_estimators": 5, "min_child_samples": 5}),
}


def trained(name, contract, rng):
    """Return a model of a kind, in memory; half of the non-clicks were left out."""
    kind, params = KINDS[name]
    learner = make_learner(kind, contract.n_features, random_state=3, **params)
    learner.negative_rate_ = 0.5
    rows = learnable_rows(rng, n_rows=600, contract=contract)
    learner.partial_fit_codes(rows.codes, rows.label)
    learner.end_pass()
    return freeze(learner, contract, name=name)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def parts(rng):
    contract = small_contract()
    return {name: trained(name, contract, rng) for name in KINDS}


@pytest.fixture
def rows(rng):
    return [{"site": str(rng.integers(6)), "size": str(rng.integers(4))} for _ in range(20)]


def saved(folder, parts, weights):
    contract = next(iter(parts.values())).contract
    save_model(folder, Blend(parts, weights), contract, name="mean")
    return load_model(folder)


def test_a_blend_is_the_mean_of_its_parts_logits(tmp_path, parts, rows):
    """By hand; read back from its files; each part with its own intercept."""
    weights = [0.5, 0.3, 0.2]
    model = saved(tmp_path, parts, weights)
    codes = model.encoder.encode_rows(rows)
    expected = sum(w * part.logits(codes) for w, part in zip(weights, parts.values(), strict=True))
    np.testing.assert_allclose(model.logits(codes), expected, rtol=1e-14)
    assert model.kind == "blend" and model.intercept == 0
    files = {"part0_weights.npy", "part1_weights.npy", "part1_latent.npy", "part2_lightgbm.txt"}
    assert {path.name for path in tmp_path.iterdir()} == files | {"model.json"}


def test_a_request_and_a_batch_are_one_number(tmp_path, parts, rows):
    """A single impression, and candidates of one context, to the bit of the batch."""
    model = saved(tmp_path, parts, [0.5, 0.3, 0.2])
    batch, live = model.predict_rows(rows), LiveScorer(model)
    assert [live.score(row) for row in rows] == [model.predict_row(row) for row in rows]
    np.testing.assert_allclose([live.score(row) for row in rows], batch, rtol=1e-15)
    sizes = [{"size": row["size"]} for row in rows]
    context = {"site": rows[0]["site"]}
    ranked = live.score_candidates(context, sizes)
    expected = model.predict_rows([context | size for size in sizes])
    np.testing.assert_allclose(ranked, expected, rtol=1e-15)


def test_a_blend_may_be_a_part(tmp_path, parts, rows):
    """Means of means; its files keep to names that a registry copies."""
    inner = saved(tmp_path / "inner", parts, [0.5, 0.3, 0.2])
    outer = saved(tmp_path / "outer", {"inner": inner, "ftrl": parts["ftrl"]}, [0.75, 0.25])
    codes = outer.encoder.encode_rows(rows)
    expected = 0.75 * inner.logits(codes) + 0.25 * parts["ftrl"].logits(codes)
    np.testing.assert_allclose(outer.logits(codes), expected, rtol=1e-14)
    assert all(is_model_file(path.name) for path in (tmp_path / "outer").iterdir())
    assert outer.packages == inner.packages
    assert {"lightgbm", "scikit-learn"} <= set(outer.packages)


def test_what_tokens_add_is_the_mean_where_all_parts_have_it(tmp_path, parts, rows):
    """Sums over tokens are the logit without the intercepts; trees have none."""
    linear = {name: parts[name] for name in ("ftrl", "fm")}
    model = saved(tmp_path, linear, [0.25, 0.75])
    codes = model.encoder.encode_rows(rows)
    constant = 0.25 * parts["ftrl"].intercept + 0.75 * parts["fm"].intercept
    found = model.contributions_codes(codes).sum(axis=1) + constant
    np.testing.assert_allclose(found, model.logits(codes), atol=1e-12)
    expected = 0.25 * parts["ftrl"].weights + 0.75 * parts["fm"].weights
    np.testing.assert_allclose(model.weights, expected, rtol=1e-4)
    mixed = saved(tmp_path / "mixed", parts, [0.5, 0.3, 0.2])
    assert (mixed.has_contributions, mixed.weights) == (False, None)


def test_the_weights_count_for_the_version(tmp_path, parts):
    """A weight changed by hand in model.json is noticed."""
    first = saved(tmp_path, parts, [0.5, 0.3, 0.2])
    other = saved(tmp_path / "other", parts, [0.4, 0.4, 0.2])
    assert first.version != other.version
    record = json.loads((tmp_path / "model.json").read_text())
    record["params"]["parts"][0]["weight"] = 0.4
    record["params"]["parts"][1]["weight"] = 0.4
    (tmp_path / "model.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"but model\.json names"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "weights", [[0.5, 0.3, 0.3], [1.5, -0.3, -0.2], [np.nan, 0.5, 0.5], [0.0, 0.0, 0.0]]
)
def test_weights_that_make_no_mean_are_refused(parts, weights):
    """Below 0, or with another sum than 1."""
    blend = Blend(parts, weights)
    contract = parts["ftrl"].contract
    with pytest.raises(InputError, match="must be 0 or above and add up to 1"):
        blend_scorer(blend.arrays(), 0.0, contract, blend.get_params())


def test_arrays_that_belong_to_no_part_are_refused(parts):
    """And those that a part lacks."""
    blend, contract = Blend(parts, [0.5, 0.3, 0.2]), parts["ftrl"].contract
    more = blend.arrays() | {"part3_weights": parts["ftrl"].weights}
    with pytest.raises(InputError, match="part3_weights belongs to no part"):
        blend_scorer(more, 0.0, contract, blend.get_params())
    fewer = {name: array for name, array in blend.arrays().items() if name != "part1_latent"}
    with pytest.raises(InputError, match="needs the arrays weights, latent, found weights"):
        blend_scorer(fewer, 0.0, contract, blend.get_params())


def test_parts_of_two_contracts_are_refused(parts, rng):
    """The line names the part and what differs."""
    other = trained("ftrl", small_contract(bits=9), rng)
    with pytest.raises(ContractError, match="the part other of the blend holds another hash") as no:
        Blend({"ftrl": parts["ftrl"], "other": other}, [0.5, 0.5])
    assert "bits is 9, expected 8" in str(no.value) and "\n" not in str(no.value)
