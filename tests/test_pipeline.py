"""The whole pipeline on env.tiny.yaml: what it writes, what it rebuilds, that all paths agree."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import nbformat
import numpy as np
import pytest

from tasks.figures.optional import left_out
from tasks.knobs.reading import read_env
from tests.bentos.ctr.serving import fetch, listening
from tests.conftest import ROOT, copy_project

pytestmark = pytest.mark.slow


def clicklab(project: Path, *words: str) -> subprocess.CompletedProcess:
    """Run the command line in `project`, with its own copy of the library and its own Bento store."""
    command = [sys.executable, "-m", "tasks.cli", *words]
    return subprocess.run(
        command, cwd=project, env=environment(project), capture_output=True, text=True, timeout=600
    )


def environment(project: Path) -> dict[str, str]:
    """Return the environment in which the copy of the project, and no other, is imported."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {
        "PYTHONPATH": str(project),
        "PATH": path,
        "COLUMNS": "160",
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project in which the tiny pipeline was built once."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    done = clicklab(folder, "run", "--env", "env.tiny.yaml")
    assert done.returncode == 0, done.stderr[-4000:]
    (folder / "first.log").write_text(done.stdout)
    return folder


def read(project: Path, name: str) -> dict:
    return json.loads((project / "products" / "tiny" / name).read_text())


@pytest.fixture(scope="module")
def outdated(project):
    """What `ploomber build` would run after each change, by the change's name."""
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-W",
            "ignore",
            str(ROOT / "tests" / "changes.py"),
            json.dumps(CHANGES),
        ],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: set(tasks) for name, tasks in json.loads(done.stdout.splitlines()[-1]).items()}


AFTER_EVALUATE = {"evaluate", "promote", "package", "report"}
TRAIN = {"train-sgd", "train-sgd_optuna", "train-ftrl", "train-fm"}
ALL = {"ingest", "validate", "explore", "hash_features"} | TRAIN | AFTER_EVALUATE


def test_every_row_is_accounted_for(project):
    """Rows in = rows kept + quarantined = train + valid + test."""
    log, features = read(project, "log/manifest.json"), read(project, "features/manifest.json")
    assert log["n_rows_in"] == 20_000 == log["n_rows"] + log["n_quarantined"]
    assert sum(features["rows"].values()) == log["n_rows"]
    assert min(features["rows"].values()) > 500


def test_the_closing_table_names_models_champion_and_next_steps(project):
    """The last screen is what a person reads first."""
    shown = (project / "first.log").read_text()
    for text in (
        "sgd",
        "sgd_optuna",
        "ftrl",
        "(the truth)",
        "Champion:",
        "make serve",
        "make ui",
        "make lab",
    ):
        assert text in shown


def test_no_model_beats_the_true_probabilities(project):
    """A log loss below the truth's would mean that the future leaked into training."""
    record = read(project, "evaluation.json")
    for name, metrics in record["metrics"].items():
        assert metrics["log_loss"] > record["truth_log_loss"] - 0.005, name
        assert metrics["roc_auc"] > 0.55, name


def test_a_second_run_with_nothing_changed_runs_nothing(project, outdated):
    """The cache is trusted when it is right."""
    assert outdated["nothing"] == set()
    done = clicklab(project, "run", "--env", "env.tiny.yaml")
    assert done.returncode == 0, done.stderr
    assert "nothing had changed" in done.stdout


FILES = {
    "tasks/simulation/simulate.py": ALL,
    "tasks/validate.py": ALL - {"ingest"},
    "tasks/logs/exploration.py": {"explore", "package", "report"},  # a Bento holds all of tasks/
    "tasks/training/search.py": TRAIN | AFTER_EVALUATE,
    "tasks/evaluation/gates.py": AFTER_EVALUATE,
    "tasks/registry/ledger.py": {"promote", "package", "report"},
    "tasks/report.py": {"package", "report"},
    "bentos/ctr/http/side_app.py": {"package", "report"},
    "tasks/schemas/avazu.yaml": ALL,
    "notebooks/train.ipynb": TRAIN | AFTER_EVALUATE,
}
KNOBS = {
    "gates.max_false_refusals": (0.04, AFTER_EVALUATE),
    "models.ftrl.params": ({"alpha": 0.2}, {"train-ftrl"} | AFTER_EVALUATE),
    "hash.bits": (15, {"hash_features"} | TRAIN | AFTER_EVALUATE),
    "data": ("sim://avazu?rows=20001&seed=7", ALL),
}
CHANGES = {"files": list(FILES), "knobs": {knob: value for knob, (value, _) in KNOBS.items()}}


@pytest.mark.parametrize("path", FILES)
def test_a_changed_file_rebuilds_exactly_what_depends_on_it(outdated, path):
    """Imported modules, notebooks and the schema count, not only a task's own source."""
    assert outdated[path] == FILES[path]


@pytest.mark.parametrize("knob", KNOBS)
def test_a_changed_parameter_rebuilds_exactly_what_depends_on_it(outdated, knob):
    """A knob reaches the tasks that read it and what comes after them."""
    assert outdated[knob] == KNOBS[knob][1]


def test_every_training_is_one_run_with_its_record(project, monkeypatch):
    """Parameters, metrics by epoch, data, code, figures, notebook and model are in MLflow."""
    monkeypatch.chdir(project)
    from tasks.registry import mlflow_store

    client = mlflow_store.connect("sqlite:///products/tiny/store/mlflow.db")
    for name in ("sgd", "sgd_optuna", "ftrl", "fm"):
        run = client.get_run(read(project, f"train-{name}.json")["run_id"])
        assert run.info.status == "FINISHED"
        assert {"model", "kind", "alpha", "max_epochs", "patience", "seed"} <= set(run.data.params)
        kept = read(project, f"train-{name}.json")["valid"]["log_loss"]
        assert run.data.metrics["valid_log_loss"] == kept
        tested = read(project, "evaluation.json")["metrics"][name]["log_loss"]
        assert run.data.metrics["test_log_loss"] == tested
        assert run.data.tags["clicklab.interactive"] == "false"
        assert (
            run.inputs.dataset_inputs[0].dataset.digest
            == read(project, "log/manifest.json")["digest"][:36]
        )
        assert "clicklab.code_digest" in run.data.tags
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        tables = {"importance.json", "top_values.json"}
        figures = {"importance.png", "learning_curve.png", "top_values.png"}
        assert {"model", "notebook", "evaluation"} | tables | figures <= files
        below = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
        trials = client.search_runs([run.info.experiment_id], below)
        assert len(trials) == 2 * name.startswith("sgd")
        assert ("trials.json" in files) == name.startswith("sgd")


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ("explore", r"\d+\.\d% of 20,000 rows were clicked"),
        ("hash_features", r"\d+ bits are enough in this trial"),
        ("train-ftrl", r"ftrl: validation log loss 0\.\d{4}, \d+\.\d% below"),
        ("train-fm", r"raises the odds of a click most"),
        ("evaluate", r"\w+ has the lowest log loss of 4 models on \d,\d+ test rows"),
    ],
)
def test_each_notebook_ends_with_its_computed_answer(project, task, sentence):
    """The last cell shows Markdown with the numbers of this run."""
    cells = read(project, f"{task}.ipynb")["cells"]
    (output,) = cells[-1]["outputs"]
    assert re.search(sentence, "".join(output["data"]["text/markdown"]))


def test_no_figure_and_no_sentence_is_missing(project):
    """A fault in one would not stop the run, so it is looked for here."""
    assert left_out(project / "products" / "tiny") == []


def test_the_registry_and_the_ledger_agree(project, monkeypatch):
    """The champion's alias is the version that the ledger says was promoted."""
    monkeypatch.chdir(project)
    from tasks.registry import mlflow_store
    from tasks.registry.ledger import read_ledger

    client = mlflow_store.connect("sqlite:///products/tiny/store/mlflow.db")
    aliases = dict(client.get_registered_model("ctr-avazu").aliases)
    entries = read_ledger(project / "products/tiny/store/ledger.jsonl")
    assert len(entries) == 4
    (promoted,) = [entry for entry in entries if entry["decision"] == "promoted"]
    assert str(aliases["champion"]) == promoted["version"]
    assert aliases["challenger"] != aliases["champion"]


def test_a_refused_model_leaves_the_champion_and_its_reasons(project, tmp_path, monkeypatch):
    """Gates that nothing passes: the aliases stay, the refusals are in the ledger."""
    monkeypatch.chdir(project)
    from tasks import promote
    from tasks.registry import mlflow_store

    record = read(project, "evaluation.json")
    for verdict in record["verdicts"].values():
        verdict |= {
            "passed": False,
            "reasons": ["calibration ratio 3.000, must lie in [0.8, 1.25]"],
        }
    tracking = read_env(ROOT / "env.tiny.yaml")["mlflow"] | {"ledger": str(tmp_path / "l.jsonl")}
    client = mlflow_store.connect(tracking["tracking_uri"])
    before = dict(client.get_registered_model("ctr-avazu").aliases)
    record["champion_version"] = str(before["champion"])
    decision = promote.decide(record, tracking)
    assert dict(client.get_registered_model("ctr-avazu").aliases) == before
    assert decision["champion_version"] == str(before["champion"])
    assert set(decision["refused"]) == {"sgd", "sgd_optuna", "ftrl", "fm"}
    assert "3.000" in (tmp_path / "l.jsonl").read_text()


def test_a_champion_that_changed_meanwhile_stops_the_promotion(project, tmp_path, monkeypatch):
    """A champion is replaced only by a model that was compared with it."""
    monkeypatch.chdir(project)
    from tasks import promote
    from tasks.errors import ClicklabError

    record = read(project, "evaluation.json") | {"champion_version": "99"}
    record["preferred"] = record["ranking"][-1]
    tracking = read_env(ROOT / "env.tiny.yaml")["mlflow"] | {"ledger": str(tmp_path / "l.jsonl")}
    with pytest.raises(ClicklabError, match="compared with version 99"):
        promote.decide(record, tracking)


@pytest.fixture(scope="module")
def endpoint(project):
    """The Bento of the tiny run, served by `make serve`'s command on a free port of this machine."""
    with serving(project, "serve.log") as (address, _):
        yield address


def serving(project: Path, log: str):
    """Run the command of `make serve ENV=env.tiny.yaml`; see ``listening``."""
    words = ["tasks.cli", "serve", "--env", "env.tiny.yaml"]
    return listening(words, log=project / log, environment=environment(project))


def test_a_second_server_leaves_the_metrics_of_the_first(project, endpoint):
    """BentoML deletes those in the folder it starts with, so each address has its own."""
    row = json.dumps(read(project, "evaluation.json")["golden"]["rows"][0]).encode()
    assert fetch(f"{endpoint}/predict", row)[0] == 200
    before = _n_requests(endpoint)
    with serving(project, "second.log") as (second, _):
        assert fetch(f"{second}/predict", row)[0] == 200
        assert _n_requests(second) == 1
        assert fetch(f"{endpoint}/predict", row)[0] == 200
        assert _n_requests(endpoint) == before + 1 > 1


def _n_requests(address: str) -> float:
    text = fetch(f"{address}/metrics")[1].decode()
    found = re.findall(r"^ctr_requests_total\{[^}]*predict[^}]*\} (\S+)$", text, re.M)
    return sum(map(float, found))


def test_notebook_artefact_and_endpoint_give_the_same_number(
    project, endpoint, tmp_path, monkeypatch
):
    """The same rows: notebook and judged model; what the pipeline predicted with the renewed one, that model, the live answer."""
    from tasks.models.artifact import load_model
    from tasks.models.golden import read_golden
    from tasks.registry import mlflow_store

    monkeypatch.chdir(project)
    client = mlflow_store.connect(read_env(ROOT / "env.tiny.yaml")["mlflow"]["tracking_uri"])
    served = mlflow_store.find_alias(client, "ctr-avazu", "champion", folder=tmp_path)
    assert served.is_renewed

    golden = read(project, "evaluation.json")["golden"]
    receipt = read(project, "package.json")
    name = receipt["model"]
    from_notebook = np.array(golden["p_click"][name])
    model = load_model(project / "products" / "tiny" / "models" / name)
    from_artefact = np.array([model.predict_row(row) for row in golden["rows"]])
    renewed = load_model(served.folder)
    again = np.array([renewed.predict_row(row) for row in golden["rows"]])
    from_pipeline = np.array(read_golden(served.folder).p_click)
    answers = []
    for row in golden["rows"]:
        request = Request(
            f"{endpoint}/predict", json.dumps(row).encode(), {"Content-Type": "application/json"}
        )
        with urlopen(request, timeout=10) as answer:
            answers.append(json.loads(answer.read()))
    live = np.array([answer["prediction"] for answer in answers])
    assert {answer["model"] for answer in answers} == {name}
    assert {answer["version"] for answer in answers} == {renewed.version} != {model.version}
    np.testing.assert_allclose(from_artefact, from_notebook, atol=1e-6, rtol=0)
    np.testing.assert_allclose(again, from_pipeline, atol=1e-6, rtol=0)
    np.testing.assert_allclose(live, from_pipeline, atol=1e-6, rtol=0)
    assert np.ptp(live) > 0.01, "rows that all get one number prove nothing"


OPENED_BY_HAND = """
import json, sys
from pathlib import Path
from ploomber.sources.notebooksource import json_serializable_params
from tasks.pipeline.build import load_dag
from tasks.jupyter.interactive import assignments, injected_cell, parameters_by_hand
from tasks.knobs.reading import read_env

task = load_dag(read_env("env.tiny.yaml")).render(show_progress=False)[sys.argv[1]]
notebook, root = json.loads(task.source.nb_str_rendered), Path.cwd()
given = json_serializable_params(task.params)
by_hand = parameters_by_hand(given, root=root, products=root / "products/tiny", notebook=task.name)
injected_cell(notebook)["source"] = assignments(by_hand)
Path(f"notebooks/{task.name}-injected.ipynb").write_text(json.dumps(notebook))
"""


@pytest.mark.parametrize("task", ["explore", "hash_features", "train-ftrl", "evaluate"])
def test_each_notebook_runs_top_to_bottom_under_nbval(project, task):
    """Cell by cell in a real kernel, with the parameters that JupyterLab would show."""
    run_under_nbval(project, task)


def run_under_nbval(project, task):
    """Run a task's notebook as it is opened by hand, and check that all of its cells pass."""
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", OPENED_BY_HAND, task],
        cwd=project,
        env=environment(project),
        check=True,
    )
    path = project / "notebooks" / f"{task}-injected.ipynb"
    kernel = nbformat.read(path, as_version=4).metadata["kernelspec"]["name"]
    assert kernel == "python3"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval-lax",
        "-q",
        "-p",
        "no:cacheprovider",
        "--override-ini=addopts=",
        path.name,
    ]
    done = subprocess.run(
        command,
        cwd=path.parent,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert re.search(r"\d+ passed", done.stdout)


def test_ploombers_own_commands_work(project):
    """`ploomber status` and `ploomber task` behave as in any Ploomber project."""
    env = environment(project) | {"PLOOMBER_ENV_FILENAME": "env.tiny.yaml"}
    ploomber = [str(Path(sys.executable).parent / "ploomber")]
    status = subprocess.run(
        [*ploomber, "status"], cwd=project, env=env, capture_output=True, text=True, timeout=120
    )
    assert status.returncode == 0, status.stderr
    assert "train-ftrl" in status.stdout
    task = subprocess.run(
        [*ploomber, "task", "report", "--force"],
        cwd=project,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert task.returncode == 0, task.stderr


def test_ploombers_own_commands_notice_a_changed_product(project):
    """One flipped bit in an array; put back in time, nothing has to run."""
    env = environment(project) | {"PLOOMBER_ENV_FILENAME": "env.tiny.yaml"}
    command = [str(Path(sys.executable).parent / "ploomber"), "status"]
    (path, *_) = sorted((project / "products/tiny/features/train").glob("*.arrow"))
    content = path.read_bytes()
    said = []
    for changed in (content[:-1] + bytes([content[-1] ^ 1]), content):
        path.write_bytes(changed)
        done = subprocess.run(
            command, cwd=project, env=env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        said.append(f"{path.relative_to(project)} was changed: hash_features" in done.stderr)
    assert said == [True, False]


# ---- faults, last because they change the project


def broken(project: Path, path: str, line: str) -> None:
    """Add a line that spoils a module of the copy."""
    with (project / path).open("a") as file:
        file.write(f"\n{line}\n")


@pytest.mark.nightly
def test_a_fault_in_a_figure_or_sentence_does_not_fail_the_run(project):
    """Training, record and model are complete; the closing table names what is missing."""
    before = read(project, "train-ftrl.json")
    broken(project, "tasks/figures/train.py", "importance = None")
    done = clicklab(project, "run", "--env", "env.tiny.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    shown = " ".join(done.stdout.split())
    assert "train-ftrl: the importance of fields is missing here: TypeError" in shown
    after = read(project, "train-ftrl.json")
    assert after["version"] == before["version"]
    assert after["run_id"] != before["run_id"]


def test_a_fault_in_training_fails_the_run(project):
    """What the model depends on is not optional."""
    broken(project, "tasks/training/fit.py", "validate = None")
    done = clicklab(project, "run", "--env", "env.tiny.yaml")
    assert done.returncode == 1
    assert "train-ftrl" in done.stderr
    assert "'NoneType' object is not callable" in done.stderr
