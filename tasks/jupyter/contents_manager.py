"""How JupyterLab opens and saves notebooks here: with the pipeline's inputs, and products in the scratch folder.

Ploomber's own contents manager shows the parameters that the pipeline would inject, its products included, so
that running a notebook by hand would overwrite them. This one is derived from it. The configuration that
``make setup`` writes names it, so the extensions of Ploomber and jupytext leave it in place.
"""

import json
import logging
import warnings
from pathlib import Path
from typing import Any
from uuid import uuid4

import nbformat
from jupytext.contentsmanager import TextFileContentsManager
from ploomber.jupyter.manager import derive_class
from tornado.web import HTTPError

from tasks.errors import ConfigError
from tasks.jupyter.interactive import (
    PARAMETERS,
    as_defaults,
    assignments,
    differences,
    forget_injected,
    injected_cell,
    parameters_by_hand,
    tagged_cell,
)
from tasks.storage.workspace import SCRATCH, project_root

TEMPLATE = "notebooks/template.ipynb"


class ContentsManager(derive_class(TextFileContentsManager)):  # type: ignore[misc]
    """Notebooks with the parameters of their task, as a person gets them."""

    def load_dag(self, *args: Any, **options: Any) -> None:
        """Load the pipeline as Ploomber does, without its pages of warnings about names that no cell reads."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            super().load_dag(*args, **options)

    def get(self, path: str, content: bool = True, **options: Any) -> dict[str, Any]:
        """Return a file; a notebook with its parameters by hand, an executed one read-only."""
        model = super().get(path, content=content, **options)
        if content and model["type"] == "notebook":
            self._redirect(model)
        return model

    def save(self, model: dict[str, Any], path: str = "") -> dict[str, Any]:
        """Save a file; a notebook without the injected cell and the values of one run.

        Ploomber's own method would also forget what it knows of the task's products, so that every save
        rebuilds them; a changed cell does that by itself.
        """
        if model.get("type") == "notebook" and model.get("content"):
            if self._is_executed(path):
                raise HTTPError(
                    403,
                    f"{path} was written by the pipeline and is not changed by hand; "
                    "keep a copy with File > Save Notebook As...",
                )
            forget_injected(model["content"])
        return TextFileContentsManager.save(self, model, path)

    def new(self, model: dict[str, Any] | None = None, path: str = "") -> dict[str, Any]:
        """Create a file; a new notebook begins as ``notebooks/template.ipynb``, so that it opens the data."""
        place = self._place(path)
        template = project_root(place.parent) / TEMPLATE
        if place.suffix == ".ipynb" and not (model or {}).get("content") and template.is_file():
            content = nbformat.read(template, as_version=4)
            for cell in content.cells:
                cell.id = uuid4().hex[:8]
            model = {**(model or {}), "type": "notebook", "format": "json", "content": content}
        return super().new(model, path)

    def parameters_by_hand(self, model: dict[str, Any]) -> dict[str, Any] | None:
        """Return the parameters that a notebook shows in its injected cell, None if it has no such cell."""
        parameters = model["content"]["metadata"].get("papermill", {}).get("parameters", {})
        if injected_cell(model["content"]) is None or "product" not in parameters:
            return None
        path, task = self._place(model["path"]), self._task(model["path"])
        if not task and not self._is_executed(model["path"]):
            return None  # executed by hand, somewhere else
        root = project_root(path.parent)
        products = self._products(root) if task else path.parent
        return parameters_by_hand(parameters, root=root, products=products, notebook=path.stem)

    def _redirect(self, model: dict[str, Any]) -> None:
        if (shown := self.parameters_by_hand(model)) is not None:
            task = self._task(model["path"])
            other = differences(shown, tagged_cell(model["content"], PARAMETERS))
            source = f"{_comment(task)}\n{assignments(other)}".rstrip()
            injected_cell(model["content"])["source"] = source
            model["writable"] = model["writable"] and bool(task)

    def _place(self, path: str) -> Path:
        return Path(self.root_dir).resolve() / path.strip("/")

    def _task(self, path: str) -> str:
        """Return the first task of the pipeline that a notebook stands for, or nothing."""
        known = self.dag_mapping or {}
        return str(known[path.strip("/")].name) if self.dag and path.strip("/") in known else ""

    def _products(self, root: Path) -> Path:
        return root / str(self.spec.env["products"] if self.spec else "products")

    def _is_executed(self, path: str) -> bool:
        """Return whether a path is that of a notebook that the pipeline has executed."""
        place = self._place(path)
        products = self._products(project_root(place.parent))
        if not place.is_relative_to(products) or self._task(path):
            return False
        if SCRATCH in place.relative_to(products).parts:
            return False
        try:
            return injected_cell(json.loads(place.read_text())) is not None
        except (OSError, ValueError, KeyError, TypeError):
            return False


def _comment(task: str) -> str:
    if not task:
        return "# Written by the pipeline, and read-only. Cells that are run again write to the scratch folder."
    return (
        f"# Parameters of the task {task} where they differ from the cell above. Run by hand, this notebook reads the\n"
        "# pipeline's products and writes to the scratch folder. Assign here to try a value: this cell is not saved.\n"
        "# To keep a value, change env.yaml."
    )


def write_parameters(root: str | Path) -> list[str]:
    """Give the ``parameters`` cells of the pipeline's notebooks the values that JupyterLab would show.

    Returns the notebooks that were changed, relative to the project.

    Raises
    ------
    ConfigError
        If the pipeline cannot be loaded, or one of its notebooks has no such cell.
    """
    log = logging.getLogger(__name__)
    log.setLevel(logging.CRITICAL)  # it tells of each notebook whether it is trusted
    manager = ContentsManager(root_dir=str(root), log=log)
    changed = []
    for path in sorted(Path(root, "notebooks").glob("*.ipynb")):
        model = manager.get(path.relative_to(root).as_posix())
        if manager.dag is None:
            raise ConfigError("the pipeline cannot be loaded; `ploomber status` says why")
        shown = manager.parameters_by_hand(model)
        if shown is None:
            continue
        cell = tagged_cell(model["content"], PARAMETERS)
        if cell is None:
            raise ConfigError(f"{model['path']} has no cell with the tag {PARAMETERS!r}; add one")
        if cell["source"] != (source := assignments(as_defaults(shown))):
            cell["source"] = source
            manager.save(model, model["path"])
            changed.append(model["path"])
    return changed
