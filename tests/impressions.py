"""Requests of every kind that can be scored, and a contract that uses every option."""

import math

import numpy as np
from hypothesis import strategies as st

from tasks.hashing.contract import HashContract
from tasks.schema import Schema

CONTRACT = HashContract.from_schema(
    Schema.from_dict(
        {
            "name": "tiny",
            "label": "click",
            "time": {"column": "when", "format": "iso"},
            "features": ["hour_of_day", "weekday"],
            "fields": {"site": {}, "größe": {}, "n": {}},
            "crosses": [["site", "n"], ["größe", "weekday", "site"]],
        }
    ),
    bits=18,
)

# few, so that most are cached; some are equal in Python and differ as text
ONES = [1, 1.0, True, np.True_, np.int8(1), "1", "true"]
OTHERS = [0, -0.0, False, "0", 10**16, 1e16, 0.1, np.float32(0.1), float(np.float32(0.1)), "0.1"]
MISSING = [None, "", math.nan]
values = st.sampled_from([*ONES, *OTHERS, *MISSING, "ü*=", "a\0"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=5
)
times = st.none() | st.datetimes() | st.datetimes().map(lambda moment: moment.isoformat())
fields = st.dictionaries(st.sampled_from(["site", "größe", "n", "other"]), values)
rows = fields | st.builds(lambda row, when: row | {"when": when}, fields, times)
