"""Notebooks for tests: written in a line each, good ones and bad ones."""

import json
from pathlib import Path

TITLE = "# Do people click more at night?\n\n**Data**: the log. **Status**: exploring."
PARAMETERS = (
    'upstream = {"ingest": {"log": "products/log/manifest.json"}}\n'
    'product = {"rates": "products/scratch/night/night.json"}\n'
    'max_rows = 50_000\nschema = "tasks/schemas/avazu.yaml"'
)
IMPORTS = (
    "import json\n\nfrom tasks.logs import exploration\nfrom tasks.logs.log import Log\nfrom tasks.schema import load_schema\n"
    "from tasks.storage.files import write_atomic\nfrom tasks.storage.workspace import resolve"
)
RATES = (
    'log = Log.open(resolve(upstream["ingest"]["log"]).parent)\n'
    "rows = exploration.sample_log(log, load_schema(resolve(schema)), max_rows=max_rows)\n"
    'rates = rows.groupby(rows["hour_of_day"].astype(int) < 6)["click"].mean()'
)
WRITE = (
    "assert 0 < rates.min() <= rates.max() < 1\n"
    'write_atomic(resolve(product["rates"]), json.dumps({"night": float(rates[True])}))'
)
NIGHT = (PARAMETERS, IMPORTS, RATES, WRITE)


def write_notebook(path: Path, *cells, title: str = TITLE, language: str = "python") -> Path:
    """Write a notebook: a title and code cells, the first tagged `parameters`; a cell may be a pair of text and tags."""
    content = [
        {"cell_type": "markdown", "id": "a0", "metadata": {}, "source": title.splitlines(True)}
    ]
    for number, cell in enumerate(cells):
        source, tags = (
            cell if isinstance(cell, tuple) else (cell, ["parameters"] if not number else [])
        )
        content.append(
            {
                "cell_type": "code",
                "id": f"b{number}",
                "metadata": {"tags": list(tags)} if tags else {},
                "source": source.splitlines(True),
                "outputs": [],
                "execution_count": None,
            }
        )
    metadata = {"kernelspec": {"name": "x", "display_name": "x", "language": language}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"cells": content, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})
    )
    return path
