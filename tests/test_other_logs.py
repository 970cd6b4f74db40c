"""Another team's log through the whole pipeline, and unusable input."""

import csv
import gzip
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from tasks.figures.optional import left_out
from tests.conftest import copy_project
from tests.test_pipeline import clicklab

pytestmark = pytest.mark.slow

SHOP = {
    "name": "shop",
    "label": "bought",
    "time": {"column": "seen_at", "format": "iso"},
    "features": ["hour_of_day", "weekday"],
    "fields": {
        "page": {"example": "p1"},
        "campaign": {"example": "c1", "missing": "none"},
        "country": {},
    },
    "slices": [{"name": "campaign", "field": "campaign", "seen": True}],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project whose tiny environment reads a shop's log with the shop's schema."""
    folder = copy_project(tmp_path_factory.mktemp("shop"))
    (folder / "shop.yaml").write_text(yaml.safe_dump(SHOP, sort_keys=False))
    write_shop_log(folder / "shop.csv", n_rows=6000)
    env = yaml.safe_load((folder / "env.tiny.yaml").read_text())
    (folder / "env.shop.yaml").write_text(
        yaml.safe_dump(env | {"schema": "shop.yaml", "data": "shop.csv"})
    )
    return folder


def write_shop_log(path: Path, n_rows: int) -> None:
    """Write five days of a log with no id and no device, whose pages differ in their rate of sales."""
    draw = random.Random(7)
    rate = {f"p{number}": 0.05 + 0.03 * number for number in range(12)}
    begin = datetime(2024, 5, 1, tzinfo=UTC)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seen_at", "bought", "page", "campaign", "country", "ignored"])
        for row in range(n_rows):
            page = draw.choice(list(rate))
            moment = begin + timedelta(days=5 * row / n_rows)
            campaign = draw.choice(["none", "c1", "c2", ""])
            bought = int(draw.random() < rate[page])
            writer.writerow(
                [moment.isoformat(), bought, page, campaign, draw.choice("CHDEFR"), row]
            )


def test_another_teams_log_needs_its_schema_file_and_nothing_else(project):
    """Other names, no id, no device fields, ISO times: from the CSV to a proved Bento."""
    done = clicklab(project, "run", "--env", "env.shop.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((project / "products/tiny/report.json").read_text())
    assert report["rows"]["n_rows"] == 6000
    assert report["promotion"]["registered_name"] == "ctr-shop"
    best = report["models"][0]
    assert best["roc_auc"] > 0.6
    assert report["bento"]["max_abs_diff"] <= 1e-6
    assert left_out(project / "products" / "tiny") == []


def truncated_gz(folder: Path) -> Path:
    """Return a gz file that a broken download left truncated."""
    path = folder / "truncated.csv.gz"
    whole = gzip.compress((folder / "shop.csv").read_bytes())
    path.write_bytes(whole[: len(whole) // 2])
    return path


def renamed_column(folder: Path) -> Path:
    """Return a log whose label has another name."""
    path = folder / "renamed.csv"
    path.write_text((folder / "shop.csv").read_text().replace("bought", "purchased", 1))
    return path


def one_class(folder: Path) -> Path:
    """Return a log in which nobody bought."""
    path = folder / "nobody.csv"
    with (folder / "shop.csv").open() as file:
        rows = [row for row in csv.reader(file) if row[1] != "1"]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda folder: folder / "absent.csv", "no such file"),
        (truncated_gz, "truncated.csv.gz"),
        (renamed_column, "bought"),
        (one_class, "nobody.csv"),
    ],
    ids=["missing", "truncated", "wrong column", "one class"],
)
def test_a_log_that_cannot_be_used_is_one_line_and_an_exit_code(project, make, found):
    """It says what was found and what to do, without a traceback; earlier products stay."""
    manifest = project / "products/tiny/log/manifest.json"
    before = manifest.read_text() if manifest.exists() else None
    done = clicklab(project, "run", "--env", "env.shop.yaml", "--data", str(make(project)))
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr
    assert len(errors) == 1
    assert found in errors[0]
    assert "Traceback" not in done.stderr + done.stdout
    assert (manifest.read_text() if manifest.exists() else None) == before


@pytest.mark.parametrize(
    ("knobs", "found"),
    [
        ({"hash": {"bits": 99, "batch_rows": 4096, "trial_rows": 100}}, "bits"),
        ({"schema": "absent.yaml"}, "absent.yaml"),
        ({"gates": {"max_entropy": 1}}, "max_entropy"),
    ],
    ids=["bits", "schema", "gates"],
)
def test_a_knob_that_cannot_be_used_is_named(project, knobs, found):
    """A mistake in env.yaml is one line, too."""
    env = yaml.safe_load((project / "env.shop.yaml").read_text()) | knobs
    (project / "env.bad.yaml").write_text(yaml.safe_dump(env))
    done = clicklab(project, "run", "--env", "env.bad.yaml")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 3, done.stderr[-2000:]
    assert len(errors) == 1
    assert found in errors[0]
    assert "Traceback" not in done.stderr + done.stdout
