"""Build the pipeline from Python: what ``clicklab run`` does around ``ploomber build``."""

import logging
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import ConfigError
from tasks.executor import Failure, TasksFailed, describe_failure


@dataclass(frozen=True)
class Outcome:
    """What a build did: tasks run, where the report lies, what failed."""

    n_ran: int
    report_path: Path
    failures: list[Failure] = field(default_factory=list)


def read_env(path: str | Path, *, data: str | None = None) -> dict[str, Any]:
    """Return the knobs of an env file, with another log if `data` is given; ConfigError if unreadable."""
    path = Path(path)
    if not path.is_file():
        raise ConfigError(
            f"{path} not found; run this in the folder that holds env.yaml, or name the file with --env"
        )
    try:
        env = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(env, dict):
        raise ConfigError(f"{path}: expected a mapping of knobs, found {type(env).__name__}")
    return env | ({"data": data} if data else {})


def load_dag(env: dict[str, Any]) -> Any:
    """Return the pipeline of ``pipeline.yaml`` with these knobs, not yet rendered."""
    from ploomber.spec import DAGSpec

    logging.getLogger("ploomber").setLevel(logging.WARNING)  # it tells the status of each product
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The following placeholders are declared")
        return DAGSpec("pipeline.yaml", env=env).to_dag()


def build(env_path: str | Path, *, data: str | None = None, force: bool = False) -> Outcome:
    """Build what is outdated and say what happened; failures are returned, not raised."""
    env = read_env(env_path, data=data)
    report = Path(env.get("products", "products")) / "report.json"
    try:
        dag = load_dag(env)
        done = dag.build(force=force)
    except TasksFailed as error:
        return Outcome(0, report, error.failures)
    except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
        raise ConfigError(
            f"the pipeline cannot be loaded: {' '.join(str(error).split())[:500]}"
        ) from None
    except Exception as error:
        return Outcome(0, report, [describe_failure("pipeline", error)])
    return Outcome(sum(done["Ran?"]), report)
