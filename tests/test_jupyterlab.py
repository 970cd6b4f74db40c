"""A real JupyterLab opens each notebook on the pipeline's inputs, and lets it write to the scratch folder."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from tests.conftest import ROOT, copy_project, free_port, stop_group

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
def test_a_notebook_opens_with_parameters_of_its_own(jupyterlab, name):
    """The contents API answers 200; cells read the pipeline's products and write below the scratch folder."""
    cells = ask(f"{jupyterlab}/api/contents/notebooks/{name}.ipynb")["content"]["cells"]
    names = {}
    for cell in cells:
        if {"parameters", "injected-parameters"} & {*cell["metadata"].get("tags", [])}:
            exec("".join(cell["source"]), names)
    assert sum("injected-parameters" in cell["metadata"].get("tags", []) for cell in cells) == 1
    assert "scratch" not in json.dumps(names["upstream"])
    for path in (names["product"] or {}).values():
        assert path.startswith(f"products/scratch/{name}/")


def test_saving_an_opened_notebook_keeps_the_injected_cell_out_of_the_file(jupyterlab, project):
    """The file on disk holds no path of this machine."""
    path = f"{jupyterlab}/api/contents/notebooks/train.ipynb"
    content = ask(path)["content"]
    ask(path, {"type": "notebook", "format": "json", "content": content})
    saved = (project / "notebooks" / "train.ipynb").read_text()
    assert "injected-parameters" not in saved
    assert str(project) not in saved


def test_nothing_is_advertised_and_nothing_leaves_the_machine(jupyterlab, project):
    """No button that shares a notebook, no news, no banner in the terminal."""
    page = Request(f"{jupyterlab}/lab", headers={"Authorization": f"token {TOKEN}"})
    with urlopen(page, timeout=60) as answer:
        text = answer.read().decode()
    config = json.loads(re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', text, re.S)[1])
    assert "ploomber-extension" in json.dumps(config["disabledExtensions"])
    served = [extension["name"] for extension in config["federated_extensions"]]
    assert (
        "ploomber-extension" not in served or "ploomber-extension" in config["disabledExtensions"]
    )
    settings = ask(f"{jupyterlab}/lab/api/settings/@jupyterlab/apputils-extension:notification")
    assert settings["schema"]["properties"]["fetchNews"]["default"] == "false"
    log = (project / "lab.log").read_text()
    assert "Notebook 7" not in log
    assert "UserWarning" not in log


def test_make_lab_passes_arguments_on():
    """Root gets an option of its own, because Jupyter refuses it otherwise."""
    shown = subprocess.run(
        ["make", "-n", "lab", "LAB=--port 9000 --no-browser"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    line = next(line for line in shown.splitlines() if "jupyter lab" in line)
    assert line.endswith("--port 9000 --no-browser")
    assert ("--allow-root" in line) is (os.getuid() == 0)
