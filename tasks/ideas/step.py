"""The step that a notebook would be, read from its ``parameters`` cell, and what is wrong with that cell."""

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.ideas.notebook import PARAMETERS, Fault, Notebook, literals
from tasks.knobs.model_tasks import read_tasks
from tasks.storage.workspace import MARKER, SCRATCH, resolve

BY_PLOOMBER = ("nb", "html")  # products that no cell writes


@dataclass(frozen=True)
class Step:
    """A step as it would be.

    Attributes
    ----------
    name
        Of the task, the notebook and its executed copies.
    upstream
        The tasks before it.
    products
        Its own products, by key: paths below the folder of products.
    params
        Its other parameters, as in the notebook.
    """

    name: str
    upstream: tuple[str, ...]
    products: dict[str, str]
    params: dict[str, Any]


def plan(
    notebook: Notebook, name: str, env: Mapping[str, Any], after: str = ""
) -> tuple[Step, list[Fault]]:
    """Return the step that a notebook would be, and what is wrong with its parameters cell.

    Raises
    ------
    ConfigError
        If `after` names no task, or the name is taken.
    """
    tasks = read_tasks()
    if name in tasks:
        raise ConfigError(f"{MARKER} has a task {name!r} already; name another with AS=")
    place = resolve(notebook.path).resolve()
    known = [task for task, one in tasks.items() if place == resolve(str(one.get("source")))]
    if known:
        raise ConfigError(f"{notebook.path} is in the pipeline already, as {', '.join(known)}")
    if after and after not in tasks:
        raise ConfigError(f"{MARKER} has no task {after!r} (AFTER=); there are {', '.join(tasks)}")
    cells = notebook.tagged(PARAMETERS)
    if not cells:
        text = "no cell is tagged `parameters`; tag the one that holds `upstream`, `product` and the other literals"
        return Step(name, (), {}, {}), [Fault(0, 0, text)]
    cell = cells[0]
    values = literals(notebook.trees[cell.number])[0] if cell.number in notebook.trees else {}
    upstream, product = values.pop("upstream", None) or {}, values.pop("product", None) or {}
    values.pop("code", None)
    faults = [
        Fault(cell.number, 0, text)
        for text in (*_upstream_faults(upstream, tasks), *_product_faults(product))
    ]
    if not upstream and not after:
        text = 'names no input; write upstream = {"ingest": {"log": "products/log/manifest.json"}}, or say AFTER=task'
        faults.append(Fault(cell.number, 0, text))
    is_new = after and not any(fnmatch.fnmatch(after, one) for one in upstream)
    products, stem = {}, notebook.path.stem
    if not faults:
        folder = str(env["products"])
        products = {key: _below(path, folder, stem) for key, path in product.items()}
        faults += [Fault(cell.number, 0, text) for text in _taken(products, tasks)]
    return Step(name, (*upstream, *((after,) if is_new else ())), products, values), faults


def _upstream_faults(upstream: Any, tasks: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(upstream, dict):
        yield f"upstream must be a mapping of tasks to their products, found {upstream!r}"
        return
    for name, given in upstream.items():
        matched = fnmatch.filter(tasks, name)
        if not matched:
            yield f"upstream names {name!r}, which is no task; there are {', '.join(tasks)}"
        elif name in tasks and isinstance(given, dict):
            known = [key for key in tasks[name]["product"] if key not in BY_PLOOMBER]
            for key in given:
                if key not in known:
                    yield f"upstream: {name} has no product {key!r}; it has {', '.join(known) or 'none that a cell reads'}"


def _product_faults(product: Any) -> Iterator[str]:
    if not isinstance(product, dict):
        yield f"product must be a mapping of names to files, found {product!r}"
        return
    for key, path in product.items():
        if not isinstance(path, str) or not Path(path).suffix or ".." in Path(path).parts:
            yield f"product {key!r} must name a file below products/, found {path!r}"
        elif key in BY_PLOOMBER:
            yield f"product {key!r} is written by the pipeline; use another name"


def _below(path: str, products: str, stem: str) -> str:
    """Return a product's path below the folder of products, where the pipeline writes it.

    Examples
    --------
    >>> _below("products/scratch/idea/rates.json", "products", "idea"), _below("rates.json", "products", "idea")
    ('rates.json', 'rates.json')
    """
    inside = Path(path).relative_to(products) if Path(path).is_relative_to(products) else Path(path)
    if inside.parts[0] == SCRATCH:
        inside = Path(*inside.parts[1:])
        if len(inside.parts) > 1 and inside.parts[0] == stem:
            inside = Path(*inside.parts[1:])
    return inside.as_posix()


def _taken(products: Mapping[str, str], tasks: Mapping[str, Any]) -> Iterator[str]:
    """Yield which products another task writes already."""
    for key, path in products.items():
        for name, task in tasks.items():
            written = [str(one).replace("{{products}}/", "") for one in task["product"].values()]
            if path in written:
                yield f"product {key!r} would be {path}, which {name} writes; choose another name"
