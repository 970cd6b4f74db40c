"""The training rows in compact form: bins, what is usual, and the same after a trip through a file."""

import json

import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import InputError
from tasks.monitoring.bins import MISSING, N_BINS, REST, UNSEEN, FieldBins, SeenValues, text_hashes
from tasks.monitoring.reference import build_reference, read_reference, reference_from
from tasks.schema import load_schema

SCHEMA = load_schema("avazu")


class Rows:
    """A log of `n_hours` with 200 rows an hour; one field has new values each day."""

    def __init__(self, n_hours=96):
        rng = np.random.default_rng(1)
        n = n_hours * 200
        hour = np.repeat(np.arange(n_hours), 200)
        columns = {spec.name: pa.array(rng.choice(["a", "b", None], n)) for spec in SCHEMA.fields}
        columns["C14"] = pa.array(
            [f"{one // 24}-{k}" for one, k in zip(hour, rng.integers(0, 40, n), strict=True)]
        )
        columns[SCHEMA.time_column] = pa.array(hour * 3_600_000_000).cast(
            pa.timestamp("us", tz="UTC")
        )
        self.table, self.n_rows = pa.table(columns), n

    def batches(self, *, columns, start, stop):
        """Yield record batches whose ends lie within hours."""
        yield from self.table.select(columns).slice(start, stop - start).to_batches(777)


@pytest.fixture(scope="module")
def reference():
    """The reference of those rows."""
    rows = Rows()
    return build_reference(rows, SCHEMA, (0, rows.n_rows))


def test_counts_are_those_of_the_rows(reference):
    """Two values and missing ones; forty of a hundred and sixty are too many for their own bins."""
    field = reference.fields["C15"]
    assert sorted(field.bins.values) == ["a", "b"] and field.counts.sum() == 96 * 200
    assert field.counts[MISSING] / (96 * 200) == pytest.approx(1 / 3, abs=0.02)
    assert reference.fields["C14"].counts[REST] > 0


def test_what_moves_every_day_is_usual(reference):
    """All values of a day are new to what was known a day before; nothing of the other fields is."""
    assert reference.fields["C14"].unseen.mean == pytest.approx(0.8, abs=0.25)
    assert reference.fields["C14"].psi.mean > 1
    assert reference.fields["C15"].unseen.mean == 0
    assert abs(reference.fields["C15"].psi.mean) < 0.01


def test_a_file_holds_all_of_it(reference, tmp_path):
    """And one of another form is refused in one line."""
    (tmp_path / "reference.json").write_text(reference.to_json())
    again = read_reference(tmp_path / "reference.json")
    assert again.to_json() == reference.to_json()
    assert reference_from(json.loads(reference.to_json())).n_rows == 96 * 200
    (tmp_path / "reference.json").write_text("{}")
    with pytest.raises(InputError, match="not a readable reference"):
        read_reference(tmp_path / "reference.json")


def test_bins_of_a_request_are_those_of_training():
    """Text by text, empty and null alike missing; a value that never occurred is unseen."""
    seen = SeenValues()
    seen.add(text_hashes(pa.array(["a", "b", "c"])))
    bins = FieldBins("x", "category", ["a"], [], SeenValues.from_text(seen.to_text()))
    assert bins.codes(pa.array(["a", "b", "", None, "z"])).tolist() == [
        0,
        REST,
        MISSING,
        MISSING,
        UNSEEN,
    ]
    assert bins.codes(pa.array([], pa.string())).tolist() == []


def test_numbers_fall_between_edges():
    """Also as text; what is no number is missing."""
    bins = FieldBins("x", "number", [], [1.0, 2.0], SeenValues())
    assert bins.codes(pa.array(["0.5", "1", "7e1", "no", None])).tolist() == [
        0,
        1,
        2,
        MISSING,
        MISSING,
    ]
    assert bins.codes(pa.array([0.5, None])).tolist() == [0, MISSING]
    assert bins.label(1) == "1..2" and N_BINS > MISSING
