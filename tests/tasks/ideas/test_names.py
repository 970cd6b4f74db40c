"""Names used before they are defined, judged by reading."""

import ast

import pytest

from tasks.ideas.names import undefined

GOOD = {
    "in order": ["a = 1", "b = a\nb"],
    "a function that uses what comes later": ["def f():\n    return later", "later = 1", "f()"],
    "loops, with, except, match, walrus": [
        "for i in range(3):\n    i\nwith open('x') as f:\n    f.read()\ntry:\n    pass\nexcept ValueError as e:\n    e\n"
        "match [1]:\n    case [x, *rest]:\n        x, rest\nif (n := 3) > 2:\n    n\n(k := 4) + k"
    ],
    "comprehensions and lambdas have names of their own": ["[(u, v) for u in 'ab' for v in u]\nsorted('b', key=lambda w: w)\n{q: r for q, r in []}"],
    "classes": ["class A:\n    k = 1\n    m = k\n    def f(self, other=k):\n        return self.k + other"],
    "imports": ["import os.path as p, json\nfrom a import b as c", "p, json, c"],
    "what IPython gives": ["display(get_ipython(), _, In)\nprint(__name__, len([]))"],
    "a function that calls itself, and its own imports": ["def f(n, *rest, key=None, **more):\n    import math as m\n    return f(n, rest, key, more, m)"],
}  # fmt: skip
BAD = {
    "nowhere": (["a = 1", "print(aa)"], (2, "'aa', which no cell defines")),
    "later": (["print(b)", "b = 1"], (1, "'b', which only code cell 2 defines; move it up")),
    "itself": (["n = n + 1"], (1, "'n' before this cell defines it")),
    "later in the cell": (["print(b)\nb = 1"], (1, "'b' before this cell")),
    "augmented": (["total += 1"], (1, "'total'")),
    "a default": (["def f(x=d):\n    return x", "d = 1"], (1, "'d', which only code cell 2")),
    "a decorator": (["@deco\ndef f():\n    pass"], (1, "'deco', which no cell")),
    "in a function": (["def f():\n    return gone"], (1, "'gone', which no cell")),
    "a loop's source": (["for i in things:\n    pass"], (1, "'things'")),
    "an item of nothing": (["table['x'] = 1"], (1, "'table'")),
}


@pytest.mark.parametrize("cells", GOOD.values(), ids=GOOD)
def test_what_runs_top_to_bottom_has_no_fault(cells):
    """Each way to bind a name."""
    trees = {number: ast.parse(cell) for number, cell in enumerate(cells, start=1)}
    assert [str(fault) for fault in undefined(trees)] == []


@pytest.mark.parametrize(("cells", "expected"), BAD.values(), ids=BAD)
def test_what_would_fail_in_a_fresh_kernel_is_named(cells, expected):
    """With its cell, and the cell that would define it."""
    trees = {number: ast.parse(cell) for number, cell in enumerate(cells, start=1)}
    (fault,) = undefined(trees)
    assert fault.cell == expected[0]
    assert expected[1] in fault.text


def test_a_name_is_told_once_per_cell():
    """Not at each of its uses."""
    assert len(list(undefined({1: ast.parse("gone\ngone + gone\n")}))) == 1
