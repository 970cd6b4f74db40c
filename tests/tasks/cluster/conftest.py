"""The one cluster of these tests."""

import pytest

from tasks.cluster.engine import connect


@pytest.fixture(scope="session")
def client():
    """Two workers of this machine."""
    pytest.importorskip("distributed", reason="the extra clicklab[dask] is not installed")
    with connect({"dask": {"workers": 2}}) as client:
        yield client
