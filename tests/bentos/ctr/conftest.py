"""Fixtures: a tiny model on disk with its golden rows, and the worker that serves it."""

import json

import pytest

from tasks.models.golden import GOLDEN
from tasks.package import package_model
from tasks.schema import load_schema
from tests.bentos.ctr.serving import golden_rows, served, started_worker, trained_model


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory):
    """A model folder with golden rows, as in a Bento. Do not write to it."""
    folder = tmp_path_factory.mktemp("model")
    model = trained_model(folder, load_schema("avazu"))
    (folder / GOLDEN).write_text(json.dumps(golden_rows(model)))
    return folder


@pytest.fixture(scope="session")
def worker(model_dir):
    """A started worker with that model, without BentoML around it."""
    with started_worker(model_dir) as worker:
        assert worker.is_ready, worker.health()
        yield worker


@pytest.fixture(scope="session")
def calls(worker):
    """The two calls with that model."""
    return worker.calls


@pytest.fixture(scope="session")
def bento(model_dir, tmp_path_factory):
    """The model's Bento in a store of its own: (receipt, store)."""
    home = tmp_path_factory.mktemp("bentoml")
    golden = json.loads((model_dir / GOLDEN).read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(home))
        receipt = package_model(model_dir, golden, name="ctr_test")
    return receipt, home


@pytest.fixture(scope="session")
def endpoint(bento, tmp_path_factory):
    """The address of the served Bento."""
    receipt, home = bento
    with served(
        receipt["bento"], home=home, log=tmp_path_factory.mktemp("serve") / "serve.log"
    ) as (address, _):
        yield address
