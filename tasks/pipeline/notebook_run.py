"""One notebook run outside of the pipeline, by papermill, to a page."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks import errors
from tasks.errors import ClicklabError
from tasks.pipeline.notebook_hooks import check_executed
from tasks.storage.files import write_atomic

_KERNELS = "tasks.pipeline.kernel_manager.SocketKernelManager"


def run_notebook(source: str | Path, parameters: Mapping[str, Any], target: str | Path) -> Path:
    """Run a notebook, write it as ``target`` and as HTML beside it, and return the HTML's path.

    Parameters
    ----------
    source
        The notebook.
    parameters
        By name, in place of its parameters cell's.
    target
        Path of the executed notebook, ``.ipynb``.

    Raises
    ------
    ClicklabError
        What a cell raised, of the same class if it is one of :mod:`tasks.errors`; otherwise one line that names the
        cell and the executed notebook.
    """
    import papermill
    from nbconvert import HTMLExporter
    from papermill.exceptions import PapermillExecutionError

    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            str(source),
            str(target),
            dict(parameters),
            progress_bar=False,
            kernel_manager_class=_KERNELS,
        )
    except PapermillExecutionError as error:
        raise as_known(error, target) from None
    check_executed({"nb": target})
    exporter = HTMLExporter()
    exporter.log = logging.getLogger(__name__)  # its notes on single images are for authors
    exporter.log.setLevel(logging.ERROR)
    page, _ = exporter.from_filename(str(target))
    write_atomic(target.with_suffix(".html"), page)
    return target.with_suffix(".html")


def as_known(error: Any, target: Path) -> ClicklabError:
    """Return what a cell raised, papermill's error, as one of ours."""
    kind = getattr(errors, error.ename, None)
    if isinstance(kind, type) and issubclass(kind, ClicklabError):
        return kind(error.evalue)
    line = " ".join(str(error.evalue).split())
    return ClicklabError(
        f"{target}: code cell {error.exec_count} failed ({error.ename}: {line[:300]}); the notebook shows where"
    )
