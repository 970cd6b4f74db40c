"""Build the pipeline from Python: what ``clicklab run`` does around ``ploomber build``."""

import logging
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.pipeline.executor import Failure, TasksFailed, describe_failure
from tasks.pipeline.integrity import forget_unreadable
from tasks.pipeline.knobs import read_env


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
    report = Path(env.get("products", "products")) / "report.json"
    try:
        dag = load_dag(env)
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Corrupted product metadata"
            )  # one is missing
            done = dag.build(force=force)
    except ConfigError:
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
