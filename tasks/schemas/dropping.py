"""What models learn of a log: what the schema declares, without what it drops."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, NamedTuple

from tasks.errors import ConfigError
from tasks.schemas.fields import Field


class Learned(NamedTuple):
    """The fields, names of features, and crosses that give tokens."""

    fields: tuple[Field, ...]
    features: tuple[str, ...]
    crosses: tuple[tuple[str, ...], ...]


def learned_of(schema: Any) -> Learned:
    """Return what is left of a schema's fields, features and crosses."""
    dropped = set(schema.drop)
    return Learned(
        tuple(spec for spec in schema.fields if spec.name not in dropped),
        tuple(name for name in schema.features if name not in dropped),
        tuple(cross for cross in schema.crosses if "*".join(cross) not in dropped),
    )


def check_drop(schema: Any, at: Callable[..., str], features: Iterable[Any]) -> None:
    """Raise ConfigError unless what a schema drops is there, and nothing that stays is made of it.

    Parameters
    ----------
    schema
        The declaration (:class:`tasks.schema.Schema`).
    at
        Returns the place of a key.
    features
        Its features (:class:`tasks.features.kinds.declaration.Feature`).
    """
    left, made = learned_of(schema), {one.name: one for one in features}
    known = [*schema.field_names, *schema.features, *map("*".join, schema.crosses)]
    for number, name in enumerate(schema.drop):
        place = at("drop", number)
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise ConfigError(
                f"{place}: drop names {name!r}, which is no field, feature or cross; {hint}"
            )
        own = made[name].columns if name in made else (name,)
        needing = ["*".join(cross) for cross in left.crosses if {*own} & {*cross}]
        needing += [one for one in left.features if name in made[one].fields]
        if needing:
            raise ConfigError(
                f"{place}: drop names {name!r}, but {needing[0]!r} is made of it; drop {needing[0]!r} too, or keep both"
            )
    if not left.fields:
        raise ConfigError(f"{at('drop')}: drop leaves no field to learn from; keep one")
