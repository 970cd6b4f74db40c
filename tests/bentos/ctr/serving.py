"""A small trained model, its golden rows, and its Bento served as a real process."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
import psutil
import pytest

from tasks.hashing.contract import HashContract
from tasks.models import make_learner
from tasks.models.artifact import ScoringModel, save_model
from tasks.schema import Schema
from tests.conftest import free_port, stop_group


def trained_model(
    folder: Path,
    schema: Schema,
    *,
    bits: int = 14,
    seed: int = 7,
    edges: Mapping[str, Sequence[float]] | None = None,
) -> ScoringModel:
    """Train FTRL on random codes and save it: its numbers mean nothing, but each row gets its own."""
    contract = HashContract.from_schema(schema, bits=bits, edges=edges)
    draw = np.random.default_rng(seed)
    shape = (4_000, contract.n_tokens)
    codes = draw.integers(-contract.n_features, contract.n_features, shape).astype(np.int32)
    learner = make_learner("ftrl", contract.n_features, random_state=seed)
    learner.partial_fit_codes(codes, (draw.random(len(codes)) < 0.2).astype(np.uint8))
    return save_model(folder, learner, contract, name="ftrl")


def golden_rows(model: ScoringModel, n_rows: int = 8) -> dict[str, Any]:
    """Return requests and the model's own predictions for them."""
    schema = Schema.from_dict(model.contract.schema)
    example, first = schema.example_row(), schema.field_names[0]
    rows = [example | {first: str(number)} for number in range(n_rows)]
    return {"rows": rows, "p_click": model.predict_rows(rows).tolist()}


@contextmanager
def started_worker(model_dir: Path, **environment: str) -> Iterator[Any]:
    """Yield a worker that serves the model of a folder, with metrics of its own."""
    from prometheus_client import CollectorRegistry

    from bentos.ctr.worker import Worker

    with pytest.MonkeyPatch.context() as patch:
        for name in ("SERVING", "EXPOSURES", "EXPERIMENT", "API_KEY", "MODEL_POINTER"):
            patch.delenv(f"CLICKLAB_{name}", raising=False)
        for name, value in ({"CLICKLAB_MODEL_DIR": str(model_dir)} | environment).items():
            patch.setenv(name, value)
        worker = Worker(registry=CollectorRegistry())
        worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def ask(call: Any, body: Any, asked: Any = None) -> tuple[int, dict[str, Any]]:
    """Return status and content of a call's answer to bytes, or to what JSON makes of `body`."""
    from bentos.ctr.scoring.calls import RequestOptions
    from bentos.ctr.scoring.request_reader import Refusal

    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        return 200, json.loads(call(data, asked or RequestOptions(), 0.0))
    except Refusal as refusal:
        return refusal.status, {"error": str(refusal)}


@contextmanager
def served(
    target: str, *, home: Path, log: Path, **environment: str
) -> Iterator[tuple[str, subprocess.Popen]]:
    """Run ``bentoml serve`` on a free port until the block ends; yield its address and the process.

    `target` is a tag in the store `home`. Nothing says which address to bind, so the Bento does.
    """
    words = ["bentoml", "serve", target]
    env = os.environ | {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"} | environment
    with listening(words, log=log, environment=env) as server:
        yield server


@contextmanager
def listening(
    words: Sequence[str], *, log: Path, environment: Mapping[str, str]
) -> Iterator[tuple[str, subprocess.Popen]]:
    """Run ``python -m words --port <free>`` in the log's folder until the block ends; yield address and process."""
    port = free_port()
    command = [sys.executable, "-m", *words, "--port", str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=dict(environment),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            _wait_until_live(f"http://127.0.0.1:{port}", process, log)
            yield f"http://127.0.0.1:{port}", process
        finally:
            workers = (
                psutil.Process(process.pid).children(recursive=True)
                if process.poll() is None
                else []
            )
            stop_group(process)
            for worker in psutil.wait_procs(workers, timeout=5)[
                1
            ]:  # workers are in process groups of their own
                worker.kill()


def _wait_until_live(address: str, process: subprocess.Popen, log: Path) -> None:
    deadline = (
        time.monotonic() + 240
    )  # compiling takes half a minute, and longer beside other tests
    while True:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        try:
            urlopen(f"{address}/livez", timeout=5).close()
            return
        except (URLError, OSError):
            time.sleep(0.2)


def fetch(
    url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Return status and body of an answer, whatever the status."""
    request = Request(url, body, dict(headers or {"Content-Type": "application/json"}))
    try:
        with urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()
