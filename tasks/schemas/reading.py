"""Pieces of a schema's YAML to values: mappings to dataclasses, lists to tuples, one sentence where that fails."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, Self

from tasks.errors import ConfigError


class Part:
    """A frozen dataclass that is read from a mapping; ValueError names a key that it does not have."""

    @classmethod
    def read(cls, raw: Mapping[str, Any], **renamed: str) -> Self:
        if not isinstance(raw, Mapping):
            raise ValueError(f"expected a mapping, found {raw!r}")
        known = {item.name for item in fields(cls)}  # type: ignore[arg-type]
        values = {}
        for key, value in raw.items():
            name = renamed.get(key, key)
            if name not in known or (name in renamed.values() and key not in renamed):
                shown = sorted({*known, *renamed} - set(renamed.values()))
                near = get_close_matches(str(key), shown, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known keys are {shown}"
                raise ValueError(f"unknown key {key!r}; {hint}")
            values[name] = value
        return cls(**values)


class WrongPart(ValueError):
    """What is wrong with one entry of a mapping or list, and where it stands in it."""

    def __init__(self, message: str, path: tuple[str | int, ...]):
        super().__init__(message)
        self.path = path


def each_of(raw: Any, read: Callable[[Any, Any], Any]) -> tuple[Any, ...]:
    """Return ``read(key, value)`` of each entry of a mapping or list; WrongPart if that raises ValueError."""
    if not isinstance(raw, Mapping | list | tuple):
        raise ValueError(f"expected a mapping or a list, found {raw!r}")
    found = []
    for key, value in raw.items() if isinstance(raw, Mapping) else enumerate(raw):
        try:
            found.append(read(key, value))
        except (TypeError, ValueError, AttributeError) as error:
            raise WrongPart(str(error), (key,)) from None
    return tuple(found)


def names_of(listed: Any) -> tuple[str, ...]:
    """Return a list of names as a tuple; ValueError if it is something else, or names one twice."""
    if listed is None:
        return ()
    if (
        not isinstance(listed, Sequence)
        or isinstance(listed, str)
        or not all(isinstance(one, str) for one in listed)
    ):
        raise ValueError(f"expected a list of names, found {listed!r}")
    twice = sorted({name for name in listed if list(listed).count(name) > 1})
    if twice:
        raise ValueError(f"{twice[0]!r} is listed twice")
    return tuple(listed)


def words_of(listed: Any) -> tuple[str, ...]:
    """Return a list of texts, numbers and booleans as the texts that a log would hold."""
    if listed is None:
        return ()
    if not isinstance(listed, list | tuple):
        raise ValueError(f"expected a list of words, found {listed!r}")
    return tuple(dict.fromkeys(word_of(one) for one in listed))


def word_of(value: Any) -> str:
    """Return a YAML scalar as the text that a log would hold; ValueError if it is no scalar."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise ValueError(f"expected text or a number, found {value!r}; put it in quotes")
    return str(value)


def current_keys(raw: Mapping[str, Any], at: Callable[..., str]) -> dict[str, Any]:
    """Return a declaration whose keys are today's: ``features`` was called ``time_features``."""
    if "time_features" not in raw:
        return dict(raw)
    if "features" in raw:
        raise ConfigError(
            f"{at('time_features')}: `time_features` is the old name of `features`; keep one"
        )
    return {"features" if key == "time_features" else key: value for key, value in raw.items()}
