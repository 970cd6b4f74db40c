"""Figures and sentences that may fail without failing the run: the model and its record do not depend on them."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_MARK = "clicklab_left_out"  # in the metadata of the output that stands in for what is missing

_log = logging.getLogger(__name__)


@contextmanager
def optional(what: str) -> Iterator[None]:
    """Run a block that draws or writes something to look at; if it fails, show one line instead and continue.

    Open figures are rendered, shown and closed here, so that an error of Matplotlib counts too. Asserts and
    whatever the run depends on belong outside.

    Parameters
    ----------
    what
        What is missing if the block fails, such as "the learning curve".
    """
    import matplotlib.pyplot as plt

    try:
        yield
        pictures = [_png(plt.figure(number)) for number in plt.get_fignums()]
    except Exception as error:
        pictures = []
        reason = (str(error).splitlines() or [""])[0]
        line = f"{what} is missing here: {type(error).__name__}: {reason}"
        _log.warning(line, exc_info=error)
        _show(line)
    plt.close("all")  # drawn once: Jupyter would draw what is open again, twice
    for picture in pictures:
        _show_png(picture)


def show_answer(text: str) -> None:
    """Show the answer of a notebook, Markdown."""
    from IPython.display import Markdown, display

    display(Markdown(text))


def left_out(products: str | Path) -> list[str]:
    """Return a line for each figure or sentence missing in the executed notebooks of a folder."""
    return [
        f"{path.stem}: {line}"
        for path in sorted(Path(products).glob("*.ipynb"))
        for line in _left_out_of(path)
    ]


def _left_out_of(path: Path) -> Iterator[str]:
    try:
        cells = json.loads(path.read_text())["cells"]
    except (OSError, ValueError, KeyError):
        return
    for cell in cells:
        for output in cell.get("outputs", []):
            if line := output.get("metadata", {}).get(_MARK):
                yield line


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _show_png(picture: bytes) -> None:
    from IPython.display import Image, display

    display(Image(picture))


def _show(line: str) -> None:
    from html import escape

    from IPython.display import display

    page = f'<p style="border-left: 4px solid #c2410c; padding-left: 8px">{escape(line)}</p>'
    display({"text/plain": line, "text/html": page}, raw=True, metadata={_MARK: line})
