"""Further columns of the simulated log, each with a true effect: numbers, a list, impressions per row.

Avazu's log has none of these; with them, what is made of other teams' columns is tested against a known truth.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.simulation.draws import stream

NUMBERS = ("number_1", "number_2", "number_3")  # monotone, best in the middle, a step
LIST, LIST_SEPARATOR = "tags", "|"
IMPRESSIONS = "impressions"
N_TAGS, MAX_TAGS = 40, 5
MISSING_SHARE, MISSING_EFFECT = 0.05, -0.4


class Extras:
    """Draws further columns, and what they add to the logit.

    Parameters
    ----------
    seed
        Of the log.
    numbers
        How many columns of numbers, 0 to 3.
    lists
        1 for a column of tags, else 0.
    impressions
        A row stands for 1 to so many impressions, and `click` counts the clicks among them; 1: no such column.
    """

    def __init__(self, *, seed: int, numbers: int = 0, lists: int = 0, impressions: int = 1):
        self._seed, self.numbers, self.lists = seed, NUMBERS[:numbers], lists
        self.impressions = impressions
        self._tag_effects = 0.6 * stream(seed, 10, 0).standard_normal(N_TAGS)
        self.shift = 0.0  # keeps the log's click rate

    @property
    def has_effects(self) -> bool:
        """Whether a column adds to the logit."""
        return bool(self.numbers or self.lists)

    @property
    def schema(self) -> list[tuple[str, pa.DataType]]:
        """Names and types of the columns."""
        columns = [(name, pa.float64()) for name in self.numbers]
        columns += [(LIST, pa.string())] * self.lists
        return columns + [(IMPRESSIONS, pa.int32())] * (self.impressions > 1)

    def draw(self, n_rows: int, block: int) -> tuple[dict[str, pa.Array], np.ndarray]:
        """Return the columns of a block's rows, and what they add to each logit, float64 ``(n_rows,)``."""
        columns: dict[str, pa.Array] = {}
        effect = np.full(n_rows, self.shift)
        for number, name in enumerate(self.numbers):
            rng = stream(self._seed, 11, block, number)
            z, is_missing = rng.standard_normal(n_rows), rng.random(n_rows) < MISSING_SHARE
            values = np.round((np.exp(2 + z), 50 + 15 * z, 10 * z)[number], 3)
            effect += np.where(is_missing, MISSING_EFFECT, number_effect(number, z))
            columns[name] = pa.array(values, mask=is_missing)
        if self.lists:
            columns[LIST], tags = self._tags(n_rows, stream(self._seed, 12, block))
            effect += tags
        if self.impressions > 1:
            counts = stream(self._seed, 13, block).integers(1, self.impressions + 1, n_rows)
            columns[IMPRESSIONS] = pa.array(counts.astype(np.int32))
        return columns, effect

    def _tags(self, n_rows: int, rng: np.random.Generator) -> tuple[pa.Array, np.ndarray]:
        """Return lists of 0 to 5 different tags as text, null where empty, and the sums of their effects."""
        n_tags = rng.integers(0, MAX_TAGS + 1, n_rows)
        first, step = rng.integers(0, N_TAGS, n_rows), rng.integers(1, N_TAGS // MAX_TAGS, n_rows)
        place = np.arange(MAX_TAGS)
        tags = (first[:, None] + step[:, None] * place) % N_TAGS
        used = place < n_tags[:, None]
        names = np.array([f"t{tag:02d}" for tag in range(N_TAGS)])
        offsets = np.r_[0, np.cumsum(n_tags)].astype(np.int32)
        lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(names[tags[used]]))
        texts = pc.binary_join(lists, LIST_SEPARATOR)
        texts = pc.if_else(pa.array(n_tags == 0), pa.scalar(None, pa.string()), texts)
        return texts, (self._tag_effects[tags] * used).sum(axis=1)


def number_effect(number: int, z: np.ndarray) -> np.ndarray:
    """Return what the standardized values of the column with this number add to the logit."""
    if number == 0:
        return 0.7 * z
    if number == 1:
        return 0.5 * (1 - z**2)
    return np.where(z > 0.5, 0.9, -0.4)
