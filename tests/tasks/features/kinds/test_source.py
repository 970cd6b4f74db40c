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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('x = """a\n\nb"""\n', 'x = """a\nb"""\n'),
        ('x = """a  \nb"""\n', 'x = """a\nb"""\n'),
        ('x = """a\n  \nb"""\n', 'x = """a\n\nb"""\n'),
        ('x = f"""a{1}  \n\n{2}"""\n', 'x = f"""a{1}\n{2}"""\n'),
    ],
)
def test_blank_lines_and_spaces_within_a_text_count(before, after):
    """As a table of values that is split into lines; those of a docstring do not, even above such a text."""
    assert digest(before) != digest(after)
    assert code_only(before) == before
    for words in ("A\n\n  b  \n.", "A."):
        assert code_only(f'"""{words}"""\n\n  \n{before}') == before


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
        ConfigError, match=r"it uses tasks\.features\.other, where, in line 4, it calls 'open'"
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
        ("n = {}\ndef f(x):\n    return n.setdefault(x, len(n))\n", "changes 'n' outside of the function"),
        ("n = [0]\ndef f(x):\n    n[0] += 1\n    return n[0]\n", "changes 'n' outside of the function"),
        ("n = {'a': []}\ndef f(x):\n    if x:\n        n['a'].append(x)\n", "changes 'n' outside of the function"),
        ("from itertools import count\nn = count()\ndef f(x):\n    return next(n)\n", "changes 'n' outside of the function"),
        ("def f(x):\n    f.n = x\n", "changes 'f' outside of the function"),
        ("n = []\nf = lambda x: n.append(x)\n", "changes 'n' outside of the function"),
        ("def f(x, n=[]):\n    n.append(x)\n    return len(n)\n", "changes 'n' outside of the function"),
        ("def f(x):\n    return x.astimezone()\n", "reads the time zone of the machine by 'astimezone'"),
        ("def f(x):\n    return x.astimezone(None)\n", "reads the time zone of the machine by 'astimezone'"),
        ("def f(x):\n    return x.timestamp()\n", "reads the time zone of the machine by 'timestamp'"),
        ("from datetime import datetime\ndef f(x):\n    return datetime.fromtimestamp(x)\n", "by 'fromtimestamp'"),
        ("from datetime import datetime\nf = datetime.fromtimestamp\n", "by 'fromtimestamp'"),
        ("from functools import cache\n", "remembers every input for ever"),
        ("import functools\n@functools.cache\ndef f(x):\n    return x\n", "remembers every input for ever"),
        ("from functools import lru_cache\n@lru_cache(None)\ndef f(x):\n    return x\n", "remembers every input"),
        ("import functools\n@functools.lru_cache(maxsize=None)\ndef f(x):\n    return x\n", "remembers every input"),
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
        "def f(id, *, hash=None):\n    return f'{id}{hash}'\n",
        "def f(x):\n    input = x.strip()\n    return [id for id in input]\n",
        "def f(x):\n    parts = []\n    parts.append(x)\n    parts[0] += 'a'\n    return parts\n",
        "n = {'a': 1}\ndef f(x):\n    n = {}\n    n[x] = 1\n    return n.pop(x)\n",
        "n = {}\nfor x in 'ab':\n    n[x] = n.setdefault('c', 1)\n",
        "def f(x, n=(1, -2), m=2):\n    def g(y):\n        x.append(y)\n    return g(x)\n",
        "from datetime import UTC, datetime\ndef f(x):\n    return datetime.fromtimestamp(x, UTC), x.astimezone(tz=UTC)\n",
        "from functools import lru_cache\n@lru_cache(maxsize=100)\ndef f(x):\n    return x\n",
    ],
)
def test_what_computes_from_its_inputs_passes(source):
    """The standard library's pure modules, other features, and a function's own variables, whatever their names."""
    assert impurity(source) is None


def test_the_first_fault_is_named_with_its_line():
    """Whatever the order in which a tree is walked."""
    assert impurity("x = 1\nimport os\nimport time\n") == (2, "it imports 'os'")
