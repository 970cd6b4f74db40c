"""Linux refuses writes outside of a folder, also those that Python does not see."""

import json
import subprocess
import sys

import pytest

from tasks.ideas.confinement import confine

CONFINED = """
import json, os, shutil, subprocess, sys
import pyarrow
from tasks.ideas.confinement import confine
folder, kept = sys.argv[1:]
refused = {}
tries = {
    "its own file": lambda: open(folder + "/own", "w").write("2"),
    "a move between its folders": lambda: (os.mkdir(folder + "/a"), os.replace(folder + "/own", folder + "/a/own")),
    "nothing": lambda: open("/dev/null", "w").write("2"),
    "a file elsewhere": lambda: open(kept, "w"),
    "a file that a link leads to": lambda: open(folder + "/link", "a").write("2"),
    "what another library writes": lambda: pyarrow.OSFile(folder + "/link", "w"),
    "what a program writes": lambda: subprocess.run(["cp", "/dev/null", kept], check=True, capture_output=True),
    "a removed file": lambda: os.remove(kept),
    "a shortened file": lambda: os.truncate(kept, 0),
}
is_confined = confine([folder])
for name, tried in tries.items() if is_confined else ():
    try:
        tried()
        refused[name] = False
    except (OSError, subprocess.CalledProcessError):
        refused[name] = True
print(json.dumps(refused))
"""


def test_only_what_lies_in_the_folder_can_be_written(tmp_path):
    """Whoever writes it; what cannot be written is as it was."""
    kept, folder = tmp_path / "kept", tmp_path / "folder"
    kept.write_text("1")
    folder.mkdir()
    (folder / "own").write_text("1")
    (folder / "link").symlink_to(kept)
    command = [sys.executable, "-c", CONFINED, str(folder), str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    refused = json.loads(done.stdout)
    if not refused:
        pytest.skip("this kernel has no Landlock that can refuse to shorten a file")
    assert [name for name, is_refused in refused.items() if not is_refused] == [
        "its own file",
        "a move between its folders",
        "nothing",
    ]
    assert kept.read_text() == "1"


def test_where_linux_is_not_nothing_is_refused(monkeypatch):
    """And the process goes on."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not confine(["/nowhere"])
