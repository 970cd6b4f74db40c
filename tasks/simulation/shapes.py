"""What the fields of a row do together: one part of the truth, in one of several shapes.

A truth of factors is made for factorization machines, so models are also judged by truths that are not. Each shape is drawn
once from its own streams; :mod:`tasks.simulation.truth` centers the part and gives it the same spread whatever its shape.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from tasks.simulation.audience import N_C20, N_MODELS
from tasks.simulation.campaigns import SIZES, Campaigns
from tasks.simulation.clock import SLOT_HOURS
from tasks.simulation.draws import mix32, stream, uniform_of
from tasks.simulation.publishers import Publishers

RANK = 3
N_CATEGORIES = 26 + 36  # of sites, then of apps
N_TREES, DEPTH = 12, 5
HALF_LIFE_HOURS = 24.0  # of the memory of an impression
MAX_VIEWS = 10.0  # more do not tire any further: a carrier's address stands for thousands of people
VIEWS = 131_072  # a log of any size is a sample of traffic in which this many impressions are seen
NOVELTY_DAYS, MAX_AGE_DAYS = 3.0, 30.0
_SLOTS = 1 << 20
_TABLES = (("category", "c21", 1.0), ("publisher", "campaign", 0.7), ("model", "c18", 0.5))
_Rows = Mapping[str, np.ndarray]


class Parts(NamedTuple):
    """What shapes are drawn from: the seed, the calendar, and the publishers' and campaigns' attributes."""

    seed: int
    n_days: int
    first_weekday: int  # 0: Monday
    publishers: Publishers
    campaigns: Campaigns
    category: np.ndarray  # of each publisher

    def codes(self, rows: _Rows) -> dict[str, np.ndarray]:
        """Return the codes of the fields that tables and trees read."""
        publisher, campaign = rows["publisher"], rows["campaign"]
        return {
            "publisher": publisher,
            "category": self.category[publisher],
            "campaign": campaign,
            "c18": self.campaigns.c18[campaign],
            "c21": self.campaigns.c21[campaign],
            "size": self.campaigns.size_code[rows["creative"]],
            "model": rows["device_model"],
            "C20": rows["C20"],
            "banner": rows["banner_pos"],
            "connection": rows["device_conn_type"],
            "hour": rows["hour"] % 24,
        }

    @property
    def sizes(self) -> dict[str, int]:
        """How many codes each of these fields has."""
        ads = self.campaigns
        sizes = {"publisher": Publishers.size, "category": N_CATEGORIES, "campaign": Campaigns.size}
        sizes |= {"c18": len(ads.c18_pool), "c21": len(ads.c21_pool), "size": len(SIZES)}
        return sizes | {"model": N_MODELS, "C20": N_C20 + 1, "banner": 7, "connection": 4, "hour": 24}  # fmt: skip


class Views:
    """How much of each user's past is still remembered, as the rows of a log pass by in time order.

    Parameters
    ----------
    n_rows
        Of the whole log.
    """

    def __init__(self, n_rows: float):
        self._weight = VIEWS / n_rows
        self._grown = np.zeros(
            _SLOTS
        )  # as it will count at hour 0: it grows, so that nothing has to be halved

    def pass_by(self, user: np.ndarray, hour: np.ndarray) -> np.ndarray:
        """Return the remembered views of each row's user before it, float64 ``(n_rows,)``, and remember these rows."""
        growth = 2.0 ** (hour / HALF_LIFE_HOURS)
        order = np.argsort(user, kind="stable")
        ordered = user[order]
        begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        before = np.cumsum(growth[order]) - growth[order]
        before -= np.repeat(before[begins], np.diff(np.append(begins, len(user))))
        in_block = np.empty(len(user))
        in_block[order] = before
        found = (self._grown[user] + in_block) / growth
        self._grown[ordered[begins]] += np.add.reduceat(growth[order], begins)
        return self._weight * found


class Shape(Protocol):
    """A part of the truth."""

    def effect(self, rows: _Rows, views: Views) -> np.ndarray:
        """Return what the fields of each row do together, before it is centered and scaled, float ``(n_rows,)``."""


class Factors:
    """Dot products of short latent vectors, and the category's effect by part of the day.

    A vector is its group's (the publisher's category, the campaign's C21 or C18) plus one of its own,
    so that what is learned carries over to new campaigns. A factorization machine can find them, a linear
    model on single fields cannot.
    """

    def __init__(self, parts: Parts):
        def draw(key: int, size: int, scale: float) -> np.ndarray:
            return (scale * stream(parts.seed, 5, 92, key).standard_normal((size, RANK))).astype(
                np.float32
            )

        ads = parts.campaigns
        campaign = draw(0, len(ads.c21_pool), 0.75)[ads.c21] + draw(1, Campaigns.size, 0.65)
        style = draw(2, 4, 0.9)[ads.c18] + draw(3, Campaigns.size, 0.4)
        self._pub_vector = 0.42 * (
            draw(4, N_CATEGORIES, 0.75)[parts.category] + draw(5, Publishers.size, 0.65)
        )
        self._creative_vector = campaign[ads.campaign]
        self._model_vector, self._style_vector = draw(6, N_MODELS, 0.20), style[ads.campaign]
        self._band = (0.3 * stream(parts.seed, 5, 94).standard_normal((36, 4))).astype(np.float32)
        self._app_category = parts.publishers.app_category

    def effect(self, rows: _Rows, views: Views) -> np.ndarray:
        """Return two dot products and the effect of the part of the day."""
        publisher, creative, model = rows["publisher"], rows["creative"], rows["device_model"]
        dot = "nk,nk->n"
        pair = np.einsum(dot, self._pub_vector[publisher], self._creative_vector[creative])
        pair += np.einsum(dot, self._model_vector[model], self._style_vector[creative])
        pair += self._band[self._app_category[publisher], rows["hour"] % 24 // 6]
        return pair


class Table:
    """A number for each pair of values, of no rank: what is known of some pairs says nothing of others."""

    def __init__(self, parts: Parts):
        self._parts, self._salt = parts, parts.seed * 16 + 12

    def effect(self, rows: _Rows, views: Views) -> np.ndarray:
        """Return the numbers of category and C21, publisher and campaign, model and C18."""
        codes, sizes = self._parts.codes(rows), self._parts.sizes
        out = np.zeros(len(rows["hour"]))
        for place, (one, other, scale) in enumerate(_TABLES):
            pair = codes[one].astype(np.int64) * sizes[other] + codes[other]
            out += scale * (uniform_of(pair, salt=self._salt + 7919 * place) - 0.5)
        return out


class Trees:
    """A sum of trees: each asks the same five questions of every row, such as whether C20 is among some values."""

    def __init__(self, parts: Parts):
        self._parts, names = parts, [*parts.sizes]
        self._trees = []
        for tree in range(N_TREES):
            rng = stream(parts.seed, 5, 95, tree)
            asked = [names[place] for place in rng.choice(len(names), DEPTH, replace=False)]
            sides = [rng.integers(0, 2, parts.sizes[name], dtype=np.uint8) for name in asked]
            self._trees.append((asked, sides, rng.standard_normal(1 << DEPTH)))

    def effect(self, rows: _Rows, views: Views) -> np.ndarray:
        """Return the sum of the leaves that each row reaches."""
        codes = self._parts.codes(rows)
        out = np.zeros(len(rows["hour"]))
        for asked, sides, leaves in self._trees:
            leaf = np.zeros(len(out), dtype=np.uint8)
            for name, side in zip(asked, sides, strict=True):
                leaf = 2 * leaf + side[codes[name]]
            out += leaves[leaf]
        return out


class Fatigue:
    """Users tire of ads, and recover: an address clicks less after many impressions, which fade with a half-life.

    A log of few rows shows few views, each of which counts more; its click rate is up to 3% above that of others from 50,000
    rows on, 7% at 20,000.
    """

    def __init__(self, parts: Parts):
        self._salt = parts.seed * 16 + 13

    def effect(self, rows: _Rows, views: Views) -> np.ndarray:
        """Return minus the logarithm of what the address remembers; in time order, each row once."""
        user = mix32(rows["ip"], salt=self._salt) % np.uint32(_SLOTS)
        return -np.log1p(np.minimum(views.pass_by(user, rows["hour"]), MAX_VIEWS))


class Calendar:
    """Each category has its week, and each campaign is new once: what it gains or loses by that fades in days."""

    def __init__(self, parts: Parts):
        rng = stream(parts.seed, 5, 96)
        self._category = parts.category
        self._week = rng.standard_normal((N_CATEGORIES, 7))
        hours = np.arange(24 * parts.n_days)
        self._weekday = (parts.first_weekday + hours // 24) % 7
        born = SLOT_HOURS * parts.campaigns.born.astype(float)
        running = born == 0
        born[running] = -24 * MAX_AGE_DAYS * rng.random(int(running.sum()))
        self.age_days = np.maximum(hours - born[:, None], 0) / 24
        gain = 1 + rng.standard_normal(Campaigns.size)
        self._novelty = 2.0 * gain[:, None] * np.exp(-self.age_days / NOVELTY_DAYS)

    def effect(self, rows: _Rows, views: Views) -> np.ndarray:
        """Return the effects of category and weekday, and of the campaign's age."""
        hour = rows["hour"]
        week = self._week[self._category[rows["publisher"]], self._weekday[hour]]
        return week + self._novelty[rows["campaign"], hour]


SHAPES: dict[str, type] = {
    "factors": Factors, "table": Table, "trees": Trees, "fatigue": Fatigue, "calendar": Calendar,
}  # fmt: skip
