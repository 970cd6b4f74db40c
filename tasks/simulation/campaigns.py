"""What is shown: creatives (C14) of campaigns (C17), which arrive and die over the days.

Three pools: campaigns running when the log opens, older ones that come back, and new ones, whose numbers
are above all others as in the real log. New ones take over linearly, 35 % of all rows in the end.
"""

import numpy as np
import pyarrow as pa

from tasks.simulation.draws import Tables, assign, stream

N_RUNNING, N_RETURNING, N_NEW = 150, 85, 200  # 435 campaigns
N_CREATIVES = 2626
CONTEXTS = ("top_site", "other_site", "app")
NEW_SHARE, RETURNING_SHARE = 0.70, 0.118  # the first is reached on the last day, the second at once
LAST_OLD_C17, LAST_OLD_C14 = 2497, 21705

# campaign: its share of impressions in each context during the opening hour, creatives, C18, C19, C21
_HEAD: dict[int, tuple[tuple[float, float, float], int, str, str, str]] = {
    1722: ((0.996, 0.062, 0.037), 9, "0", "35", "79"),
    2161: ((0.0, 0.212, 0.213), 2, "0", "35", "157"),
    2333: ((0.0, 0.233, 0.018), 3, "0", "39", "157"),
    2480: ((0.0, 0.0, 0.177), 2, "3", "297", "61"),
    2493: ((0.0, 0.005, 0.127), 1, "3", "35", "117"),
    2374: ((0.0, 0.011, 0.073), 3, "3", "39", "23"),
    1993: ((0.0, 0.048, 0.0), 2, "2", "1063", "33"),
    2227: ((0.0, 0.047, 0.0), 3, "0", "687", "48"),
}
_C18 = {"0": 0.195, "3": 0.40, "2": 0.40, "1": 0.007}
_C19 = ("39", "163", "167", "35", "303", "687", "297", "1063", "427", "551", "43", "41", "47", "161", "169",
        "171", "175", "291", "423", "431", "559", "673", "681", "683", "801", "813", "943", "1315", "1319",
        "1451", "1711", "1835")  # fmt: skip
_C21 = ("23", "33", "32", "117", "48", "157", "61", "51", "13", "15", "16", "20", "42", "46", "52", "68", "70",
        "71", "79", "82", "85", "91", "93", "94", "95", "100", "101", "111", "116", "156")  # fmt: skip
SIZES = {
    ("320", "50"): 0.9525, ("300", "250"): 0.0370, ("216", "36"): 0.0090, ("300", "50"): 0.0043,
    ("320", "480"): 0.0003, ("728", "90"): 0.0002, ("480", "320"): 1e-4, ("1024", "768"): 1e-4,
    ("768", "1024"): 1e-4, ("120", "20"): 1e-4,
}  # fmt: skip


class Campaigns:
    """Creatives in order of their number, with campaign, attributes, size and the tables to draw them."""

    size = N_RUNNING + N_RETURNING + N_NEW

    def __init__(self, *, seed: int, n_slots: int):
        rng = stream(seed, 3)
        kind = np.repeat([0, 1, 2], [N_RUNNING, N_RETURNING, N_NEW])
        kind[len(_HEAD) : N_RUNNING + N_RETURNING] = rng.permutation(
            kind[len(_HEAD) : N_RUNNING + N_RETURNING]
        )
        self.numbers = self._numbers(rng)
        share = self._shares(kind, rng)
        self._attributes(kind, share, rng)
        self.campaign, within = self._creatives(rng)
        weights = self._weights(kind, share, within, n_slots, rng)
        self._draws = Tables(weights.reshape(-1, N_CREATIVES))
        self.share = weights.mean(axis=0)[1:].mean(axis=0)
        self._sizes(weights[0], rng)

    @staticmethod
    def _numbers(rng: np.random.Generator) -> np.ndarray:
        """Return C17 of each campaign: the head's, others below the last old one, new ones above."""
        free = np.setdiff1d(np.arange(112, LAST_OLD_C17 + 1), [*_HEAD])
        old = rng.choice(free, N_RUNNING + N_RETURNING - len(_HEAD), replace=False)
        new = np.sort(rng.choice(np.arange(LAST_OLD_C17 + 1, 2759), N_NEW, replace=False))
        return np.concatenate([[*_HEAD], old, new])

    def _shares(self, kind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return shares (context, campaign), which sum to one over each kind of campaign."""
        share = np.exp(
            1.5 * rng.standard_normal((1, self.size)) + 0.8 * rng.standard_normal((3, self.size))
        )
        share[0] *= rng.random(self.size) < 0.15  # the largest site shows few campaigns
        for context in range(3):
            for one in range(3):
                here = kind == one
                share[context, here] = np.maximum(share[context, here], 1e-9)
                share[context, here] /= share[context, here].sum()
            head = [spec[0][context] for spec in _HEAD.values()]
            rest = np.flatnonzero(kind == 0)[len(_HEAD) :]
            share[context, rest] *= (1 - sum(head)) / share[context, rest].sum()
            share[context, : len(_HEAD)] = head
        return share

    def _attributes(self, kind: np.ndarray, share: np.ndarray, rng: np.random.Generator) -> None:
        """Give each campaign C18, C19 and C21, so that the shares over impressions are near the real ones."""
        weight = np.array([0.3582, 0.4243, 0.2175]) @ share + 1e-9
        weight = np.where(kind == 0, weight, 0.3 * weight)
        others = slice(len(_HEAD), None)
        fixed = [
            list(column) for column in zip(*(spec[2:] for spec in _HEAD.values()), strict=True)
        ]
        spare19 = [str(n) for n in (193, 195, 261, 289, 295, 299, 417, 425, 547, 553, 555, 677, 679, 803, 809,
                   811, 815, 935, 939, 1059, 1065, 1071, 1191, 1195, 1327, 1443, 1575, 1583, 1839, 1959, 33, 34,
                   38, 45, 290, 419)]  # fmt: skip
        spare21 = [str(n) for n in (1, 17, 35, 43, 50, 69, 76, 83, 102, 104, 108, 110, 112, 126, 155, 159, 163, 171,
                   177, 178, 182, 194, 195, 204, 212, 221, 229, 246, 253, 255)]  # fmt: skip
        pools = ([*_C18], [*_C19, *spare19], [*_C21, *spare21])
        shares = (
            np.array([*_C18.values()]),
            *(np.arange(2, len(pool) + 2) ** -1.9 for pool in pools[1:]),
        )
        codes = []
        for pool, target, first in zip(pools, shares, fixed, strict=True):
            rest = assign(weight[others], target, rng, greedy=60, cover_at=1.0)
            codes.append(np.array([*map(pool.index, first), *rest], dtype=np.int32))
        self.c18, self.c19, self.c21 = codes
        self.c18_pool, self.c19_pool, self.c21_pool = map(pa.array, pools)

    def _creatives(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the campaign of each creative in order of C14, and the creative's share in its campaign."""
        head = [spec[1] for spec in _HEAD.values()]
        n_old = N_RUNNING + N_RETURNING
        extra = rng.geometric(1 / 5.0, self.size - len(head))
        count = np.concatenate([head, extra])
        for part, total in (
            (slice(len(head), n_old), 1250 - sum(head)),
            (slice(n_old, None), N_CREATIVES - 1250),
        ):
            count[part] = np.maximum(1, np.floor(count[part] * total / count[part].sum()))
            gap = total - count[part].sum()
            count[part][: abs(gap)] += np.sign(gap)
        order = np.argsort(self.numbers)
        campaign = np.repeat(order, count[order]).astype(np.int32)
        place = np.concatenate([np.arange(n) for n in count[order]])
        steep = np.where(campaign < len(head), 0.15, 2.2)
        within = (place + 1.0) ** -steep * np.exp(0.2 * rng.standard_normal(N_CREATIVES))
        within /= np.bincount(campaign, within, self.size)[campaign]
        old = np.sort(rng.choice(np.arange(375, LAST_OLD_C14), 1249, replace=False))
        new = np.sort(
            rng.choice(np.arange(LAST_OLD_C14 + 1, 24053), N_CREATIVES - 1250, replace=False)
        )
        self.c14_pool = pa.array([*map(str, old), str(LAST_OLD_C14), *map(str, new)])
        return campaign, within

    def _weights(
        self,
        kind: np.ndarray,
        share: np.ndarray,
        within: np.ndarray,
        n_slots: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Return weights (slot, context, creative): who runs when, and how much of the traffic each kind gets."""
        slot = np.arange(n_slots)[:, None]
        born = np.zeros(self.size)
        born[kind == 1] = rng.integers(1, max(2, n_slots // 2), N_RETURNING)
        born[kind == 2] = np.sort(1 + np.floor(rng.random(N_NEW) * (n_slots - 1)))
        born[np.flatnonzero(kind == 1)[:8]] = born[np.flatnonzero(kind == 2)[:4]] = 1
        life = np.maximum(3, rng.exponential(n_slots * np.array([1.5, 1.0, 0.5])[kind]))
        life[:1] = life[np.flatnonzero(kind == 1)[:8]] = life[np.flatnonzero(kind == 2)[:2]] = (
            n_slots
        )
        walk = np.cumsum(0.12 * rng.standard_normal((n_slots, self.size)), axis=0) * (slot > 0)
        self.born = born  # the slot in which a campaign first runs
        runs = ((slot >= born) & (slot < born + life)) * np.exp(walk)
        # A creative of a new campaign starts some slots after it; numbers grow with time.
        room = np.minimum(life, n_slots - born)[self.campaign]
        late = (within < 0.3) & (kind[self.campaign] == 2)
        delay = np.floor(rng.random(N_CREATIVES) * 0.8 * room) * late
        alive = runs[:, self.campaign] * (slot >= born[self.campaign] + delay) * within
        progress = np.arange(n_slots) / max(1, n_slots - 1)
        new, returning = NEW_SHARE * progress, RETURNING_SHARE * (progress > 0)
        out = np.empty((n_slots, 3, N_CREATIVES))
        for context in range(3):
            part = alive * share[context, self.campaign]
            for one, goal in enumerate((1 - new - returning, returning, new)):
                here = kind[self.campaign] == one
                total = part[:, here].sum(axis=1, keepdims=True)
                part[:, here] *= goal[:, None] / np.maximum(total, 1e-300)
            out[:, context] = part
        return out

    def _sizes(self, opening: np.ndarray, rng: np.random.Generator) -> None:
        """Give each creative its size; most of the largest campaigns' creatives are 320x50."""
        weight = np.array([0.3582, 0.4243, 0.2175]) @ opening + 0.1 * self.share
        size = assign(weight, np.array([*SIZES.values()]), rng, cover_at=1.0)
        widths, heights = ([*dict.fromkeys(column)] for column in zip(*SIZES, strict=True))
        self.c15 = np.array([widths.index(width) for width, _ in SIZES], dtype=np.int32)[size]
        self.c16 = np.array([heights.index(height) for _, height in SIZES], dtype=np.int32)[size]
        self.c15_pool, self.c16_pool, self.size_code = pa.array(widths), pa.array(heights), size
        self.c17_pool = pa.array(map(str, self.numbers))

    def draw(self, slot: np.ndarray, context: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return the creative of each row, among those that run in its slot and context."""
        return self._draws.draw(u, slot * 3 + context)
