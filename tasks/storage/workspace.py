"""Where relative paths start: paths in ``env.yaml`` are relative to the project, wherever a kernel starts."""

import os
from pathlib import Path

from tasks.storage.databases import SQLITE, sqlite_path, with_driver

MARKER = "pipeline.yaml"
SCRATCH = "scratch"  # the folder of the products for what notebooks write when a person runs them


def project_root(start: str | Path | None = None) -> Path:
    """Return the nearest folder at or above `start` (default: here) that holds ``pipeline.yaml``.

    Outside a project this is `start` itself, so that the library works anywhere.
    """
    here = Path(start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / MARKER).is_file():
            return folder
    return here


def resolve(path: str | Path) -> Path:
    """Return `path` as absolute, relative ones taken from the project root."""
    return project_root() / path


def resolve_store(uri: str) -> str:
    """Return a store address with a relative SQLite path made absolute, and PostgreSQL's driver named.

    Examples
    --------
    >>> resolve_store("http://127.0.0.1:5000")
    'http://127.0.0.1:5000'
    """
    path = sqlite_path(uri)
    return with_driver(uri) if path is None else SQLITE + str(resolve(path))


def is_scratch(path: str | Path) -> bool:
    """Return whether a product is that of a notebook run by hand: it lies below ``scratch`` in the products.

    Examples
    --------
    >>> is_scratch("products/scratch/train/train-ftrl.json"), is_scratch("products/train-ftrl.json")
    (True, False)
    """
    root, place = project_root(), Path(os.path.normpath(resolve(path)))
    if place.is_relative_to(root):  # a folder above the project may have that name too
        return SCRATCH in place.relative_to(root).parts[:-1]
    above = [folder for folder in place.parents if folder.name == SCRATCH]
    return any((folder.parent / "log").is_dir() for folder in above)  # products elsewhere


def scratch_path(path: str | Path, products: str | Path, notebook: str) -> str:
    """Return where a notebook that is run by hand writes instead of `path`, as text.

    Parameters
    ----------
    path
        Where the pipeline writes.
    products
        The folder of products that `path` lies in; for another one only the file's name is kept.
    notebook
        The notebook's name without its suffix.

    Examples
    --------
    >>> scratch_path("products/models/fm/model.json", "products", "train")
    'products/scratch/train/models/fm/model.json'
    """
    path, products = Path(path), Path(products)
    inside = path.relative_to(products) if path.is_relative_to(products) else Path(path.name)
    return (products / SCRATCH / notebook / inside).as_posix()
