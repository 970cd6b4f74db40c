"""A full disk: one line, no partial files, and the same command resumes when there is room."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.errors import DiskFullError
from tasks.hashing.contract import HashContract
from tasks.hashing.feature_set import FeatureSet
from tasks.hashing.store import write_features
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.models import KINDS, make_learner
from tasks.models.artifact import save_model
from tasks.pipeline.executor import describe_failure
from tasks.schema import load_schema
from tasks.training import checkpoint
from tasks.training.fit import fit_stream
from tests.conftest import ROOT

SCHEMA = load_schema("avazu")
CONTRACT = HashContract.from_schema(SCHEMA, bits=14)
N_ROWS, BATCH_ROWS = 20_000, 2048


class Disk:
    """A small disk, resized by the test."""

    def __init__(self, folder: Path):
        self.folder = folder

    def resize(self, n_kib: int) -> Path:
        mounted = self.folder.is_mount()
        options = f"{'remount,' * mounted}size={n_kib}k"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            pytest.skip("mounting a small disk needs root")
        return self.folder

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    yield Disk(folder)
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A log and its feature sets, on a disk with enough room."""
    folder = tmp_path_factory.mktemp("room")
    ingest_log(f"sim://avazu?rows={N_ROWS}&seed=7", folder / "log", schema=SCHEMA)
    log = Log.open(folder / "log")
    for name, span in {"train": (0, 16_000), "valid": (16_000, N_ROWS)}.items():
        write_features(log, span, CONTRACT, folder / name, BATCH_ROWS)
    return folder


@pytest.mark.parametrize("n_kib", [4, 64, 512, 1000])
def test_ingest_leaves_nothing(disk, n_kib):
    """Neither quarantine, nor day files, nor the files that detect duplicates."""
    folder = disk.resize(n_kib)
    with pytest.raises(DiskFullError, match=r"log: cannot be written \(No space left"):
        ingest_log(f"sim://avazu?rows={N_ROWS}&seed=7", folder / "log", schema=SCHEMA)
    assert list(folder.iterdir()) == []


def test_hashing_resumes_when_there_is_room(disk, store):
    """Complete parts stay, the partial one is removed; no manifest exists before the set is complete."""
    folder, log = disk.resize(700), Log.open(store / "log")
    with pytest.raises(DiskFullError, match=r"part-\d+\.arrow: cannot be written"):
        write_features(log, (0, 16_000), CONTRACT, folder / "train", BATCH_ROWS)
    n_parts = len(list(folder.rglob("part-*.arrow")))
    assert disk.files() == [*(f"part-{i:06d}.arrow" for i in range(n_parts)), "plan.json"]
    disk.resize(10_000)
    written = write_features(log, (0, 16_000), CONTRACT, folder / "train", BATCH_ROWS)
    assert 0 < written.n_skipped == n_parts < written.n_parts
    assert FeatureSet(folder / "train").manifest == FeatureSet(store / "train").manifest


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_kib", [4, 50])
def test_training_and_saving_leave_nothing(disk, store, monkeypatch, kind, n_kib):
    """Neither a partial checkpoint nor a partial model."""
    monkeypatch.setattr(checkpoint, "EVERY_S", 0)
    monkeypatch.setattr(checkpoint, "MAX_SHARE", 1e9)
    folder, parts = disk.resize(n_kib), [FeatureSet(store / name) for name in ("train", "valid")]
    learner = make_learner(kind, 2**14, random_state=0)
    with pytest.raises(DiskFullError, match=r"c\.npz: cannot be written"):
        fit_stream(learner, *parts, max_epochs=1, checkpoint=folder / "c.npz")
    with pytest.raises(DiskFullError, match=r"weights\.npy: cannot be written"):
        save_model(folder / "model", learner, CONTRACT, name=kind)
    assert disk.files() == []


LIMITED = """
import resource, sys
from tests.test_full_disk import *

resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
store, folder = Path(sys.argv[1]), Path(sys.argv[2])
works = [
    lambda: ingest_log(f"sim://avazu?rows={N_ROWS}&seed=7", folder / "log", schema=SCHEMA),
    lambda: write_features(Log.open(store / "log"), (0, 16_000), CONTRACT, folder / "train", BATCH_ROWS),
    lambda: save_model(folder / "model", make_learner("ftrl", 2**14).partial_fit_codes(
        FeatureSet(store / "valid").head(9).codes, [0] * 9), CONTRACT, name="ftrl"),
]
for work in works:
    try:
        work()
    except DiskFullError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_limit_on_file_size_is_reported_in_the_same_way(store, tmp_path):
    """The limit of the process itself, which needs no root."""
    command = [sys.executable, "-c", LIMITED, str(store), str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.count("cannot be written (File too large)") == 3, done.stderr
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert [name for name in left if name != "plan.json"] == []


@pytest.mark.parametrize(
    "text",
    ["[Errno 28] No space left on device", "(sqlite3.OperationalError) database or disk is full"],
)
def test_a_full_disk_reported_by_a_library_is_one_line(text):
    """papermill, Ploomber, Optuna and MLflow write too; a kernel's error is recognized by its text."""
    error = Exception("long text")
    error.ename, error.evalue = "OSError", text
    wrapped = RuntimeError("Error building task")
    wrapped.__cause__ = error
    failure = describe_failure("train-fm", wrapped)
    assert (failure.exit_code, failure.detail) == (DiskFullError.exit_code, "")
    assert failure.line.startswith("no space left on the disk; make room")


CHATTY = """
import sys
from pathlib import Path
from tasks.pipeline.task_process import _printing_to

with _printing_to(Path(sys.argv[1])):
    try:
        print("many words" * 100_000)
        sys.exit("the disk was not full")
    except OSError:
        pass
print("on the screen")
"""


@pytest.mark.slow
def test_a_task_is_not_lost_with_its_log(disk):
    """A task whose output has no room ends as it would otherwise, and the screen stays clean."""
    command = [sys.executable, "-c", CHATTY, str(disk.resize(8) / "logs" / "task.log")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("on the screen\n", "")
