"""The data contract: what it lets pass, what it stops, and how it says so."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import ConfigError, DataCheckError
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.logs.profile import profile_log
from tasks.schema import Schema, load_schema
from tasks.validate import check_log, validate
from tests.logs import OTHER_TEAM, SMALL, hours_of, rows, write_lines


def log_of(folder, lines, *, schema=SMALL, **knobs) -> Log:
    source = write_lines(folder / "raw.csv", lines)
    ingest_log(str(source), folder / "log", schema=schema, max_bad_share=0.9, **knobs)
    return Log.open(folder / "log")


def failed(report, severity: str) -> dict[str, str]:
    """Return the failed checks of a severity and what they found."""
    return {
        item.check: item.found
        for item in report.findings
        if not item.passed and item.severity == severity
    }


def test_a_good_log_passes_without_a_word(tmp_path):
    """No error, no warning, and a page that says so first."""
    report = check_log(log_of(tmp_path, rows(300, hours=hours_of(3))), SMALL, {})
    assert report.passed and not report.warnings
    assert report.to_markdown().startswith("# May be used: ")
    report.raise_if_failed("page.md")


@pytest.mark.parametrize(
    ("limits", "passed"),
    [
        ({"min_ctr": 0.3, "max_ctr": 0.4}, True),
        ({"min_ctr": 0.4}, False),
        ({"max_ctr": 0.3}, False),
    ],
)
def test_the_click_rate_is_bounded(limits, passed, tmp_path):
    """A third of the rows are clicks."""
    report = check_log(log_of(tmp_path, rows(300)), SMALL, limits)
    assert ("click rate" not in failed(report, "error")) == passed


def test_values_outside_the_domain_are_counted_with_examples(tmp_path):
    """Rows, not distinct values; the whole value must match; a missing value is none."""
    lines = [
        *rows(100),
        "x,0,14102100,a,12",
        "y,0,14102100,a,12",
        "z,0,14102100,a,-",
        "w,1,14102100,a,",
    ]
    loose = Schema.from_dict(SMALL.to_dict() | {"fields": {"site": {}, "pos": {}}})
    report = check_log(log_of(tmp_path, lines, schema=loose), SMALL, {})
    assert failed(report, "error") == {
        "declaration": f"ingested as 'small', digest {loose.digest}; now {SMALL.digest}",
        "domain of pos": "3 rows outside [0-9], such as '12', '-'",
    }


def test_a_failed_contract_is_one_line(tmp_path):
    """It names the first failed check and where the report is."""
    report = check_log(log_of(tmp_path, rows(300)), SMALL, {"min_ctr": 0.5})
    said = r"^click rate: 0\.3333, allowed 0\.5 to 0\.9; check what .*; the full report is in out/page\.md$"
    with pytest.raises(DataCheckError, match=said):
        report.raise_if_failed("out/page.md")


def test_missing_hours_warn_and_then_stop(tmp_path):
    """Two of ten hours are gone: a warning, or an error where less is allowed."""
    hours = [hour for hour in hours_of(1)[:10] if hour not in ("14102104", "14102105")]
    log = log_of(tmp_path, rows(80, hours=hours))
    warned = failed(check_log(log, SMALL, {}), "warning")["missing hours"]
    assert (
        warned
        == "2 of 10 hours have no row (20.0%, allowed 50%); the longest gap is 2 h from 2014-10-21 04:00"
    )
    assert "missing hours" in failed(
        check_log(log, SMALL, {"max_missing_hours_share": 0.1}), "error"
    )


def test_a_log_of_days_misses_no_hours(tmp_path):
    """Its steps are of a day: nine of ten days are there, and 216 hours are not missed."""
    days = [f"1410{day}00" for day in range(10, 20) if day != 15]
    report = check_log(log_of(tmp_path, rows(90, hours=days)), SMALL, {})
    assert failed(report, "warning")["missing hours"].startswith(
        "1 of 10 days have no row (10.0%, allowed 50%); the longest gap is 1 d from 2014-10-15"
    )


def test_a_log_of_working_hours_misses_no_nights(tmp_path):
    """Nine hours of each of four days; one of them is gone."""
    hours = [f"1410{21 + day}{hour:02d}" for day in range(4) for hour in range(8, 17)]
    hours.remove("14102312")
    report = check_log(log_of(tmp_path, rows(140, hours=hours)), SMALL, {})
    assert failed(report, "warning")["missing hours"] == (
        "1 of 36 hours have no row (2.8%, allowed 50%); the longest gap is 1 h from 2014-10-23 12:00"
    )


def test_a_category_that_never_repeats_is_pointed_out(tmp_path):
    """A number or an identifier; the advice tells them apart."""
    lines = [
        ",".join([*line.split(",")[:3], f"u{number}", str(number / 7)])
        for number, line in enumerate(rows(200))
    ]
    loose = Schema.from_dict(SMALL.to_dict() | {"fields": {"site": {}, "pos": {}}})
    warned = failed(check_log(log_of(tmp_path, lines, schema=loose), loose, {}), "warning")
    assert warned["fields whose values come again"] == (
        "nearly as many values as rows: site, pos (numbers: `type: number`)"
    )


def test_a_thin_day_warns(tmp_path):
    """A day in the middle with a tenth of the usual rows was exported only in part."""
    lines = [
        line
        for line in rows(720, hours=hours_of(3))
        if ",141022" not in line or line.endswith("s0,0")
    ]
    warned = failed(check_log(log_of(tmp_path, lines), SMALL, {}), "warning")
    assert "2014-10-22 (9)" in warned["rows per day"]


def test_quarantine_and_duplicates_are_reported(tmp_path):
    """They are not in the log any more, but somebody should look."""
    lines = [*rows(100), rows(100)[5], "z,7,14102100,a,1"]
    report = check_log(log_of(tmp_path, lines), SMALL, {})
    warned = failed(report, "warning")
    assert (
        warned["duplicate ids"] == "1 rows, taken out" and "2 of 102 rows" in warned["quarantine"]
    )
    assert "| duplicate id | 1 |" in report.to_markdown()


def test_constant_and_empty_fields_warn(tmp_path):
    """Both are legal, and both usually mean a broken export."""
    lines = [line.rsplit(",", 2)[0] + ",none,3" for line in rows(100)]
    warned = failed(check_log(log_of(tmp_path, lines), SMALL, {}), "warning")
    assert warned["fields that vary"] == "one value only: site, pos"
    assert warned["fields that are filled"] == "almost always missing: site (100.0%)"


def test_missing_shares_count_nulls_and_the_constant(tmp_path):
    """As the notebook counts them."""
    lines = [line.replace(",s0,", ",none,").replace(",s1,", ",,") for line in rows(70)]
    report = check_log(log_of(tmp_path, lines), SMALL, {})
    assert report.missing_shares == {"site": pytest.approx(2 / 7)}


def test_another_declaration_than_the_logs_is_an_error(tmp_path):
    """A schema changed after ingest means something else by the same file."""
    log = log_of(tmp_path, rows(30))
    other = Schema.from_dict(SMALL.to_dict() | {"name": "other"})
    assert "declaration" in failed(check_log(log, other, {}), "error")


def test_a_log_changed_by_hand_is_noticed(tmp_path):
    """Order, labels and row counts are those of the files, not of the manifest."""
    log = log_of(tmp_path, rows(40, hours=hours_of(1)))
    path = next(log.folder.glob("day=*/*.parquet"))
    table = pq.read_table(path).slice(0, 30)
    table = table.take(pa.array(range(29, -1, -1))).set_column(
        1, "click", pa.array([5] * 30, pa.int8())
    )
    pq.write_table(table, path)
    profile = profile_log(log, SMALL)
    assert (profile.n_rows, profile.n_bad_labels) == (30, 30) and profile.n_out_of_order > 10
    assert {"rows complete", "labels 0 or 1", "order of time"} <= set(
        failed(check_log(log, SMALL, {}), "error")
    )


@pytest.mark.parametrize(
    ("checks", "said"),
    [({"min_crt": 0.1}, "unknown key 'min_crt'; known are min_ctr"), ({"max_ctr": 2}, "max_ctr must be between 0 and 1, got 2"), ({"min_ctr": 0.5, "max_ctr": 0.5}, "must be below max_ctr")],
)  # fmt: skip
def test_a_wrong_knob_is_named(checks, said, tmp_path):
    """A typing error must not switch a check off."""
    with pytest.raises(ConfigError, match=said):
        check_log(log_of(tmp_path, rows(30)), SMALL, checks)


def test_another_teams_log_is_checked_by_its_own_schema(tmp_path):
    """No id, no patterns, own names."""
    lines = [
        f"{number % 2},2024-05-01 {number % 24:02d}:00:00,s{number % 3},o{number % 2}"
        for number in range(96)
    ]
    source = write_lines(tmp_path / "raw.csv", lines, header="tapped,at,slot,os")
    ingest_log(str(source), tmp_path / "log", schema=OTHER_TEAM)
    report = check_log(Log.open(tmp_path / "log"), OTHER_TEAM, {})
    assert report.passed and [item.check for item in report.warnings] == []


def test_the_task_writes_its_report_before_it_fails(tmp_path):
    """The page must be there when the error names it."""
    log = log_of(tmp_path, rows(60))
    schema = tmp_path / "small.yaml"
    schema.write_text(json.dumps(SMALL.to_dict()))
    product = {"report": tmp_path / "validation.json", "page": tmp_path / "validation.md"}
    upstream = {"ingest": {"log": log.folder / "manifest.json"}}
    validate(product, upstream, str(schema), {})
    assert json.loads(product["report"].read_text())["passed"] is True
    with pytest.raises(DataCheckError, match=r"validation\.md"):
        validate(product, upstream, str(schema), {"min_ctr": 0.8})
    assert product["page"].read_text().startswith("# Must not be used")


def test_the_real_sample_passes(real_log, tmp_path):
    """The contract of the bundled schema is that of the real log."""
    schema = load_schema("avazu")
    ingest_log(str(real_log), tmp_path / "log", schema=schema)
    report = check_log(Log.open(tmp_path / "log"), schema, {})
    assert report.passed and not report.warnings and round(report.ctr, 4) == 0.1706


def test_a_simulated_log_passes(tmp_path):
    """The default of `make run`."""
    schema = load_schema("avazu")
    ingest_log("sim://avazu?rows=20000&seed=7", tmp_path / "log", schema=schema)
    assert check_log(Log.open(tmp_path / "log"), schema, {}).passed
