"""The notebook of A/B read-outs, which no pipeline runs: top to bottom with its defaults, on a simulated experiment."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_the_notebook_runs_top_to_bottom_under_nbval(tmp_path):
    """Cell by cell in a real kernel; its record lies where notebooks that are run by hand write."""
    for name in ("pipeline.yaml", "tasks"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks/ab_test.ipynb", tmp_path / "notebooks")
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--override-ini=addopts=", "ab_test.ipynb"],
        cwd=tmp_path / "notebooks",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert (tmp_path / "products/scratch/ab_test/ab_test.json").is_file()
