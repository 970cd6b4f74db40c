"""Kills a worker midway."""

import os
import signal
import threading
import time


def kill_when(pid_of):
    """Kill the worker whose process `pid_of` names as soon as it does; within a minute or not at all."""

    def watch():
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if pid := pid_of():
                os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread
