"""The models of an env file and the training tasks of ``pipeline.yaml``: each block has its task."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from tasks.errors import ConfigError
from tasks.knobs.blends import blend_lines, blend_problem, entry_problem, is_blend
from tasks.models import (
    INPUT,
    NOT_SEARCHED,
    is_learner,
    learner_class,
    learner_params,
    make_learner,
    may_be_served,
)
from tasks.storage.workspace import MARKER, project_root
from tasks.storage.yaml_mapping import read_mapping
from tasks.training.search_space import has_space

TRAIN = "train-"
_PROBE_FEATURES = 1024  # hash buckets of the rows that are made up to try an estimator


def model_block(name: str, models: Mapping[str, Any]) -> Any:
    """Return the block of a model, once every block has its task and every task its block.

    ``pipeline.yaml`` calls this for each training while it is loaded, so ``ploomber build`` and
    ``make run`` report a mismatch alike, before anything runs.

    Raises
    ------
    ConfigError
        Naming what is missing and the lines to add.
    """
    tasks = read_tasks()
    check_models(models, _trained(tasks))
    task, block = tasks[f"{TRAIN}{name}"], models[name]
    if is_blend(block) and (problem := entry_problem(name, block, task)):
        raise ConfigError(f"{MARKER}: {problem}; make it:\n{task_lines(name, block)}")
    params = task.get("params")
    code = params.get("code") if isinstance(params, Mapping) else None
    other = code.get("model") if isinstance(code, Mapping) else name
    if other != name:
        raise ConfigError(
            f"{MARKER}: the `code` of task {TRAIN}{name} is that of model {other!r}, so a change of its own kind would "
            f"not train it again; add to its params: code: {_code(name)}"
        )
    return block


def trained() -> list[str]:
    """Return the models that have a training task in ``pipeline.yaml``."""
    return _trained(read_tasks())


def _trained(tasks: Iterable[str]) -> list[str]:
    return [name.removeprefix(TRAIN) for name in tasks if name.startswith(TRAIN)]


def check_models(models: Any, trained: list[str]) -> None:
    """Raise ConfigError unless `models` has a block for exactly the names in `trained`."""
    if not isinstance(models, Mapping):
        raise ConfigError(
            f"`models` must be a mapping of names to blocks, found {models!r}; see env.yaml"
        )
    for name, block in models.items():
        if not isinstance(block, Mapping):
            raise ConfigError(
                f"model {name!r} must be a block with kind, params and search, found {block!r}"
            )
        if name not in trained:
            raise ConfigError(
                f"model {name!r} has no task; add to the trainings of pipeline.yaml:\n{task_lines(name, block)}"
            )
    for name in trained:
        if name not in models:
            raise ConfigError(
                f"task {TRAIN}{name} has no model; add to `models` of env.yaml, or delete the task:\n"
                f"  {name}:\n    kind: ftrl\n    params: {{}}\n    search: {{method: fixed}}"
            )


def model_problems(
    models: Mapping[str, Any], *, weighted: bool = False
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield path and problem of each value in well-formed blocks that its learner would refuse.

    Kinds, names of parameters and their values, in ``params`` as in the grid or space of a search: the learners
    themselves are asked. Of a log whose rows have weights, `weighted` is true.
    """
    names: dict[str, str] = {}
    for name, block in models.items():
        twin = names.setdefault(name.casefold(), name)
        if twin != name:
            yield ("models", name), f"differs from {twin!r} by case alone; rename one"
        if is_blend(block):
            if problem := blend_problem(name, models):
                yield ("models", name, "of"), problem
            continue
        try:
            takes = _is_servable_learner(block["kind"])
        except ConfigError as error:
            yield ("models", name, "kind"), str(error)
            continue
        if wrong := _input_problem(block, row_by_row=takes):
            yield ("models", name, *wrong[:-1]), wrong[-1]
            continue
        yield from _param_problems(block, ("models", name), weighted=weighted)
        yield from _search_problems(block, ("models", name, "search"))


def _is_servable_learner(kind: str) -> bool:
    """Return whether a kind is a streaming learner, False for an estimator; ConfigError if it could never serve."""
    cls = learner_class(kind)
    if not is_learner(cls):
        return False
    if not may_be_served(cls):
        raise ConfigError(
            f"{cls.kind} is a streaming learner outside tasks.models, which no service imports; move its module to "
            "tasks/models"
        )
    learner_params(cls)
    return True


def _input_problem(block: Mapping[str, Any], *, row_by_row: bool) -> tuple[str, ...] | None:
    """Return the key and the problem of how a model is to get its rows, None if there is none."""
    given = [key for key in INPUT if key in block]
    if row_by_row and given:
        return given[0], f"{block['kind']} learns row by row; only an estimator has it"
    if not row_by_row and "input" not in block:
        return ("`input` is missing: hashed or categorical (how an estimator gets its rows)",)
    return None


def _param_problems(
    block: Mapping[str, Any], path: tuple[str, ...], *, weighted: bool
) -> Iterator[tuple[tuple[str, ...], str]]:
    params = block["params"]
    alone = False
    for name, value in params.items():
        others = {key: params[key] for key in params if "__" in name and "__" not in key}
        if problem := _refusal(block, {**others, name: value}, of=name):
            alone = True
            yield (*path, "params", name), problem
    if alone:
        return
    if problem := _refusal(block, params, probe=True):
        yield (*path, "params"), problem
    elif weighted and (problem := _refusal(block, params, probe=True, weighted=True)):
        yield (*path, "kind"), problem


def _search_problems(
    block: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what the learner refuses of the values that a search would try."""
    search, fixed = block.get("search"), block["params"]
    if search is None:
        return  # the default one: what its kind can search
    section = "grid" if search["method"] == "grid" else "space"
    tried = search.get(section) or {}
    for name, values in tried.items():
        if name in fixed and section == "grid":
            yield (*path, section, name), "is fixed by `params` too; keep one"
        ends = [values[end] for end in ("low", "high")] if isinstance(values, Mapping) else values
        problems = (_refusal(block, {**fixed, name: value}, of=name, probe=True) for value in ends)
        if problem := next(filter(None, problems), None):
            yield (*path, section, name), problem
    if search["method"] in ("optuna", "halving") and not (
        set(tried) - set(fixed) if tried else has_space(block)
    ):
        yield path, "nothing is left to search: no `space`, or `params` fixes all of it"


def _refusal(
    block: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    of: str = "",
    probe: bool = False,
    weighted: bool = False,
) -> str | None:
    """Return why a model does not take these parameters, None if it does.

    Parameters
    ----------
    block
        The model's block.
    params
        What it is made with.
    of
        The one to judge, where others come along because it cannot do without.
    probe
        Whether an estimator fits, saves and answers made-up rows, too.
    weighted
        Whether these rows have weights.
    """
    kind, known = block["kind"], param_names(block["kind"])
    named = [name for name in params if of in ("", name) and "__" not in name]
    unknown = [name for name in named if name not in known]
    if unknown:
        near = get_close_matches(unknown[0], known, 1)
        meant = f"did you mean `{near[0]}`?" if near else f"it has {', '.join(known)}"
        return f"{kind} has no parameter {unknown[0]!r}; {meant}"
    required = required_params(kind)
    if of and not required <= set(params):
        return None  # judged with all the others
    try:
        learner = make_learner(block, _PROBE_FEATURES, **params)
        if probe:
            learner.probe(weighted=weighted)
    except (ConfigError, TypeError, ValueError) as error:
        return " ".join(str(error).split())
    except Exception as error:  # a class of the user's may raise anything
        return f"{kind} cannot be made with these parameters ({type(error).__name__}: {' '.join(str(error).split())})"
    return None


def param_names(kind: str) -> list[str]:
    """Return the parameters of a model that a block may set."""
    cls = learner_class(kind)
    if is_learner(cls):
        return sorted(learner_params(cls) - NOT_SEARCHED)
    from tasks.models.estimators.params import param_names as names_of

    return names_of(cls)


def required_params(kind: str) -> set[str]:
    """Return the parameters without which a model cannot be made, such as the steps of a Pipeline."""
    listed = list(inspect.signature(learner_class(kind).__init__).parameters.values())[1:]
    plain = (one for one in listed if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY))
    return {one.name for one in plain if one.default is one.empty}


def task_lines(name: str, block: Any = None) -> str:
    """Return the lines of ``pipeline.yaml`` that train a model of that name; with its block, those of a blend, too."""
    if is_blend(block) and isinstance(block.get("of"), list):
        return blend_lines(name, block["of"])
    own = f"model: {{<<: *block, name: {name}}}, code: {_code(name)}"
    products = "{{products}}"
    return (
        f"  - <<: *train\n"
        f"    name: {TRAIN}{name}\n"
        f'    product: {{nb: "{products}/{TRAIN}{name}.ipynb", html: "{products}/{TRAIN}{name}.html",\n'
        f'              result: "{products}/{TRAIN}{name}.json", model: "{products}/models/{name}/model.json"}}\n'
        f"    params: {{<<: *training, name: {name}, {own}}}"
    )


def _code(name: str) -> str:
    return f"{{<<: *code, model: {name}}}"


def read_tasks() -> dict[str, Mapping[str, Any]]:
    """Return the entries of ``pipeline.yaml`` by name, in its order; ConfigError if it holds none."""
    spec = read_mapping(project_root() / MARKER, holds="a mapping with `tasks`").values
    tasks = spec.get("tasks")
    if not isinstance(tasks, list) or not all(isinstance(task, Mapping) for task in tasks):
        raise ConfigError(
            f"{MARKER}: `tasks` must be a list of tasks, found {type(tasks).__name__}"
        )
    found: dict[str, Mapping[str, Any]] = {}
    for number, task in enumerate(tasks, start=1):
        name = str(task.get("name") or f"number {number}")
        if name in found:
            raise ConfigError(f"{MARKER}: two tasks are named {name!r}; rename one")
        found[name] = task
    return found
