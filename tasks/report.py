"""The closing table of a run: what was trained, which model serves, what to try next."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.figures.optional import left_out
from tasks.storage.files import write_atomic


def report(product: Any, upstream: Any, code: str = "") -> None:
    """Ploomber task: collect the results of the tasks before it in one small record."""
    evaluation = _read(upstream["evaluate"]["evaluation"])
    log = _read(upstream["ingest"]["log"])
    record = {
        "source": log["source"],
        "rows": {key: log[key] for key in ("n_rows_in", "n_rows", "n_quarantined")},
        "span": [log["time_min"], log["time_max"]],
        "split_note": evaluation["split_note"],
        "n_test_rows": evaluation["n_test_rows"],
        "truth_log_loss": evaluation["truth_log_loss"],
        "models": [_model_row(evaluation, name) for name in evaluation["ranking"]],
        "promotion": _read(upstream["promote"]["promotion"]),
        "bento": _read(upstream["package"]["receipt"]),
    }
    write_atomic(Path(str(product["report"])), json.dumps(record, indent=2))


def _model_row(evaluation: Mapping[str, Any], name: str) -> dict[str, Any]:
    metrics = evaluation["metrics"][name]
    keys = ("log_loss", "normalized_entropy", "roc_auc", "calibration_ratio")
    return {
        "model": name,
        **{key: metrics[key] for key in keys},
        "train_seconds": evaluation["models"][name]["train_seconds"],
        "passed": evaluation["verdicts"][name]["passed"],
        "reasons": evaluation["verdicts"][name]["reasons"],
    }


def _read(path: Any) -> dict[str, Any]:
    return json.loads(Path(str(path)).read_text())


def render_report(
    path: Path, *, n_ran: int, seconds: float, console: Console | None = None
) -> None:
    """Print the record written by :func:`report` as a table."""
    record = _read(path)
    console = console or Console()
    rows = record["rows"]
    console.print(
        f"\n[bold]{record['source']}[/bold]: {rows['n_rows']:,} rows "
        f"({rows['n_quarantined']:,} in quarantine), {record['span'][0]} to {record['span'][1]}"
    )
    console.print(f"{record['n_test_rows']:,} test rows; {record['split_note']}\n")
    console.print(_table(record))
    if record["truth_log_loss"] is not None:
        console.print(
            "(the truth): the true probabilities of this simulated log, the best possible"
        )
    for row in record["models"]:
        if not row["passed"]:
            console.print(f"{row['model']} was refused: {'; '.join(row['reasons'])}")
    _print_champion(record, console)
    for line in left_out(path.parent):
        console.print(f"[yellow]{escape(line)}[/yellow]")
    done = f"{n_ran} tasks ran" if n_ran else "nothing had changed, so nothing ran"
    console.print(f"\n{done}, {seconds:.0f} s. Try next:")
    for command, why in (
        ("make serve", "answer requests; then `make predict` in another terminal"),
        ("make ui", "compare the runs in MLflow"),
        ("make lab", "open the notebooks that did this"),
    ):
        console.print(f"  [bold]{command:<11}[/bold] {why}")


def _table(record: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    for name in ("log loss", "norm. entropy", "AUC", "calibration", "train s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("gates", no_wrap=True)
    for row in record["models"]:
        table.add_row(
            row["model"],
            f"{row['log_loss']:.4f}",
            f"{row['normalized_entropy']:.4f}",
            f"{row['roc_auc']:.4f}",
            f"{row['calibration_ratio']:.3f}",
            f"{row['train_seconds']:.1f}",
            "passed" if row["passed"] else "refused",
        )
    if record["truth_log_loss"] is not None:
        table.add_row(
            "(the truth)",
            f"{record['truth_log_loss']:.4f}",
            *[""] * 5,
            style="dim",
        )
    return table


def _print_champion(record: Mapping[str, Any], console: Console) -> None:
    promotion, bento = record["promotion"], record["bento"]
    version = promotion["champion_version"]
    if promotion["previous_version"] == version:
        what = f"stays version {version}: no model of this run may replace it"
    else:
        what = f"[bold]{promotion['champion']}[/bold], version {version} of {promotion['registered_name']}"
    console.print(f"\nChampion: {what}, packaged as [bold]{bento['bento']}[/bold]")
    replaced = promotion.get("replaced_origin")
    if replaced and replaced != promotion.get("origin"):
        console.print(
            f"[yellow]It learned from {escape(promotion['origin'])} and replaces a champion of other data "
            f"({escape(replaced)}), as ALLOW_OTHER_DATA=1 allows[/yellow]"
        )
