"""How many bytes a request and its exposure are: the bodies of the serving bench, answered in one process."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.data import prepare
from bench.serving.request_steps import call_all, serving_state
from bench.serving.workload import make_workload

FORMATS = ("jsonl", "parquet")


def measure_bytes(*, n_rows: int, n_requests: int) -> dict[str, dict[str, float]]:
    """Return the mean bytes of a body, and of its exposure in each format, by call.

    Parameters
    ----------
    n_rows
        Rows of the simulated log on which the model is trained and from which the requests are taken.
    n_requests
        Distinct impressions; rankings are fewer, as in the serving bench.
    """
    from prometheus_client import CollectorRegistry

    from bentos.ctr.metrics.telemetry import Telemetry
    from tasks.models.artifact import load_model

    with TemporaryDirectory(prefix="clicklab-fleet-", ignore_cleanup_errors=True) as folder:
        data = prepare(n_rows, folder=Path(folder) / "data")
        work = make_workload(data, kind="ftrl", bits=20, n_requests=n_requests, peers_python=None)
        state = serving_state(load_model(work.models[0]), str(work.models[0]))
        telemetry = Telemetry(registry=CollectorRegistry())
        found = {}
        for path, file in (("/predict", work.impressions), ("/rank", work.rankings)):
            bodies = file.read_bytes().splitlines()
            sizes = {"body": sum(map(len, bodies)) / len(bodies)}
            for name in FORMATS:
                sink = Path(folder) / f"{path[1:]}-{name}"
                sizes[name] = _logged_bytes(state, telemetry, path, bodies, sink) / len(bodies)
            found[path] = sizes
    return found


def _logged_bytes(
    state: Any, telemetry: Any, path: str, bodies: Sequence[bytes], sink: Path
) -> int:
    """Return the bytes of the files that a service's exposure log leaves after these requests."""
    from bentos.ctr.exposures import ExposureLog, ExposureSettings
    from bentos.ctr.scoring.calls import Calls

    settings = {"sink": str(sink), "format": sink.name.split("-")[1], "queue_rows": 10**6}
    log = ExposureLog(ExposureSettings.from_mapping(settings))
    try:
        calls = Calls(telemetry, log)
        calls.state = state
        call_all(calls, path, bodies)
    finally:
        log.close()
    return sum(file.stat().st_size for file in sink.rglob("*") if file.is_file())
