"""A notebook in a fresh kernel with limits: what it may not do, and how far it came."""

import pytest

from tasks.ideas.kernel_run import Limits, run
from tests.conftest import ROOT
from tests.tasks.ideas.notebooks import write_notebook

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]
BAD = {
    "an error": (["a = 1", "x = 1\n1 / 0"], "code cell 2, line 2: ZeroDivisionError: division by zero"),
    "no end": (["a = 1", "while True:\n    pass"], "code cell 2: has not ended after 0.05 minutes"),
    "10 GB": (["a = 1", "import numpy as np", "x = np.ones(10 * 2**27)"], "code cell 3, line 1: needs more than 2 GB of memory"),
    "a file elsewhere": (["a = 1", "open('elsewhere.txt', 'w')"], "code cell 2, line 1: writes elsewhere.txt, which is none of its products"),
    "the network": (["a = 1", "import urllib.request as r\nr.urlopen('http://10.255.255.1/', timeout=1)"], "connects to 10.255.255.1 over the network"),
    "a killed kernel": (["a = 1", "import os\nos._exit(1)"], "code cell 2: killed its kernel"),
}  # fmt: skip


@pytest.mark.parametrize(("cells", "words"), BAD.values(), ids=BAD)
def test_what_a_notebook_may_not_do_ends_it_with_its_cell(tmp_path, cells, words):
    """And leaves nothing."""
    path = write_notebook(tmp_path / "x.ipynb", *cells)
    limits = Limits(0.05 if "not ended" in words else 1, memory_gb=2)
    assert words in str(run(path, ROOT, limits=limits))
    assert not (ROOT / "elsewhere.txt").exists()


def test_a_good_notebook_gets_its_parameters_and_writes_its_product(tmp_path):
    """Below the `parameters` cell, not in it; atomic writes and temporary folders are let through; no ports are used."""
    product = tmp_path / "out" / "x.json"
    cell = (
        "from tasks.storage.files import write_atomic\nimport shutil, tempfile\n"
        "from ipykernel.kernelapp import IPKernelApp\nassert IPKernelApp.instance().transport == 'ipc'\n"
        "tempfile.TemporaryFile().write(b'1')\nshutil.rmtree(tempfile.mkdtemp())\nwrite_atomic(product['x'], str(n))"
    )
    path = write_notebook(tmp_path / "x.ipynb", "n = 1\nproduct = None", cell)
    given = {"n": 5, "product": {"x": str(product)}}
    before = path.read_bytes()
    assert run(path, ROOT, parameters=given, allowed=[str(product)]) is None
    assert product.read_text() == "5"
    assert path.read_bytes() == before
