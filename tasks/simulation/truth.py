"""The known click probability: a logit of single effects, pair effects, the hour, and slow drift.

Every value's effect is drawn once from its field's own stream, in order of rank. What fields do together has one of the
shapes of :mod:`tasks.simulation.shapes`; by default pair effects are dot products of short latent vectors.
"""

import numpy as np

from tasks.simulation.audience import N_C20, N_MODELS
from tasks.simulation.campaigns import N_CREATIVES, Campaigns
from tasks.simulation.draws import stream, uniform_of
from tasks.simulation.publishers import N_SITES, Publishers
from tasks.simulation.shapes import SHAPES, Parts, Shape, Views

CTR, OPENING_CTR = 0.1698, 0.1706
SINGLE_SD, PAIR_SD = 1.10, 0.60  # over impressions: pairs hold 23 % of the logit's variance
_SPREAD = {"publisher": 0.85, "category": 0.40, "campaign": 0.35, "c21": 0.35, "creative": 0.15}
_SPREAD |= {"model": 0.25, "C20": 0.20, "size": 0.40}
_BANNER = np.array([0.0, 0.25, -0.3, 0.3, 0.3, 0.5, 0.4])
_CONN = np.array([0.1, -0.25, -0.6, -0.4])
_KNOWN, _IP, _DRIFT = -0.15, 0.10, 0.06
_DAY_SPREAD = 0.03  # relative, of the click-through rate from day to day


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """Return probabilities, float64, without overflow at logits of any size."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logit, dtype=float)))


class Truth:
    """The click probability of each row; :meth:`calibrate` fixes its level and the weight of its parts."""

    def __init__(
        self,
        *,
        seed: int,
        n_days: int,
        publishers: Publishers,
        campaigns: Campaigns,
        first_weekday: int = 0,
        shape: str = "factors",
    ):
        self._salt = seed * 16 + 11
        self._category = np.where(
            np.arange(Publishers.size) < N_SITES,
            publishers.site_category,
            26 + publishers.app_category,
        )
        sizes = {"publisher": Publishers.size, "category": 26 + 36, "campaign": Campaigns.size}
        sizes |= {"c21": len(campaigns.c21_pool), "creative": N_CREATIVES}
        sizes |= {"model": N_MODELS, "C20": N_C20 + 1, "size": 10}
        single = {
            name: (_SPREAD[name] * stream(seed, 5, key).standard_normal(size)).astype(np.float32)
            for key, (name, size) in enumerate(sizes.items())
        }
        # The largest publisher carries so many rows that its effect would decide how hard the log is.
        single["publisher"][0] *= 0.2
        self._publisher = single["publisher"] + single["category"][self._category]
        self._model, self._c20 = single["model"], single["C20"]
        campaign = single["campaign"] + single["c21"][campaigns.c21]
        self._creative = (
            single["creative"] + campaign[campaigns.campaign] + single["size"][campaigns.size_code]
        )
        walk = np.cumsum(
            _DRIFT * stream(seed, 5, 90).standard_normal((n_days, Campaigns.size)), axis=0
        )
        self._drift = (walk - walk[:1]).astype(np.float32)
        hours = np.arange(24)
        phase = 2 * np.pi * stream(seed, 5, 91).random()
        self._hour_of_day = 0.15 * np.sin(2 * np.pi * hours / 24 + phase)
        parts = Parts(seed, n_days, first_weekday, publishers, campaigns, self._category)
        self.shape: Shape = SHAPES[shape](parts)
        self.level, self.opening = np.zeros(n_days), 0.0
        self._scale, self._mean = (1.0, 1.0), (0.0, 0.0)
        self._ctr_by_day = np.exp(_DAY_SPREAD * stream(seed, 5, 93).standard_normal(n_days))

    def _parts(self, rows: dict[str, np.ndarray], views: Views) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of single effects and what fields do together, before they are centred and scaled."""
        hour, publisher, creative = rows["hour"], rows["publisher"], rows["creative"]
        single = self._publisher[publisher] + self._creative[creative]
        single += self._model[rows["device_model"]] + self._c20[rows["C20"]]
        single += self._drift[hour // 24, rows["campaign"]]
        single += _BANNER[rows["banner_pos"]] + _CONN[rows["device_conn_type"]]
        single += _KNOWN * rows["known"] + _IP * (uniform_of(rows["ip"], salt=self._salt) - 0.5)
        return single, self.shape.effect(rows, views)

    def logit(
        self, rows: dict[str, np.ndarray], opening: np.ndarray, views: Views | None = None
    ) -> np.ndarray:
        """Return the logit of each row; `opening` is, for each hour, how much of the first hour's mix is left.

        `views` remembers the rows before these; by default these are a whole log.
        """
        single, pair = self._parts(rows, views or Views(len(rows["hour"])))
        out = (single - self._mean[0]) * self._scale[0] + (pair - self._mean[1]) * self._scale[1]
        hour = rows["hour"]
        return (
            out
            + self._hour_of_day[hour % 24]
            + self.level[hour // 24]
            + self.opening * opening[hour]
        )

    def calibrate(
        self,
        pilot: dict[str, np.ndarray],
        first_hour: dict[str, np.ndarray],
        opening: np.ndarray,
        volume: np.ndarray,
        ctr: float = CTR,
    ) -> None:
        """Scale the parts, and find each day's level, at which the pilots have the log's click-through rates.

        `volume` is the share of the log's rows that falls into each hour, `ctr` the rate of the whole log.
        """
        single, pair = self._parts(pilot, Views(len(pilot["hour"])))
        self._mean = float(single.mean()), float(pair.mean())
        scale = np.array([SINGLE_SD / single.std(), PAIR_SD / pair.std()])
        # The parts go together a little, by chance of the seed; the whole gets the same spread anyway.
        scale *= np.hypot(SINGLE_SD, PAIR_SD) / np.std(scale[0] * single + scale[1] * pair)
        self._scale = float(scale[0]), float(scale[1])
        views = Views(len(first_hour["hour"]) / volume[0])
        whole, first = self.logit(pilot, opening), self.logit(first_hour, opening, views)
        day, fade = pilot["hour"] // 24, opening[pilot["hour"]]
        goal = ctr * self._ctr_by_day / (self._ctr_by_day @ volume.reshape(-1, 24).sum(axis=1))
        if ctr != CTR:  # so that Newton's steps begin near
            self.level += np.log(ctr / CTR)
        opening_goal = np.array([OPENING_CTR if ctr == CTR else ctr * OPENING_CTR / CTR])
        for _ in range(30):
            self.level += _steps(whole + self.level[day] + self.opening * fade, day, goal)
            first_day = np.zeros(len(first), np.int32)
            self.opening += float(
                _steps(first + self.level[0] + self.opening, first_day, opening_goal)[0]
            )


def _steps(logit: np.ndarray, group: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return Newton's step of each group's intercept towards a mean probability of `goal`."""
    p, n = sigmoid(logit), np.bincount(group, minlength=len(goal))
    lack = goal * n - np.bincount(group, p, len(goal))
    return lack / np.maximum(np.bincount(group, p * (1 - p), len(goal)), 1e-9)
