"""What may be missing from a notebook: the run continues, and the report says so."""

import json
import logging

import matplotlib.pyplot as plt
import pytest

from tasks.figures.optional import left_out, optional


@pytest.fixture(autouse=True)
def _no_window():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_a_fault_is_one_line_and_the_next_statement_runs(caplog):
    """The block is left, nothing is raised, and the log names what is missing and why."""
    reached = False
    with caplog.at_level(logging.WARNING), optional("the curve"):
        raise KeyError("valid_log_loss")
    reached = True
    assert reached
    assert caplog.messages == ["the curve is missing here: KeyError: 'valid_log_loss'"]


def test_without_a_fault_the_figure_is_shown_and_closed(caplog, monkeypatch):
    """As one picture; nothing is logged."""
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    with optional("the curve"):
        plt.figure()
    (picture,) = shown
    assert picture.data.startswith(b"\x89PNG")
    assert plt.get_fignums() == []
    assert caplog.messages == []


def test_a_figure_that_cannot_be_rendered_counts_as_a_fault(caplog):
    """Matplotlib meets broken math text only when it draws; the figure is dropped."""
    with caplog.at_level(logging.WARNING), optional("the curve"):
        plt.figure().text(0.5, 0.5, r"$\notacommand{$")
    assert "the curve is missing here: ValueError" in caplog.messages[0]
    assert plt.get_fignums() == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_still_stops_the_cell(stop):
    """Only errors are swallowed."""
    with pytest.raises(stop), optional("the curve"):
        raise stop


def test_executed_notebooks_name_what_is_missing(tmp_path, monkeypatch):
    """One line per fault, with the task; notebooks without one, or unreadable, add none."""
    shown = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, raw, metadata: shown.append((data, metadata))
    )
    with optional("the curve"):
        raise ValueError("first line\nsecond line")
    ((data, metadata),) = shown
    cell = {"outputs": [{"data": data, "metadata": metadata}]}
    (tmp_path / "train-ftrl.ipynb").write_text(json.dumps({"cells": [{"source": ""}, cell]}))
    (tmp_path / "explore.ipynb").write_text(json.dumps({"cells": [{"outputs": [{}]}]}))
    (tmp_path / "evaluate.ipynb").write_text("{")
    assert left_out(tmp_path) == ["train-ftrl: the curve is missing here: ValueError: first line"]
    assert "second line" not in data["text/html"]
