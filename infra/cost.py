"""What a deployment is billed for, and about how much a month: ``python -m infra.cost --vars small.tfvars``."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.console import Console
from rich.table import Table as RichTable

from infra.bill import lines
from infra.demand import ENV, containers_of_a_run
from infra.prices import Assumption, Line, Table, assumptions
from infra.tfvars import read_defaults, read_tfvars
from tasks.errors import ClicklabError, ConfigError, InputError

HERE = Path(__file__).parent
TERRAFORM = HERE / "terraform"
PRICES = HERE / "prices.yaml"
_WIDTH = 110


class Estimate(NamedTuple):
    """A month's bill, and what it rests on."""

    variables: Mapping[str, Any]
    assumptions: Sequence[Assumption]
    lines: Sequence[Line]
    price_date: str
    price_region: str

    @property
    def usd(self) -> float:
        """The whole, a month."""
        return sum(line.usd for line in self.lines)


def estimate(
    vars_file: Path,
    *,
    assume: Mapping[str, float] | None = None,
    prices: Path = PRICES,
    env: str = ENV,
) -> Estimate:
    """Return the estimate for a file of variables.

    Parameters
    ----------
    vars_file
        A ``.tfvars`` file; what it leaves out has the default of ``variables.tf``.
    assume
        Usage to put in place of the price table's, by name.
    prices
        The price table.
    env
        The file of knobs whose section ``aws`` says how large the pipeline's containers are.

    Raises
    ------
    InputError
        If a file is not there.
    ConfigError
        If a variable or an assumption is unknown, or something has no price.
    """
    variables = _variables(vars_file)
    table = yaml.safe_load(prices.read_text())
    usage = _usage(table["usage"], assume or {})
    assumed = assumptions(usage, variables)
    used = {one.name: one.value for one in assumed}
    containers = containers_of_a_run(env)
    try:
        billed = lines(variables, containers, Table(table["prices"], used, table["counts"]))
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"{vars_file}: a variable has an unexpected form ({error}); `terraform plan` says which"
        ) from None
    return Estimate(variables, assumed, billed, str(table["date"]), table["region"])


def _variables(vars_file: Path) -> dict[str, Any]:
    declared = TERRAFORM / "variables.tf"
    known, given = read_defaults(declared), read_tfvars(vars_file)
    if unknown := sorted(set(given) - set(known) - {"environment"}):
        raise ConfigError(f"{vars_file}: {unknown[0]} is no variable; see {declared.name}")
    return known | given


def _usage(usage: Mapping[str, Any], assume: Mapping[str, float]) -> dict[str, Any]:
    if unknown := sorted(set(assume) - set(usage)):
        raise ConfigError(f"--assume: unknown {unknown[0]!r}; known are {', '.join(usage)}")
    return {name: {**use, "value": assume.get(name, use["value"])} for name, use in usage.items()}


# ---- shown


def show(console: Console, result: Estimate, name: str) -> None:
    """Print the assumptions, the items and their sum."""
    console.print(_assumption_table(result))
    console.print(_bill_table(result, name))
    console.print(
        f"List prices of {result.price_region} as remembered on {result.price_date}, without VAT, free tiers, "
        "discounts or spot: an order of magnitude. Check them at https://aws.amazon.com/pricing.",
        highlight=False,
    )
    if result.variables["region"] != result.price_region:
        console.print(
            f"The deployment is in {result.variables['region']}, whose prices differ.",
            style="yellow",
            highlight=False,
        )


def _assumption_table(result: Estimate) -> RichTable:
    table = RichTable(title="Assumed", title_justify="left")
    table.add_column("usage")
    table.add_column("value", justify="right")
    table.add_column("what it is")
    for one in result.assumptions:
        table.add_row(one.name, f"{one.value:,.4g}", one.says)
    return table


def _bill_table(result: Estimate, name: str) -> RichTable:
    table = RichTable(title=f"Billed a month: {name}", title_justify="left", show_footer=True)
    table.add_column("part", "sum")
    table.add_column("item")
    table.add_column("how many")
    for column in ("quantity", "unit", "USD a unit"):
        table.add_column(column, justify="left" if column == "unit" else "right")
    table.add_column("USD a month", f"{result.usd:,.2f}", justify="right")
    previous = None
    for line in sorted(result.lines, key=lambda line: line.part):
        if previous not in (None, line.part):
            table.add_section()
        table.add_row(
            line.part if line.part != previous else "",
            line.what,
            line.how,
            f"{line.quantity:,.1f}",
            line.unit,
            f"{line.price_usd:g}",
            f"{line.usd:,.2f}",
        )
        previous = line.part
    return table


# ---- the command


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    options = _parse(arguments)
    try:
        path = _find(options.vars)
        result = estimate(
            path, assume=dict(_assumed(text) for text in options.assume), env=options.env
        )
    except ClicklabError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return error.exit_code
    console = Console()
    show(console if console.width >= _WIDTH else Console(width=_WIDTH), result, path.name)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.cost", description=__doc__)
    parser.add_argument(
        "--vars", default="small.tfvars", help="file of variables, as infra/terraform/small.tfvars"
    )
    parser.add_argument(
        "--env", default=ENV, help="file of knobs: how large the pipeline's containers are"
    )
    parser.add_argument(
        "--assume", action="append", default=[], metavar="NAME=VALUE", help="usage to assume"
    )
    return parser.parse_args(arguments)


def _find(name: str) -> Path:
    """Return the file, looked for here and beside Terraform's."""
    for path in (Path(name), TERRAFORM / name):
        if path.is_file():
            return path
    raise InputError(
        f"{name}: no such file, neither here nor in {TERRAFORM.name}/; try small.tfvars or production.tfvars"
    )


def _assumed(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ConfigError(f"--assume {text}: expected NAME=VALUE with a number of 0 or more")
    return name, number


if __name__ == "__main__":
    raise SystemExit(main())
