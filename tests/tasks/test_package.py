"""Packaging: what goes into the Bento, the proof before it, and the receipt after it."""

import ast
import io
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from rich.console import Console

from tasks import package as package_step
from tasks.errors import ChangedError, ClicklabError, ContractError, GateError, InputError
from tasks.package import _golden_of, package, package_model, staged
from tasks.registry import mlflow_store
from tasks.schema import load_schema
from tasks.serving.proof import prove_products
from tasks.serving.receipt import MODEL, packed_digests
from tasks.serving.requirements import SERVING, serving_requirements
from tests.bentos.ctr.serving import golden_rows, trained_model
from tests.conftest import ROOT, copy_project

LOCK = """\
bentoml==1.4.39 \\
    --hash=sha256:00
    # via clicklab (pyproject.toml)
click==8.5.1 \\
    --hash=sha256:00
    # via
    #   bentoml
    #   mlflow
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:00
    # via click
mlflow==3.17.2 \\
    --hash=sha256:00
    # via clicklab (pyproject.toml)
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:00
    # via mlflow
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:00
    # via mlflow
"""


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """A trained model on disk."""
    folder = tmp_path_factory.mktemp("models") / "ftrl"
    trained_model(folder, load_schema("avazu"))
    return folder


@pytest.fixture(scope="module")
def golden(model_dir):
    """Rows and what the model predicts for them."""
    from tasks.models.artifact import load_model

    return golden_rows(load_model(model_dir))


def test_requirements_are_the_roots_and_what_they_need_in_turn():
    """Packages of other roots stay out; markers and double pins are kept."""
    assert serving_requirements(LOCK, ["bentoml"]) == [
        "bentoml==1.4.39",
        "click==8.5.1",
        "colorama==0.4.6 ; sys_platform == 'win32'",
    ]
    assert [line[:11] for line in serving_requirements(LOCK, ["numpy"])] == [
        "numpy==2.4.",
        "numpy==2.5.",
    ]


def test_the_projects_lock_yields_a_serving_environment():
    """Everything the service needs, nothing of the notebooks."""
    pins = {
        line.split("==")[0]
        for line in serving_requirements((ROOT / "requirements.lock").read_text())
    }
    assert set(SERVING) | {"llvmlite", "starlette", "uvicorn"} <= pins
    assert pins & {"pandas", "scikit-learn", "mlflow", "jupyterlab", "ploomber"} == set()


def test_what_the_service_imports_is_in_its_environment():
    """Every package that a module of the service names, wherever it imports it."""
    owners = packages_distributions()
    pins = {
        line.split("==")[0]
        for line in serving_requirements((ROOT / "requirements.lock").read_text())
    }
    nodes = [
        node
        for path in (ROOT / "bentos").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
    ]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    packages = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)
    wanted = {owners[name][0].lower() for name in packages - {"bentos", "tasks"}}
    assert {"bentoml", "prometheus-client"} <= {name.replace("_", "-") for name in wanted}
    assert {name.replace("_", "-") for name in wanted} <= pins


def test_a_package_that_is_not_locked_is_named():
    """A root that the lock lost is a plain error."""
    with pytest.raises(InputError, match="'flask'"):
        serving_requirements(LOCK, ["flask"])


def test_the_staged_folder_holds_service_library_model_and_pins(model_dir, golden):
    """What is staged is all the Bento is made of, and it is gone afterwards."""
    with staged(model_dir, golden) as folder:
        files = {
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        }
        packed = json.loads((folder / "bentos/ctr/model/golden.json").read_text())
    assert {
        "bentos/ctr/service.py",
        "bentos/ctr/bentofile.yaml",
        "tasks/schema.py",
        "requirements.txt",
    } <= files
    assert {"bentos/ctr/model/model.json", "bentos/ctr/model/weights.npy"} <= files
    assert {file.split("/")[0] for file in files} == {"bentos", "tasks", "requirements.txt"}
    assert packed == golden
    assert not folder.exists()


def test_what_mlflow_needs_is_not_packed(model_dir, golden, tmp_path):
    """It lies beside the model in its run; a Bento holds the library once."""
    folder = tmp_path / "run"
    shutil.copytree(model_dir, folder)
    (folder / "MLmodel").write_text("flavors: {}")
    (folder / "code" / "tasks").mkdir(parents=True)
    with staged(folder, golden) as place:
        packed = {path.name for path in (place / MODEL).iterdir()}
    assert packed == {"weights.npy", "model.json", "golden.json"}


def test_an_absent_model_is_named(tmp_path, golden):
    """Packaging what was never trained is a plain error."""
    with pytest.raises(InputError, match="no such model folder"):
        package_model(tmp_path / "none", golden, name="ctr_test")


def test_golden_predictions_are_those_of_the_packaged_model():
    """The winner's if it was promoted in this run, else those of the champion that stays."""
    record = {"golden": {"rows": [{}], "p_click": {"sgd": [0.1], "ftrl": [0.2], "champion": [0.3]}}}
    decision = {"versions": {"sgd": "4", "ftrl": "5"}}
    assert _golden_of(record, decision, "5") == {"rows": [{}], "p_click": [0.2]}
    assert _golden_of(record, decision, "3") == {"rows": [{}], "p_click": [0.3]}


def test_a_champion_that_was_not_compared_is_not_packaged():
    """Without its predictions for the golden rows there is no proof."""
    record = {"golden": {"rows": [{}], "p_click": {"sgd": [0.1]}}}
    with pytest.raises(ContractError, match="made no predictions"):
        _golden_of(record, {"versions": {"sgd": "4"}}, "3")


def test_a_champion_of_another_declaration_that_stays_is_not_packaged_again():
    """There are no predictions of it on this log; its Bento is there from before."""
    record = {"golden": {"rows": [{}], "p_click": {"sgd": [0.1]}}, "champion_left_out": "its label"}
    with pytest.raises(GateError, match=r"version 3 stays.*its label.*still serves"):
        _golden_of(record, {"versions": {"sgd": "4"}}, "3")


def test_no_champion_is_nothing_to_package(tmp_path):
    """When the gates refused all and none serves, the pipeline stops here with that reason."""
    evaluation, promotion = tmp_path / "evaluation.json", tmp_path / "promotion.json"
    evaluation.write_text("{}")
    promotion.write_text(json.dumps({"champion_version": None, "registered_name": "ctr-avazu"}))
    upstream = {"evaluate": {"evaluation": evaluation}, "promote": {"promotion": promotion}}
    with pytest.raises(GateError, match="nothing to package"):
        package(
            {"receipt": tmp_path / "r.json"}, upstream, {"name": "ctr"}, {"tracking_uri": "unused"}
        )


@pytest.fixture
def champion_is_version_5(tmp_path, monkeypatch):
    """Products of the tasks before, and a registry whose champion is version 5: (product, upstream)."""
    golden = {"rows": [{}], "p_click": {"sgd": [0.1], "ftrl": [0.2]}}
    files = {"evaluation": {"golden": golden, "log_digest": "of the log"}}
    files["promotion"] = {
        "champion_version": "5",
        "registered_name": "ctr-avazu",
        "versions": {"sgd": "4", "ftrl": "5"},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    found = mlflow_store.RegisteredModel("ctr-avazu", "5", "run", tmp_path / "downloaded", "clicks")
    monkeypatch.setattr(mlflow_store, "connect", lambda uri: None)
    monkeypatch.setattr(mlflow_store, "find_alias", lambda client, name, alias, folder: found)
    upstream = {
        "evaluate": {"evaluation": tmp_path / "evaluation"},
        "promote": {"promotion": tmp_path / "promotion"},
    }
    return {"receipt": tmp_path / "receipt.json"}, upstream


def test_the_task_packages_the_champions_files_with_its_own_rows(
    champion_is_version_5, monkeypatch
):
    """Model, proof, name and receipt are those of the model behind the alias."""
    product, upstream = champion_is_version_5
    calls = []
    monkeypatch.setattr(
        package_step, "package_model", lambda *words, **named: calls.append((words, named))
    )
    package(product, upstream, {"name": "ctr"}, {"tracking_uri": "unused"})
    folder = product["receipt"].parent / "downloaded"
    golden = {"rows": [{}], "p_click": [0.2]}
    facts = {"registered_name": "ctr-avazu", "registered_version": "5", "origin": "clicks"}
    named = {
        "name": "ctr",
        "receipt_path": product["receipt"],
        "data_digest": "of the log",
        "facts": facts,
    }
    assert calls == [((folder, golden), named)]


def test_a_renewed_champion_is_packaged_with_golden_rows_of_its_own(
    champion_is_version_5, monkeypatch
):
    """Those of the evaluation are the judged model's; the digest is that of the log whose rows they are."""
    product, upstream = champion_is_version_5
    folder = product["receipt"].parent / "downloaded"
    folder.mkdir()
    golden = {"rows": [{"site": "a"}], "p_click": [0.7]}
    (folder / "golden.json").write_text(json.dumps(golden))
    (folder / "model.json").write_text(json.dumps({"info": {"log_digest": "of its log"}}))
    found = mlflow_store.RegisteredModel("ctr-avazu", "5", "run", folder, "clicks", is_renewed=True)
    monkeypatch.setattr(mlflow_store, "find_alias", lambda client, name, alias, folder: found)
    calls = []
    monkeypatch.setattr(
        package_step, "package_model", lambda *words, **named: calls.append((words, named))
    )
    package(product, upstream, {"name": "ctr"}, {"tracking_uri": "unused"})
    ((words, named),) = calls
    assert (words, named["data_digest"]) == ((folder, golden), "of its log")


def test_a_champion_that_changed_meanwhile_is_not_packaged(champion_is_version_5):
    """The alias must still be the version that was promoted; else the next run compares anew."""
    product, upstream = champion_is_version_5
    promotion = upstream["promote"]["promotion"]
    promotion.write_text(
        promotion.read_text().replace('"champion_version": "5"', '"champion_version": "4"')
    )
    with pytest.raises(ChangedError, match="no longer version 4"):
        package(product, upstream, {"name": "ctr"}, {"tracking_uri": "unused"})
    assert not upstream["evaluate"]["evaluation"].exists()


def test_compiled_kernels_are_copied_where_there_are_none(tmp_path):
    """Index and data of each; an index that exists, and so its data, is left alone."""
    for place, text in (("source", "new"), ("target", "old")):
        (tmp_path / place / "models/__pycache__").mkdir(parents=True)
        for name in ("a-1.py311.nbi", "a-1.py311.1.nbc"):
            (tmp_path / place / "models/__pycache__" / name).write_text(text)
    for name in ("b-2.py311.nbi", "b-2.py311.1.nbc", "b-2.py311.2.nbc", "b.cpython-311.pyc"):
        (tmp_path / "source/models/__pycache__" / name).write_text("new")
    package_step._share_kernels(tmp_path / "source", tmp_path / "target")
    found = {path.name: path.read_text() for path in tmp_path.glob("target/*/*/*")}
    assert found == {
        "a-1.py311.nbi": "old",
        "a-1.py311.1.nbc": "old",
        "b-2.py311.nbi": "new",
        "b-2.py311.1.nbc": "new",
        "b-2.py311.2.nbc": "new",
    }


@pytest.fixture(scope="module")
def bento(model_dir, golden, tmp_path_factory):
    """The model's Bento in a store of its own, built without a network: (receipt, folder, store)."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(folder / "home"))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            patch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
        patch.setenv("PATH", "/usr/bin:/bin")  # no uv
        receipt = package_model(
            model_dir,
            golden,
            name="ctr_test",
            receipt_path=folder / "receipt.json",
            data_digest="of the log",
            facts={
                "registered_name": "ctr-avazu",
                "registered_version": "3",
                "origin": "s3://b/Clicks",
            },
        )
    name, version = receipt["bento"].split(":")
    return receipt, folder / "home" / "bentos" / name / version, folder


@pytest.mark.slow
def test_a_model_at_parity_becomes_a_bento_with_a_receipt(bento, golden):
    """The Bento is in the store with its labels, the proof is in it and in the receipt."""
    receipt, built, store = bento
    assert json.loads((store / "receipt.json").read_text()) == receipt
    assert receipt["n_golden"] == len(golden["rows"])
    assert receipt["max_abs_diff"] <= 1e-6
    assert receipt["bento"].startswith("ctr_test:")
    assert f"version: {receipt['version']}" in (built / "bento.yaml").read_text()
    packed = json.loads((built / "src/bentos/ctr/model/golden.json").read_text())
    assert packed == golden
    assert (built / "src/tasks/hashing/encode.py").is_file()
    assert "pandas" not in (built / "env/python/requirements.txt").read_text()
    assert not list((store / "home" / "tmp").iterdir())
    assert json.loads((built / "src/bentos/ctr/model/proof.json").read_text()) == receipt["proof"]
    assert receipt["proof"]["digests"]["files"] == packed_digests(built / "src")["files"]
    packed, kept = built / "src/tasks/models/scoring.py", ROOT / "tasks/models/scoring.py"
    assert packed.stat().st_mtime == kept.stat().st_mtime, "compiled kernels go by the time"


@pytest.mark.slow
def test_the_bento_runs_on_its_own_copy_of_the_library(bento):
    """What was proved is what is served, even where another checkout is installed."""
    receipt, _, store = bento
    code = f"import bentoml; bentoml.load({receipt['bento']!r}); import tasks, bentos.ctr.in_process as p; print(tasks.__file__, p.__file__)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT.parent,
        env=os.environ | {"BENTOML_HOME": str(store / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert all(Path(file).is_relative_to(store) for file in done.stdout.split()[-2:]), done.stdout


def products_with(receipt, folder, *, promoted="3"):
    """Return knobs whose products are the receipt of that Bento, and a promotion of that version."""
    promotion = {"registered_name": "ctr-avazu", "champion_version": promoted}
    (folder / "package.json").write_text(json.dumps(receipt))
    (folder / "promotion.json").write_text(json.dumps(promotion))
    return {"products": str(folder)}


@pytest.mark.slow
def test_another_model_than_the_promoted_one_is_not_proved(bento, tmp_path, monkeypatch):
    """Neither a Bento of an earlier promotion, nor one whose receipt was exchanged."""
    receipt, _, store = bento
    monkeypatch.setenv("BENTOML_HOME", str(store / "home"))
    with pytest.raises(ContractError, match="holds version 3 of ctr-avazu, but version 4 of"):
        prove_products(products_with(receipt, tmp_path, promoted="4"))
    with pytest.raises(ContractError, match="its receipt names 0123456789ab"):
        prove_products(products_with(receipt | {"version": "0123456789ab"}, tmp_path))
    assert not (tmp_path / "proof.json").exists()


@pytest.mark.slow
def test_the_packaged_bento_can_be_proved_again(bento, tmp_path, monkeypatch):
    """A table for a person, a receipt among the products, with the digests of the first proof."""
    receipt, _, store = bento
    monkeypatch.setenv("BENTOML_HOME", str(store / "home"))
    console = Console(file=io.StringIO(), width=200)
    env = products_with(receipt, tmp_path)
    proof = prove_products(env, console=console)
    assert proof["bento"] == receipt["bento"]
    assert proof["digests"] == receipt["proof"]["digests"]
    assert json.loads((tmp_path / "proof.json").read_text()) == proof
    shown = console.file.getvalue()
    assert "/rank live" in shown and receipt["version"] in shown and "data of the log" in shown


@pytest.mark.slow
def test_a_bento_that_was_touched_is_not_proved(bento, tmp_path, monkeypatch):
    """Code or model: the first file that differs is named."""
    receipt, built, store = bento
    monkeypatch.setenv("BENTOML_HOME", str(store / "home"))
    file = built / "src/tasks/errors.py"
    before = file.read_text()
    file.write_text(before + "\n")
    try:
        with pytest.raises(ContractError, match=r"tasks/errors[.]py is not what was proved"):
            prove_products(products_with(receipt, tmp_path))
    finally:
        file.write_text(before)
    assert not (tmp_path / "proof.json").exists()


@pytest.mark.slow
def test_a_prediction_that_is_off_stops_packaging(model_dir, golden, tmp_path, monkeypatch):
    """2e-6 in one row: one line that says which, no Bento, no receipt."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    wrong = golden | {"p_click": [golden["p_click"][0] + 2e-6, *golden["p_click"][1:]]}
    with pytest.raises(
        ContractError, match=r"^not packaged: row 0: pipeline predicts .*, notebook"
    ):
        package_model(model_dir, wrong, name="ctr_test", receipt_path=tmp_path / "receipt.json")
    assert not list((tmp_path).rglob("bento.yaml"))
    assert not (tmp_path / "receipt.json").exists()


@pytest.mark.slow
def test_a_service_that_cannot_be_loaded_says_why_in_one_line(
    model_dir, golden, tmp_path, monkeypatch
):
    """A defect in the service's code is not mistaken for a matter of parity."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    project = copy_project(tmp_path / "project")
    (project / "bentos/ctr/service.py").write_text("import nothing_of_that_name\n")
    monkeypatch.setattr(package_step, "_ROOT", project)
    with pytest.raises(ClicklabError, match="nothing_of_that_name") as caught:
        package_model(model_dir, golden, name="ctr_test")
    assert "\n" not in str(caught.value)
    assert type(caught.value) is ClicklabError
