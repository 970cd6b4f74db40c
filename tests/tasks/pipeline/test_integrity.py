"""A product that is not what its task wrote is noticed before it is used, proved on a small pipeline."""

import json
import os
import shutil
import warnings
from pathlib import Path

import pytest

from tasks.pipeline import integrity
from tasks.pipeline.integrity import forget_unreadable, watch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ploomber's own imports use what Python deprecated
    from ploomber import DAG
    from ploomber.exceptions import DAGBuildError
    from ploomber.executors import Serial
    from ploomber.products import File
    from ploomber.tasks import PythonCallable

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:ploomber",
    "ignore::FutureWarning:ploomber",
    "ignore:Corrupted product metadata",  # Ploomber's word for a product that is missing
)
ALL = {"log", "model", "report"}
SALT = b""  # another one is another project's data


def write_log(product):
    """Two day files and the manifest that stands for their folder."""
    manifest = Path(str(product))
    for day in ("day=1", "day=2"):
        (manifest.parent / day).mkdir(parents=True, exist_ok=True)
        (manifest.parent / day / "rows.parquet").write_bytes(day.encode() * 100 + SALT)
    manifest.write_text("{}")


def write_model(product, upstream):
    """Weights beside their manifest, and a file by itself."""
    folder = Path(str(product["model"])).parent
    rows = (Path(str(upstream["log"])).parent / "day=1" / "rows.parquet").read_bytes()
    (folder / "weights.npy").write_bytes(rows[::-1])
    Path(str(product["model"])).write_text("{}")
    Path(str(product["result"])).write_text(json.dumps({"n": len(rows)}))


def write_report(product, upstream):
    """What stands at the end."""
    Path(str(product)).write_text(Path(str(upstream["model"]["result"])).read_text())


def dag_of():
    """Return the pipeline, not rendered: three tasks in a row, watched."""
    dag = DAG(executor=Serial(build_in_subprocess=False))
    dag.on_render = watch
    log = PythonCallable(write_log, File("products/log/manifest.json"), dag, name="log")
    products = {
        "model": File("products/models/m/model.json"),
        "result": File("products/model.json.txt"),
    }
    model = PythonCallable(write_model, products, dag, name="model")
    report = PythonCallable(write_report, File("products/report.json"), dag, name="report")
    log >> model >> report
    return dag


def run(**options):
    """Build in the current folder and return the tasks that ran."""
    report = dag_of().build(show_progress=False, **options)
    return {name for name, ran in zip(report["name"], report["Ran?"], strict=True) if ran}


@pytest.fixture
def built(tmp_path, monkeypatch):
    """The pipeline, built once in a folder of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    integrity._digest.cache_clear()
    assert run() == ALL
    return folder


FILES = {
    "products/log/manifest.json": ALL,
    "products/log/day=2/rows.parquet": ALL,
    "products/models/m/model.json": {"model", "report"},
    "products/models/m/weights.npy": {"model", "report"},
    "products/model.json.txt": {"model", "report"},
    "products/report.json": {"report"},
}


def test_nothing_runs_twice(built, capsys):
    """And nothing is said."""
    assert run() == set()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_in_any_file_is_made_again(built, capsys, name):
    """With size and time as they were; one line names the file and the task; then all is well."""
    path = built / name
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run() == FILES[name]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{name} was changed: ")
    assert "runs again" in line
    assert run() == set()


@pytest.mark.parametrize("name", ["products/log/day=2/rows.parquet", "products/model.json.txt"])
@pytest.mark.parametrize("damage", ["truncate", "empty", "delete", "folder", "folder with files"])
def test_damage_of_any_kind_is_made_again(built, name, damage):
    """What was in the way is kept beside it."""
    path = built / name
    content = path.read_bytes()
    if damage == "truncate":
        path.write_bytes(content[:-1])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    if damage.startswith("folder"):
        path.mkdir()
        if damage != "folder":
            (path / "mine.txt").write_text("kept")
    assert run() == FILES[name]
    assert path.read_bytes() == content
    assert run() == set()
    if damage == "folder with files":
        assert (path.with_name(f"{path.name}.aside-1") / "mine.txt").read_text() == "kept"


def test_a_file_in_place_of_a_folder_is_made_again(built):
    """The folder of the model is a file."""
    shutil.rmtree(built / "products/models/m")
    (built / "products/models/m").write_text("mine")
    assert run() == {"model", "report"}
    assert (built / "products/models/m.aside-1").read_text() == "mine"


def test_a_file_in_place_of_the_products_themselves_is_left_alone(tmp_path, monkeypatch):
    """The knob may name a file by mistake: the run fails, the file stays."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "products").write_text("mine")
    with pytest.raises(DAGBuildError):
        run()
    assert (tmp_path / "products").read_text() == "mine"


def test_a_product_of_another_project_is_not_taken(built, tmp_path, monkeypatch, capsys):
    """Copied over with its metadata, which is right in itself: code and parameters are the same."""
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    monkeypatch.setattr(f"{__name__}.SALT", b"other")
    assert run() == ALL
    monkeypatch.setattr(f"{__name__}.SALT", b"")
    monkeypatch.chdir(built)
    shutil.copytree(other / "products/models", built / "products/models", dirs_exist_ok=True)
    assert run() == {"model", "report"}
    assert "products/models/m/model.json" in capsys.readouterr().err
    shutil.copytree(other / "products/log", built / "products/log", dirs_exist_ok=True)
    assert run() == {"model", "report"}  # a log that is whole, and from which nothing here was made
    assert "was made from another log" in capsys.readouterr().err


def test_a_copied_or_moved_project_is_read_once_and_not_rebuilt(built, tmp_path, monkeypatch):
    """Other inodes, same bytes: verified by digest, which is remembered."""
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    monkeypatch.chdir(copy)
    read = []
    digest = integrity._digest.__wrapped__
    monkeypatch.setattr(
        integrity, "_digest", lambda path, *mark: read.append(path) or digest(path, *mark)
    )
    assert run() == set()
    assert {path.name for path in read} == {Path(name).name for name in FILES}
    read.clear()
    assert run() == set()
    assert read == []
    (copy / "products/models/m/weights.npy").write_bytes(b"")
    assert run() == {"model", "report"}


def test_a_touched_file_is_read_and_nothing_runs(built):
    """Another date is no change."""
    (built / "products/log/day=1/rows.parquet").touch()
    assert run() == set()


def test_files_that_nobody_recorded_do_not_matter(built):
    """A checkpoint folder of an editor, notes, a scratch folder."""
    for name in (
        "products/log/notes.txt",
        "products/scratch/train/model.json",
        "products/log/.x/a",
    ):
        (built / name).parent.mkdir(parents=True, exist_ok=True)
        (built / name).write_text("mine")
    assert run() == set()


def test_looking_at_the_status_changes_nothing(built):
    """It shows what would run; the build after it still does; a file put back in time is as good as before."""
    path = built / "products/model.json.txt"
    content = path.read_bytes()
    path.write_bytes(b"{}")
    shown = str(dag_of().status())
    assert "Source code" in shown or "Upstream" in shown
    path.write_bytes(content)
    assert run() == set()
    path.write_bytes(b"{}")
    dag_of().status()
    assert run() == {"model", "report"}


def test_a_single_task_is_not_made_from_changed_inputs(built):
    """As `ploomber task` does: the damaged task itself runs, one after it is refused."""
    (built / "products/models/m/weights.npy").write_bytes(b"x")
    dag = dag_of()
    dag.render(show_progress=False)
    with pytest.raises(Exception, match="upstream dependencies are missing"):
        dag["report"].build()
    dag["model"].build()
    dag = dag_of()
    dag.render(show_progress=False)
    dag["report"].build()
    assert run() == set()


def test_what_has_no_record_is_made_again(built, capsys):
    """Products of an earlier release, or metadata that cannot be read."""
    path = built / "products/.report.json.metadata"
    known = json.loads(path.read_text())
    del known[integrity.RECORD]
    path.write_text(json.dumps(known))
    assert run() == {"report"}
    assert "products/report.json has no record" in capsys.readouterr().err
    path.write_text('{"timestamp": 1')
    forget_unreadable("products")
    assert run() == {"report"}


def test_a_forced_run_compares_nothing(built, capsys):
    """Everything is made anyway."""
    (built / "products/models/m/weights.npy").write_bytes(b"x")
    assert run(force=True) == ALL
    assert capsys.readouterr().err == ""
