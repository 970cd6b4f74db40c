"""The raw data's part in Ploomber's cache, proved on a small pipeline."""

import os
import warnings
from pathlib import Path

import pytest

from tasks.ingest import ingest
from tasks.pipeline.data_changes import refresh
from tests.logs import SMALL, rows, write_lines

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ploomber's own imports use what Python deprecated
    from ploomber import DAG
    from ploomber.executors import Serial
    from ploomber.products import File
    from ploomber.tasks import PythonCallable

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:ploomber", "ignore::FutureWarning:ploomber"
)


def count(product, upstream):
    """A task after `ingest`."""
    Path(str(product)).write_text(Path(str(upstream["ingest"]["log"])).read_text()[:10])


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Return a function that builds the pipeline in `tmp_path` and says which tasks ran."""
    monkeypatch.chdir(tmp_path)
    import json

    Path("small.yaml").write_text(json.dumps(SMALL.to_dict()))
    write_lines(Path("raw.csv"), rows(30))

    def run() -> set[str]:
        dag = dag_of()
        report = dag.build(show_progress=False)
        return {name for name, ran in zip(report["name"], report["Ran?"], strict=True) if ran}

    return run


def dag_of():
    """Return the pipeline, not rendered: `ingest` with two products and the hook, one task after it."""
    dag = DAG(executor=Serial(build_in_subprocess=False))
    products = {
        "log": File("products/log/manifest.json"),
        "quarantine": File("products/log/quarantine.parquet"),
    }
    params = {"data": "raw.csv", "schema": "small.yaml", "max_bad_share": 0.1}
    first = PythonCallable(ingest, products, dag, name="ingest", params=params)
    first.on_render = refresh
    second = PythonCallable(count, File("products/count.txt"), dag, name="count")
    first >> second
    return dag


def test_nothing_runs_twice(build):
    """A second build has nothing to do."""
    assert build() == {"ingest", "count"}
    assert build() == set()


def test_a_changed_byte_runs_everything_after_it(build):
    """Once; then there is nothing to do again."""
    build()
    path = Path("raw.csv")
    path.write_text(path.read_text().replace("s3", "s9", 1))
    assert build() == {"ingest", "count"}
    assert build() == set()


def test_another_date_runs_nothing(build):
    """A copy or a checkout is not a change."""
    build()
    os.utime("raw.csv", (1, 1))
    assert build() == set()


def test_looking_at_the_status_does_not_lose_the_change(build):
    """`ploomber status` renders too; the build after it still runs."""
    build()
    write_lines(Path("raw.csv"), rows(31))
    dag_of().status()
    assert build() == {"ingest", "count"}


def test_a_source_that_is_gone_keeps_the_log(build):
    """The log is whole without it."""
    build()
    Path("raw.csv").unlink()
    assert build() == set()


def test_a_manifest_nobody_can_read_is_made_anew(build):
    """It records no fingerprint."""
    build()
    Path("products/log/manifest.json").write_text("{")
    assert build() == {"ingest", "count"}
