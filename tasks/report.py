"""The closing table of a run: what was trained, which model serves, what to try next."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.figures.optional import left_out
from tasks.storage.files import write_atomic

AFTER_EVALUATE = frozenset({"promote", "package", "report"})  # what can fail with a table to show
_NOTES = ("note", "champion_left_out", "champion_note", "preference")
_METRICS = ("log_loss", "normalized_entropy", "roc_auc", "calibration_ratio")


def report(product: Any, upstream: Any, code: str = "") -> None:
    """Ploomber task: collect the results of the tasks before it in one small record."""
    record = compared(
        _read(upstream["evaluate"]["evaluation"]), _read(upstream["ingest"]["log"])
    ) | {
        "promotion": _read(upstream["promote"]["promotion"]),
        "bento": _read(upstream["package"]["receipt"]),
    }
    write_atomic(Path(str(product["report"])), json.dumps(record, indent=2))


def compared(evaluation: Mapping[str, Any], log: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the record that is known once the models are compared."""
    return {
        "source": log["source"],
        "rows": {key: log[key] for key in ("n_rows_in", "n_rows", "n_quarantined")},
        "span": [log["time_min"], log["time_max"]] if log.get("has_time", True) else None,
        "split_note": evaluation["split_note"],
        "n_test_rows": evaluation["n_test_rows"],
        "truth_log_loss": evaluation["truth_log_loss"],
        "models": [_model_row(evaluation, name) for name in evaluation["verdicts"]],
        "notes": [line for key in _NOTES if (line := evaluation.get(key))]
        + evaluation.get("harm", []),
        "drawn_by": evaluation.get("drawn_by"),
    }


def _model_row(evaluation: Mapping[str, Any], name: str) -> dict[str, Any]:
    metrics = evaluation["metrics"].get(name, {})
    return {
        "model": name,
        **{key: metrics.get(key) for key in _METRICS},
        "against_champion": evaluation.get("paired", {}).get(name),
        "train_seconds": evaluation["models"][name]["train_seconds"],
        "passed": evaluation["verdicts"][name]["passed"],
        "reasons": evaluation["verdicts"][name]["reasons"],
    }


def _read(path: Any) -> dict[str, Any]:
    return json.loads(Path(str(path)).read_text())


def render_report(
    path: Path,
    *,
    n_ran: int,
    seconds: float,
    env: str | Path = "env.yaml",
    console: Console | None = None,
) -> None:
    """Print the record written by :func:`report` as a table, with commands for the file of knobs `env`."""
    record = _read(path)
    console = console or Console()
    _print_models(record, console)
    _print_champion(record, console)
    promotion = record["promotion"]
    if not any(row["passed"] for row in record["models"]) and not promotion.get("forced"):
        _print_force(record, env, console)
    for line in left_out(path.parent):
        console.print(f"[yellow]{escape(line)}[/yellow]")
    done = f"{n_ran} tasks ran" if n_ran else "nothing had changed, so nothing ran"
    console.print(f"\n{done}, {seconds:.0f} s. Try next:")
    ours = _suffix(env)
    for command, why in (
        (f"make serve{ours}", f"answer requests (then `make predict{ours}`)"),
        (f"make ui{ours}", "compare the runs in MLflow"),
        ("make lab", "open the notebooks that did this"),
    ):
        console.print(f"  [bold]{escape(command):<{11 + len(ours)}}[/bold] {escape(why)}")


def render_comparison(
    products: Path, *, env: str | Path = "env.yaml", console: Console | None = None
) -> None:
    """Print how the models compare, of a run that ended after ``evaluate``; nothing if there is no comparison."""
    paths = (products / "evaluation.json", products / "log" / "manifest.json")
    if not all(path.is_file() for path in paths):
        return
    record = compared(*map(_read, paths))
    console = console or Console()
    _print_models(record, console)
    if not any(row["passed"] for row in record["models"]):
        _print_force(record, env, console)
    console.print()


def _print_models(record: Mapping[str, Any], console: Console) -> None:
    """Print what was read, the table, and why a model was refused."""
    rows = record["rows"]
    console.print(
        f"\n[bold]{escape(record['source'])}[/bold]: {rows['n_rows']:,} rows "
        f"({rows['n_quarantined']:,} in quarantine)"
        + (", {} to {}".format(*record["span"]) if record["span"] else "")
    )
    console.print(f"{record['n_test_rows']:,} test rows; {escape(record['split_note'])}\n")
    console.print(_table(record))
    if record["truth_log_loss"] is not None:
        console.print(
            "(the truth): the true probabilities of this simulated log, the best possible"
        )
    _print_against_champion(record, console)
    refused = {
        row["model"]: "; ".join(row["reasons"]) for row in record["models"] if not row["passed"]
    }
    if len(refused) > 1 and len(refused) == len(record["models"]) and len({*refused.values()}) == 1:
        console.print(escape(f"all models were refused: {next(iter(refused.values()))}"))
    else:
        for name, reasons in refused.items():
            console.print(escape(f"{name} was refused: {reasons}"))
    for line in record.get("notes", []):
        console.print(f"[yellow]{escape(line)}[/yellow]")


def _print_force(record: Mapping[str, Any], env: str | Path, console: Console) -> None:
    """Print how a refused model can serve all the same."""
    names = [row["model"] for row in record["models"] if _is_number(row["log_loss"])]
    if names:
        command = f'make promote FORCE={names[0]} WHY="..."{_suffix(env)}'
        console.print(escape(f"No model passed. To serve one all the same: {command}"))


def _suffix(env: str | Path) -> str:
    return "" if str(env) == "env.yaml" else f" ENV={env}"


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _shown(value: float | None, digits: int) -> str:
    return f"{value:.{digits}f}" if value is not None and math.isfinite(value) else "-"


def _print_against_champion(record: Mapping[str, Any], console: Console) -> None:
    """Print each model's log loss minus the champion's, with its interval; nothing without a champion."""
    rows = {row["model"]: row.get("against_champion") for row in record["models"]}
    found = {name: paired for name, paired in rows.items() if paired}
    if not found:
        return
    by = record.get("drawn_by") or "single rows"
    n_rows = int(next(iter(found.values()))["n_rows"])
    console.print(
        escape(
            f"log loss minus the champion's on {n_rows:,} rows that neither has learned, 95% interval by {by}:"
        )
    )
    width = max(map(len, found))
    for name, paired in found.items():
        shown = "{difference:+.5f} ({low:+.5f} to {high:+.5f})".format(**paired)
        console.print(escape(f"  {name:<{width}}  {shown}"))


def _table(record: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    for name in ("log loss", "norm. entropy", "AUC", "calibration", "train s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("gates", no_wrap=True)
    for row in record["models"]:
        table.add_row(
            row["model"],
            *(_shown(row[key], 4) for key in _METRICS[:3]),
            _shown(row["calibration_ratio"], 3),
            _shown(row["train_seconds"], 1),
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
    if promotion.get("forced"):
        what = f"[bold]{promotion['champion']}[/bold], version {version} of {promotion['registered_name']}, by hand against the gates"
    elif promotion["previous_version"] == version:
        what = f"stays version {version}: no model of this run takes its place"
    else:
        what = f"[bold]{promotion['champion']}[/bold], version {version} of {promotion['registered_name']}"
    console.print(f"\nChampion: {what}, packaged as [bold]{bento['bento']}[/bold]")
    if promotion.get("renewal"):
        console.print(escape(f"{promotion['renewal']}"))
    replaced = promotion.get("replaced_origin")
    if replaced and replaced != promotion.get("origin"):
        console.print(
            f"[yellow]It learned from {escape(promotion['origin'])} and replaces a champion of other data "
            f"({escape(replaced)}), as ALLOW_OTHER_DATA=1 allows[/yellow]"
        )
