"""A file's rows get the service's numbers, in the file's order; what cannot be scored is kept with its reason."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from tasks.errors import ConfigError, InputError
from tasks.schema import Schema, load_schema
from tasks.serving.file_scoring import score_file
from tasks.serving.live import LiveScorer
from tasks.simulation.simulate import write_csv
from tests.bentos.ctr.serving import trained_model

AVAZU = load_schema("avazu")
N_ROWS = 600


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model whose numbers differ from row to row."""
    return trained_model(tmp_path_factory.mktemp("model"), AVAZU)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log as Kaggle writes it, with clicks."""
    path = tmp_path_factory.mktemp("log") / "train.csv"
    write_csv(path, N_ROWS, seed=3)
    return path


@pytest.fixture(scope="module")
def rows(log):
    """Its rows as texts."""
    with log.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def served(model, rows):
    """What the service answers for each of them."""
    scorer = LiveScorer(model)
    fields = {*AVAZU.field_names, AVAZU.time_column}
    return np.array([scorer.score({k: v for k, v in row.items() if k in fields}) for row in rows])


def read(path: Path) -> dict[str, list]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pydict()
    kept = pa_csv.ConvertOptions(column_types={"id": pa.string()})
    return pa_csv.read_csv(path, convert_options=kept).to_pydict()


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    """Return a file of the rows, in the form that its name says."""
    if ".jsonl" in path.name:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w") as file:
            out = csv.DictWriter(file, rows[0])
            out.writeheader()
            out.writerows(rows)
    return path


@pytest.mark.parametrize("form", ["a.csv", "a.parquet", "a.jsonl"])
@pytest.mark.parametrize("out", ["p.csv", "p.csv.gz", "p.parquet"])
def test_every_form_gets_the_numbers_of_the_service(model, rows, served, tmp_path, form, out):
    """In the order of the file; without clicks, as at the time of a request."""
    unlabelled = [{k: v for k, v in row.items() if k != "click"} for row in rows]
    source = written(tmp_path / form, unlabelled)
    done = score_file(model, str(source), tmp_path / out, schema=AVAZU, batch_rows=70)
    found = read(tmp_path / out)
    assert list(found) == ["id", "p_click"]
    assert found["id"] == [row["id"] for row in rows]
    np.testing.assert_allclose(found["p_click"], served, rtol=0, atol=1e-9)
    assert (done.n_rows, done.rejected, done.notes) == (N_ROWS, None, [])
    assert done.mean == pytest.approx(served.mean())


def test_clicks_and_block_size_change_nothing(model, log, served, tmp_path):
    """A log that has them is scored as one that has not, however it is read."""
    for number, block_bytes in enumerate((1 << 14, 8 << 20)):
        out = tmp_path / f"{number}.csv"
        score_file(model, str(log), out, schema=AVAZU, block_bytes=block_bytes)
    assert (tmp_path / "0.csv").read_bytes() == (tmp_path / "1.csv").read_bytes()
    np.testing.assert_allclose(read(tmp_path / "1.csv")["p_click"], served, rtol=0, atol=1e-9)


def test_kaggles_form_names_the_probability_like_the_label(model, log, tmp_path):
    """The first line of its sample submission is ``id,click``."""
    score_file(model, str(log), tmp_path / "sub.csv.gz", schema=AVAZU, kaggle=True)
    with gzip.open(tmp_path / "sub.csv.gz", "rt") as file:
        assert file.readline() == "id,click\n"
        assert '"' not in file.read()


def test_rows_without_an_id_are_numbered_whatever_is_left_out(model, rows, served, tmp_path):
    """By their place in the file, from 1; a row that cannot be read keeps its number and has a reason."""
    bare = [{k: v for k, v in row.items() if k not in ("id", "click")} for row in rows]
    bare[2]["hour"] = "never"
    source = written(tmp_path / "a.csv", bare)
    done = score_file(model, str(source), tmp_path / "p.parquet", schema=AVAZU, block_bytes=4096)
    found = read(tmp_path / "p.parquet")
    assert found["row"] == [1, 2, *range(4, N_ROWS + 1)]
    np.testing.assert_allclose(found["p_click"], np.delete(served, 2), rtol=0, atol=1e-9)
    (rejected,) = pq.read_table(done.rejected).to_pylist()
    assert (done.n_rejected, rejected["row"]) == (1, 4)  # the header is line 1
    assert (rejected["reason"], rejected["value"]) == ("time cannot be parsed", "never")


def test_too_many_bad_rows_leave_nothing(model, rows, tmp_path):
    """Neither probabilities nor the file of rejected rows; an older file stays as it was."""
    source = written(tmp_path / "a.csv", [row | {"hour": "never"} for row in rows[:9]] + rows[9:60])
    (tmp_path / "p.csv").write_text("old")
    with pytest.raises(InputError, match=r"9 of 60 rows cannot be scored.*time cannot be parsed"):
        score_file(model, str(source), tmp_path / "p.csv", schema=AVAZU)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "p.csv"]
    assert (tmp_path / "p.csv").read_text() == "old"


@pytest.mark.parametrize(
    ("out", "line"),
    [
        ("p.txt", "name a file that ends in"),
        ("a.csv", "is what would be read"),
        (".csv", "ends in"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused_before_work(model, rows, tmp_path, out, line):
    """Nothing is read or overwritten."""
    source = written(tmp_path / "a.csv", rows[:3])
    with pytest.raises(ConfigError, match=line):
        score_file(model, str(source), tmp_path / out, schema=AVAZU)


def test_a_place_in_the_folder_that_is_read_is_refused(model, rows, tmp_path):
    """The next reading would take the probabilities for data."""
    written(tmp_path / "a.csv", rows[:3])
    with pytest.raises(ConfigError, match="in the folder that would be read"):
        score_file(model, str(tmp_path), tmp_path / "p.csv", schema=AVAZU)


def test_a_file_without_rows_or_columns_is_one_line(model, rows, tmp_path):
    """What is missing is named."""
    (tmp_path / "empty.csv").write_text(",".join(rows[0]) + "\n")
    with pytest.raises(InputError, match="no rows"):
        score_file(model, str(tmp_path / "empty.csv"), tmp_path / "p.csv", schema=AVAZU)
    (tmp_path / "few.csv").write_text("hour,C1\n14102100,1005\n")
    with pytest.raises(InputError, match="missing columns 'banner_pos'"):
        score_file(model, str(tmp_path / "few.csv"), tmp_path / "p.csv", schema=AVAZU)


def test_ids_that_need_quotes_get_them(tmp_path):
    """The others stay bare; so does a schema with counts and weights, which a request has not."""
    declared = {"name": "shop", "label": {"column": "clicks", "impressions": "shown"}, "weight": "w", "id": "key", "fields": {"a": {}}}  # fmt: skip
    schema = Schema.from_dict(declared)
    model = trained_model(tmp_path / "model", schema)
    (tmp_path / "a.jsonl").write_text('{"key": "x,1", "a": "1"}\n{"key": "y", "a": null}\n')
    score_file(model, str(tmp_path / "a.jsonl"), tmp_path / "p.csv", schema=schema)
    assert read_ids(tmp_path / "p.csv") == ["x,1", "y"]


def read_ids(path: Path) -> list[str]:
    with path.open() as file:
        return [row["key"] for row in csv.DictReader(file)]
