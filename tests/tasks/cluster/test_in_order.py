"""Intake on a cluster: the log of one process, byte for byte, whatever happens to the workers."""

import os

import pytest

from tasks.cluster.in_order import run_in_order
from tasks.errors import InputError
from tasks.ingest import ingest_log
from tests.logs import SMALL, hours_of, rows, write_lines
from tests.tasks.cluster.killing import kill_when
from tests.tasks.logs.intake.test_assembly import contents, mixed, shuffled

KNOBS = {"schema": SMALL, "max_bad_share": 0.9, "block_bytes": 16 << 10, "piece_bytes": 16 << 10}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """One file of bad rows, duplicates, and rows in any order of three days."""
    lines = mixed(shuffled(rows(20_000, hours=hours_of(3))))
    return write_lines(tmp_path_factory.mktemp("raw") / "raw.csv", lines)


@pytest.fixture(scope="module")
def expected(source):
    """The log of one process."""
    ingest_log(str(source), source.parent / "log", **KNOBS)
    return contents(source.parent / "log")


def on(client):
    return {"dask": {"address": client.scheduler.address}}


@pytest.mark.slow
@pytest.mark.parametrize(
    "n_workers",
    [pytest.param(1, marks=pytest.mark.nightly), 2, pytest.param(4, marks=pytest.mark.nightly)],
)
def test_the_log_is_that_of_one_process(client, source, expected, tmp_path, n_workers):
    """Every file, the manifest and the quarantine included."""
    engine = on(client) if n_workers == 2 else {"dask": {"workers": n_workers}}
    seen = []
    ingest_log(str(source), tmp_path / "log", engine=engine, on_progress=seen.append, **KNOBS)
    assert contents(tmp_path / "log") == expected
    assert seen == sorted(seen)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".log")] == []


@pytest.mark.slow
@pytest.mark.parametrize("sign", [".log.partial-*/.pieces/piece-*", ".log.partial-*/day=*"])
def test_intake_outlives_a_worker_killed_midway(client, source, expected, tmp_path, sign):
    """While rows are read, and while days are put in order; nothing of the dead worker is left."""
    client.wait_for_workers(2, timeout=60)
    pids = client.run(os.getpid)
    killer = kill_when(lambda: next(iter(pids.values())) if any(tmp_path.glob(sign)) else 0)
    ingest_log(str(source), tmp_path / "log", engine=on(client), **KNOBS)
    killer.join(timeout=60)
    assert contents(tmp_path / "log") == expected
    assert not set(pids) <= set(client.nthreads())


@pytest.mark.slow
def test_a_refusal_is_that_of_one_process(client, source, tmp_path):
    """The same line, and the old log stays."""
    said = []
    for engine in ("local", on(client)):
        with pytest.raises(InputError) as found:
            ingest_log(str(source), tmp_path / "log", engine=engine, **KNOBS | {"max_bad_share": 0})
        said.append(str(found.value))
    assert said[0] == said[1]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.slow
def test_results_come_in_order_and_an_error_ends_them(client):
    """However long each takes; what the function raises is raised here."""
    assert list(run_in_order(client, divmod, [(7, n) for n in (1, 2, 3)])) == [
        (7, 0),
        (3, 1),
        (2, 1),
    ]
    results = run_in_order(client, divmod, [(7, 1), (7, 0), (7, 2)])
    assert next(results) == (7, 0)
    with pytest.raises(ZeroDivisionError):
        next(results)
