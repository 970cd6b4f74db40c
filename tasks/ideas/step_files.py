"""What makes a notebook a step: its entry in ``pipeline.yaml``, itself as it is committed, its lines on the boards."""

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.errors import ConfigError
from tasks.ideas.edits import Changes, flow, insert_item
from tasks.ideas.notebook import PARAMETERS, Fault, Notebook
from tasks.ideas.step import BY_PLOOMBER, Step
from tasks.ideas.tidy import findings, tidied
from tasks.jupyter.interactive import as_defaults, assignments, forget_injected, tagged_cell
from tasks.knobs.model_tasks import read_tasks
from tasks.storage.workspace import MARKER, resolve, scratch_path

_KNOB_OF = {
    "tracking": "mlflow",
    "split_shares": "split",
}  # parameters named otherwise than their knob
_BOARDS = {
    "README.md": "| `{name}` | {title} |\n",
    "notebooks/README.md": "| `{name}` | {title} | `{name}` | in the pipeline; {says} |\n",
}
_ANCHOR = re.compile(r"&notebook\b[^\n]*\n\s*name:\s*(\S+)")
_NO_TASK = re.compile(
    r"^\| `(?:new_feature|template)` \|", re.M
)  # rows of notebooks that are no step


def entry(step: Step, env: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the lines of ``pipeline.yaml`` for a step, and what of them can be checked once they are read."""
    own = {key: f"{{{{products}}}}/{path}" for key, path in step.products.items()}
    products = {
        kind: f"{{{{products}}}}/{step.name}.{suffix}"
        for kind, suffix in (("nb", "ipynb"), ("html", "html"))
    } | own
    params = {key: _placeholder(key, value, env) for key, value in step.params.items()}
    source = f"notebooks/{step.name}.ipynb"
    besides = ', besides: ["{{schema}}"]' if "schema" in params else ""
    code = f'code: {{dotted_path: "tasks.pipeline.code_behind::code_behind", source: {source}{besides}}}'
    given = [f"{key}: {flow(value)}" for key, value in params.items()]
    lines = (
        f"  - <<: *notebook\n    name: {step.name}\n    source: {source}\n"
        f"    upstream: {flow(list(step.upstream))}\n    product: {flow(products)}\n"
        f"    params: {{{', '.join([*given, code])}}}\n"
    )
    return lines, {
        "name": step.name,
        "source": source,
        "upstream": list(step.upstream),
        "product": products,
    }


def _placeholder(key: str, value: Any, env: Mapping[str, Any]) -> Any:
    """Return a parameter's value, or the knob that it is."""
    knob = _KNOB_OF.get(key, key)
    return f"{{{{{knob}}}}}" if knob in env and env[knob] == value else value


def write_step(
    changes: Changes, notebook: Notebook, step: Step, env: Mapping[str, Any]
) -> list[Fault]:
    """Prepare what makes a notebook a step: itself, its task, its rows on the boards; return what the linter says."""
    tasks = read_tasks()
    path = f"notebooks/{step.name}.ipynb"
    if changes.text(path) is not None and resolve(notebook.path).resolve() != changes.root / path:
        raise ConfigError(f"{path} is there already; name another with AS=")
    text = notebook_text(notebook, step, env)
    changes.put(path, text)
    behind = [
        number
        for number, name in enumerate(tasks)
        if any(fnmatch.fnmatch(name, one) for one in step.upstream)
    ]
    shared = _ANCHOR.search(changes.text(MARKER) or "")
    if not shared or shared[1] not in tasks:
        raise ConfigError(
            f"{MARKER} has no entry marked `&notebook`, which holds what all notebooks share; restore it"
        )
    anchor = list(tasks).index(shared[1])
    lines, expected = entry(step, env)
    insert_item(changes, MARKER, "tasks", lines, after=max([anchor, *behind]), item=expected)
    title = "".join(notebook.content["cells"][0]["source"]).splitlines()[0].removeprefix("# ")
    says = (
        f"writes {', '.join(f'`{one}`' for one in step.products.values())}"
        if step.products
        else "no task depends on it"
    )
    for board, row in _BOARDS.items():
        place = _NO_TASK.search(changes.text(board) or "")
        if place and f"| `{step.name}` |" not in (changes.text(board) or ""):
            changes.insert(board, row.format(name=step.name, title=title, says=says), place.start())
    return list(lint_faults(notebook, text))


def notebook_text(notebook: Notebook, step: Step, env: Mapping[str, Any]) -> str:
    """Return the notebook as it is committed: no outputs, its status, and the parameters as `make format` writes them."""
    content = json.loads(json.dumps(notebook.content))
    forget_injected(content)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    content["metadata"] = {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python"},
    }
    first = "".join(content["cells"][0]["source"])
    status = f"**Status**: in the pipeline as `{step.name}`."
    first, n_found = re.subn(r"\*\*Status\*\*:[^.]*\.?", status, first, count=1)
    content["cells"][0]["source"] = (
        first if n_found else f"{first.rstrip()}\n\n{status}"
    ).splitlines(keepends=True)
    cell = tagged_cell(content, PARAMETERS)
    cell["source"] = assignments(as_defaults(by_hand(step, env))).splitlines(keepends=True)
    return tidied(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", f"notebooks/{step.name}.ipynb"
    )


def lint_faults(notebook: Notebook, text: str) -> Iterator[Fault]:
    """Yield what the linter says of the notebook as it would be committed."""
    numbers: dict[int, int] = {}
    for index, cell in enumerate(notebook.content["cells"], start=1):
        if cell["cell_type"] == "code":
            numbers[index] = len(numbers) + 1
    for found in findings(text, f"notebooks/{notebook.path.name}"):
        yield Fault(numbers.get(found.cell, 0), found.line, found.text)


def by_hand(step: Step, env: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a person gets who runs the step's notebook: all inputs, and products in the scratch folder."""
    products = str(env["products"])
    tasks = read_tasks()

    def made_by(name: str) -> dict[str, str] | None:
        given = {
            key: str(path).replace("{{products}}", products)
            for key, path in tasks[name]["product"].items()
            if key not in BY_PLOOMBER
        }
        return given or None

    upstream: dict[str, Any] = {}
    for pattern in step.upstream:
        matched = fnmatch.filter(tasks, pattern)
        upstream[pattern] = (
            made_by(pattern) if pattern in tasks else {name: made_by(name) for name in matched}
        )
    product = {
        key: scratch_path(f"{products}/{path}", products, step.name)
        for key, path in step.products.items()
    }
    return {"upstream": upstream, "product": product or None, **step.params}
