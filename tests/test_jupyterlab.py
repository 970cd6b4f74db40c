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
TOKEN = "only-for-this-test"


def ask(address: str, body: dict | None = None) -> dict:
    """Return the server's JSON answer; with a body, PUT it."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"token {TOKEN}", "Content-Type": "application/json"}
    with urlopen(
        Request(address, data, headers, method="PUT" if body else "GET"), timeout=60
    ) as answer:
        assert answer.status == 200
        return json.loads(answer.read())


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project, because the tests save notebooks."""
    return copy_project(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def jupyterlab(project):
    """Start JupyterLab as `make lab` does, and yield its address."""
    port = free_port()
    command = [
        Path(sys.executable).parent / "jupyter", "lab", "--no-browser", f"--port={port}", "--ip=127.0.0.1",
        f"--IdentityProvider.token={TOKEN}", "--notebook-dir=.", "--allow-root",
    ]  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(project), "JUPYTER_CONFIG_DIR": str(project / ".jupyter")}
    log = (project / "lab.log").open("w")
    process = subprocess.Popen(
        command, cwd=project, env=env, stdout=log, stderr=log, start_new_session=True
    )
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
            ask(f"{address}/api/status")
            return
        except (URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not answer in 90 s: {log.read_text()}")


@pytest.mark.parametrize("name", ["explore", "hash_features", "train", "evaluate"])
def test_a_notebook_opens_with_its_injected_parameters(jupyterlab, name):
    """The contents API answers 200, with the cell that names this task's products and inputs."""
    content = ask(f"{jupyterlab}/api/contents/notebooks/{name}.ipynb")["content"]
    injected = [
        cell
        for cell in content["cells"]
        if "injected-parameters" in cell["metadata"].get("tags", [])
    ]
    assert len(injected) == 1
    source = "".join(injected[0]["source"])
    assert "product = " in source
    assert "upstream = " in source


def test_saving_an_opened_notebook_keeps_the_injected_cell_out_of_the_file(jupyterlab, project):
    """The file on disk holds no path of this machine."""
    path = f"{jupyterlab}/api/contents/notebooks/train.ipynb"
    content = ask(path)["content"]
    ask(path, {"type": "notebook", "format": "json", "content": content})
    saved = (project / "notebooks" / "train.ipynb").read_text()
    assert "injected-parameters" not in saved
    assert str(project) not in saved
