"""What makes a notebook's function a feature, or its class a model: module, test, and the names where they are listed."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.errors import ConfigError
from tasks.ideas.edits import Changes, flow, insert_item, insert_key, insert_name
from tasks.ideas.extraction import Extract, asserts_text, extract, find, module_text
from tasks.ideas.notebook import (
    FEATURE,
    FEATURE_TEST,
    MODEL,
    MODEL_TEST,
    PARAMETERS,
    Fault,
    Notebook,
    literals,
)
from tasks.ideas.tidy import findings, tidied
from tasks.knobs.model_tasks import TRAIN, read_tasks, task_lines
from tasks.models import INPUTS
from tasks.storage.workspace import MARKER

_BESIDE = (
    "features",
    "time_features",
    "time",
)  # keys of a schema behind which the list of features stands
_ROOMS = "ARCHITECTURE.md"


def write_feature(
    changes: Changes, notebook: Notebook, name: str, env: Mapping[str, Any]
) -> tuple[str, list[Fault]]:
    """Prepare a feature; return its name and its faults.

    Raises
    ------
    ConfigError
        If there is a feature of that name, or the schema is not a file of the project.
    """
    node, number, faults = find(notebook, FEATURE, ast.FunctionDef, name)
    if not isinstance(node, ast.FunctionDef):
        return name, faults
    found, more = extract(notebook, node, number, FEATURE_TEST)
    faults = [*more, *_feature_faults(found)]
    path, test = f"tasks/features/{node.name}.py", f"tests/tasks/features/test_{node.name}.py"
    _refuse_taken(changes, path, test, advice="rename the function")
    module = tidied(module_text(found, found.first_line or node.name), path)
    own = f"from tasks.features.{node.name} import {', '.join([node.name, *found.test_names])}"
    text = asserts_text(found, f"The feature `{node.name}`: what its notebook asserted.", [own])
    _put_code(changes, path, module, test, text)
    insert_name(changes, str(env["schema"]), "features", node.name, behind=_BESIDE)
    _add_to_room(changes, "features", node.name)
    return node.name, [*faults, *_lint(changes, number, path, test)]


def _feature_faults(found: Extract) -> Iterator[Fault]:
    node = found.node
    if not isinstance(node, ast.FunctionDef):
        return
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    declared = [getattr(one, "func", one) for one in node.decorator_list]
    if not any(getattr(one, "id", "") in ("feature", "statistic") for one in declared):
        text = f'{node.name} does not say what it reads; write @feature("C15", ...) above it, from tasks.features'
        yield Fault(found.cell, node.lineno, text)
    if any(one.annotation is None for one in arguments) or node.returns is None:
        yield Fault(
            found.cell, node.lineno, f"{node.name} has parameters or a result without a type"
        )
    if ">>>" not in (ast.get_docstring(node) or ""):
        yield Fault(found.cell, node.lineno, f"{node.name} needs a docstring with an example (>>>)")
    if not found.tests:
        text = f"nothing is asserted about {node.name}; write asserts below it, or in a cell tagged `feature-test`"
        yield Fault(found.cell, node.lineno, text)
    from tasks.features.kinds.source import impurity

    if problem := impurity(module_text(found, "x")):
        line = _line_in_cell(found, problem[0])
        yield Fault(
            found.cell, line, f"{problem[1]}; a feature's value follows from its inputs alone"
        )


def _line_in_cell(found: Extract, line: int) -> int:
    """Return the line of the cell for one of the module, 0 if it is an import of another cell."""
    shown = module_text(found, "x").splitlines()[line - 1]
    lines = found.source.splitlines()
    return lines.index(shown) + 1 if shown in lines else 0


def write_model(
    changes: Changes, notebook: Notebook, name: str, env: Mapping[str, Any]
) -> tuple[str, list[Fault]]:
    """Prepare a model; return its name and its faults. Its class is the only one in its cell, `name` is the model's."""
    node, number, faults = find(notebook, MODEL, ast.ClassDef)
    if not isinstance(node, ast.ClassDef):
        return name, faults
    stem = _snake(node.name)
    name = name or stem
    if name in env["models"] or f"{TRAIN}{name}" in read_tasks():
        raise ConfigError(f"env.yaml has a model {name!r} already; name another with AS=")
    found, faults = extract(notebook, node, number, MODEL_TEST)
    path, test = f"tasks/models/{stem}.py", f"tests/tasks/models/test_{stem}.py"
    _refuse_taken(changes, path, test, advice="rename the class")
    params, check_params, model_input, more = _given(notebook)
    faults += [*_model_faults(found, model_input), *more]
    rows = {"input": model_input} if model_input in INPUTS else {}
    kind = f"tasks.models.{stem}:{node.name}"
    module = tidied(module_text(found, found.first_line or node.name), path)
    _put_code(changes, path, module, test, _model_test(found, kind, {**rows, **check_params}))
    block = {"kind": kind, "params": params, **rows, "search": {"method": "fixed"}}
    lines = f"{name}:\n  kind: {kind}\n  params: {flow(params)}\n"
    lines += "".join(f"  {key}: {value}\n" for key, value in rows.items())
    lines += "  search: {method: fixed}"
    insert_key(changes, "env.yaml", "models", name, lines, block)
    tasks = list(read_tasks())
    last = max(number for number, task in enumerate(tasks) if task.startswith(TRAIN))
    insert_item(
        changes,
        MARKER,
        "tasks",
        f"{task_lines(name)}\n",
        after=last,
        item={"name": f"{TRAIN}{name}"},
    )
    _add_to_room(changes, "models", stem)
    return name, [*faults, *_lint(changes, number, path, test)]


def _model_test(found: Extract, kind: str, check_params: Mapping[str, Any]) -> str:
    """Return the test of a model: the checks of its kind, and what its notebook asserted."""
    module, _, name = kind.partition(":")
    is_learner = isinstance(found.node, ast.ClassDef) and _is_learner(found.node)
    check = "check_learner" if is_learner else "check_estimator"
    given = "".join(f", {key}={value!r}" for key, value in check_params.items())
    first = f'def test_it_is_a_model_of_the_pipeline():\n    """All that training and serving need."""\n    {check}("{kind}"{given})'
    imports = [f"from tests.tasks.models.checks import {check}"]
    own = ", ".join([name, *found.test_names])
    imports += [f"from {module} import {own}"] if found.tests else []
    about = f"The model `{name}`: the checks of its kind, and what its notebook asserted."
    return asserts_text(found, about, imports, first=first)


def _model_faults(found: Extract, model_input: Any) -> Iterator[Fault]:
    node = found.node
    if not isinstance(node, ast.ClassDef):
        return
    if not ast.get_docstring(node):
        text = f"{node.name} has no docstring; say what it learns, and its parameters"
        yield Fault(found.cell, node.lineno, text)
    if _is_learner(node):
        if model_input is not None:
            text = f"{node.name} learns row by row; model_input is for estimators"
            yield Fault(found.cell, node.lineno, text)
        return
    methods = {one.name for one in ast.walk(node) if isinstance(one, ast.FunctionDef)}
    missing = [name for name in ("fit", "predict_proba") if name not in methods]
    advice = "derive it from tasks.models.learner.Learner (docs/models.md)"
    if missing and not node.bases:
        yield Fault(found.cell, node.lineno, f"{node.name} has no {missing[0]}; {advice}")
    elif not node.bases:
        text = f"{node.name} derives from no class; derive it from sklearn.base.BaseEstimator"
        yield Fault(found.cell, node.lineno, text)
    elif model_input not in INPUTS:
        text = (
            f"{node.name} is no streaming learner; {advice}, or, for an estimator, say in the parameters cell how it gets "
            f'its rows: model_input = "{INPUTS[0]}" or "{INPUTS[1]}"'
        )
        yield Fault(found.cell, node.lineno, text)


def _is_learner(node: ast.ClassDef) -> bool:
    names = {ast.unparse(base).split(".")[-1] for base in node.bases}
    return bool(
        names
        & {
            "Learner",
            "FTRLProximal",
            "FTRLPairs",
            "FactorizationMachine",
            "SGDLogistic",
            "NeuralNet",
        }
    )


def _given(
    notebook: Notebook,
) -> tuple[dict[str, Any], dict[str, Any], Any, list[Fault]]:
    """Return what the parameters cell assigns: `params` of the block, `check_params` of the checks, `model_input`."""
    cell, values = 0, {}
    for tagged in notebook.tagged(PARAMETERS)[:1]:
        if tagged.number in notebook.trees:
            cell, values = tagged.number, literals(notebook.trees[tagged.number])[0]
    given = values.get("params", {}), values.get("check_params", values.get("params", {}))
    if all(isinstance(one, dict) for one in given):
        return *given, values.get("model_input"), []
    text = "params and check_params must be mappings of parameters to values"
    return {}, {}, None, [Fault(cell, 0, text)]


def _snake(name: str) -> str:
    """Return a class's name as a module is called.

    Examples
    --------
    >>> _snake("ClickRate"), _snake("FTRLMix"), _snake("Net2")
    ('click_rate', 'ftrl_mix', 'net2')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _refuse_taken(changes: Changes, *paths: str, advice: str) -> None:
    for path in paths:
        if changes.text(path) is not None:
            raise ConfigError(f"{path} is there already; {advice}")


def _put_code(changes: Changes, path: str, module: str, test: str, text: str) -> None:
    changes.put(path, module)
    changes.put(test, tidied(text, test))


def _lint(changes: Changes, number: int, *paths: str) -> Iterator[Fault]:
    for path in paths:
        for found in findings(changes.text(path) or "", path):
            yield Fault(number, 0, f"in {path}, line {found.line}: {found.text}")


def _add_to_room(changes: Changes, room: str, module: str) -> None:
    """Name a module in its room's row of ARCHITECTURE.md, if there is one."""
    row = re.search(rf"^\| `{room}/` \|.*?( \|)$", changes.text(_ROOMS) or "", re.M)
    if row:
        changes.insert(_ROOMS, f", `{module}`", row.start(1), line=f"| `{room}/` |")
