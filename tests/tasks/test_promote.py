"""Who serves next, and what the registry and the ledger say of it; on a real MLflow store."""

import json
import os
import pkgutil
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tasks.errors import ChangedError, DiskFullError, GateError, InputError, UnavailableError
from tasks.models.artifact import load_model
from tasks.models.golden import GOLDEN
from tasks.promote import decide, force, promote
from tasks.registry.ledger import read_ledger
from tasks.registry.mlflow_store import find_alias
from tasks.registry.runs import log_model, open_experiment
from tasks.training.renewal import Renewed
from tests.bentos.ctr.artifacts import artifact
from tests.stores import mlflow_client

pytestmark = pytest.mark.slow  # MLflow makes a database
ROWS = [{"hour": "14102100", "site": "a"}]
OFF = {"learn_test": False, "way": "anew"}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with three runs that hold a model each; and its client."""
    folder = tmp_path_factory.mktemp("mlflow")
    client = mlflow_client(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = open_experiment(client, "ctr", artifact_root=folder / "artifacts")
    (folder / "model").mkdir()
    (folder / "model" / "model.json").write_text("{}")
    runs = {}
    for name in ("ftrl", "fm", "sgd"):
        runs[name] = client.create_run(experiment).info.run_id
        log_model(client, runs[name], folder / "model")
    return folder, client, runs


@pytest.fixture
def tracking(store, tmp_path):
    """The knobs of a promotion; each test has a ledger of its own."""
    return {
        "tracking_uri": f"sqlite:///{store[0] / 'mlflow.db'}",
        "ledger": str(tmp_path / "ledger.jsonl"),
    }


@pytest.fixture
def record(store, request):
    """What ``evaluate`` found: ftrl first, fm second, sgd refused; a registered name per test."""
    _, _, runs = store
    ranking = ["ftrl", "fm", "sgd"]
    reasons = {"ftrl": [], "fm": [], "sgd": ["calibration ratio 1.9"]}
    return {
        "registered_name": f"ctr-{request.node.originalname[:50]}-{abs(hash(request.node.name))}",
        "ranking": ranking,
        "verdicts": {
            name: {"passed": not reasons[name], "reasons": reasons[name]} for name in ranking
        },
        "models": {name: {"run_id": runs[name], "version": f"{name}-v"} for name in ranking},
        "metrics": {name: {"log_loss": 0.4} for name in ranking},
        "golden": {"rows": ROWS, "test_rows": [2], "p_click": {name: [0.2] for name in ranking}},
        "log_digest": "d",
        "champion_version": None,
    }


def aliases(store, record) -> dict[str, str]:
    """Return the aliases in the registry."""
    found = store[1].get_registered_model(record["registered_name"]).aliases
    return {alias: str(version) for alias, version in dict(found).items()}


def test_the_best_that_passes_is_champion_and_the_next_challenger(store, record, tracking):
    """Every model has a line in the ledger, the refused one with its reason; what may serve is registered."""
    decision = decide(record, tracking)
    versions = decision["versions"]
    assert set(versions) == {"ftrl", "fm"}
    registered = store[1].search_model_versions(f"name='{record['registered_name']}'")
    assert {version.run_id for version in registered} == {store[2]["ftrl"], store[2]["fm"]}
    assert aliases(store, record) == {"champion": versions["ftrl"], "challenger": versions["fm"]}
    assert (decision["champion"], decision["previous_version"]) == ("ftrl", None)
    assert decision["refused"] == {"sgd": ["calibration ratio 1.9"]}
    entries = {entry["model"]: entry for entry in read_ledger(tracking["ledger"])}
    decisions = {name: entry["decision"] for name, entry in entries.items()}
    assert decisions == {"ftrl": "promoted", "fm": "passed", "sgd": "refused"}
    assert entries["sgd"]["reasons"] == ["calibration ratio 1.9"]
    assert (entries["sgd"]["version"], entries["sgd"]["artifact_version"]) == (None, "sgd-v")


def test_a_refused_model_keeps_its_verdict_on_its_run(store, record, tracking):
    """With the reasons; deciding again replaces them; the comparison of all is on the champion's run."""
    decide(record, tracking)
    tags = {name: store[1].get_run(run_id).data.tags for name, run_id in store[2].items()}
    verdicts = {name: found["clicklab.verdict"] for name, found in tags.items()}
    assert verdicts == {"ftrl": "promoted", "fm": "passed", "sgd": "refused"}
    assert tags["sgd"]["clicklab.reasons"] == "calibration ratio 1.9"
    assert tags["sgd"]["mlflow.note.content"].count("**Verdict:**") == 1
    path = store[1].download_artifacts(store[2]["ftrl"], "evaluation/comparison.csv")
    table = pd.read_csv(path).set_index("model")
    assert table["decision"].to_dict() == {"ftrl": "promoted", "fm": "passed", "sgd": "refused"}


def test_a_model_that_no_longer_passes_keeps_its_version(store, record, tracking):
    """It was registered when it passed; its tags say what holds now."""
    versions = decide(record, tracking)["versions"]
    record["champion_version"] = versions["ftrl"]
    record["verdicts"]["fm"] = {"passed": False, "reasons": ["worse"]}
    assert decide(record, tracking)["versions"] == versions
    tags = store[1].get_model_version(record["registered_name"], versions["fm"]).tags
    assert (tags["verdict"], tags["reasons"]) == ("refused", "worse")


def test_if_none_passes_and_none_serves_nothing_is_registered(store, record, tracking):
    """There is no champion, and no name in the registry."""
    for verdict in record["verdicts"].values():
        verdict |= {"passed": False, "reasons": ["calibration ratio 3.000"]}
    decision = decide(record, tracking)
    assert (decision["champion_version"], decision["versions"]) == (None, {})
    names = {model.name for model in store[1].search_registered_models()}
    assert record["registered_name"] not in names
    assert len(read_ledger(tracking["ledger"])) == 3


def test_golden_rows_lie_beside_each_registered_model(store, record, tracking):
    """A service that loads a model from the registry proves it by them."""
    decide(record, tracking)
    for name in ("ftrl", "fm"):
        run_id = store[2][name]
        text = Path(store[1].download_artifacts(run_id, f"model/{GOLDEN}")).read_text()
        assert json.loads(text) == {"rows": ROWS, "p_click": record["golden"]["p_click"][name]}


def test_deciding_twice_changes_nothing(store, record, tracking):
    """The same runs are the same versions, and a champion does not become its own challenger."""
    first = decide(record, tracking)
    before = aliases(store, record)
    again = decide(record, tracking)
    assert again["versions"] == first["versions"]
    assert aliases(store, record) == before


@pytest.fixture
def champion(store, record, tracking):
    """Let fm serve before the models of the record are compared with it; return its version."""
    version = decide(record | {"preferred": "fm"}, tracking)["champion_version"]
    record |= {"champion_version": version, "preferred": "ftrl"}
    return version


@pytest.mark.parametrize(
    ("step", "late"),
    [
        ("tasks.promote.register_models", False),
        ("tasks.promote.append_anchored", False),
        ("tasks.registry.anchor._note", False),
        ("tasks.promote.record_verdicts", False),
        ("tasks.registry.mlflow_store.set_alias", False),
        ("tasks.registry.mlflow_store.set_alias", True),
    ],
)
def test_a_promotion_that_fails_at_any_step_can_be_repeated(
    store, record, tracking, champion, monkeypatch, step, late
):
    """The champion of before serves; the same call again ends as an undisturbed one, with one line per decision."""
    done = pkgutil.resolve_name(step)

    def failing(*args, **knobs):
        if late:  # the challenger's alias has moved
            done(*args, **knobs)
        raise UnavailableError("MLflow is away")

    with monkeypatch.context() as patched:
        patched.setattr(step, failing)
        with pytest.raises(UnavailableError):
            decide(record, tracking)
    assert aliases(store, record)["champion"] == champion
    decision = decide(record, tracking)
    assert aliases(store, record) == {
        "champion": decision["versions"]["ftrl"], "challenger": champion
    }  # fmt: skip
    assert (decision["champion"], decision["previous_version"]) == ("ftrl", champion)
    lines = [(one["model"], one["decision"]) for one in read_ledger(tracking["ledger"])[3:]]
    assert lines == [("ftrl", "promoted"), ("fm", "passed"), ("sgd", "refused")]
    assert decide(record, tracking) == decision
    assert len(read_ledger(tracking["ledger"])) == 6


@pytest.mark.parametrize("spoilt", [b"no ledger\n", None], ids=["damaged", "removed"])
def test_a_damaged_ledger_is_found_before_anything_moves(store, record, tracking, champion, spoilt):
    """No version, no tag, no alias; neither by a person."""
    ledger, before = Path(tracking["ledger"]), aliases(store, record)
    whole = ledger.read_bytes()
    ledger.unlink() if spoilt is None else ledger.write_bytes(spoilt)
    record["verdicts"]["sgd"] = {"passed": True, "reasons": []}
    evaluation = ledger.with_name("evaluation.json")
    evaluation.write_text(json.dumps(record))
    message = "was changed, cut or removed" if spoilt else "the file holds nothing"
    with pytest.raises(InputError, match=message):
        decide(record, tracking)
    with pytest.raises(InputError, match=message):
        force(evaluation, tracking, "sgd", why="a try")
    assert aliases(store, record) == before
    registered = store[1].search_model_versions(f"name='{record['registered_name']}'")
    assert len(registered) == 2
    ledger.write_bytes(whole)
    assert decide(record, tracking)["champion"] == "ftrl"


def test_a_full_disk_moves_nothing(store, record, tracking, champion, monkeypatch):
    """The part of the lines that was written is taken back."""
    whole, write = Path(tracking["ledger"]).read_bytes(), os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda handle, lines: write(handle, lines[:100]))
        with pytest.raises(DiskFullError, match=r"ledger\.jsonl: cannot be written"):
            decide(record, tracking)
    assert Path(tracking["ledger"]).read_bytes() == whole
    assert aliases(store, record)["champion"] == champion


def test_a_person_can_repeat_what_was_interrupted(store, tracking, nobody_passed, record, monkeypatch):  # fmt: skip
    """The line is there once, and then the alias moves; what `promote` wrote goes before."""
    product = nobody_passed.with_name("promotion.json")
    product.touch()
    with monkeypatch.context() as patched:
        patched.setattr("tasks.promote.mlflow_store.set_alias", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            force(nobody_passed, tracking, "fm", why="a try", product=product)
    assert (aliases(store, record), product.exists()) == ({}, False)
    version = force(nobody_passed, tracking, "fm", why="a try")
    assert aliases(store, record) == {"champion": version}
    force(nobody_passed, tracking, "sgd", why="a try")
    force(nobody_passed, tracking, "fm", why="a try")
    forced = [one["model"] for one in read_ledger(tracking["ledger"]) if one["decision"] == "forced"]  # fmt: skip
    assert forced == ["fm", "sgd", "fm"]


def test_the_champion_before_becomes_challenger_when_only_one_passes(store, record, tracking):
    """The one that served before can be brought back at once."""
    record["verdicts"]["ftrl"] = {"passed": False, "reasons": ["worse"]}
    first = decide(record, tracking)
    record |= {"champion_version": first["champion_version"]}
    record["verdicts"] = record["verdicts"] | {
        "ftrl": {"passed": True, "reasons": []}, "fm": {"passed": False, "reasons": ["worse"]}
    }  # fmt: skip
    second = decide(record, tracking)
    versions = second["versions"]
    assert aliases(store, record) == {"champion": versions["ftrl"], "challenger": versions["fm"]}
    assert second["previous_version"] == versions["fm"]


def test_if_none_passes_the_champion_stays(store, record, tracking):
    """All are refused, and the ledger says why."""
    record["champion_version"] = decide(record, tracking)["champion_version"]
    before = aliases(store, record)
    for verdict in record["verdicts"].values():
        verdict |= {"passed": False, "reasons": ["calibration ratio 3.000"]}
    decision = decide(record, tracking)
    assert aliases(store, record) == before
    assert (decision["champion"], decision["champion_version"]) == (
        "(unchanged)",
        before["champion"],
    )
    assert {entry["decision"] for entry in read_ledger(tracking["ledger"])[3:]} == {"refused"}


def test_a_champion_that_changed_meanwhile_stops_the_promotion(store, record, tracking):
    """A model is replaced only by one that was compared with it."""
    before = decide(record, tracking)
    registered = store[1].search_model_versions(f"name='{record['registered_name']}'")
    record["ranking"] = ["fm", "ftrl", "sgd"]
    record["verdicts"]["sgd"] = {"passed": True, "reasons": []}
    record["champion_version"] = "99"
    with pytest.raises(ChangedError, match="the models were compared with version 99"):
        decide(record, tracking)
    assert aliases(store, record)["champion"] == before["champion_version"]
    again = store[1].search_model_versions(f"name='{record['registered_name']}'")
    assert len(again) == len(registered)


def test_the_run_after_an_overtaken_promotion_compares_anew(store, record, tracking, tmp_path):
    """The evaluation goes, so that its task runs again; no decision is written."""
    decide(record, tracking)
    evaluation = tmp_path / "evaluation.json"
    evaluation.write_text(json.dumps(record | {"ranking": ["fm", "ftrl", "sgd"]}))
    products = {"promotion": str(tmp_path / "promotion.json")}
    with pytest.raises(ChangedError, match="compared with none; run again"):
        promote(products, {"evaluate": {"evaluation": str(evaluation)}}, tracking, OFF)
    assert list(tmp_path.glob("*.json")) == []


def test_the_task_writes_its_decision(record, tracking, tmp_path):
    """From the record that ``evaluate`` left."""
    (tmp_path / "evaluation.json").write_text(json.dumps(record))
    upstream = {"evaluate": {"evaluation": str(tmp_path / "evaluation.json")}}
    promote({"promotion": str(tmp_path / "promotion.json")}, upstream, tracking, OFF)
    decision = json.loads((tmp_path / "promotion.json").read_text())
    assert decision["champion"] == "ftrl"


def renewal_of(made):
    """Return what renews a model: it copies the folder `made`, and predicts 0.3 for the third test row."""

    def renewed(model, folder):
        shutil.copytree(made, folder, dirs_exist_ok=True)
        version = load_model(made).version
        p_click = np.array([0.1, 0.2, 0.3])
        return Renewed(f"{model} learned 3 rows", SimpleNamespace(version=version), None, p_click)

    return renewed


def test_what_serves_is_kept_beside_what_was_judged(store, record, tracking, tmp_path):
    """The run holds both, the version leads to the renewed one, and ledger, decision and tags name it."""
    made = artifact(tmp_path / "made")
    decision = decide(record, tracking, renewal=renewal_of(made))
    name, client = record["registered_name"], store[1]
    version, served = decision["champion_version"], load_model(made).version
    found = client.get_model_version(name, version)
    assert found.source.endswith("/served")
    assert found.tags["clicklab.served_version"] == served == decision["served_version"]
    assert found.tags["artifact_version"] == "ftrl-v"
    entries = {entry["model"]: entry for entry in read_ledger(tracking["ledger"])}
    assert (entries["ftrl"]["artifact_version"], entries["ftrl"]["served_version"]) == (
        "ftrl-v",
        served,
    )
    assert entries["ftrl"]["renewal"] == decision["renewal"] == "ftrl learned 3 rows"
    assert entries["fm"]["served_version"] is None
    alias = find_alias(client, name, "champion", folder=tmp_path / "copy", judged=True)
    assert load_model(alias.folder).version == served
    assert json.loads((alias.judged / "model.json").read_text()) == {}
    golden = json.loads((alias.folder / GOLDEN).read_text())
    assert golden == {"rows": ROWS, "p_click": [0.3]}
    again = decide(record, tracking, renewal=renewal_of(made))
    assert (again["champion_version"], again["served_version"]) == (version, served)


def test_where_a_renewed_model_is_refused_the_judged_one_serves(store, record, tracking):
    """The decision and the ledger say why."""
    decision = decide(record, tracking, renewal=lambda *_: Renewed("ftrl serves as it was judged"))
    found = store[1].get_model_version(record["registered_name"], decision["champion_version"])
    assert found.source.endswith("/model")
    assert (decision["served_version"], decision["renewal"]) == (
        None,
        "ftrl serves as it was judged",
    )


def test_a_model_that_was_registered_as_judged_gets_a_version_of_its_own(
    store, record, tracking, tmp_path
):
    """A challenger that becomes champion later learns the test rows then; the version before stays as it was."""
    made = artifact(tmp_path / "made")
    first = decide(record, tracking, renewal=renewal_of(made))
    record |= {"champion_version": first["champion_version"], "preferred": "fm"}
    second = decide(record, tracking, renewal=renewal_of(made))
    assert second["champion_version"] not in first["versions"].values()
    before = store[1].get_model_version(record["registered_name"], first["versions"]["fm"])
    assert before.source.endswith("/model")


@pytest.fixture
def nobody_passed(record, tracking, tmp_path):
    """The record of an evaluation in which all were refused, as a file; the decision was made."""
    for verdict in record["verdicts"].values():
        verdict |= {"passed": False, "reasons": ["calibration ratio 3.000"]}
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(record))
    decide(record, tracking)
    return path


def test_a_person_can_make_a_refused_model_champion(store, record, tracking, nobody_passed):
    """The ledger says who did it, why, and what the gates said; the decision after it stands by it."""
    version = force(nobody_passed, tracking, "fm", why="the launch is today")
    assert aliases(store, record) == {"champion": version}
    last = read_ledger(tracking["ledger"])[-1]
    assert (last["decision"], last["model"], last["why"]) == ("forced", "fm", "the launch is today")
    assert last["reasons"] == ["calibration ratio 3.000"]
    assert "@" in last["by"]
    decision = decide(record, tracking)
    assert (decision["champion"], decision["forced"]) == ("fm", "fm")
    assert (decision["champion_version"], decision["previous_version"]) == (version, None)
    assert aliases(store, record) == {"champion": version}
    forced = [one for one in read_ledger(tracking["ledger"]) if one["decision"] == "forced"]
    assert len(forced) == 1
    assert store[1].get_run(store[2]["fm"]).data.tags["clicklab.verdict"] == "forced"


def test_a_forced_champion_is_replaced_like_any_other(store, record, tracking, nobody_passed):
    """Once an evaluation has compared the models with it, the gates decide again."""
    version = force(nobody_passed, tracking, "fm", why="a try")
    record |= {"champion_version": version}
    record["verdicts"]["ftrl"] = {"passed": True, "reasons": []}
    decision = decide(record, tracking)
    assert (decision["champion"], decision["forced"]) == ("ftrl", None)
    assert aliases(store, record)["challenger"] == version


@pytest.mark.parametrize(
    ("model", "why", "error", "message"),
    [
        ("fm", " ", InputError, "no reason is given"),
        ("fmm", "a try", InputError, "no model 'fmm' in the last evaluation; it has: ftrl, fm, sgd"),
        ("wild", "a try", GateError, "wild cannot serve: it diverged"),
        ("sgd", "a try", GateError, "sgd cannot serve: its log loss is no finite number"),
    ],
)  # fmt: skip
def test_what_cannot_serve_is_not_forced(record, tracking, nobody_passed, model, why, error, message):  # fmt: skip
    """A model without predictions, one that is not there, and nothing without a reason."""
    record["verdicts"]["wild"] = {"passed": False, "reasons": ["it diverged"]}
    record["models"]["wild"] = {"run_id": None, "version": None}
    record |= {"failed": {"wild": "it diverged"}}
    record["metrics"]["sgd"] = {"log_loss": float("nan")}
    nobody_passed.write_text(json.dumps(record))
    with pytest.raises(error, match=message):
        force(nobody_passed, tracking, model, why=why)


def test_the_champion_is_not_forced_twice(tracking, nobody_passed):
    """Nothing would change."""
    force(nobody_passed, tracking, "fm", why="a try")
    with pytest.raises(InputError, match="fm is the champion already"):
        force(nobody_passed, tracking, "fm", why="again")


def test_nothing_evaluated_is_nothing_to_force(tracking, tmp_path):
    """It says what to do first."""
    with pytest.raises(InputError, match="`make run` first"):
        force(tmp_path / "evaluation.json", tracking, "fm", why="a try")


def test_a_model_without_a_run_has_its_line_in_the_ledger(record, tracking):
    """Its training wrote a reason instead of a model."""
    record["verdicts"]["wild"] = {"passed": False, "reasons": ["it diverged"]}
    record["models"]["wild"] = {"run_id": None, "version": None}
    decision = decide(record | {"failed": {"wild": "it diverged"}}, tracking)
    assert decision["refused"]["wild"] == ["it diverged"]
    (line,) = [one for one in read_ledger(tracking["ledger"]) if one["model"] == "wild"]
    assert (line["decision"], line["reasons"], line["metrics"]) == ("refused", ["it diverged"], {})


def test_the_model_that_the_comparison_prefers_is_promoted(store, record, tracking):
    """The kind that serves is renewed though another is better by a point; the ledger has the interval."""
    paired = {"difference": 0.001, "low": -0.002, "high": 0.004}
    record |= {"preferred": "fm", "paired": {"fm": paired}}
    versions = decide(record, tracking)["versions"]
    assert aliases(store, record) == {"champion": versions["fm"], "challenger": versions["ftrl"]}
    entries = {entry["model"]: entry for entry in read_ledger(tracking["ledger"])}
    assert entries["fm"]["against_champion"] == paired
    assert entries["ftrl"]["against_champion"] is None


def test_where_none_is_preferred_the_champion_stays(store, record, tracking):
    """Models passed, but none of them is a reason to change."""
    first = decide(record, tracking)
    before = aliases(store, record)
    record |= {"champion_version": first["champion_version"], "preferred": None}
    decision = decide(record, tracking)
    assert decision["champion"] == "(unchanged)"
    assert aliases(store, record) == before
