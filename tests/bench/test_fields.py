"""The bench of numbers and lists runs."""

import json

import pytest

from bench import fields


@pytest.mark.slow
def test_the_bench_compares_tokens_of_the_same_rows(tmp_path, monkeypatch):
    """On few rows: 24 tokens of categories, 13 of numbers, the items of lists."""
    monkeypatch.setattr(fields, "RESULT", tmp_path / "fields.json")
    monkeypatch.setattr("sys.argv", ["fields", "--rows", "2000", "--runs", "1"])
    fields.main()
    found = json.loads((tmp_path / "fields.json").read_text())
    plain, numbers, lists, both = found["tokens_per_row"].values()
    assert (plain, numbers) == (24, 37)
    assert 27 < lists < 28.5
    assert both == pytest.approx(lists + 13)
    assert found["ratio_per_token"]["categories"] == 1
