"""README's "Add a model", walked: a file that is not in the repository, a block, the entry that `make run` prints."""

import json
import re
import subprocess
import sys

import pytest
import yaml

from tasks.knobs.model_tasks import task_lines
from tests.conftest import ROOT, copy_project
from tests.test_pipeline import clicklab, environment, run_under_nbval

pytestmark = pytest.mark.slow

BLOCKS = {
    "click_rate": {
        "kind": "tasks.models.click_rate:ClickRate",
        "params": {"prior": 5.0},
        "search": {"method": "fixed"},
    },
    "net": {
        "kind": "tasks.models.neural_net:NeuralNet",
        "params": {"hidden": 8},
        "search": {"method": "grid", "grid": {"rate": [0.02, 0.05]}, "max_epochs": 1},
    },
    "boosted": {
        "kind": "lightgbm:LGBMClassifier",
        "params": {"n_estimators": 20, "min_data_per_group": 100},
        "input": "categorical",
        "max_rows": 10_000,
        "search": {"method": "fixed"},
    },
    "mean": {"kind": "blend", "of": ["sgd", "click_rate", "boosted"]},
}
NAMES = list(BLOCKS)
ADMIT = """
import json, sys
from pathlib import Path
import yaml
from bentos.ctr.models.admission import admit
from bentos.ctr.settings import Limits
from tasks.pipeline.code_behind import files_behind
golden = json.loads(Path("products/tiny/evaluation.json").read_text())["golden"]
found = {}
for name in json.loads(sys.argv[1]):
    folder = Path("products/tiny/models") / name
    (folder / "golden.json").write_text(json.dumps({"rows": golden["rows"], "p_click": golden["p_click"][name]}))
    loaded = admit(folder, name=name, source=name, limits=Limits())
    found[name] = [loaded.max_abs_diff, loaded.n_golden, loaded.scorer.model.kind]
models = yaml.safe_load(Path("env.yaml").read_text())["models"]
notebooks = {name: "blend" if block["kind"] == "blend" else "train" for name, block in models.items()}
found["behind"] = {
    name: files_behind(f"notebooks/{notebook}.ipynb", model=name, models=models) for name, notebook in notebooks.items()
}
found["behind"]["evaluate"] = files_behind("notebooks/evaluate.ipynb")
print(json.dumps(found))
"""


def with_entries(text, lines):
    """Return pipeline.yaml with these trainings after that of `sgd`, in place of the others."""
    end = text.index("  - <<: *notebook\n    name: evaluate")
    begin = text.find("  - <<: *train\n")
    return f"{text[: begin if begin >= 0 else end].rstrip()}\n{lines}\n\n{text[end:]}"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project in which the three models were added as the documents say, and run on the tiny log."""
    folder = copy_project(tmp_path_factory.mktemp("project"))
    page = (ROOT / "docs" / "models.md").read_text()
    code = re.search(r"```python\n(.*?)```", page, re.S)[1]
    (folder / "tasks" / "models" / "click_rate.py").write_text(code)
    env = yaml.safe_load((folder / "env.yaml").read_text())
    one = {"kind": "sgd", "params": {}, "search": {"method": "fixed"}}
    (folder / "env.yaml").write_text(
        yaml.safe_dump({**env, "models": {"sgd": one, **BLOCKS}}, sort_keys=False)
    )
    tiny = yaml.safe_load((folder / "env.tiny.yaml").read_text())
    tiny.pop("models")
    (folder / "env.tiny.yaml").write_text(yaml.safe_dump(tiny))
    pipeline = folder / "pipeline.yaml"
    pipeline.write_text(with_entries(pipeline.read_text(), ""))
    first = clicklab(folder, "run", "--env", "env.tiny.yaml")
    (folder / "refusal.txt").write_text(first.stderr)
    entry = first.stderr.partition("pipeline.yaml:\n")[2].rstrip()
    entries = [entry, *(task_lines(name, BLOCKS[name]) for name in NAMES[1:])]
    pipeline.write_text(with_entries(pipeline.read_text(), "\n".join(entries)))
    done = clicklab(folder, "run", "--env", "env.tiny.yaml")
    assert done.returncode == 0, done.stderr[-4000:]
    (folder / "run.log").write_text(done.stdout + done.stderr)
    return folder


@pytest.fixture(scope="module")
def admitted(project):
    """What the service's admission finds of each model, in the copy of the project."""
    command = [sys.executable, "-W", "ignore", "-c", ADMIT, json.dumps(NAMES)]
    done = subprocess.run(
        command, cwd=project, env=environment(project), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_entry_to_paste_is_printed_before_anything_runs(project):
    """The one that is missing, ready to paste."""
    said = (project / "refusal.txt").read_text()
    assert "model 'click_rate' has no task; add to the trainings of pipeline.yaml" in said
    assert task_lines("click_rate") in said


def test_they_are_trained_compared_and_judged(project):
    """All on the same rows, better than the click rate; one of them all serves."""
    record = json.loads((project / "products/tiny/evaluation.json").read_text())
    assert set(record["verdicts"]) == {"sgd", *NAMES}
    for name in ("net", "boosted", "mean"):
        assert record["metrics"][name]["normalized_entropy"] < 1, name
    receipt = json.loads((project / "products/tiny/package.json").read_text())
    assert receipt["max_abs_diff"] <= 1e-6
    page = (project / "products/tiny/train-boosted.html").read_text()
    assert "learns from the last 10,000 of 15,826 rows" in page


@pytest.mark.parametrize("name", NAMES)
def test_the_service_admits_them(admitted, name):
    """By their golden rows, through both calls."""
    worst, n_golden, kind = admitted[name]
    assert worst <= 1e-6
    assert (n_golden, kind) == (16, BLOCKS[name]["kind"])


def test_a_change_of_the_new_file_rebuilds_what_runs_it(admitted):
    """It is named in env.yaml alone, and imported by nothing; the other trainings stay, but for a blend of it."""
    own = [
        name for name, files in admitted["behind"].items() if "tasks/models/click_rate.py" in files
    ]
    assert own == ["click_rate", "mean", "evaluate"]


def test_a_blend_holds_the_arrays_of_its_parts(project):
    """As the trainings left them, with weights that validation chose; its record is that of a training."""
    models, record = project / "products/tiny/models", read_json(project, "train-mean.json")
    parts = ["sgd", "click_rate", "boosted"]
    assert list(record["params"]["weights"]) == parts
    assert sum(record["params"]["weights"].values()) == pytest.approx(1)
    files = {path.name: path for path in (models / "mean").iterdir()}
    for number, name in enumerate(parts):
        held = json.loads((models / name / "model.json").read_text())["arrays"].values()
        for one in held:
            part = files[f"part{number}_{one['file']}"]
            assert part.read_bytes() == (models / name / one["file"]).read_bytes()
    best = min(read_json(project, f"train-{name}.json")["valid"]["log_loss"] for name in parts)
    assert record["valid"]["log_loss"] <= best + 1e-6


def test_the_blends_notebook_runs_top_to_bottom_under_nbval(project):
    """With the parameters that JupyterLab would show."""
    run_under_nbval(project, "train-mean")


def read_json(project, name):
    return json.loads((project / "products/tiny" / name).read_text())
