"""Kernels of the pipeline: reached by sockets of their own, which go with them."""

import nbformat
import pytest
from nbclient import NotebookClient

from tasks.pipeline.kernel_manager import SocketKernelManager


def test_two_kernels_share_no_address():
    """Whatever moment they start at; a port could be found twice."""
    one, other = SocketKernelManager(), SocketKernelManager()
    assert one.transport == "ipc"
    assert one.ip != other.ip


@pytest.mark.slow
def test_a_notebook_runs_without_a_port_and_leaves_no_socket(tmp_path, monkeypatch):
    """The kernel listens on Unix sockets only; their folder is gone afterwards."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = "import json; print(json.load(open(get_ipython().kernel.config['IPKernelApp']['connection_file'])))"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(
        notebook, kernel_name="python3", kernel_manager_class=SocketKernelManager
    ).execute()
    (output,) = notebook.cells[0].outputs
    assert "'transport': 'ipc'" in output.text
    assert not list(tmp_path.glob("kernel-*"))
