"""The two calls: the models' own numbers, a reason for every refusal, and which variant answered."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bentos.ctr.scoring.calls import Calls, RequestOptions
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.logs.value_text import FieldText
from tasks.models.artifact import load_model
from tasks.models.pyfunc_model import FrameModel
from tasks.schema import Schema, load_schema
from tasks.serving.exposures import read_exposures
from tests.bentos.ctr.serving import ask, golden_rows, started_worker, trained_model

ROW = load_schema("avazu").example_row()
BAD_BODIES = [
    (b"", 400, "JSON"),
    (b"{", 400, "JSON"),
    (b"null", 400, "null"),
    (b"[]", 400, "a list"),
    (b'"text"', 400, "text"),
    (b"12", 400, "a number"),
    (b'{"C14": NaN}', 400, "NaN"),
    (b'{"C14": "\xff"}', 400, "UTF-8"),
    (b"[" * 60_000, 400, "nested"),
    (b'{"C14": ' + b"1" * 60_000 + b"}", 400, "digits"),
    (b'{"hour": true}', 422, "'hour'"),
    (b'{"banner_pos": [1]}', 422, "'banner_pos'"),
    (b'{"banner_pos": {"a": 1}}', 422, "'banner_pos'"),
    (b'{"C14": 1e999}', 422, "'C14'"),
    (b'{"C14": "\\ud800"}', 422, "'C14'"),
    (b'{"C14": "1", "hour": "yesterday"}', 422, "'hour'"),
    (b'{"C14": "1", "hour": "14102199"}', 422, "'hour'"),
    (b'{"C14": "1", "hour": ""}', 422, "'hour'"),
    (b'{"C14": "1", "hour": 1.5}', 422, "'hour'"),
    (b'{"C14": "1", "hour": []}', 422, "'hour'"),
    (b'{"C14": "1", "hour": "' + b"x" * 60_000 + b'"}', 422, "'hour'"),
    (b'{"C14": "' + b"1" * 200_000 + b'"}', 422, "'C14'"),
    (b'{"C14": "a\\u0000b"}', 422, "NUL"),
]


def predict(calls, row, asked=None) -> dict:
    """Return the answer without what is its own to each request."""
    status, answer = ask(calls.predict, row, asked)
    assert status == 200, answer
    return answer | {"request_id": ""}


# ---- predictions


def test_the_answer_is_the_models_own_number(calls, model_dir):
    """Value, name and version are those of the artifact, to the last bit."""
    model = load_model(model_dir)
    assert predict(calls, ROW) == {
        "prediction": model.predict_row(ROW),
        "model": "ftrl",
        "version": model.version,
        "variant": "champion",
        "n_missing": 4,
        "request_id": "",
    }


def test_integers_and_texts_are_the_same_value(calls):
    """Clients that send numbers get what clients that send text get."""
    numbers = {
        name: int(value) if value.isdigit() and value[0] != "0" else value
        for name, value in ROW.items()
    }
    assert any(type(value) is int for value in numbers.values())
    assert predict(calls, numbers) == predict(calls, ROW)
    assert predict(calls, ROW | {"C14": 15706.0}) == predict(calls, ROW)


@pytest.mark.parametrize("name", [*ROW])
def test_an_absent_field_is_a_missing_one_as_in_training(calls, model_dir, name):
    """Leaving out a field, sending null, and a null in the arrays are one and the same."""
    absent = {key: value for key, value in ROW.items() if key != name}
    assert predict(calls, absent) == predict(calls, ROW | {name: None})
    expected = load_model(model_dir).predict_rows([ROW | {name: None}])[0]
    assert predict(calls, absent)["prediction"] == pytest.approx(expected, abs=1e-12)


def test_unknown_fields_are_ignored_and_counted_and_a_request_without_a_field_is_refused(calls):
    """Nothing but missing values is a request, as long as one field is named."""
    reader = calls.state.champion.reader
    before = reader.unknown
    found = predict(calls, {"campaign_note": [1, {"a": True}], "click": 1, "C14": None})
    assert found == predict(calls, {"C14": None})
    assert found["n_missing"] == 21
    assert reader.unknown == before + 1
    for body in ({}, {"row": ROW}, {"click": 1}):
        status, answer = ask(calls.predict, body)
        assert status == 422
        assert "no field of 'avazu' is given; send some of C1, banner_pos" in answer["error"]


def test_a_ranking_gives_each_candidate_what_predict_would(calls, model_dir):
    """Two witnesses: the other call, and the artifact."""
    rows = golden_rows(load_model(model_dir), 30)["rows"]
    context = {name: value for name, value in ROW.items() if name != "C14"}
    candidates = [{"C14": str(15_000 + number), "C1": row["C1"]} for number, row in enumerate(rows)]
    status, answer = ask(calls.rank, {"context": context, "candidates": candidates})
    assert status == 200
    whole = [context | candidate for candidate in candidates]
    assert answer["predictions"] == [predict(calls, row)["prediction"] for row in whole]
    model = load_model(model_dir)
    assert answer["predictions"] == [model.predict_row(row) for row in whole]
    assert answer["variant"] == "champion"


def test_a_request_id_is_kept_or_made(calls):
    """Answers can be joined with clicks."""
    assert ask(calls.predict, ROW, RequestOptions("mine-1"))[1]["request_id"] == "mine-1"
    made = [ask(calls.predict, ROW)[1]["request_id"] for _ in range(50)]
    assert len(set(made)) == 50


def test_a_variant_can_be_forced_and_an_unknown_one_is_refused(calls):
    """For tests; the message says which there are."""
    assert predict(calls, ROW, RequestOptions(None, "champion"))["variant"] == "champion"
    status, answer = ask(calls.predict, ROW, RequestOptions(None, "nobody"))
    assert status == 400
    assert "'nobody'" in answer["error"] and "champion" in answer["error"]


def test_another_teams_schema_needs_no_code(tmp_path):
    """Other names, an ISO time, no device fields: types follow the model's contract."""
    schema = Schema.from_dict(
        {
            "name": "shop",
            "label": "bought",
            "time": {"column": "seen_at", "format": "iso"},
            "features": ["hour_of_day", "weekday"],
            "fields": {"page": {"example": "home", "about": "where"}, "country": {"example": "CH"}},
            "crosses": [["page", "country"]],
        }
    )
    model = trained_model(tmp_path, schema)
    rows = [{"page": "home", "country": "CH"}, {"page": "cart"}]
    golden = {"rows": rows, "p_click": model.predict_rows(rows).tolist()}
    (tmp_path / "golden.json").write_text(json.dumps(golden))
    with started_worker(tmp_path) as worker:
        row = {"seen_at": "2026-03-01T12:00:00+01:00", "page": "home", "country": "CH"}
        assert predict(worker.calls, row)["prediction"] == model.predict_row(row)
        status, answer = ask(worker.calls.predict, {"seen_at": "14102100x", "page": "home"})
        assert (status, "'seen_at'" in answer["error"]) == (422, True)


AUCTION = Schema.from_dict(
    {
        "name": "auction",
        "label": "click",
        "missing": ["NULL"],
        "fields": {
            "domain": {"from": "site.domain"},
            "os": {"from": "device.os", "missing": "none"},
            "pos": {"from": "imp[0].banner.pos"},
            "floor": {"type": "number", "from": "imp[0].bidfloor"},
            "tags": {"type": "list", "separator": ",", "max_items": 3, "from": "site.cat"},
        },
        "crosses": [["domain", "floor"]],
    }
)
EDGES = {"floor": [0.0, 0.1, 1.0, 5.0]}


@pytest.fixture(scope="module")
def auction(tmp_path_factory):
    """A model of bid requests, and the worker that serves it."""
    folder = tmp_path_factory.mktemp("auction")
    model = trained_model(folder, AUCTION, edges=EDGES)
    rows = [{"domain": "a.com", "floor": 0.5, "tags": ["IAB1", "IAB2"]}, {"tags": None}]
    golden = {"rows": rows, "p_click": model.predict_rows(rows).tolist()}
    (folder / "golden.json").write_text(json.dumps(golden))
    with started_worker(folder) as worker:
        assert worker.is_ready, worker.health()
        yield worker, model, folder


def test_a_bid_request_is_answered_as_its_flat_row(auction):
    """By both calls; a flat name counts before a path, and what leads nowhere is missing."""
    worker, model, _ = auction
    bid = {
        "id": "80ce30c5",
        "imp": [{"id": "1", "bidfloor": 0.03, "banner": {"w": 300, "pos": 0}}],
        "site": {"domain": "www.example.com", "cat": ["IAB3-1", "IAB9"]},
        "device": {"ua": "Mozilla/5.0"},
    }
    flat = {"domain": "www.example.com", "pos": "0", "floor": 0.03, "tags": "IAB3-1,IAB9"}
    found = predict(worker.calls, bid)
    assert found == predict(worker.calls, flat)
    assert found["prediction"] == pytest.approx(model.predict_row(flat), abs=1e-6)
    assert found["n_missing"] == 1
    assert predict(worker.calls, bid | {"pos": 3}) == predict(worker.calls, flat | {"pos": 3})
    candidates = [{"floor": 2}, {"tags": ["IAB9"]}, {}]
    status, answer = ask(worker.calls.rank, {"context": bid, "candidates": candidates})
    assert status == 200
    expected = model.predict_rows([flat | candidate for candidate in candidates])
    assert answer["predictions"] == pytest.approx(expected, abs=1e-6)


ODD_ROWS = [
    {"tags": []},
    {"tags": [None, "", " ", "NULL"]},
    {"tags": ["a", "b", "a", None, " b "]},
    {"tags": ["a", "b", "c", "d", "e"]},
    {"tags": "a, b,,c,d"},
    {"tags": [1, 2.0, 0.5]},
    {"tags": ["a,b"]},
    {"tags": "x", "floor": "NaN"},
    {"tags": "x", "floor": None},
    {"tags": 7, "floor": "3"},
    {"tags": "x", "floor": 3},
    {"tags": "x", "floor": "+3.0e0"},
    {"tags": "x", "floor": -0.0},
    {"tags": "x", "floor": -1e300},
    {"tags": "x", "floor": 10**20},
    {"tags": "x", "floor": 1.0, "domain": 5, "os": "none"},
]


def test_odd_lists_and_numbers_are_answered_alike_everywhere(auction):
    """By both calls, and by the model that is given a frame."""
    worker, model, _ = auction
    expected = model.predict_rows(ODD_ROWS)
    found = [predict(worker.calls, row)["prediction"] for row in ODD_ROWS]
    assert found == pytest.approx(expected, abs=1e-6)
    body = {"context": {"os": "none"}, "candidates": ODD_ROWS}
    assert ask(worker.calls.rank, body)[1]["predictions"] == pytest.approx(expected, abs=1e-6)
    frame = pd.DataFrame(ODD_ROWS).astype(object)
    assert FrameModel(model).predict(frame) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_row_of_the_log_gets_the_number_of_its_request(auction, tmp_path, suffix):
    """Odd lists and numbers, ingested and hashed in a batch, as they were sent and as the log gives them back."""
    worker, model, _ = auction
    is_list = suffix == "jsonl"
    rows = [row for row in ODD_ROWS if isinstance(row["tags"], list) == is_list]
    if is_list:
        rows = [row for row in rows if all(type(tag) in (str, type(None)) for tag in row["tags"])]
        whole = dict.fromkeys(AUCTION.field_names)
        lines = [json.dumps(whole | row | {"click": i % 2}) for i, row in enumerate(rows)]
        (tmp_path / "raw.jsonl").write_text("\n".join(lines) + "\n")
    else:
        frame = pd.DataFrame(rows, columns=AUCTION.field_names, dtype=object)
        frame["click"] = range(len(rows))
        frame["click"] %= 2
        frame.to_csv(tmp_path / "raw.csv", index=False)
    ingest_log(tmp_path / f"raw.{suffix}", tmp_path / "log", schema=AUCTION)
    log = Log.open(tmp_path / "log")
    expected = np.concatenate([model.predict_batch(batch) for batch in log.batches()])
    assert [predict(worker.calls, row)["prediction"] for row in rows] == pytest.approx(
        expected, abs=1e-6
    )
    back = [log.raw_row(number, AUCTION) for number in range(log.n_rows)]
    assert {type(row["tags"]) for row in back} <= {list, type(None)}
    assert [predict(worker.calls, row)["prediction"] for row in back] == pytest.approx(
        expected, abs=1e-6
    )


def test_lists_and_numbers_of_a_request_are_in_the_exposures(auction, tmp_path):
    """As they were given, of a bid request too."""
    with started_worker(auction[2], CLICKLAB_EXPOSURES=str(tmp_path)) as worker:
        predict(worker.calls, {"imp": [{"bidfloor": 0.25}], "site": {"cat": ["a,b", "c"]}})
        ask(worker.calls.rank, {"context": {"tags": ["x"]}, "candidates": [{}, {"tags": ["y", 7]}]})
    fields = read_exposures(tmp_path)["fields"].to_pylist()
    text = FieldText(AUCTION, AUCTION.fields[-1])
    assert [text.items(row["tags"]) for row in fields] == [["a,b", "c"], ["x"], ["y", "7"]]
    assert fields[0]["floor"] == "0.25"


def test_exposures_go_to_s3_only_with_a_salt_of_ones_own(auction, tmp_path):
    """The shipped one is public, so the service does not become ready and says why."""
    sink = {"CLICKLAB_EXPOSURES": "s3://bucket/exposures"}
    with started_worker(auction[2], **sink) as worker:
        assert not worker.is_ready
        assert "set CLICKLAB_SALT" in worker.calls.why_not_ready


@pytest.mark.parametrize("floor", ["Infinity", "1e999", "cheap", [1], {"a": 1}])
def test_what_is_no_number_is_refused(auction, floor):
    """In one line that names the field."""
    status, answer = ask(auction[0].calls.predict, {"tags": "x", "floor": floor})
    assert (status, "'floor'" in answer["error"]) == (422, True)


# ---- variants and exposures


@pytest.fixture
def trial(model_dir, tmp_path):
    """A worker with two variants and a shadow, whose exposures go to a folder."""
    other = tmp_path / "other"
    other.mkdir()
    model = trained_model(other, load_schema("avazu"), seed=8)
    (other / "golden.json").write_text(json.dumps(golden_rows(model)))
    (tmp_path / "experiment.yaml").write_text(
        json.dumps(
            {
                "name": "trial",
                "salt": "pepper",
                "unit": ["device_ip"],
                "variants": [
                    {"name": "a", "weight": 1, "model": "champion"},
                    {"name": "b", "weight": 1, "model": "other"},
                ],
                "shadows": ["other"],
            }
        )
    )
    log = tmp_path / "log"
    (tmp_path / "serving.yaml").write_text(
        json.dumps(
            {
                "models": {
                    "champion": {"from": "bundle"},
                    "other": {"from": "folder", "path": str(other)},
                },
                "exposures": {"sink": str(log), "redact": ["device_ip"]},
            }
        )
    )
    with started_worker(model_dir, CLICKLAB_SERVING=str(tmp_path / "serving.yaml")) as worker:
        yield worker, model, log


def test_variants_stick_to_their_unit_and_answer_with_their_own_model(trial, model_dir):
    """Each unit gets one variant whatever else the request says, and both variants get units."""
    worker, other, _ = trial
    models = {"a": load_model(model_dir), "b": other}
    seen = set()
    for number in range(60):
        row = ROW | {"device_ip": f"ip{number}"}
        answers = [predict(worker.calls, row), predict(worker.calls, row | {"C14": "1"})]
        assert answers[0]["variant"] == answers[1]["variant"]
        assert answers[0]["prediction"] == models[answers[0]["variant"]].predict_row(row)
        assert answers[0]["version"] == models[answers[0]["variant"]].version
        seen.add(answers[0]["variant"])
    assert seen == {"a", "b"}


def test_exposures_say_who_was_answered_what_without_the_redacted_value(trial):
    """Both calls, with the shadow's score; the unit is there as a salted hash only."""
    worker, other, log = trial
    row = ROW | {"device_ip": "very-secret-ip"}
    one = ask(worker.calls.predict, row, RequestOptions("r-1"))[1]
    ranking = {"context": row, "candidates": [{"C14": "1"}, {"C14": "2"}]}
    two = ask(worker.calls.rank, ranking, RequestOptions("r-2", "b"))[1]
    worker.calls.exposures.close()
    text = "".join(path.read_text() for path in log.rglob("*.jsonl"))
    lines = {line["request_id"]: line for line in map(json.loads, text.splitlines())}
    assert "very-secret-ip" not in text
    assert lines["r-1"]["p_click"] == [one["prediction"]]
    assert lines["r-1"]["variant"] == one["variant"]
    assert lines["r-1"]["version"] == one["version"]
    assert lines["r-1"]["shadow"][0]["p_click"] == [other.predict_row(row)]
    assert lines["r-2"]["p_click"] == two["predictions"]
    assert lines["r-2"]["forced"] is True and lines["r-2"]["variant"] == "b"
    assert lines["r-1"]["unit_hash"] == lines["r-2"]["unit_hash"]
    assert worker.calls.exposures.n_dropped == 0


# ---- refusals


@pytest.mark.parametrize(("body", "status", "named"), BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_bad_request_is_refused_in_one_line_that_names_the_fault(calls, body, status, named):
    """A client's mistake is a 4xx with a short reason, never a 5xx."""
    found, answer = ask(calls.predict, body)
    assert found == status
    assert named in answer["error"]
    assert "\n" not in answer["error"] and "Traceback" not in answer["error"]


def test_without_models_every_call_is_refused_without_the_reason():
    """503; why, which may name a bucket and its account, is for the health check to tell."""
    calls = Calls()
    calls.why_not_ready = "the store is away"
    for call in (calls.predict, calls.rank):
        status, answer = ask(call, ROW)
        assert status == 503
        assert "health check" in answer["error"] and "store" not in answer["error"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
ROWS = st.dictionaries(st.sampled_from([*ROW]) | st.text(max_size=5), JSON_VALUES, max_size=8)


@settings(max_examples=100, deadline=None)
@given(row=ROWS)
def test_any_object_gets_a_probability_or_a_reason(calls, row):
    """Whatever JSON can say, the answer is 200 with a probability or 4xx with one line."""
    _check(ask(calls.predict, row), lambda answer: [answer["prediction"]])


@settings(max_examples=100, deadline=None)
@given(
    context=ROWS | JSON_VALUES, candidates=st.lists(ROWS | JSON_VALUES, max_size=4) | JSON_VALUES
)
def test_any_ranking_gets_probabilities_or_a_reason(calls, context, candidates):
    """The same for rankings."""
    body = {"context": context, "candidates": candidates}
    _check(ask(calls.rank, body), lambda answer: answer["predictions"])


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_get_an_answer(calls, body):
    """No bytes make it fail."""
    _check(ask(calls.predict, body), lambda answer: [answer["prediction"]])
    _check(ask(calls.rank, body), lambda answer: answer["predictions"])


def _check(found, predictions) -> None:
    status, answer = found
    if status == 200:
        assert all(0 <= p_click <= 1 for p_click in predictions(answer))
    else:
        assert 400 <= status < 500
        assert list(answer) == ["error"]
