"""Faults put into an image so that a task of the real pipeline fails on purpose."""

import json
from textwrap import dedent, indent

from tests.rehearsal.images import Image

_ACTIONS = {
    "memory": """
        held = []
        while True:  # until the container has no more
            held.append(bytearray(64 << 20))
            held[-1][:] = b"x" * (64 << 20)
    """,
    "unavailable": "os._exit(8)",
    "hang": """
        import time
        sys.stdout.write("the rehearsal lets this task wait\\n"); sys.stdout.flush(); time.sleep(600)
    """,
}
_FILE = """\
# Written by the rehearsal.
import os
import sys

words = sys.orig_argv
if "infra.container.fetch_and_run" in words and {task!r} in words and int(os.environ.get("CLICKLAB_ATTEMPT", 1)) <= {attempts}:
{action}
"""


def fault(task: str, action: str, *, attempts: int = 10**6) -> dict[str, str]:
    """Return a ``sitecustomize.py`` that makes a task ``unavailable``, exhaust its ``memory`` or ``hang`` in its first attempts."""
    text = indent(dedent(_ACTIONS[action]).strip(), "    ")
    return {"sitecustomize.py": _FILE.format(task=task, attempts=attempts, action=text)}


def failing_cell(image: Image, notebook: str) -> dict[str, str]:
    """Return a notebook of an image with a last cell that raises."""
    name = f"notebooks/{notebook}.ipynb"
    found = json.loads(image.read(name))
    cell = {"cell_type": "code", "execution_count": None, "id": "broken", "metadata": {}}
    source = ['raise RuntimeError("the rehearsal breaks this cell")']
    found["cells"].append({**cell, "outputs": [], "source": source})
    return {name: json.dumps(found, indent=1)}
