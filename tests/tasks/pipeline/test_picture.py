"""The pipeline as a picture."""

from types import SimpleNamespace

import pytest

from tasks.pipeline.picture import draw, layout, reduced


def dag(**needs):
    """Return what stands for a rendered pipeline; names with a star would run."""
    return {
        name.strip("_"): SimpleNamespace(
            upstream=list(upstream),
            exec_status=SimpleNamespace(
                name="WaitingExecution" if name.endswith("_") else "Skipped"
            ),
        )
        for name, upstream in needs.items()
    }


def test_a_task_stands_right_of_all_that_it_needs():
    """However long the other ways are."""
    places = layout({"a": [], "b": ["a"], "c": ["b"], "d": ["a", "c"]})
    assert [places[name][0] for name in "abcd"] == [0, 1, 2, 3]


def test_tasks_of_one_column_do_not_overlap():
    """One row apart."""
    places = layout({"a": [], **{name: ["a"] for name in "bcde"}})
    rows = sorted(places[name][1] for name in "bcde")
    assert rows == [-1.5, -0.5, 0.5, 1.5]


def test_an_arrow_that_others_imply_is_left_out():
    """It would run behind the boxes."""
    assert reduced({"a": [], "b": ["a"], "c": ["b"], "d": ["a", "b", "c"]})["d"] == ["c"]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_picture_names_each_task_and_what_would_run(tmp_path, suffix):
    """Text and boxes in the file, without a display or a network."""
    path = tmp_path / f"pipeline.{suffix}"
    draw(dag(ingest=[], train_=["ingest"], report_=["ingest", "train"]), path)
    if suffix == "svg":
        text = path.read_text()
        assert all(f"<!-- {name} -->" in text for name in ("ingest", "train", "report"))
        assert "2 of 3 tasks would run" in text
        return
    import matplotlib.image

    pixels = matplotlib.image.imread(path)
    assert pixels.shape[1] > pixels.shape[0]
    assert len({tuple(color) for color in pixels.reshape(-1, pixels.shape[2])[::97]}) > 3
