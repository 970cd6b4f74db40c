"""The whole pipeline on this machine with a run's products: ``python -m infra.container.run_pipeline RUN``.

Downloads what the run has finished, builds what is outdated or missing as ``clicklab run`` does, and uploads what
was built, so that a run started on ECS can continue on a laptop and vice versa. Each run has its own folder below
the products folder.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from infra.container.bucket import Store
from infra.container.partial_dag import owned
from infra.container.run_products import RunProducts
from infra.container.run_settings import RunSettings
from tasks.errors import ClicklabError
from tasks.pipeline.build import Outcome, build, load_dag


def bring_up_to_date(job: RunSettings, *, force: bool = False) -> tuple[Outcome, list[str]]:
    """Bring a run up to date on this machine; return the outcome, and the tasks whose products were uploaded."""
    env = job.knobs()
    folder = job.products(env) / job.run
    env = env | {"products": str(folder)}
    products = RunProducts(Store(job.store), job.run, folder)
    for task in products.finished():
        products.fetch(task)
    with tempfile.TemporaryDirectory(prefix="clicklab-run-") as place:
        path = Path(place) / "env.yaml"
        path.write_text(yaml.safe_dump(env, sort_keys=False))
        outcome = build(path, force=force)
    return outcome, _upload(products, env, {failure.task for failure in outcome.failures})


def _upload(products: RunProducts, env: dict[str, Any], failed: set[str]) -> list[str]:
    dag = load_dag(env)
    dag.render(force=True, show_progress=False)
    sent = []
    for name in dag:
        own = owned(dag[name], products.folder)
        if name in failed:
            products.push_unfinished(own)
        elif dag[name].product.exists() and products.has_changed(own):
            products.push(own, {"seconds": None, "attempt": 0})
            sent.append(name)
    return sent


def main(words: Sequence[str] | None = None) -> int:
    """Run the verb; a known error is one line and its exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("run", help="the run's id")
    parser.add_argument("--env", default=os.environ.get("CLICKLAB_ENV") or "env.aws.yaml")
    parser.add_argument("--store", default=os.environ.get("CLICKLAB_STORE", ""))
    parser.add_argument("--data", default=os.environ.get("CLICKLAB_DATA", ""))
    parser.add_argument("--force", action="store_true", help="run every task again")
    asked = parser.parse_args(words)
    given = {"CLICKLAB_RUN": asked.run, "CLICKLAB_STORE": asked.store, "CLICKLAB_ENV": asked.env}
    try:
        job = RunSettings.read("", given | {"CLICKLAB_DATA": asked.data})
        outcome, sent = bring_up_to_date(job, force=asked.force)
    except ClicklabError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    for failure in outcome.failures:
        sys.stderr.write(f"{failure.detail}error: {failure.task}: {failure.line}\n")
    sys.stdout.write(f"run {asked.run}: products of {len(sent)} tasks uploaded\n")
    return outcome.failures[0].exit_code if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
