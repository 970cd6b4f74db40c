"""Where a nested request, such as an OpenRTB bid request, holds the values of fields: ``imp[0].banner.pos``."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

MAX_STEPS = 12
_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)((?:\[[0-9]{1,3}\])*)")


def path_of(text: str) -> tuple[str | int, ...]:
    """Return the keys and places that a path leads through; ValueError if it is no path.

    Examples
    --------
    >>> path_of("imp[0].banner.pos")
    ('imp', 0, 'banner', 'pos')
    """
    steps: list[str | int] = []
    for part in text.split("."):
        found = _STEP.fullmatch(part)
        if found is None:
            raise ValueError(f"from is {text!r}; write a path like imp[0].banner.pos")
        steps += [found[1], *(int(place) for place in re.findall("[0-9]+", found[2]))]
    if len(steps) > MAX_STEPS:
        raise ValueError(f"from leads {len(steps)} steps down; the maximum is {MAX_STEPS}")
    return tuple(steps)


class NestedFields:
    """Reads fields of nested requests by their paths; a path that leads nowhere is a missing value.

    Parameters
    ----------
    paths
        Where each field is, by name.

    Examples
    --------
    >>> nested = NestedFields({"pos": "imp[0].banner.pos"})
    >>> nested.flat({"id": "1", "imp": [{"banner": {"pos": 3}}]})
    {'id': '1', 'pos': 3}
    """

    def __init__(self, paths: Mapping[str, str]):
        self._paths = [(name, path_of(path)) for name, path in paths.items()]
        self._roots = frozenset(str(steps[0]) for _, steps in self._paths)

    def flat(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request with these fields beside what it has under flat names, which count first."""
        found = {
            name: value
            for name, value in request.items()
            if name not in self._roots or type(value) not in (dict, list)
        }
        for name, steps in self._paths:
            if found.get(name) is None and (value := _follow(request, steps)) is not None:
                found[name] = value
        return found

    def leads_through(self, names: Iterable[str]) -> bool:
        """Return whether a path begins at one of these keys."""
        return not self._roots.isdisjoint(names)


def _follow(value: Any, steps: tuple[str | int, ...]) -> Any:
    for step in steps:
        if type(step) is int:
            if type(value) is not list or step >= len(value):
                return None
            value = value[step]
        elif type(value) is not dict or step not in value:
            return None
        else:
            value = value[step]
    return value
