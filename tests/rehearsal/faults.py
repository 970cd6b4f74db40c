"""Faults put into an image, so that a task of the real pipeline fails on purpose: a ``sitecustomize.py``.

Python runs it before anything else; it acts in the process of one task, in the attempts named, and nowhere else.
"""

import json
from textwrap import dedent, indent

from tests.rehearsal.images import Image

_ACTIONS = {
    "raise": 'sys.stdout.write("the rehearsal ends this task\\n"); sys.stdout.flush(); os._exit(1)',
    "memory": """
        held = []
        while True:  # until the container has no more
            held.append(bytearray(64 << 20))
            held[-1][:] = b"x" * (64 << 20)
    """,
    "unavailable": """
        os._exit(8)
    """,
    "hang": """
        import time
        sys.stdout.write("the rehearsal lets this task wait\\n"); sys.stdout.flush(); time.sleep(600)
    """,
}
_FILE = """\
# Put here by the rehearsal.
import os
import sys

words = sys.orig_argv
if "infra.container.task_main" in words and {task!r} in words and int(os.environ.get("CLICKLAB_ATTEMPT", 1)) <= {attempts}:
{action}
"""


def fault(task: str, action: str, *, attempts: int = 10**6) -> dict[str, str]:
    """Return the file that makes a task ``raise``, take all ``memory`` or ``hang`` in its first attempts."""
    text = indent(dedent(_ACTIONS[action]).strip(), "    ")
    return {"sitecustomize.py": _FILE.format(task=task, attempts=attempts, action=text)}


def failing_cell(image: Image, notebook: str) -> dict[str, str]:
    """Return a notebook of an image with a cell at its end that raises."""
    name = f"notebooks/{notebook}.ipynb"
    found = json.loads(image.read(name))
    source = ['raise RuntimeError("the rehearsal breaks this cell")']
    found["cells"].append(
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "broken",
            "metadata": {},
            "outputs": [],
            "source": source,
        }
    )
    return {name: json.dumps(found, indent=1)}
