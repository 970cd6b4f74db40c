"""A real JupyterLab opens each notebook with the parameters that the pipeline injects."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from tests.conftest import copy_project, free_port, stop_group

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, so that saving spoils nothing."""
    return copy_project(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def jupyterlab(project):
    """Start JupyterLab as `make lab` does, and yield its address."""
    port = free_port()
    command = [
        Path(sys.executable).parent / "jupyter", "lab", "--no-browser", f"--port={port}", "--ip=127.0.0.1",
        "--IdentityProvider.token=", "--notebook-dir=.", "--allow-root",
    ]  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(project), "JUPYTER_CONFIG_DIR": str(project / ".jupyter")}
    log = (project / "lab.log").open("w")
    process = subprocess.Popen(command, cwd=project, env=env, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process, project / "lab.log")
        yield address
    finally:
        stop_group(process)
        log.close()


def _wait(address: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(f"{address}/api/status", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not answer in 90 s: {log.read_text()}")


@pytest.mark.parametrize("name", ["explore", "hash_features", "train", "evaluate"])
def test_a_notebook_opens_with_its_injected_parameters(jupyterlab, name):
    """The contents API answers 200, with the cell that names this task's products and inputs."""
    with urlopen(f"{jupyterlab}/api/contents/notebooks/{name}.ipynb", timeout=60) as answer:
        assert answer.status == 200
        content = json.loads(answer.read())["content"]
    injected = [cell for cell in content["cells"] if "injected-parameters" in cell["metadata"].get("tags", [])]
    assert len(injected) == 1
    source = "".join(injected[0]["source"])
    assert "product = " in source
    assert "upstream = " in source


def test_saving_an_opened_notebook_keeps_the_injected_cell_out_of_the_file(jupyterlab, project):
    """What is committed carries no machine's paths."""
    path = f"{jupyterlab}/api/contents/notebooks/train.ipynb"
    with urlopen(path, timeout=60) as answer:
        model = json.loads(answer.read())
    body = json.dumps({"type": "notebook", "format": "json", "content": model["content"]}).encode()
    with urlopen(Request(path, body, {"Content-Type": "application/json"}, method="PUT"), timeout=60) as answer:
        assert answer.status == 200
    saved = (project / "notebooks" / "train.ipynb").read_text()
    assert "injected-parameters" not in saved
    assert str(project) not in saved
