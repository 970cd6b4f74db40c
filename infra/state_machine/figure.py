"""The state machine as a picture, drawn from its definition: levels, branches, and the loop of one task."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROW, BOX_W, BOX_H, GAP = 1.12, 1.85, 0.62, 0.16
_LEFT, _INSET_W = 0.2, 4.3
_PAPER, _LINE, _FAIL, _TASK, _GOOD = "#f4f4f2", "#55585c", "#8c2d19", "#dfe8f1", "#e3efdf"
_SALT: Any = {"svg.hashsalt": "clicklab", "font.size": 8, "font.family": "DejaVu Sans"}

# Where the states of a task's loop stand in the inset: by what follows the task's name.
_LOOP = {
    "needed?": (0, 0),
    "not needed": (1.9, 0),
    "begin": (0, 1),
    "": (0, 2),
    "did it run?": (0, 3),
    "not started": (1.9, 3),
    "why?": (0, 4),
    "refused": (1.9, 4),
    "wait": (0, 5),
    "out of memory": (1.9, 5),
    "again": (0, 6),
    "interrupted": (1.9, 6),
    "time limit": (1.9, 2),
    "unavailable": (1.9, 7),
    "failed": (1.9, 8),
}
_SAID = {
    "": "run the container",
    "needed?": "done already, or\nof another model?",
    "did it run?": "did it start?",
    "why?": "exit code?",
    "refused": "2-7: refused\nby name, at once",
    "unavailable": "8: Unavailable",
    "wait": "wait, longer each time",
    "again": "again, on demand",
    "failed": "TaskFailed",
    "out of memory": "137: OutOfMemory",
    "interrupted": "Interrupted (spot)",
    "not started": "NotStarted",
    "time limit": "TimeLimit",
    "not needed": "next level",
}


def draw(machine: Mapping[str, Any], path: Path) -> None:
    """Write the picture of a definition; the same definition gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    states = machine["States"]
    levels = _levels(states)
    n_wide = max(len(states[name]["Branches"]) for name in levels)
    bus = _LEFT + max(n_wide, 3) * (BOX_W + GAP) + 3 * GAP
    width, height = bus + 0.9 + _INSET_W, max(ROW * (len(levels) + 2.9), 9.2)
    with mpl.rc_context(_SALT):
        figure = Figure(figsize=(width, height), layout="none")  # whatever style is in use
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.axis("off")
        middle = (_LEFT + bus - 2 * GAP) / 2
        y = _entry(axes, middle)
        for name in levels:
            y = _level(axes, name, states[name], y, middle, bus)
        _exit(axes, middle, y)
        _failures(axes, y, bus)
        _inset(axes, states[levels[-1]]["Branches"][0]["States"], bus + 0.9)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _levels(states: Mapping[str, Any]) -> list[str]:
    """Return the Parallel states that the machine goes through when all is well, in that order."""
    first = next(
        name
        for name, state in states.items()
        if state["Type"] == "Parallel" and state["Next"] in states and state["Next"] != "Failed"
    )
    found = []
    while states[first]["Type"] == "Parallel":
        found.append(first)
        first = states[first]["Next"]
    return found


def _box(axes: Any, x: float, y: float, text: str, **style: Any) -> None:
    """Draw a box around a point, with text in it."""
    from matplotlib.patches import FancyBboxPatch

    width, height = style.pop("width", BOX_W), style.pop("height", BOX_H)
    corner = (x - width / 2 + 0.05, y - height / 2 + 0.05)
    look: Any = {"facecolor": _PAPER, "edgecolor": _LINE, "linewidth": 0.8} | style
    size = look.pop("size", 8)
    box = FancyBboxPatch(corner, width - 0.1, height - 0.1, boxstyle="round,pad=0.05", **look)
    axes.add_patch(box)
    axes.text(x, y, text, ha="center", va="center", size=size, linespacing=1.25)


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], **style: Any) -> None:
    look = {
        "arrowstyle": "-|>",
        "color": _LINE,
        "linewidth": 0.8,
        "shrinkA": 0,
        "shrinkB": 0,
    } | style
    axes.annotate("", xy=end, xytext=start, arrowprops=look)


def _entry(axes: Any, x: float) -> float:
    _box(
        axes,
        x,
        0.5,
        "input: run, data, model, limits, done\ndefaults filled in, model checked",
        width=4.2,
    )
    _arrow(axes, (x, 0.5 + BOX_H / 2), (x, 0.5 + ROW - 0.42))
    return 0.5 + ROW


def _level(
    axes: Any, name: str, state: Mapping[str, Any], y: float, middle: float, bus: float
) -> float:
    branches = state["Branches"]
    width = len(branches) * (BOX_W + GAP) + GAP
    height = BOX_H + 0.22
    _box(axes, middle, y, "", width=width, height=height, linestyle=(0, (3, 2)), facecolor="white")
    axes.text(middle - width / 2 + 0.08, y - height / 2 - 0.07, name, size=7, color=_LINE)
    for i, branch in enumerate(branches):
        x = middle + (i - (len(branches) - 1) / 2) * (BOX_W + GAP)
        _box(axes, x, y, _branch_text(branch["States"]), facecolor=_TASK)
    _arrow(axes, (middle + width / 2, y), (bus, y), color=_FAIL, linewidth=0.6)
    _arrow(axes, (middle, y + height / 2), (middle, y + ROW - height / 2))
    return y + ROW


def _branch_text(states: Mapping[str, Any]) -> str:
    name, task = next((name, state) for name, state in states.items() if state["Type"] == "Task")
    overrides = task["Parameters"]["Overrides"]
    size = f"{int(overrides['Cpu']) / 1024:g} CPU, {int(overrides['Memory']) / 1024:g} GB"
    shards = [state["MaxConcurrency"] for state in states.values() if state["Type"] == "Map"]
    first = f"{shards[0]} shards, then\n{name}" if shards else name
    return f"{first}\n{size}, {task['TimeoutSeconds'] // 60} min"


def _exit(axes: Any, x: float, y: float) -> None:
    _box(axes, x, y, "read the summary, tell SNS", facecolor=_GOOD, width=2.6)
    _arrow(axes, (x, y + BOX_H / 2), (x, y + ROW - BOX_H / 2))
    _box(axes, x, y + ROW, "Succeeded", facecolor=_GOOD)


def _failures(axes: Any, y: float, bus: float) -> None:
    """Draw the way of a failure: from any level to the notice and the end."""
    axes.plot([bus, bus], [0.5 + ROW, y - BOX_H / 2], color=_FAIL, linewidth=0.8)
    _arrow(axes, (bus, y - BOX_H / 2 - 0.1), (bus, y - BOX_H / 2), color=_FAIL)
    _box(axes, bus, y, "tell SNS: task,\ncell, line, log", edgecolor=_FAIL)
    _arrow(axes, (bus, y + BOX_H / 2), (bus, y + ROW - BOX_H / 2), color=_FAIL)
    _box(axes, bus, y + ROW, "Failed", edgecolor=_FAIL)


def _inset(axes: Any, states: Mapping[str, Any], left: float) -> None:
    """Draw the loop that every branch is, arrows as the definition has them."""
    task = next(name for name, state in states.items() if state["Type"] == "Task")
    place = {end: (left + 1.1 + x, 1.35 + y * 0.9) for end, (x, y) in _LOOP.items()}
    axes.text(left + 0.3, 0.62, f"what each branch does, such as {task!r}", size=8)
    for end, (x, y) in place.items():
        fails = states[_name(task, end)]["Type"] == "Fail"
        edge, face = (_FAIL, _PAPER) if fails else (_LINE, _TASK if end == "" else _PAPER)
        said = _SAID.get(end, end)
        _box(axes, x, y, said, width=1.62, height=0.54, edgecolor=edge, facecolor=face, size=7)
    for end in place:
        for target in _followed(states, task, end):
            _connect(axes, place[end], place[target])
    x, y = place[""]
    axes.text(x - 0.85, y - 0.36, "exit 0: next level", size=6.5, color=_LINE)


def _name(task: str, end: str) -> str:
    return f"{task}: {end}" if end else task


def _followed(states: Mapping[str, Any], task: str, end: str) -> list[str]:
    """Return the states that are drawn and that this one leads to, through those that are not."""
    found: list[str] = []
    state = states[_name(task, end)]
    nexts = [state.get("Next"), state.get("Default")]
    nexts += [one["Next"] for one in (*state.get("Choices", ()), *state.get("Catch", ()))]
    for name in filter(None, nexts):
        inner = "" if name == task else str(name).removeprefix(f"{task}: ")
        found += [inner] if inner in _LOOP else _followed(states, task, inner)
    return list(dict.fromkeys(found))


def _connect(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow between two boxes; past others it goes around their left side."""
    (x0, y0), (x1, y1) = start, end
    if x0 == x1 and 0 < y1 - y0 < 1.0:
        _arrow(axes, (x0, y0 + 0.27), (x1, y1 - 0.27))
    elif x0 == x1:
        side, edge = x0 - (1.08 if y1 < y0 else 0.96), x0 - 0.81
        axes.plot([edge, side, side], [y0, y0, y1], color=_LINE, linewidth=0.8)
        _arrow(axes, (side, y1), (edge, y1))
    else:
        _arrow(axes, (x0 + 0.81, y0), (x1 - 0.81, y1))
