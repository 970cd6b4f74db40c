"""One request and many candidates get the model's own numbers, to the last bit, and are counted."""

import math
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import jit

from tasks.errors import InputError
from tasks.hashing import murmur
from tasks.hashing.contract import HashContract
from tasks.models.artifact import ScoringModel
from tasks.schema import Schema, load_schema
from tasks.serving import catalogue_codes, live
from tasks.serving.candidates import Candidates, Catalogue
from tasks.serving.live import LiveScorer
from tests.impressions import CONTRACT, rows, single_texts

PLAIN = HashContract.from_schema(
    Schema.from_dict(
        {
            "name": "plain",
            "label": "click",
            "time": {"column": "when", "format": "iso"},
            "fields": {"site": {}, "n": {}},
        }
    ),
    bits=6,
)


def model_of(contract: HashContract, kind: str = "ftrl") -> ScoringModel:
    """Return a model of random weights; about half of them are 0."""
    draw = np.random.default_rng(3)
    shape = contract.n_features
    weights = (draw.normal(size=shape) * draw.integers(0, 2, shape)).astype(np.float32)
    arrays = {"weights": weights}
    if kind == "fm":
        arrays["latent"] = draw.normal(size=(shape, 4)).astype(np.float32)
    return ScoringModel(arrays, -1.5, contract, name="m", kind=kind, params={})


MODELS = [model_of(CONTRACT), model_of(CONTRACT, "fm"), model_of(PLAIN)]
any_model = pytest.mark.parametrize("model", MODELS, ids=["linear", "fm", "plain"])
texts = st.sampled_from(["", "1", "ü*=", "true"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=5
)
cache_sizes = st.sampled_from([1, 3, 1000])


@any_model
@given(several=st.lists(rows, max_size=20), cache_size=cache_sizes)
@settings(max_examples=60, deadline=None)
def test_a_row_gets_the_models_number(model, several, cache_size):
    """Bit for bit that of `predict_row`; a batch's to the rounding of its exponential function."""
    scorer = LiveScorer(model, cache_size=cache_size)
    scores = [scorer.score(row) for row in several]
    assert scores == [model.predict_row(row) for row in several]
    assert all(type(score) is float for score in scores)
    codes = model.encoder.encode_rows(several)
    np.testing.assert_allclose(scores, model.predict_codes(codes), rtol=1e-15, atol=0)


@any_model
@given(context=rows, candidates=st.lists(rows, max_size=20), cache_size=cache_sizes)
@settings(max_examples=100, deadline=None)
def test_a_candidate_gets_the_number_of_context_and_candidate_together(
    model, context, candidates, cache_size
):
    """Bit for bit, whichever fields the candidates have, times and parts of crosses included."""
    found = LiveScorer(model, cache_size=cache_size).score_candidates(context, candidates)
    assert (found.dtype, found.shape) == (np.float64, (len(candidates),))
    assert found.tolist() == [model.predict_row({**context, **own}) for own in candidates]


OWN = st.sampled_from([["site"], ["n"], ["größe", "n"], ["größe", "site"], ["site", "n", "größe"]])


@any_model
@given(data=st.data(), names=OWN, cache_size=cache_sizes)
@settings(max_examples=60, deadline=None)
def test_a_candidate_of_a_catalogue_gets_the_number_of_its_texts(model, data, names, cache_size):
    """To the last bit, and is counted alike, also when rows have come in since the last request."""
    catalogue, known = Catalogue(names), []
    scorer, naive = LiveScorer(model, cache_size=cache_size), []
    added = st.lists(st.fixed_dictionaries(dict.fromkeys(names, texts)), min_size=1, max_size=4)
    for _ in range(data.draw(st.integers(1, 4))):
        new = data.draw(added)
        catalogue.add(new)
        known += new
        context = data.draw(rows)
        numbers = tuple(data.draw(st.lists(st.sampled_from(range(len(known))), min_size=1)))
        scores = scorer.score_candidates(context, Candidates.picked(catalogue, numbers))
        together = [{**context, **known[number]} for number in numbers]
        assert scores.tolist() == [model.predict_row(row) for row in together]
        naive += together
    missing, unseen = naive_counts(model, naive)
    assert (scorer.missing.tolist(), scorer.unseen.tolist()) == (missing, unseen)
    assert scorer.n_rows == len(naive)


def test_a_catalogue_of_thousands():
    """Codes are kept for all of them, and freed with the catalogue."""
    scorer, catalogue = LiveScorer(MODELS[0]), Catalogue(["site", "n"])
    several = [{"site": f"s{number % 50}", "n": str(number)} for number in range(3_000)]
    for begin in range(0, len(several), 700):
        catalogue.add(several[begin : begin + 700])
        numbers = tuple(range(0, len(catalogue), 97))
        scores = scorer.score_candidates({}, Candidates.picked(catalogue, numbers))
        expected = [MODELS[0].predict_row(several[number]) for number in numbers]
        assert scores.tolist() == expected
    gone = weakref.ref(catalogue)
    del catalogue
    assert gone() is None


def test_equal_numbers_of_different_text_stay_apart():
    """1, 1.0 and "1" are one value, True is another, in whichever order they come."""
    model = MODELS[2]
    scorer = LiveScorer(model)
    codes = {value: model.encoder.encode_row({"n": value})[1] for value in ("1", "true")}
    assert codes["1"] != codes["true"]
    one, true = model.predict_row({"n": "1"}), model.predict_row({"n": "true"})
    for value in (1, True, 1.0, "1", "true", True, 1, np.int64(1), np.True_):
        expected = true if value is True or value is np.True_ or value == "true" else one
        assert scorer.score({"n": value}) == expected
        assert scorer.score_candidates({"n": "x"}, [{"n": value}]).tolist() == [expected]
    assert one != true


def test_extreme_logits_are_probabilities():
    """Nothing overflows."""
    weights = np.full(PLAIN.n_features, 1e30, dtype=np.float32)
    model = ScoringModel({"weights": weights}, 0.0, PLAIN, name="m", kind="ftrl", params={})
    candidates = [{"site": str(number), "n": number} for number in range(20)]
    found = LiveScorer(model).score_candidates({}, candidates)
    assert set(found.tolist()) == {0.0, 0.5, 1.0}


# ---- counts


def naive_counts(model: ScoringModel, several: list[dict]) -> tuple[list[int], list[int]]:
    """Count missing columns and unseen tokens row by row, as the docstrings say."""
    contract = model.contract
    n_single = len(contract.fields) + len(contract.feature_columns)
    missing, unseen = [0] * n_single, [0] * contract.n_tokens
    for row in several:
        written = single_texts(row)
        lacks = [written[name] == "" for name in contract.token_fields[:n_single]]
        missing = [count + lack for count, lack in zip(missing, lacks, strict=True)]
        codes = model.encoder.encode_row(row)
        for place, weight in enumerate(model.weights[np.where(codes < 0, ~codes, codes)]):
            is_missing = place < n_single and lacks[place]
            unseen[place] += weight == 0 and not is_missing
    return missing, unseen


@pytest.mark.parametrize("catalogued", [False, True])
@pytest.mark.parametrize(
    "features",
    [["hour_of_day", "weekday"], ["shape", "into_the_day", "weekday"]],
    ids=["two", "three"],
)
def test_features_of_the_time_read_the_time_beside_any_columns(features, catalogued):
    """What features read has its own numbers, which columns of lists and features share: with a few of each they meet."""
    declared = {
        "name": "tiny",
        "label": "click",
        "time": {"column": "when", "format": "iso"},
        "features": features,
        "fields": {"site": {}, "größe": {}, "tags": {"type": "list"}, "more": {"type": "list"}},
    }
    model = model_of(HashContract.from_schema(Schema.from_dict(declared), bits=12))
    context = {"when": "2024-05-03T17:30:00", "tags": "c", "more": "d"}
    own = [{"site": f"s{n}", "größe": "a" * n} for n in range(3)]
    if catalogued:
        catalogue = Catalogue(["site", "größe"])
        catalogue.add(own)
        candidates = Candidates.picked(catalogue, (0, 1, 2))
    else:
        own = [row | {"tags": f"a|b{row['site']}", "more": "x"} for row in own]
        candidates = Candidates.of(context, own)
    scores = LiveScorer(model).score_candidates(context, candidates)
    assert scores.tolist() == [model.predict_row({**context, **row}) for row in own]


@any_model
@given(context=rows, several=st.lists(rows, max_size=20))
@settings(max_examples=60, deadline=None)
def test_rows_missing_values_and_unseen_tokens_are_counted(model, context, several):
    """Single rows and candidates alike."""
    scorer = LiveScorer(model)
    for row in several:
        scorer.score(row)
    scorer.score_candidates(context, several)
    scored = [*several, *({**context, **own} for own in several)]
    missing, unseen = naive_counts(model, scored)
    assert scorer.n_rows == len(scored)
    assert scorer.missing.tolist() == missing
    assert scorer.unseen.tolist() == unseen
    assert scorer.missing.dtype == scorer.unseen.dtype == np.int64


def test_failures_of_features_are_counted():
    """Each time that one fails, single rows and candidates; the rows are scored as if its value were missing."""
    model = MODELS[0]
    scorer = LiveScorer(model)
    assert scorer.failed == dict.fromkeys(
        ["hour_of_day", "fragile", "weekday", "shape", "into_the_day"], 0
    )
    several = [{"site": "a", "n": n} for n in ("1", "2", "0", "1")]
    scores = [scorer.score(row) for row in several]
    assert scorer.failed["fragile"] == 3
    assert scores[0] == scores[3] == model.predict_row(several[0])
    assert scorer.score_candidates({"site": "a"}, [{"n": "1"}, {"n": "3"}])[0] == scores[0]
    assert scorer.failed["fragile"] == 4


def test_thousands_of_rows_are_counted_once():
    """However many are held back before they are counted, and however often one looks."""
    model = model_of(PLAIN)
    scorer, several = LiveScorer(model), [{"site": number % 7} for number in range(1000)]
    for number, row in enumerate(several):
        scorer.score(row)
        if number % 300 == 0:
            scorer.unseen
    assert scorer.unseen.tolist() == naive_counts(model, several)[1]
    assert scorer.unseen.tolist() == naive_counts(model, several)[1]


# ---- refusals


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", [1]),
        ("n", {"a": 1}),
        ("n", 10**5000),
        ("site", "\ud800"),
        ("when", "noon"),
        ("when", 1.5),
    ],
    ids=["list", "object", "digits", "surrogate", "word", "fraction"],
)
def test_what_cannot_be_hashed_is_named_and_not_counted(name, value):
    """The field, the candidate, and no trace in the counts."""
    scorer = LiveScorer(MODELS[0])
    with pytest.raises(InputError, match=f"^field '{name}'"):
        scorer.score({name: value})
    with pytest.raises(InputError, match=f"^field '{name}'"):
        scorer.score_candidates({name: value}, [{}])
    candidates = [{"n": 1}, {name: None}, {name: value}, {name: value, "site": "x"}]
    with pytest.raises(InputError, match=rf"^candidates\[2\]: field '{name}'"):
        scorer.score_candidates({}, candidates)
    assert (scorer.n_rows, scorer.missing.sum(), scorer.unseen.sum()) == (0, 0, 0)
    assert scorer.score({}) == MODELS[0].predict_row({})


def test_a_full_impression_of_the_bundled_schema():
    """Avazu's example, its numbers sent as text and as numbers."""
    schema = load_schema("avazu")
    model = model_of(HashContract.from_schema(schema, bits=16))
    scorer, row = LiveScorer(model), schema.example_row()
    own = {name: row.pop(name) for name in schema.field_names[-5:]}
    numbers = [{name: int(value) for name, value in own.items()}, own]
    expected = model.predict_row(row | own)
    assert scorer.score(row | own) == expected
    assert scorer.score_candidates(row, numbers).tolist() == [expected, expected]
    assert not math.isclose(expected, 0.5)


@pytest.fixture
def kernels(monkeypatch):
    """Return the kernels of a request, none of which has been called yet: other tests have called theirs."""
    found = []
    for module, name in (
        (murmur, "hash_between"),
        (murmur, "hash_row"),
        (catalogue_codes, "_spread"),
        (live, "_to_probabilities"),
        (live, "_count_zero"),
    ):
        known = getattr(module, name)
        kernel = jit(cache=True, **known.targetoptions)(known.py_func)
        monkeypatch.setattr(module, name, kernel)
        found.append(kernel)
    return found


@pytest.mark.parametrize("n_candidates", [1, 2, 3])
def test_no_request_waits_for_a_kernel_to_be_compiled(kernels, n_candidates):
    """Whatever its candidates: a scorer has called each kernel in the way that requests do."""
    contract = HashContract.from_schema(load_schema("avazu"), bits=12)
    scorer = LiveScorer(model_of(contract))
    before = [len(kernel.signatures) for kernel in kernels]
    catalogue = Catalogue(["C14", "C17", "C21"])
    catalogue.add([{"C14": "1", "C17": "2", "C21": "3"}, {"C14": "", "C17": "4", "C21": "5"}])
    context = {"site_id": "1fbe01fe", "hour": "14102100"}
    scorer.score_candidates(context, Candidates.picked(catalogue, (1, 0, 1)[:n_candidates]))
    scorer.score_candidates(context, [{"C17": "7"}, {"C17": "8"}, {}][:n_candidates])
    assert [len(kernel.signatures) for kernel in kernels] == before
    assert all(before)
