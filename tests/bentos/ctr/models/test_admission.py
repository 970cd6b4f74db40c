"""Only whole, signed models of the served requests, whose golden rows come out right, may serve."""

import logging
import re
import shutil
import sys

import numpy as np
import pytest

from bentos.ctr.models import admission
from bentos.ctr.models.admission import (
    KINDS,
    RefusedError,
    admit,
    affordable,
    check_golden,
    warm_kernels,
)
from bentos.ctr.settings import Limits
from tasks.hashing.contract import HashContract
from tasks.models.artifact import load_model
from tasks.models.golden import GOLDEN, MAX_GOLDEN_BYTES
from tasks.schema import Schema, load_schema
from tests.bentos.ctr.artifacts import (
    SPOILT,
    artifact,
    boosted_artifact,
    fm_artifact,
    net_artifact,
    version_of,
)
from tests.logs import SMALL


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A model folder. Do not write to it."""
    return artifact(tmp_path_factory.mktemp("whole"))


def admitted(folder, served=None):
    return admit(folder, name="champion", source="here", limits=Limits(), served=served)


def contract_of(folder):
    return load_model(folder).contract


def test_a_whole_model_is_ready_to_serve(whole):
    """It scores as the artifact does, and nothing is counted as traffic yet."""
    loaded = admitted(whole)
    row = load_schema("avazu").example_row()
    assert (loaded.name, loaded.model_name, loaded.source) == ("champion", "ftrl", "here")
    assert loaded.version == version_of(whole)
    assert (loaded.n_golden, loaded.max_abs_diff < 1e-12) == (8, True)
    assert loaded.trained_at == pytest.approx(loaded.loaded_at, abs=600)
    assert loaded.scorer.n_rows == loaded.reader.unknown == 0
    assert not loaded.scorer.missing.any()
    assert loaded.scorer.score(row) == load_model(whole).predict_row(row)


def test_golden_rows_without_an_end_are_not_read(whole, tmp_path):
    """A file of any size in their place is refused before it is read."""
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    with (folder / GOLDEN).open("r+b") as file:
        file.truncate(MAX_GOLDEN_BYTES + 1)
    with pytest.raises(RefusedError, match=f"at most {MAX_GOLDEN_BYTES} are read"):
        admitted(folder)


@pytest.mark.parametrize("write", [net_artifact, boosted_artifact])
def test_a_model_of_any_kind_is_admitted_by_its_golden_rows(tmp_path, write):
    """A network in NumPy, LightGBM: through both calls, as the pipeline predicts."""
    loaded = admitted(write(tmp_path / "model"))
    assert (loaded.n_golden, loaded.max_abs_diff <= 1e-6) == (8, True)
    row = load_schema("avazu").example_row()
    assert loaded.scorer.score(row) == load_model(tmp_path / "model").predict_row(row)


def test_a_model_that_needs_what_is_not_installed_is_refused(tmp_path, monkeypatch):
    """By a service whose Bento was packed with another kind; what serves keeps serving."""
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    folder = tmp_path / "model"
    with monkeypatch.context() as there:
        there.delitem(sys.modules, "lightgbm")
        boosted_artifact(folder)
    with pytest.raises(RefusedError, match="needs lightgbm, which is not installed here"):
        admitted(folder)


def test_its_files_may_go_once_it_is_loaded(whole, tmp_path):
    """The mapping keeps the weights; the disk comes back with the model's end."""
    shutil.copytree(whole, tmp_path / "copy")
    loaded = admitted(tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy")
    assert loaded.scorer.score({}) == load_model(whole).predict_row({})
    assert isinstance(loaded.scorer.model.weights.base, np.ndarray)


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_model_is_refused(whole, tmp_path, caplog, spoilt):
    """Each with one of few words for the metric, and one line for a person."""
    spoil, kind, said = SPOILT[spoilt]
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    spoil(folder)
    with caplog.at_level(logging.CRITICAL), pytest.raises(RefusedError, match=said) as caught:
        admitted(folder)
    assert re.fullmatch(kind, caught.value.kind)
    assert caught.value.kind in KINDS


def test_a_model_with_another_source_of_a_feature_is_refused(tmp_path, make_feature):
    """The service's own code decides; nothing is executed from a model, and one line says which file differs."""
    body = '@feature("site")\ndef made(site):\n    return {}\n'
    make_feature("made", body.format("site"))
    schema = Schema.from_dict(SMALL.to_dict() | {"features": ["made"]})
    folder = artifact(tmp_path / "model", schema=schema)
    assert admitted(folder).n_golden > 0
    make_feature("made", body.format("site or 'none'"))
    with pytest.raises(
        RefusedError, match="feature 'made' of the hash contract has the source"
    ) as caught:
        admitted(folder)
    assert caught.value.kind == "contract" and "\n" not in str(caught.value)


def test_a_factorization_machine_needs_its_vectors(tmp_path):
    folder = fm_artifact(tmp_path / "fm")
    assert admitted(folder).scorer.model.kind == "fm"
    (folder / "latent.npy").unlink()
    with pytest.raises(RefusedError, match=r"latent\.npy"):
        admitted(folder)


def test_more_bits_serve_the_same_requests(whole, tmp_path):
    more = artifact(tmp_path / "more", bits=12)
    assert admitted(more, served=contract_of(whole)).scorer.model.contract.bits == 12


def test_other_crosses_serve_the_same_requests(whole, tmp_path):
    """Crosses are made from fields that are served already."""
    raw = load_schema("avazu").to_dict() | {"crosses": [["C1", "C14"]]}
    crossed = artifact(tmp_path / "crossed", schema=Schema.from_dict(raw))
    assert admitted(crossed, served=contract_of(whole)).n_golden == 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "shop"}, "schema 'shop'"),
        ({"fields": {"C1": {"example": "1"}, "more": {"example": "2"}}}, r"fields \+more -C14 -C15"),
        ({"time": {"column": "when", "format": "%y%m%d%H"}}, "time column 'when'"),
        ({"time": {"column": "hour", "format": "iso"}}, "time format 'iso'"),
    ],
)  # fmt: skip
def test_a_model_of_other_requests_is_refused(whole, tmp_path, change, said):
    raw = load_schema("avazu").to_dict() | {"crosses": [], "slices": [], "unit": []} | change
    foreign = artifact(tmp_path / "foreign", schema=Schema.from_dict(raw))
    with pytest.raises(RefusedError, match=said) as caught:
        admitted(foreign, served=contract_of(whole))
    assert caught.value.kind == "schema"


def test_another_teams_log_is_admitted_where_nothing_is_served_yet(tmp_path):
    """Nothing here knows a column by name."""
    assert admitted(artifact(tmp_path / "other", schema=SMALL)).n_golden == 8


def test_golden_rows_go_through_both_calls(whole, monkeypatch):
    """A ranking that went wrong is found, even if single predictions are right."""
    from tasks.serving.live import LiveScorer

    right = LiveScorer.score_candidates
    monkeypatch.setattr(LiveScorer, "score_candidates", lambda *args: right(*args) * (1 + 1e-3))
    with pytest.raises(RefusedError, match="golden row 0"):
        admitted(whole)


def test_more_golden_rows_than_candidates_are_ranked_in_parts(whole):
    model = load_model(whole)
    rows = [{"C14": str(number)} for number in range(50)]
    limits = Limits(candidates=7)
    assert check_golden(model, rows, model.predict_rows(rows), limits) < 1e-12


def test_when_it_was_trained_may_be_unknown(whole, tmp_path):
    """The date is shown only, so a strange one is no reason to refuse."""
    from tests.bentos.ctr.artifacts import edited

    for number, strange in enumerate((None, "yesterday", 7)):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        edited(created_utc=strange)(folder)
        assert admitted(folder).trained_at is None


def test_all_kinds_of_model_can_be_warmed(whole):
    """Whatever the schema; a swap to another kind then compiles nothing beside requests."""
    for schema in (load_schema("avazu"), SMALL):
        warm_kernels(HashContract.from_schema(schema, bits=20), Limits())


@pytest.mark.parametrize(
    ("one_ms", "few_ms", "n_candidates"),
    [(0.01, 0.05, 1000), (0.3, 0.6, 1000), (5.0, 20.0, 45), (49.0, 400.0, 1)],
)
def test_a_slow_model_ranks_fewer_candidates(whole, monkeypatch, one_ms, few_ms, n_candidates):
    """What one request may take, less what a call costs, over what a candidate costs more."""
    times = iter([one_ms, few_ms])
    monkeypatch.setattr(admission, "_shortest_ms", lambda scorer, work: next(times))
    rows = [load_schema("avazu").example_row()]
    assert affordable(load_model(whole), rows, Limits(scoring_ms=50)) == n_candidates


def test_a_model_too_slow_for_a_single_row_is_refused(whole, monkeypatch):
    """It would delay every other model's requests."""
    monkeypatch.setattr(admission, "_shortest_ms", lambda scorer, work: 60.0)
    with pytest.raises(
        RefusedError, match=r"takes 60 ms per row here.*scoring_ms \(50\)"
    ) as refused:
        admitted(whole)
    assert refused.value.kind == "slow"


def test_features_count_in_the_time_of_a_model(tmp_path, make_feature):
    """A request brings values that the service has not seen; what it remembers would hide their time."""
    body = '@feature("site")\ndef made(site):\n    return site + str(sum(range(2_000_000)))\n'
    make_feature("made", body)
    schema = Schema.from_dict(SMALL.to_dict() | {"features": ["made"]})
    model = load_model(artifact(tmp_path / "model", schema=schema))
    rows = [{"site": f"s{number}"} for number in range(16)]
    with pytest.raises(RefusedError, match="per row here, more than"):
        affordable(model, rows, Limits(scoring_ms=2))
    assert affordable(model, rows, Limits(scoring_ms=1000)) < 1000


def test_the_time_of_a_fast_model_is_no_limit(whole):
    """Nothing is counted for rankings of a model of weights."""
    assert admitted(whole).max_candidates is None
