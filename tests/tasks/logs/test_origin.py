"""The origin of a log: the same from day to day, another for other data."""

import pytest

from tasks.logs.origin import origin_of, slug


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        ("sim://avazu?rows=10&seed=1", "sim://avazu"),
        ("sim://avazu", "sim://avazu"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/2026-11-27.csv", "s3://bucket"),
        ("s3://bucket/clicks/", "s3://bucket/clicks"),
        ("s3://bucket/clicks/2026-11-27/", "s3://bucket/clicks"),
        ("s3://bucket/clicks/year=2026/month=11/part-0.parquet", "s3://bucket/clicks"),
        ("s3://bucket/shop7/a.CSV.GZ", "s3://bucket/shop7"),
    ],
)
def test_what_changes_daily_is_left_out(source, origin):
    """Rows and seed of a simulation, files, dates and partitions of a log."""
    assert origin_of(source) == origin


def test_files_of_one_folder_are_one_origin_and_other_folders_are_others(tmp_path):
    """A file counts as its folder, a folder of one day as the one that holds all days."""
    for day in ("2026-11-26", "2026-11-27"):
        (tmp_path / "shop" / day).mkdir(parents=True)
        (tmp_path / "shop" / day / "log.csv").write_text("x")
    (tmp_path / "shop" / "all.csv").write_text("x")
    (tmp_path / "other").mkdir()
    places = ["shop", "shop/all.csv", "shop/2026-11-26", "shop/2026-11-27/log.csv"]
    assert {origin_of(str(tmp_path / place)) for place in places} == {str(tmp_path / "shop")}
    assert origin_of(str(tmp_path / "other")) == str(tmp_path / "other")


def test_inside_the_project_the_origin_moves_with_it(tmp_path, monkeypatch):
    """Relative to the folder that holds pipeline.yaml, from wherever it is asked."""
    (tmp_path / "pipeline.yaml").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert origin_of("data/a.csv") == origin_of(str(tmp_path / "data")) == "data"
    assert origin_of("nothing.csv") == "nothing.csv"  # not there: `ingest` says so


def test_a_name_stands_for_real_data_only():
    """A simulated log never passes for another one."""
    assert origin_of("s3://bucket/a/", "production") == "production"
    assert origin_of("sim://avazu?rows=5", "production") == "sim://avazu"


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("sim://avazu", "sim-avazu"),
        (".", "project"),
        ("/Data/Käse x", "data-k-se-x"),
        ("a" * 80, "a" * 60),
    ],
)
def test_a_slug_is_fit_for_names(origin, expected):
    """MLflow's and BentoML's names."""
    assert slug(origin) == expected
