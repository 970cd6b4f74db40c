"""Loaded by every Python that is started with this folder on its path: makes one function stop where a test wants it.

``HOLD=module:name:n:file`` lets the n-th call of a function or method end, writes `file`, and waits until the test
removes it or kills the process. Without HOLD nothing is changed.
"""

import importlib.abc
import importlib.util
import os
import sys
import time
from pathlib import Path


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, module, name, number, file):
        self.module, self.name, self.number, self.file = module, name, int(number), Path(file)

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            self._wrap(module)

        spec.loader.exec_module = exec_module
        return spec

    def _wrap(self, module):
        *holders, name = self.name.split(".")
        holder = module
        for one in holders:
            holder = getattr(holder, one)
        original, calls = getattr(holder, name), []
        if hasattr(module, "MAX_SHARE"):
            module.MAX_SHARE = 1e9  # checkpoints however quick the epochs of a small log are

        def held(*args, **kwargs):
            found = original(*args, **kwargs)
            calls.append(1)
            if len(calls) == self.number and not self.file.exists():
                self.file.write_text(str(os.getpid()))
                while self.file.exists():
                    time.sleep(0.05)
            return found

        setattr(holder, name, held)


if os.environ.get("HOLD"):
    sys.meta_path.insert(0, _Finder(*os.environ["HOLD"].split(":", 3)))
