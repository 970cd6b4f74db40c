"""What counts as a change of a feature, and what a feature must not do."""

import pytest

from tasks.errors import ConfigError
from tasks.features.kinds.finding import find_feature
from tasks.features.kinds.source import code_only, impurity, source_digest

SOURCE = '''"""A module."""

from tasks.features import feature


@feature("site")
def made(site):
    """Return it."""
    return f"#{site}"  # as it is
'''


def digest(source):
    return source_digest({"m": source})


def test_words_do_not_count_but_code_does():
    """Comments, docstrings and blank lines may change; a literal that looks like one may not."""
    same = SOURCE.replace("A module.", "Other\nwords.").replace("  # as it is", "\n\n")
    assert digest(same) == digest(SOURCE)
    for before, after in (('f"#{site}"', 'f"{site}"'), ('"site"', '"size"'), ("made", "make")):
        assert digest(SOURCE.replace(before, after)) != digest(SOURCE)
    assert code_only('x = """a\n# b"""\n') == 'x = """a\n# b"""\n'


def test_what_a_feature_imports_counts(make_feature):
    """A change in another feature that it calls is a change of it."""
    other = '@feature("site")\ndef other(site):\n    return {}\n'
    make_feature("other", other.format("site"))
    body = 'from tasks.features.other import other\n\n\n@feature("site")\ndef made(site):\n    return other(site)\n'
    make_feature("made", body)
    before = find_feature("made").source
    make_feature("other", other.format("site.upper()"))
    assert find_feature("made").source != before
    make_feature("other", other.format("open(site)"))
    with pytest.raises(
        ConfigError, match=r"it imports tasks\.features\.other, where, in line 4, it calls 'open'"
    ):
        find_feature("made")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import time", "imports 'time'"),
        ("import re, socket", "imports 'socket'"),
        ("from urllib.request import urlopen", "imports 'urllib.request'"),
        ("def f(x):\n    from random import random\n", "imports 'random'"),
        ("import numpy", "imports 'numpy'"),
        ("from . import other", "imports '.'"),
        ("def f(x):\n    return open(x).read()\n", "calls 'open'"),
        ("def f(x):\n    return hash(x)\n", "calls 'hash': it differs from process to process"),
        ("def f(x):\n    return __import__('time').time()\n", "calls '__import__'"),
        ("from datetime import datetime\ndef f(x):\n    return datetime.now()\n", "reads the clock by 'now'"),
        ("import datetime as d\ndef f(x):\n    return d.date.today()\n", "reads the clock by 'today'"),
        ("n = 0\ndef f(x):\n    global n\n    n += 1\n", "changes 'n' outside of the function"),
    ],
)  # fmt: skip
def test_what_a_feature_must_not_do_is_seen_in_its_text(source, reason):
    """Clocks, networks, files, random numbers, state."""
    assert reason in impurity(source)[1]


@pytest.mark.parametrize(
    "source",
    [
        SOURCE,
        "import re\nfrom urllib.parse import urlsplit\nfrom datetime import datetime\n",
        "import math\n\n\ndef f(x):\n    return math.floor(float(x))\n",
        "from tasks.features.hour_of_day import hour_of_day\n",
    ],
)
def test_what_computes_from_its_inputs_passes(source):
    """The standard library's pure modules, and other features."""
    assert impurity(source) is None


def test_the_first_fault_is_named_with_its_line():
    """Whatever the order in which a tree is walked."""
    assert impurity("x = 1\nimport os\nimport time\n") == (2, "it imports 'os'")
