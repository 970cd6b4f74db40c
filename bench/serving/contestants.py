"""Who runs against whom, and how each is started."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import ROOT
from bench.serving.apps.floor import ANSWER
from bench.serving.material import Material
from bench.serving.servers import Server, free_port, running
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
class Start:
    """The command of a server but for its port, and what its environment says."""

    command: Sequence[str]
    environment: Mapping[str, str]


def starts(material: Material, *, peers_python: Path) -> dict[str, Start]:
    """Return how each contestant but ours is started, by key; uvicorn takes uvloop and httptools itself."""
    path = {"PYTHONPATH": str(ROOT)}
    uvicorn = ("-m", "uvicorn", "--log-level", "warning", "--no-access-log")
    reference = [*uvicorn, "--factory", "bench.serving.apps.reference:create_app"]
    typed = [sys.executable, "-m", "bentoml", "serve"]
    typed_environment = {
        "BENCH_TYPED_MODEL": str(material.models[0]),
        "BENCH_TYPED_FIELDS": str(material.folder / "fields.json"),
    }
    return {
        "reference": Start(
            [str(peers_python), *reference], path | {"BENCH_REFERENCE_MODEL": str(material.folder)}
        ),
        "typed": Start([*typed, "bench.serving.apps.typed:Typed"], path | typed_environment),
        "tuned": Start([*typed, "bench.serving.apps.typed:Tuned"], path | typed_environment),
        "floor": Start([sys.executable, *uvicorn, "bench.serving.apps.floor:app"], path),
    }


def start_ours(material: Material, *, home: Path, exposures: Path) -> Start:
    """Build the Bento, as packaging does, in the store `home` and return how it is started."""
    from tasks.package import package_model

    golden = json.loads((material.models[0] / "golden.json").read_text())
    before = os.environ.get("BENTOML_HOME")
    os.environ["BENTOML_HOME"] = str(home)  # the build and its checks are children of this process
    home.mkdir(parents=True, exist_ok=True)
    try:
        receipt = package_model(material.models[0], golden, name=BENTO)
    finally:
        os.environ.pop("BENTOML_HOME") if before is None else os.environ.update(BENTOML_HOME=before)
    command = [sys.executable, "-m", "bentoml", "serve", receipt["bento"]]
    exposures.mkdir(parents=True, exist_ok=True)
    environment = {"PYTHONPATH": "", "BENTOML_HOME": str(home)}  # the Bento brings its own library
    environment["BENTOML_CONFIG_OPTIONS"] = "services.ctr.workers=1"  # as the others have
    return Start(command, environment | {"CLICKLAB_EXPOSURES": str(exposures)})


@contextmanager
def serve_all(found: Mapping[str, Start], material: Material) -> Iterator[dict[str, Server]]:
    """Yield all servers by key, each ready; they are stopped at the end of the block."""
    with ExitStack() as stack:
        servers = {}
        for key, start in found.items():
            servers[key] = stack.enter_context(serve(start, key, material))
        yield servers


@contextmanager
def serve(start: Start, key: str, material: Material) -> Iterator[Server]:
    """Yield one server, ready."""
    port = free_port()
    body = material.impressions.read_bytes().splitlines()[0]
    with running(
        [*start.command, "--port", str(port)],
        port=port,
        log=material.folder / f"{key}.log",
        first_body=body,
        environment=start.environment,
    ) as server:
        yield server


def check_answers(servers: Mapping[str, Server], material: Material, n_rows: int = 50) -> None:
    """Raise ClicklabError unless every server answers, and those with our model say what it predicts."""
    from tasks.models.artifact import load_model

    expected = load_model(material.models[0]).predict_rows(
        [dict(r) for r in material.rows[:n_rows]]
    )
    bodies = material.impressions.read_bytes().splitlines()[:n_rows]
    for key, server in servers.items():
        for body, p_click in zip(bodies, expected, strict=True):
            status, answer = server.ask("/predict", body)
            if status != 200:
                raise server.fail(f"{key} answers {status} ({answer[:100]!r})")
            found = json.loads(answer)["prediction"]
            ours = key in ("ours", "typed", "tuned")
            if (ours and abs(found - p_click) > TOLERANCE) or not 0 <= found <= 1:
                raise ClicklabError(
                    f"bench: {key} predicts {found!r}, the model {float(p_click)!r}"
                )
    if "floor" in servers and servers["floor"].ask("/predict", bodies[0])[1] != ANSWER:
        raise ClicklabError("bench: the empty route does not answer as it should")
