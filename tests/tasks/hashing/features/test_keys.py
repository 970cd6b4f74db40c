"""What a contract holds of features is what this code has."""

import pytest

from tasks.errors import ContractError
from tasks.hashing.features.keys import feature_key, require_features


def test_a_feature_of_another_source_is_refused():
    """Its name and the file to restore are named."""
    key = feature_key("hour_of_day", {})
    require_features([key])
    with pytest.raises(ContractError, match=r"restore tasks/features/hour_of_day\.py"):
        require_features([key._replace(source="0")])
