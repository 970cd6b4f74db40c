"""What a container runs, really run: each task a process in a folder of its own, the bucket moto's over HTTP."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import boto3
import pyarrow.parquet as pq
import pytest
import yaml

from infra.state_machine.dag import read_needs
from tasks.knobs.reading import read_env
from tests.conftest import ROOT, copy_project
from tests.infra.cloud import REGION, account
from tests.rehearsal.guard import guarded
from tests.rehearsal.tracking import tracking_server

pytestmark = pytest.mark.nightly
BUCKET, STORE = "clicklab-bucket", "s3://clicklab-bucket/runs"
HOLD = Path(__file__).with_name("hold")
TASKS = [
    "ingest", "validate", "explore", "hash_features", "train-sgd", "train-sgd_optuna", "train-ftrl", "train-fm",
    "evaluate", "promote", "package", "report",
]  # fmt: skip


class Cloud:
    """A bucket, the project as an image holds it, and containers that start with empty products folders."""

    def __init__(self, folder: Path, address: str, tracking_uri: str):
        self.folder, self.address, self.tracking_uri = folder, address, tracking_uri
        self._number = 0
        self.s3 = boto3.client("s3", region_name=REGION)
        self.s3.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        self.project = folder / "project"
        self.project.mkdir()
        copy_project(self.project)
        ignored = shutil.ignore_patterns("__pycache__", "terraform", "rehearsal")
        shutil.copytree(ROOT / "infra", self.project / "infra", ignore=ignored)
        self.knobs = read_env(ROOT / "env.tiny.yaml")
        self.knobs["mlflow"]["artifact_root"] = str(folder / "mlflow" / "artifacts")

    def env(self, *, searches: str = "searches", **changed) -> Path:
        """Write an env file whose products folder is new, and return it; `searches` is the file of Optuna's."""
        self._number += 1
        products = str(self.folder / f"container-{self._number}" / "products")
        storage = f"sqlite:///{self.folder}/{searches}.db"
        knobs = json.loads(json.dumps(self.knobs)) | {"products": products} | changed
        knobs["models"]["sgd_optuna"]["search"]["storage"] = storage
        path = self.folder / f"env-{self._number}.yaml"
        path.write_text(yaml.safe_dump(knobs, sort_keys=False))
        return path

    def start(self, task: str, run: str, *, knobs=None, hold="", **environment) -> subprocess.Popen:
        """Start the container of a task."""
        told = {
            "CLICKLAB_ENV": str(self.env(**(knobs or {}))),
            "CLICKLAB_STORE": STORE,
            "CLICKLAB_RUN": run,
            "CLICKLAB_GRACE_S": "5",
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "BENTOML_HOME": str(self.folder / "bentoml"),
            "PYTHONPATH": f"{HOLD}{os.pathsep}{self.project}",
            "HOLD": hold,
            **environment,
        }
        command = [sys.executable, "-m", "infra.container.attempt", task]
        return subprocess.Popen(
            command,
            cwd=self.project,
            env=os.environ | told,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, task: str, run: str, *, code: int = 0, **more) -> list[dict]:
        """Run a container to its end, check its exit code, and return its log lines."""
        process = self.start(task, run, **more)
        return self.end(process, code)

    @staticmethod
    def end(process: subprocess.Popen, code: int) -> list[dict]:
        """Wait for a container and return its log lines, each of which must be JSON."""
        out = process.communicate(timeout=600)[0]
        assert process.returncode == code, out[-3000:]
        return [json.loads(line) for line in out.splitlines()]

    def keys(self, prefix: str) -> dict[str, int]:
        """Return what the bucket holds below a prefix."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        found = [entry for page in pages for entry in page.get("Contents", ())]
        return {entry["Key"].removeprefix(prefix): entry["Size"] for entry in found}

    def read(self, key: str) -> bytes:
        """Return an object."""
        return self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def read_json(self, key: str) -> dict:
        """Return an object's content as data."""
        return json.loads(self.read(key))

    def check_rights(self, *, after_calls: str) -> None:
        """Let the bucket look at who asks, after so many calls."""
        text = {"Content-Type": "text/plain"}
        with urlopen(
            Request(f"{self.address}/moto-api/reset-auth", after_calls.encode(), text), timeout=10
        ):
            pass

    def copy_run(self, old: str, new: str, tasks: list[str]) -> None:
        """Begin a run with finished tasks of another one."""
        for task in tasks:
            record = self.read_json(f"runs/{old}/tasks/{task}.json")
            for key in [f"tasks/{task}.json", *(f"products/{name}" for name in record["files"])]:
                source = {"Bucket": BUCKET, "Key": f"runs/{old}/{key}"}
                self.s3.copy_object(Bucket=BUCKET, CopySource=source, Key=f"runs/{new}/{key}")

    @contextmanager
    def held(self, task: str, run: str, where: str, **more):
        """Start a container, wait until the function named stops in it, and yield it and the stopped one's id."""
        file = self.folder / f"held-{run}-{task}"
        process = self.start(task, run, hold=f"{where}:{file}", **more)
        try:
            deadline = time.monotonic() + 240
            while not (file.exists() and file.read_text()):
                assert process.poll() is None, process.communicate()[0][-3000:]
                assert time.monotonic() < deadline, "never came to where it was to stop"
                time.sleep(0.1)
            yield process, int(file.read_text())
        finally:
            file.unlink(missing_ok=True)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """A bucket and a run `whole` in which every task ran in a container of its own."""
    folder = tmp_path_factory.mktemp("cloud")
    with guarded(folder), tracking_server(folder / "tracking") as tracking, account() as address:
        cloud = Cloud(folder, address, tracking.uri)
        cloud.logs = {}
        for tasks in SIDE_BY_SIDE:
            begun = {task: cloud.start(task, "whole") for task in tasks}
            cloud.logs |= {task: cloud.end(process, 0) for task, process in begun.items()}
        yield cloud


SIDE_BY_SIDE = [
    TASKS[:1],
    TASKS[1:2],
    TASKS[2:4],
    TASKS[4:6],
    TASKS[6:8],
    *([task] for task in TASKS[8:]),
]


def messages(lines: list[dict]) -> str:
    """Return what a log says, without its frame."""
    return "\n".join(line["message"] for line in lines)


# ---- every task by itself


def test_the_list_of_tasks_is_the_pipelines(cloud, monkeypatch):
    """In an order in which each finds what it needs."""
    monkeypatch.chdir(ROOT)
    needs = read_needs(cloud.knobs)
    assert set(TASKS) == set(needs)
    assert all(TASKS.index(up) < TASKS.index(task) for task in TASKS for up in needs[task])


def test_tasks_in_empty_folders_make_what_a_build_in_one_folder_makes(cloud):
    """The log, the arrays, the models and the evaluation are the same; nothing of a container was needed again."""
    local = cloud.env(searches="local")
    folder = Path(yaml.safe_load(local.read_text())["products"])
    environment = os.environ | {
        "PYTHONPATH": str(cloud.project),
        "BENTOML_HOME": str(cloud.folder / "bentoml-local"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{cloud.folder}/mlflow-local/mlflow.db",
    }
    command = [sys.executable, "-W", "ignore", "-m", "tasks.cli", "run", "--env", str(local)]
    done = subprocess.run(
        command, cwd=cloud.project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = cloud.keys("runs/whole/products/")
    kept = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and (not path.name.startswith(".") or path.name.endswith(".metadata"))
    }
    kept = {
        name
        for name in kept
        if not name.startswith(("logs/", "champion/")) and ".checkpoint." not in name
    }
    assert kept - set(theirs) == set()
    assert {name for name in set(theirs) - kept if not name.startswith("package/")} == set()
    for name in kept:
        if name.endswith((".arrow", ".npy", "contract.json", "plan.json")):
            assert cloud.read(f"runs/whole/products/{name}") == (folder / name).read_bytes(), name
    one = cloud.folder / "log.parquet"
    for name in filter(lambda name: name.endswith(".parquet"), kept):
        one.write_bytes(cloud.read(f"runs/whole/products/{name}"))
        assert pq.read_table(one).equals(pq.read_table(folder / name)), name
    there, here = (
        cloud.read_json("runs/whole/products/evaluation.json"),
        json.loads((folder / "evaluation.json").read_text()),
    )
    assert there["metrics"] == here["metrics"]
    assert there["golden"] == here["golden"]


def test_every_log_line_tells_run_task_and_cell(cloud):
    """So that one filter finds them; cells are counted as the executed notebook has them."""
    lines = cloud.logs["train-ftrl"]
    assert {(line["run"], line["task"], line["attempt"]) for line in lines} == {
        ("whole", "train-ftrl", 1)
    }
    cells = [line["cell"] for line in lines if line["cell"] is not None]
    assert cells == sorted(cells)
    assert max(cells) > 10


def test_the_record_comes_last_and_names_every_file(cloud):
    """Sizes as they are in the bucket, Ploomber's metadata among them."""
    record = cloud.read_json("runs/whole/tasks/hash_features.json")
    there = cloud.keys("runs/whole/products/")
    assert record["files"] == {name: there[name] for name in record["files"]}
    assert "features/.manifest.json.metadata" in record["files"]
    assert "features/train/part-000000.arrow" in record["files"]


def test_the_last_task_leaves_the_summary_for_the_notice(cloud):
    """One line: rows, models, champion, Bento."""
    text = cloud.read("runs/whole/summary.txt").decode()
    assert "20,000 rows" in text
    assert "the champion is" in text
    assert "\n" not in text.strip()


def test_promotion_goes_to_the_shared_ledger_and_the_model_to_the_pointer(cloud):
    """Both lie beside the runs, and the Bento is kept with the run."""
    ledger = cloud.read("ledger/decisions.jsonl").decode().splitlines()
    assert len(ledger) == 4
    pointer = cloud.read_json("models/champion.json")
    assert f"models/{pointer['folder']}/model.json" in cloud.keys("")
    (bento,) = [
        name for name in cloud.keys("runs/whole/products/package/") if name.endswith(".bento")
    ]
    assert bento.startswith("ctr_tiny-")


# ---- again


def test_a_second_container_skips_what_has_not_changed(cloud):
    """Nothing is run, nothing is written again; a notebook and a function."""
    for task in ("ingest", "train-ftrl"):
        before = cloud.read(f"runs/whole/tasks/{task}.json")
        lines = cloud.run(task, "whole", CLICKLAB_ATTEMPT="2")
        assert "nothing has changed" in messages(lines)
        assert cloud.read(f"runs/whole/tasks/{task}.json") == before


def test_a_changed_knob_runs_its_task_again_and_those_after_it(cloud):
    """As `ploomber build` would; what does not depend on it is left alone."""
    cloud.copy_run("whole", "changed", ["ingest", "validate", "hash_features", "train-ftrl"])
    knobs = {"checks": cloud.knobs["checks"] | {"max_ctr": 0.8}}
    assert "nothing has changed" in messages(cloud.run("ingest", "changed", knobs=knobs))
    assert "finished" in messages(cloud.run("validate", "changed", knobs=knobs))
    record = cloud.read_json("runs/changed/tasks/validate.json")
    assert (
        record["finished_utc"] >= cloud.read_json("runs/whole/tasks/validate.json")["finished_utc"]
    )
    assert "finished" in messages(cloud.run("hash_features", "changed", knobs=knobs))


def test_one_model_alone_is_evaluated_alone(cloud):
    """MODEL=ftrl: the other trainings are not needed and not looked for."""
    cloud.copy_run("whole", "one", ["ingest", "validate", "hash_features", "train-ftrl"])
    cloud.run("evaluate", "one", CLICKLAB_MODEL="ftrl")
    found = cloud.read_json("runs/one/products/evaluation.json")
    assert found["ranking"] == ["ftrl"]


def test_shards_hash_what_the_task_then_finds(cloud):
    """Three containers, each a third of the parts; the same bytes as in one."""
    cloud.copy_run("whole", "shards", ["ingest", "validate"])
    shards = [
        cloud.start("hash_features", "shards", CLICKLAB_SHARD=str(i), CLICKLAB_SHARDS="3")
        for i in range(3)
    ]
    for shard in shards:
        cloud.end(shard, 0)
    parts = [
        name for name in cloud.keys("runs/shards/products/features/") if name.endswith(".arrow")
    ]
    whole = cloud.keys("runs/whole/products/features/")
    assert sorted(parts) == sorted(name for name in whole if name.endswith(".arrow"))
    assert "tasks/hash_features.json" not in cloud.keys("runs/shards/")
    lines = cloud.run("hash_features", "shards")
    assert f"resumes from {len(parts) + 3} files" in messages(lines)
    for name in parts:
        key = f"products/features/{name}"
        assert cloud.read(f"runs/shards/{key}") == cloud.read(f"runs/whole/{key}")


# ---- stopped, killed


def test_a_stop_in_the_middle_of_hashing_is_gone_on_with(cloud):
    """SIGTERM: 143, the finished parts are in the bucket, and the next attempt begins after them."""
    cloud.copy_run("whole", "stop", ["ingest", "validate"])
    with cloud.held("hash_features", "stop", "tasks.hashing.parts:_write_part:3") as (process, _):
        process.send_signal(signal.SIGTERM)
        lines = cloud.end(process, 143)
    assert "stop requested" in messages(lines)
    parts = [name for name in cloud.keys("runs/stop/products/features/") if name.endswith(".arrow")]
    assert len(parts) == 3
    assert not cloud.keys("runs/stop/tasks/hash_features.json")
    lines = cloud.run("hash_features", "stop", CLICKLAB_ATTEMPT="2")
    assert "resumes from 4 files" in messages(lines)
    same = "products/features/train/manifest.json"
    assert cloud.read(f"runs/stop/{same}") == cloud.read(f"runs/whole/{same}")


def test_a_stop_in_the_middle_of_training_is_gone_on_with(cloud):
    """SIGTERM: the checkpoint is in the bucket, the next attempt takes it up and ends with the same bits."""
    cloud.copy_run("whole", "train", ["ingest", "validate", "hash_features"])
    with cloud.held("train-ftrl", "train", "tasks.training.checkpoint:Checkpoint.save:1") as (
        process,
        kernel,
    ):
        process.send_signal(signal.SIGTERM)
        lines = cloud.end(process, 143)
        assert not Path(f"/proc/{kernel}").exists(), "the kernel outlived its container"
    assert "1 files saved" in messages(lines)
    assert "train-ftrl.checkpoint.npz" in cloud.keys("runs/train/products/")
    lines = cloud.run("train-ftrl", "train", CLICKLAB_ATTEMPT="2")
    assert "training resumes from here" in messages(lines)
    weights = "products/models/ftrl/weights.npy"
    assert cloud.read(f"runs/train/{weights}") == cloud.read(f"runs/whole/{weights}")
    assert "train-ftrl.checkpoint.npz" not in cloud.keys("runs/train/products/")


def test_a_killed_kernel_is_137_and_said_to_be_memory(cloud):
    """SIGKILL as the kernel's out-of-memory killer sends it; parts put away before it are gone on with."""
    cloud.copy_run("whole", "memory", ["ingest", "validate"])
    keep = {"CLICKLAB_KEEP_EVERY_S": "0.5"}
    where = "tasks.hashing.parts:_write_part:2"
    with cloud.held("hash_features", "memory", where, **keep) as (process, kernel):
        while "features/train/part-000001.arrow" not in cloud.keys("runs/memory/products/"):
            time.sleep(0.2)
        os.kill(kernel, signal.SIGKILL)
        lines = cloud.end(process, 137)
    assert "out of memory most likely" in messages(lines)
    word = cloud.read_json("runs/memory/failures/hash_features.json")
    assert word["exit_code"] == 137
    assert "memory_mb" in word["line"]
    assert "resumes from 3 files" in messages(cloud.run("hash_features", "memory"))
    assert not cloud.keys("runs/memory/failures/hash_features.json")


def test_a_killed_task_is_137_too(cloud):
    """The process between the container's first and the kernel."""
    cloud.copy_run("whole", "killed", ["ingest", "validate"])
    with cloud.held("hash_features", "killed", "tasks.hashing.parts:_write_part:1") as (
        process,
        kernel,
    ):
        parent = int(Path(f"/proc/{kernel}/stat").read_text().rsplit(")", 1)[1].split()[1])
        os.kill(parent, signal.SIGKILL)
        lines = cloud.end(process, 137)
    assert "its process was killed, out of memory most likely" in messages(lines)


# ---- refused


def test_a_failing_data_check_is_4_and_leaves_word(cloud):
    """The line, and the report that a person reads; nothing is recorded as finished."""
    cloud.copy_run("whole", "check", ["ingest"])
    knobs = {"checks": cloud.knobs["checks"] | {"min_ctr": 0.5}}
    lines = cloud.run("validate", "check", code=4, knobs=knobs)
    assert lines[-1]["level"] == "error"
    word = cloud.read_json("runs/check/failures/validate.json")
    assert word["exit_code"] == 4
    assert word["line"] == lines[-1]["message"]
    assert "click rate" in word["line"]
    assert "\n" not in word["line"]
    assert b"click rate" in cloud.read("runs/check/failures/validate/validation.md")
    assert not cloud.keys("runs/check/tasks/validate.json")


def test_a_failing_cell_is_named_and_its_notebook_is_kept(cloud):
    """The place in the executed notebook, in which papermill has put two cells of its own before that one."""
    cloud.copy_run("whole", "cell", ["ingest", "validate"])
    other = cloud.project / "other.yaml"
    avazu = (ROOT / "tasks" / "schemas" / "avazu.yaml").read_text()
    other.write_text(avazu.replace("banner_pos", "banner_place"))  # the log has no such column
    lines = cloud.run("hash_features", "cell", code=2, knobs={"schema": str(other)})
    word = cloud.read_json("runs/cell/failures/hash_features.json")
    cells = json.loads(cloud.read("runs/cell/failures/hash_features/hash_features.ipynb"))["cells"]
    assert lines[-1]["cell"] == word["cell"]
    failed = cells[word["cell"] + 1]
    assert any(output["output_type"] == "error" for output in failed["outputs"])
    assert "collision_report" in "".join(failed["source"])


def test_a_knob_that_cannot_be_is_refused_before_the_task_starts(cloud):
    """The same check as everywhere, in one line."""
    knobs = {"hash": cloud.knobs["hash"] | {"bits": 99}}
    lines = cloud.run("hash_features", "knob", code=3, knobs=knobs)
    assert "`hash.bits` must be an integer from 1 to 30, found 99" in lines[-1]["message"]


def test_what_a_task_needs_and_is_not_there_is_one_line(cloud):
    """A run id that does not exist, or a task too early."""
    lines = cloud.run("validate", "no-such-run", code=2)
    assert "has no finished 'ingest', which 'validate' needs" in lines[-1]["message"]


@pytest.mark.parametrize(
    ("task", "environment", "code", "said"),
    [
        ("no-such-task", {}, 3, "there is no task 'no-such-task'"),
        ("evaluate", {"CLICKLAB_MODEL": "xgb"}, 3, "there is no model 'xgb'"),
        (
            "ingest",
            {"CLICKLAB_STORE": "s3://no-such-bucket/runs"},
            3,
            "there is no bucket no-such-bucket",
        ),
        ("ingest", {"CLICKLAB_STORE": "runs"}, 3, "such as s3://bucket/runs"),
        ("ingest", {"CLICKLAB_RUN": "../x"}, 3, "a run's id is letters"),
        ("ingest", {"CLICKLAB_RUN": ""}, 3, "CLICKLAB_RUN is not set"),
        ("ingest", {"MLFLOW_TRACKING_URI": ""}, 3, "MLFLOW_TRACKING_URI is not set"),
        ("ingest", {"CLICKLAB_ENV": "no.yaml"}, 3, "no.yaml not found"),
        ("ingest", {"CLICKLAB_SHARD": "2", "CLICKLAB_SHARDS": "2"}, 3, "0 <= i < n"),
        ("ingest", {"CLICKLAB_DATA": "s3://clicklab-bucket/nothing/"}, 2, "no such object"),
        (
            "ingest",
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
            8,
            "s3:PutObject on s3://clicklab-bucket",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_one_line_and_a_code(cloud, task, environment, code, said):
    """Named, with what to do, and no traceback."""
    process = cloud.start(task, "bad", **environment)
    out = process.communicate(timeout=120)[0]
    assert process.returncode == code, out
    assert said in out.splitlines()[-1]
    assert "Traceback" not in out


def test_a_role_that_may_not_write_is_told_the_right_it_lacks(cloud):
    """One line with the action and the bucket, before any work is done."""
    iam = boto3.client("iam", region_name=REGION)
    iam.create_user(UserName="weak")
    allowed = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="weak", PolicyName="read", PolicyDocument=policy)
    key = iam.create_access_key(UserName="weak")["AccessKey"]
    keys = {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
    cloud.check_rights(after_calls="0")
    try:
        lines = cloud.run("ingest", "weak", code=3, **keys)
    finally:
        cloud.check_rights(after_calls="inf")
    (line,) = lines
    assert "s3:PutObject" in line["message"]
    assert f"needs s3:PutObject on bucket {BUCKET}" in line["message"]


# ---- side by side


def test_two_runs_at_once_keep_apart(cloud):
    """Another log each, at the same time; each run has its own."""
    data = {"twin-a": "sim://avazu?rows=3000&seed=1", "twin-b": "sim://avazu?rows=4000&seed=2"}
    for task in ("ingest", "validate"):
        both = [cloud.start(task, run, CLICKLAB_DATA=address) for run, address in data.items()]
        for process in both:
            cloud.end(process, 0)
    for run, address in data.items():
        manifest = cloud.read_json(f"runs/{run}/products/log/manifest.json")
        assert manifest["source"] == address
        assert (
            cloud.read_json(f"runs/{run}/products/validation.json")["n_rows"] == manifest["n_rows"]
        )
    assert cloud.read_json("runs/whole/products/log/manifest.json")["n_rows_in"] == 20_000


def test_a_laptop_goes_on_with_a_run_of_containers(cloud):
    """What containers finished is taken as it is, the rest is built here and uploaded."""
    cloud.copy_run(
        "whole",
        "laptop",
        [
            "ingest",
            "validate",
            "explore",
            "hash_features",
            "train-sgd",
            "train-sgd_optuna",
            "train-ftrl",
            "train-fm",
        ],
    )
    environment = os.environ | {
        "CLICKLAB_STORE": STORE,
        "PYTHONPATH": str(cloud.project),
        "BENTOML_HOME": str(cloud.folder / "bentoml-laptop"),
        "MLFLOW_TRACKING_URI": cloud.tracking_uri,
    }
    words = [
        "-W",
        "ignore",
        "-m",
        "infra.container.run_pipeline",
        "laptop",
        "--env",
        str(cloud.env()),
    ]
    done = subprocess.run(
        [sys.executable, *words], cwd=cloud.project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "run laptop: products of 4 tasks uploaded" in done.stdout
    lines = cloud.run("report", "laptop")
    assert "nothing has changed" in messages(lines)
