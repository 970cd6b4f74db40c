"""What a hash contract holds of features, and whether this code still has them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.errors import ConfigError, ContractError
from tasks.features.kinds.finding import find_feature
from tasks.features.kinds.past import Past


class FeatureKey(NamedTuple):
    """What a contract holds of a feature; see :class:`tasks.features.kinds.declaration.Feature`."""

    name: str
    inputs: tuple[str, ...]
    columns: tuple[str, ...]
    buckets: tuple[float, ...] | None
    source: str  # digest of the code, see `tasks.features.kinds.source`
    past: str | None = None  # digest of the table that a statistic reads


def feature_key(name: str, past: Mapping[str, Past]) -> FeatureKey:
    """Return what a contract holds of a feature; ConfigError if it needs a table that is not given."""
    one, source = find_feature(name)
    if one.is_statistic and name not in past:
        raise ConfigError(
            f"feature {name!r} is a statistic of the past, so its contract needs a log; see `contract_for`"
        )
    digest = past[name].digest if one.is_statistic else None
    return FeatureKey(one.name, one.inputs, one.columns, one.buckets, source, digest)


def require_features(keys: Any) -> None:
    """Raise ContractError unless each feature of a contract is here, with the same source."""
    for name, _, _, _, source, _ in keys:
        try:
            here = find_feature(str(name)).source
        except ConfigError as error:
            raise ContractError(
                f"the hash contract has a feature that this code lacks: {error}; use the code that trained the model"
            ) from None
        if here != source:
            raise ContractError(
                f"feature {name!r} of the hash contract has the source {source}, here it has {here}; "
                f"restore tasks/features/{name}.py, and give a changed function another name"
            )
