"""A folder for the metrics of one ``bentoml serve``: BentoML gives one to all servers of its home, and empties it at each start."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_SHARED, _OWN = "prometheus_multiproc_dir", "prometheus"


def use_own_folder() -> None:
    """Give this worker's supervisor, and so all of its workers, a folder of their own; remove those of dead ones.

    To be called before a metric is created. A folder that someone has chosen, by another name than BentoML's, is kept.
    """
    shared = Path(os.environ.get(VARIABLE, ""))
    if shared.name != _SHARED:
        return
    supervisor = os.getppid()
    own = shared.parent / f"{_OWN}-{supervisor}-{_started(supervisor)}"
    try:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:  # a read-only home
        return
    os.environ[VARIABLE] = str(own)
    for path in shared.parent.glob(f"{_OWN}-*-*"):
        pid, started = path.name.removeprefix(f"{_OWN}-").split("-", 1)
        if pid.isdigit() and _started(int(pid)) != started:
            shutil.rmtree(path, ignore_errors=True)


def _started(pid: int) -> str:
    """Return when a process started, which tells it from a later one of the same number; "gone" if there is none."""
    import psutil  # BentoML needs it too

    with suppress(psutil.Error):
        return f"{psutil.Process(pid).create_time():.2f}"
    return "gone"
