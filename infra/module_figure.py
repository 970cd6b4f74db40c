"""The deployment as a picture, drawn from Terraform's own files: ``python -m infra.module_figure``.

A box a module: what it makes, counted by type, and which modules it takes something from.
"""

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path("infra/terraform")
OUT = Path("docs/images/deployment.svg")
TIERS = (("network", "storage", "iam"), ("pipeline", "tracking", "serving"), ("observability",))
_WIDTH, _LINE, _GAP, _N_TYPES = 3.6, 0.19, 0.35, 9
_SALT: Any = {"svg.hashsalt": "clicklab", "font.size": 8, "font.family": "DejaVu Sans"}


class Module(NamedTuple):
    """One module: its blocks of resources by type, and the modules that the root wires into it."""

    name: str
    resources: Counter[str]
    needs: tuple[str, ...]


def read_modules(root: Path = ROOT) -> dict[str, Module]:
    """Return the modules of a root by name; what they hold is read from their files."""
    wiring = (root / "main.tf").read_text()
    blocks = re.findall(r'^module "(\w+)" \{\n(.*?)^\}', wiring, re.M | re.S)
    modules = {}
    for name, body in blocks:
        text = "".join(path.read_text() for path in sorted((root / "modules" / name).glob("*.tf")))
        kinds = Counter(re.findall(r'^resource "aws_(\w+)"', text, re.M))
        needs = dict.fromkeys(re.findall(r"module\.(\w+)", body))
        modules[name] = Module(name, kinds, tuple(sorted(needs)))
    return modules


def lines_of(module: Module) -> list[str]:
    """Return what a module's box says."""
    kinds = sorted(module.resources.items(), key=lambda item: (-item[1], item[0]))
    said = [f"{count} x {kind.replace('_', ' ')}" for kind, count in kinds[:_N_TYPES]]
    rest = sum(count for _, count in kinds[_N_TYPES:])
    said += [f"and {rest} more"] if rest else []
    return [*said, f"from: {', '.join(module.needs) or 'nothing'}"]


def draw(modules: dict[str, Module], path: Path) -> None:
    """Write the picture; the same files give the same bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    heights = [max(len(lines_of(modules[name])) + 2 for name in tier) * _LINE for tier in TIERS]
    total = sum(heights) + _GAP * (len(TIERS) + 1)
    width = max(map(len, TIERS)) * (_WIDTH + _GAP) + _GAP
    with mpl.rc_context(_SALT):
        figure = Figure(figsize=(width, total), layout="none")  # whatever style is in use
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(total, 0))
        axes.axis("off")
        top = _GAP
        for tier, height in zip(TIERS, heights, strict=True):
            for column, name in enumerate(tier):
                _box(axes, modules[name], _GAP + column * (_WIDTH + _GAP), top, height)
            top += height + _GAP
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _box(axes: Any, module: Module, left: float, top: float, height: float) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((left, top), _WIDTH, height, facecolor="#f4f4f2", edgecolor="#55585c"))
    axes.text(left + 0.12, top + 0.2, module.name, weight="bold", size=10, va="center")
    for number, line in enumerate(lines_of(module), 1):
        at = top + 0.2 + number * _LINE + 0.05
        color = "#8c2d19" if line.startswith("from:") else "#222222"
        axes.text(left + 0.12, at, line, va="center", color=color)


def main() -> int:
    """Draw what is there now."""
    modules = read_modules()
    draw(modules, OUT)
    n_blocks = sum(module.resources.total() for module in modules.values())
    sys.stdout.write(f"{OUT}: {len(modules)} modules, {n_blocks} blocks of resources\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
