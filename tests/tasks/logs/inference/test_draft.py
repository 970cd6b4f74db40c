"""The first schema of a log: it loads, it reads the log, and its reasons stand beside it."""

import csv
import json
import random
import re

import pytest
import yaml

from tasks.errors import ClicklabError
from tasks.ingest import ingest_log
from tasks.logs.inference.draft import draft_schema
from tasks.schema import Schema, load_schema
from tests.conftest import ROOT
from tests.public_logs import PUBLIC, write_public


def write_shop(path, n_rows=3000):
    """Write a log of everything that a draft has to find."""
    draw = random.Random(5)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(
            [
                "request_id",
                "seen_at",
                "event",
                "page",
                "campaign id",
                "floor",
                "tags",
                "os",
                "bought_at",
                "day",
            ]
        )
        for row in range(n_rows):
            page = f"p{int(9 * draw.random() ** 2)}"
            is_click = draw.random() < 0.05 + 0.05 * int(page[1])
            writer.writerow([
                f"r{row:06d}", f"2024-05-{1 + row * 9 // n_rows:02d} {row % 24:02d}:00:00", "click" if is_click else "view",
                page, draw.randrange(500, 560), f"{draw.expovariate(1):.2f}", "|".join(draw.sample("abcdef", draw.randrange(4))),
                draw.choice(["ios", "android", "NULL"]), "2024-05-09 11:00:00" if is_click else "", "yes",
            ])  # fmt: skip
    return path


def test_a_draft_finds_what_a_person_would_write(tmp_path):
    """Separator, label in words, time, id, number, list, missing words; leaks and constants with a word."""
    draft = draft_schema(str(write_shop(tmp_path / "shop.csv")), "shop")
    found = yaml.safe_load(draft.text)
    assert found["file"] == {"separator": ";"}
    assert found["label"] == {"column": "event", "click": ["click"], "no_click": ["view"]}
    assert found["time"] == {"column": "seen_at", "format": "iso"}
    assert found["id"] == "request_id"
    assert found["missing"] == ["NULL"]
    assert found["features"] == ["hour_of_day", "weekday"]
    assert [*found["fields"]] == ["page", "campaign id", "floor", "tags", "os", "day"]
    assert found["fields"]["floor"]["type"] == "number"
    assert found["fields"]["tags"]["type"] == "list"
    assert "  # bought_at: {}   # left out: filled where there is a click" in draft.text
    assert "one value only" in draft.text
    assert {"name": "os", "field": "os"} in found["slices"]
    assert draft.summary[-1] == "it reads 3,000 of 3,000 rows"


def test_a_draft_is_a_schema_by_which_the_log_is_ingested(tmp_path):
    """No row is lost on the way from the command to the log."""
    source = str(write_shop(tmp_path / "shop.csv"))
    path = tmp_path / "shop.yaml"
    path.write_text(draft_schema(source, "shop").text)
    manifest = ingest_log(source, tmp_path / "log", schema=load_schema(path))
    assert (manifest["n_rows"], manifest["n_quarantined"]) == (3000, 0)


@pytest.mark.parametrize("name", PUBLIC)
def test_drafts_of_public_logs_read_them_and_name_the_bundled_schema(name, tmp_path):
    """Headerless or not, with and without a time; no field of a draft tells the label."""
    source = str(write_public(tmp_path / "train.txt", name, 1500))
    draft = draft_schema(source, "mine")
    found = Schema.from_dict(yaml.safe_load(draft.text))
    assert draft.summary[-1].startswith(f"tasks/schemas/{name}.yaml reads this log")
    assert not {"nonclk", "attributed_time", "payprice"} & {*found.field_names}
    bundled = load_schema(name)
    assert found.has_time == bundled.has_time
    assert bool(found.label_form.impressions) == bool(bundled.label_form.impressions)
    kinds = [field.kind for field in found.fields]
    wanted = [field.kind for field in bundled.fields]
    assert [kinds.count(kind) for kind in ("number", "list")] == [
        wanted.count(kind) for kind in ("number", "list")
    ]


@pytest.mark.parametrize(
    "name",
    [
        "no",
        "10",
        "a: b",
        "#1",
        "Straße",
        'say "hi"',
        "back\\slash",
        "null",
        "~",
        "- x",
        "{a}",
        "點擊",
        "\U0001f600\u2028x",
        "\x7f",
    ],
)
def test_names_and_values_survive_yaml(name, tmp_path):
    """Words that YAML takes for something else stand in quotes."""
    path = tmp_path / "log.jsonl"
    rows = [{name: f"{name}{row % 3}", "click": row % 2, "os": name} for row in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = yaml.safe_load(draft_schema(str(path), "odd").text)
    assert found["fields"][name] == {"example": f"{name}0"}
    if "os" in found["fields"] and found["fields"]["os"]:
        assert found["fields"]["os"] == {"example": name}


def test_a_field_named_like_a_feature_keeps_its_column(tmp_path):
    """The feature is left out then."""
    path = tmp_path / "log.csv"
    lines = [
        f"2024-05-0{1 + row % 5} {row % 24:02d}:00:00,{row % 2},{row % 5},p{row % 3}"
        for row in range(300)
    ]
    path.write_text("\n".join(["ts,click,weekday,page", *lines]) + "\n")
    found = yaml.safe_load(draft_schema(str(path), "x").text)
    assert found["features"] == ["hour_of_day"]
    assert "weekday" in found["fields"]


def test_a_log_of_a_label_only_is_one_line(tmp_path):
    """There is nothing to learn from."""
    path = tmp_path / "log.csv"
    path.write_text(
        "ts,click\n" + "".join(f"2024-05-01 {row:02d}:00:00,{row % 2}\n" for row in range(24))
    )
    with pytest.raises(ClicklabError, match="no column is left to learn from"):
        draft_schema(str(path), "x")


def test_the_readme_shows_a_schema_that_loads():
    """Its comments are a draft's."""
    blocks = re.findall(r"```yaml\n(name:.*?)```", (ROOT / "README.md").read_text(), re.S)
    found = Schema.from_dict(yaml.safe_load(blocks[0]))
    assert [field.kind for field in found.fields] == ["category", "number", "list"]


def test_a_bundled_schema_that_cannot_read_the_log_is_passed_over(tmp_path):
    """As many columns as KDD Cup 2012's, no header, and letters in another encoding."""
    path = tmp_path / "log.txt"
    row = "{0}\t{1}\té{2}\t" + "\t".join(f"v{n}{{2}}" for n in range(9))
    path.write_bytes("\n".join(row.format(n % 2, 1, n % 5) for n in range(400)).encode("cp1252"))
    found = yaml.safe_load(draft_schema(str(path), "odd").text)
    assert found["file"]["encoding"] == "cp1252"
