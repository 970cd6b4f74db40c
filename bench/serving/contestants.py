"""The contestants, and the command that starts the server of each."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import ROOT
from bench.serving.apps.floor import ANSWER
from bench.serving.servers import Server, free_port, running
from bench.serving.workload import Workload
from tasks.errors import ClicklabError

BENTO = "ctr_bench"
TOLERANCE = 1e-6
LABELS = {
    "ours": "ours, exposure log on",
    "reference": "reference's predictor",
    "typed": "typed BentoML, plain",
    "tuned": "typed BentoML, tuned",
    "floor": "empty ASGI route",
}


@dataclass(frozen=True)
class ServerCommand:
    """How to start a server: the command without its port, and environment variables."""

    arguments: Sequence[str]
    environment: Mapping[str, str]


def peer_commands(workload: Workload, *, peers_python: Path) -> dict[str, ServerCommand]:
    """Return the command of each contestant except ours, by key; uvicorn uses uvloop and httptools by default."""
    path = {"PYTHONPATH": str(ROOT)}
    uvicorn = ("-m", "uvicorn", "--log-level", "warning", "--no-access-log")
    reference = [*uvicorn, "--factory", "bench.serving.apps.reference:create_app"]
    typed = [sys.executable, "-m", "bentoml", "serve"]
    typed_environment = {
        "BENCH_TYPED_MODEL": str(workload.models[0]),
        "BENCH_TYPED_FIELDS": str(workload.folder / "fields.json"),
    }
    return {
        "reference": ServerCommand(
            [str(peers_python), *reference], path | {"BENCH_REFERENCE_MODEL": str(workload.folder)}
        ),
        "typed": ServerCommand(
            [*typed, "bench.serving.apps.typed:Typed"], path | typed_environment
        ),
        "tuned": ServerCommand(
            [*typed, "bench.serving.apps.typed:Tuned"], path | typed_environment
        ),
        "floor": ServerCommand([sys.executable, *uvicorn, "bench.serving.apps.floor:app"], path),
    }


def build_ours(workload: Workload, *, home: Path, exposures: Path) -> ServerCommand:
    """Build the Bento in the store `home`, as packaging does, and return the command that serves it."""
    from tasks.package import package_model

    golden = json.loads((workload.models[0] / "golden.json").read_text())
    before = os.environ.get("BENTOML_HOME")
    os.environ["BENTOML_HOME"] = str(home)  # inherited by the build and its checks
    home.mkdir(parents=True, exist_ok=True)
    try:
        receipt = package_model(workload.models[0], golden, name=BENTO)
    finally:
        os.environ.pop("BENTOML_HOME") if before is None else os.environ.update(BENTOML_HOME=before)
    arguments = [sys.executable, "-m", "bentoml", "serve", receipt["bento"]]
    exposures.mkdir(parents=True, exist_ok=True)
    environment = {
        "PYTHONPATH": "",
        "BENTOML_HOME": str(home),
    }  # the Bento contains its own library
    environment["BENTOML_CONFIG_OPTIONS"] = "services.ctr.workers=1"  # like the others
    return ServerCommand(arguments, environment | {"CLICKLAB_EXPOSURES": str(exposures)})


@contextmanager
def serve_all(
    commands: Mapping[str, ServerCommand], workload: Workload
) -> Iterator[dict[str, Server]]:
    """Yield all servers by key, each ready; they are stopped when the block ends."""
    with ExitStack() as stack:
        servers = {}
        for key, command in commands.items():
            servers[key] = stack.enter_context(serve(command, key, workload))
        yield servers


@contextmanager
def serve(command: ServerCommand, key: str, workload: Workload) -> Iterator[Server]:
    """Yield one server, ready."""
    port = free_port()
    body = workload.impressions.read_bytes().splitlines()[0]
    with running(
        [*command.arguments, "--port", str(port)],
        port=port,
        log=workload.folder / f"{key}.log",
        first_body=body,
        environment=command.environment,
    ) as server:
        yield server


def check_answers(servers: Mapping[str, Server], workload: Workload, n_rows: int = 50) -> None:
    """Raise ClicklabError unless every server answers, and those with our model return its predictions."""
    from tasks.models.artifact import load_model

    expected = load_model(workload.models[0]).predict_rows(
        [dict(r) for r in workload.rows[:n_rows]]
    )
    bodies = workload.impressions.read_bytes().splitlines()[:n_rows]
    for key, server in servers.items():
        for body, p_click in zip(bodies, expected, strict=True):
            status, answer = server.request("/predict", body)
            if status != 200:
                raise server.error(f"{key} answers {status} ({answer[:100]!r})")
            found = json.loads(answer)["prediction"]
            ours = key in ("ours", "typed", "tuned")
            if (ours and abs(found - p_click) > TOLERANCE) or not 0 <= found <= 1:
                raise ClicklabError(
                    f"bench: {key} predicts {found!r}, the model {float(p_click)!r}"
                )
    if "floor" in servers and servers["floor"].request("/predict", bodies[0])[1] != ANSWER:
        raise ClicklabError("bench: the empty route does not return its constant")
