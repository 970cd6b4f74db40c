"""Blends among the models of an env file: a block that names other models instead of a learner's class."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import Field

from tasks.knobs.sections import Section, Text
from tasks.models import BLEND

NOTEBOOK = "notebooks/blend.ipynb"


class Blend(Section):
    """A weighted mean of other models' logits."""

    kind: Literal["blend"] = Field(description="the word that makes it a blend")
    of: Annotated[list[Text], Field(min_length=2)] = Field(
        description="names of models, two or more: docs/models.md"
    )


def blend_or_model(block: Any) -> str:
    """Return which of the two kinds of block one is, by its ``kind``."""
    return "blend" if is_blend(block) else "model"


def is_blend(block: Any) -> bool:
    """Return whether a block of ``models`` is that of a blend."""
    return isinstance(block, Mapping) and block.get("kind") == BLEND


def blend_problem(name: str, models: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the parts of a blend, None if all is well.

    Examples
    --------
    >>> models = {"a": {"kind": "ftrl"}, "b": {"kind": "blend", "of": ["a", "fm"]}}
    >>> blend_problem("b", models)
    "there is no model 'fm'; the others are a"
    """
    parts = list(models[name]["of"])
    others = sorted(set(models) - {name})
    for part in parts:
        if part == name:
            return "a blend cannot be a part of itself"
        if part not in models:
            near = get_close_matches(part, others, 1)
            meant = f"did you mean {near[0]}?" if near else f"the others are {', '.join(others)}"
            return f"there is no model {part!r}; {meant}"
        if parts.count(part) > 1:
            return f"{part!r} is named twice; its weight is learned, so once is enough"
    circle = _circle(name, models)
    return f"the blend would be a part of itself: {' > '.join(circle)}" if circle else None


def blocks_behind(name: str, models: Any) -> list[Any]:
    """Return the block of a model and those of its parts, of their parts, and so on; each once, unknown names left out."""
    found: dict[str, Any] = {}
    todo = [name]
    while todo:
        one = todo.pop(0)
        if isinstance(models, Mapping) and one in models and one not in found:
            found[one] = models[one]
            todo += _parts(models[one])
    return list(found.values())


def entry_problem(name: str, block: Mapping[str, Any], task: Mapping[str, Any]) -> str | None:
    """Return why an entry of ``pipeline.yaml`` does not make a blend, None if it does."""
    upstream = task.get("upstream")
    needs = upstream if isinstance(upstream, list) else [upstream]
    missing = [part for part in block["of"] if f"train-{part}" not in needs]
    if missing:
        return f"task train-{name} does not name train-{missing[0]}, a part of the blend, as its upstream"
    if task.get("source") != NOTEBOOK:
        return f"task train-{name} makes a blend, so its source is {NOTEBOOK}, not {task.get('source')}"
    return None


def blend_lines(name: str, parts: Iterable[str]) -> str:
    """Return the lines of ``pipeline.yaml`` that make a blend of that name."""
    products = "{{products}}"
    needs = ", ".join(["hash_features", *(f"train-{part}" for part in parts)])
    return (
        f"  - <<: *train\n"
        f"    name: train-{name}\n"
        f"    source: {NOTEBOOK}\n"
        f"    upstream: [{needs}]\n"
        f'    product: {{nb: "{products}/train-{name}.ipynb", html: "{products}/train-{name}.html",\n'
        f'              result: "{products}/train-{name}.json", model: "{products}/models/{name}/model.json"}}\n'
        f"    params: {{name: {name}, model: {{<<: *block, name: {name}}}, "
        f'tracking: "{{{{mlflow}}}}", code: {{<<: *code, source: {NOTEBOOK}, model: {name}}}}}'
    )


def _circle(name: str, models: Mapping[str, Any]) -> list[str]:
    """Return the way from a blend back to it, both ends included; empty if there is none."""
    ways = [[name]]
    seen = {name}
    while ways:
        way = ways.pop(0)
        for part in _parts(models.get(way[-1])):
            if part == name:
                return [*way, name]
            if part not in seen:
                seen.add(part)
                ways.append([*way, part])
    return []


def _parts(block: Any) -> Iterator[str]:
    """Yield the names that a block gives as parts; none of anything else."""
    named = block.get("of") if is_blend(block) else None
    yield from (part for part in named or () if isinstance(part, str))
