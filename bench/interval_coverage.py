"""How often 95% intervals hold the truth, by rows and by clusters: ``python -m bench.interval_coverage``.

Two models learn the first half of a simulated log; the second half is the population. Samples of it are drawn as days
draw campaigns: whole clusters, with all of their rows. Of each sample an interval of a model's log loss, and of the
difference of both, is drawn by single rows and by cluster; the truth is the population's own value.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.evaluation.clusters import clusters_of, design_effect
from tasks.evaluation.rows import Z_95, row_losses
from tasks.hashing.contract import HashContract
from tasks.hashing.encode import columns_of, encode_batch
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.models import make_learner
from tasks.schema import load_schema

FIELDS = ("C17", "C14", "site_id", "app_domain", "device_model", "app_id", "device_ip")
KINDS = ("ftrl", "sgd")


@dataclass(frozen=True)
class Population:
    """Rows that neither model has learned: labels, predictions by kind, the log with its first row."""

    y_true: np.ndarray
    p_click: dict[str, np.ndarray]
    log: Log
    span: tuple[int, int]


def population(folder: Path, n_rows: int, *, seed: int = 7) -> Population:
    """Return the second half of a simulated log, with the predictions of models that learned the first."""
    schema = load_schema("avazu")
    ingest_log(f"sim://avazu?rows={n_rows}&seed={seed}", folder, schema=schema)
    log, contract = Log.open(folder), HashContract.from_schema(schema, bits=18)
    learners = {kind: make_learner(kind, contract.n_features, random_state=seed) for kind in KINDS}
    half = log.n_rows // 2
    columns = [schema.label, *columns_of(contract)]
    labels: list[np.ndarray] = []
    found: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for start, stop in ((0, half), (half, log.n_rows)):
        for batch in log.batches(columns=columns, start=start, stop=stop, batch_rows=8192):
            codes, label = encode_batch(batch, contract), batch.column(schema.label).to_numpy()
            for kind, learner in learners.items():
                if start:
                    found[kind].append(learner.predict_codes(codes))
                else:
                    learner.partial_fit_codes(codes, label)
            if start:
                labels.append(label)
    p_click = {kind: np.concatenate(pieces) for kind, pieces in found.items()}
    return Population(np.concatenate(labels).astype(float), p_click, log, (half, log.n_rows))


def coverage(
    values: np.ndarray, cluster: np.ndarray, n_draws: int, *, seed: int = 0
) -> tuple[float, float]:
    """Return how often 95% intervals of the mean hold that of all rows: by single rows, and by cluster.

    A sample has as many clusters as there are, drawn with replacement. Both errors are those of
    :func:`tasks.evaluation.rows.mean_with_error`, from sums by cluster.
    """
    _, codes = np.unique(cluster, return_inverse=True)
    n, total, squares = (
        np.bincount(codes, one) for one in (np.ones(len(codes)), values, values**2)
    )
    rng, hits = np.random.default_rng(seed), np.zeros(2)
    for _ in range(n_draws):
        drawn = rng.integers(0, len(n), len(n))
        size, mean = n[drawn].sum(), total[drawn].sum() / n[drawn].sum()
        alone = squares[drawn].sum() - size * mean**2
        together = ((total[drawn] - mean * n[drawn]) ** 2).sum()
        errors = np.sqrt([alone, together]) / size
        hits += np.abs(mean - values.mean()) <= Z_95 * errors
    return hits[0] / n_draws, hits[1] / n_draws


def table(n_rows: int = 200_000, n_draws: int = 400) -> str:
    """Return the table of docs/gates.md: how much wider an interval is by cluster, and how often each holds the truth."""
    with tempfile.TemporaryDirectory() as folder:
        everyone = population(Path(folder) / "log", n_rows)
        one, other = (row_losses(everyone.y_true, everyone.p_click[kind]) for kind in KINDS)
        lines = [
            "| cluster | clusters (of equal size) | loss: wider by | holds, rows | holds, clusters | difference: wider by | "
            "holds, rows | holds, clusters |",
            "| --- " * 8 + "|",
        ]
        for name in FIELDS:
            found = clusters_of(name, everyone.log.to_pandas([name], *everyone.span)[name])
            cells = [f"`{name}`", f"{found.n_clusters:,} ({found.n_effective:,.0f})"]
            for values in (one, one - other):
                cells.append(f"{design_effect(values, found.ids) ** 0.5:.1f}")
                cells += [f"{share:.0%}" for share in coverage(values, found.ids, n_draws)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201
