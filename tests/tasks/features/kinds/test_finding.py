"""A feature is found by the name of its file; what is wrong with the file is said in one line, with the file."""

import linecache
import sys

import pytest

import tasks.features
from tasks.errors import ConfigError
from tasks.features import feature
from tasks.features.kinds.finding import feature_names, find_feature, fresh_feature, try_feature


def test_a_feature_is_found_by_its_name(make_feature):
    """As one of the project's."""
    name = make_feature("made", '@feature("site")\ndef made(site):\n    return site\n')
    found = find_feature(name)
    assert found.feature.function("x") == "x"
    assert len(found.source) == 16
    assert {"made", "hour_of_day"} <= set(feature_names())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def made(site):\n    return site\n", "declares no feature 'made'"),
        ('@feature("site")\ndef other(site):\n    return site\n', "declares no feature 'made'"),
        ("def made(:\n", "cannot be imported \\(SyntaxError: "),
        ("import nothing_here\n", "line 2: it imports 'nothing_here'"),
        ("1 / 0\n", "cannot be imported \\(ZeroDivisionError: division by zero\\)"),
        ('@feature("site")\ndef made():\n    return 1\n', "feature 'made' has 1 inputs"),
        ("import time\n", "made.py: line 2: it imports 'time'; a feature's value follows from its inputs alone"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_named(make_feature, body, message):
    """With the file, before anything is hashed."""
    make_feature("made", body)
    with pytest.raises(ConfigError, match=message) as found:
        find_feature("made")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hour_of_da", "did you mean 'hour_of_day'\\?"),
        ("nothing_like_it", "there are .*ad_format, .*Or add tasks/features/nothing_like_it.py"),
        ("a.b", "feature 'a.b' is unknown"),
        ("../../x", "feature '../../x' is unknown"),
        ("kinds", "feature 'kinds' is unknown"),
    ],
)
def test_a_name_that_is_no_feature_is_answered_with_those_that_are(name, message):
    """A near one, or all."""
    with pytest.raises(ConfigError, match=message):
        find_feature(name)


@pytest.fixture
def run_cells():
    """Return a function that runs text as cells of a notebook are, and returns what it defines."""

    def run(text):
        linecache.cache["<cells>"] = (len(text), None, text.splitlines(True), "<cells>")
        names = {"__name__": "__main__"}
        exec(compile(text, "<cells>", "exec"), names)
        return names

    yield run
    linecache.cache.pop("<cells>", None)


def test_a_function_of_a_notebook_can_be_tried():
    """In this process, under its name; its source counts as that of a module does."""

    @feature("site")
    def tried_here(site):
        return site

    first = try_feature(tried_here)
    assert find_feature("tried_here").feature is first
    source = find_feature("tried_here").source

    @feature("site")
    def tried_here(site):
        return f"<{site}>"

    try_feature(tried_here)
    assert find_feature("tried_here").source != source


NOTEBOOK = """
import re
import time
from bisect import bisect_left
from datetime import datetime

import numpy
from tasks.features import feature

edges, words = [1, 5], {"a", "b"}
pattern = re.compile("x+")
log = numpy.ones(3)


def place(site):
    return bisect_left(edges, len(pattern.sub("", site)))


@feature("site")
def tried_whole(site: str | None) -> int | None:
    time = 1
    return None if site in words else place(site) + time
"""


@pytest.mark.parametrize(
    ("before", "after", "is_other"),
    [
        ("", "", False),
        ("numpy.ones(3)", "numpy.ones(4)", False),
        ("def place(site):", "def place(site):\n    # a comment", False),
        ("[1, 5]", "[1, 6]", True),
        ('"x+"', '"y+"', True),
        ('{"a", "b"}', '{"a"}', True),
        ("len(pattern", "1 + len(pattern", True),
    ],
    ids=["nothing", "what it does not use", "a comment", "a constant of a helper", "a pattern", "a set", "a helper"],
)  # fmt: skip
def test_what_a_function_of_a_notebook_uses_counts_as_its_source(
    run_cells, before, after, is_other
):
    """Its helpers and constants, as they would be in its module."""
    sources = []
    for text in (NOTEBOOK, NOTEBOOK.replace(before, after, 1)):
        try_feature(run_cells(text)["tried_whole"])
        sources.append(find_feature("tried_whole").source)
    assert (sources[0] != sources[1]) == is_other


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return bisect_left(edges, time.time())", "it uses time, where, in line 1, it imports 'time'"),
        ("return log[0]", None),
        ("return numpy.sum(edges)", "it uses numpy, where, in line 1, it imports 'numpy'"),
        ("return open(site)", "it uses place, where, in line 2, it calls 'open'"),
    ],
)  # fmt: skip
def test_what_a_helper_must_not_do_is_seen_in_a_notebook(run_cells, body, message):
    """As it is in the helper's module; an array of the notebook is for `make promote` to refuse."""
    cells = run_cells(
        NOTEBOOK.replace('return bisect_left(edges, len(pattern.sub("", site)))', body)
    )
    if message is None:
        assert try_feature(cells["tried_whole"]).name == "tried_whole"
        return
    with pytest.raises(ConfigError, match=f"feature 'tried_whole': {message}"):
        try_feature(cells["tried_whole"])


def test_what_is_no_feature_cannot_be_tried():
    """A function that is not declared, and one that reads a clock."""
    with pytest.raises(ConfigError, match="is not declared; put @feature"):
        try_feature(len)

    @feature("site")
    def late(site):
        import time

        return time.time()

    with pytest.raises(ConfigError, match="feature 'late': line 3: it imports 'time'"):
        try_feature(late)


def test_a_fresh_feature_knows_nothing_of_earlier_calls(make_feature):
    """Nor what it imports; the feature itself, and what Python finds under its name, stay."""
    state = "kept = []\n\n\ndef state():\n    return kept\n\n\n"
    body = (
        '@feature("site")\ndef {}(site):\n    n = state()\n    n.append(site)\n    return len(n)\n'
    )
    make_feature("other", state + body.format("other"))
    make_feature("made", f"from tasks.features.other import state\n{body.format('made')}")
    known = find_feature("made").feature
    module = sys.modules["tasks.features.other"]
    assert [known.function("a"), known.function("a")] == [1, 2]
    assert [fresh_feature("made").function("a") for _ in range(2)] == [1, 1]
    assert known.function("a") == 3
    assert sys.modules["tasks.features.other"] is module is tasks.features.other
    assert find_feature("made").feature is known
