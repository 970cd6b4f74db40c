"""Build the pipeline from Python: what ``clicklab run`` does around ``ploomber build``."""

import logging
import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tasks.errors import ClicklabError, ConfigError
from tasks.pipeline.executor import Failure, TasksFailed, describe_failure
from tasks.pipeline.integrity import forget_unreadable
from tasks.pipeline.knobs import read_env
from tasks.registry.mlflow_store import check_tracking
from tasks.storage.databases import refuse_password


@dataclass(frozen=True)
class Outcome:
    """What a build did: tasks run, where the report lies, what failed."""

    n_ran: int
    report_path: Path
    failures: list[Failure] = field(default_factory=list)


def load_dag(env: dict[str, Any]) -> Any:
    """Return the pipeline of ``pipeline.yaml`` with these knobs, not yet rendered."""
    from ploomber.spec import DAGSpec

    logging.getLogger("ploomber").setLevel(logging.WARNING)  # it tells the status of each product
    forget_unreadable(env.get("products", "products"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The following placeholders are declared")
        return DAGSpec("pipeline.yaml", env=env).to_dag()


def build(env_path: str | Path, *, data: str | None = None, force: bool = False) -> Outcome:
    """Build what is outdated and say what happened; failures are returned, not raised."""
    env = read_env(env_path, data=data)
    refuse_passwords(env)
    report = Path(env.get("products", "products")) / "report.json"
    try:
        # beside the load, which takes as long: a store that cannot be used is said before anything is computed
        with ProcessPoolExecutor(1, mp_context=get_context("fork")) as beside:
            checked = beside.submit(check_tracking, env)
            dag = load_dag(env)
            checked.result()
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Corrupted product metadata"
            )  # one is missing
            done = dag.build(force=force)
    except ClicklabError:
        raise
    except TasksFailed as error:
        return Outcome(0, report, error.failures)
    except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
        raise ConfigError(
            f"the pipeline cannot be loaded: {' '.join(str(error).split())[:500]}"
        ) from None
    except Exception as error:
        return Outcome(0, report, [describe_failure("pipeline", error)])
    return Outcome(sum(done["Ran?"]), report)


def refuse_passwords(knobs: Any, name: str = "env.yaml") -> None:
    """Raise a ConfigError if an address among the knobs holds a password: notebooks and commits show knobs."""
    if isinstance(knobs, Mapping):
        for key, value in knobs.items():
            refuse_passwords(value, f"{name}: {key}" if name == "env.yaml" else f"{name}.{key}")
    elif isinstance(knobs, list):
        for value in knobs:
            refuse_passwords(value, name)
    elif isinstance(knobs, str):
        refuse_password(knobs, name)
