"""The known click probability: a logit of single effects, pair effects, the hour, and slow drift.

Every value's effect is drawn once from its field's own stream, in order of rank. Pair effects are dot
products of short latent vectors, the structure that a factorization machine can find and a linear model
on single fields cannot.
"""

import numpy as np

from tasks.simulation.audience import N_C20, N_MODELS
from tasks.simulation.campaigns import N_CREATIVES, Campaigns
from tasks.simulation.draws import stream, uniform_of
from tasks.simulation.publishers import Publishers

CTR, OPENING_CTR = 0.1698, 0.1706
SINGLE_SD, PAIR_SD = 1.15, 0.53  # over impressions: pairs hold 17.5 % of the logit's variance
RANK = 4
_SPREAD = {"publisher": 1.00, "campaign": 0.50, "creative": 0.20, "model": 0.25, "C20": 0.20, "size": 0.40}
_BANNER = np.array([0.0, 0.25, -0.3, 0.3, 0.3, 0.5, 0.4])
_CONN = np.array([0.1, -0.25, -0.6, -0.4])
_KNOWN, _IP, _DRIFT = -0.15, 0.10, 0.06
_DAY_SPREAD = 0.03  # relative, of the click-through rate from day to day


def sigmoid(logit: np.ndarray) -> np.ndarray:
    """Return probabilities, float64, without overflow at logits of any size."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logit, dtype=float)))


class Truth:
    """The click probability of each row; :meth:`calibrate` fixes its level and the weight of its parts."""

    def __init__(self, *, seed: int, n_days: int, publishers: Publishers, campaigns: Campaigns):
        self._salt = seed * 16 + 11
        sizes = {"publisher": Publishers.size, "campaign": Campaigns.size, "creative": N_CREATIVES}
        sizes |= {"model": N_MODELS, "C20": N_C20 + 1, "size": 10}
        self._single = {
            name: (_SPREAD[name] * stream(seed, 5, key).standard_normal(size)).astype(np.float32)
            for key, (name, size) in enumerate(sizes.items())
        }
        # The largest publisher carries so many rows that its effect would decide how hard the log is.
        self._single["publisher"][0] *= 0.2
        self._creative = self._single["creative"] + self._single["campaign"][campaigns.campaign]
        self._creative += self._single["size"][campaigns.size_code]
        walk = np.cumsum(_DRIFT * stream(seed, 5, 90).standard_normal((n_days, Campaigns.size)), axis=0)
        self._drift = (walk - walk[:1]).astype(np.float32)
        hours = np.arange(24)
        phase = 2 * np.pi * stream(seed, 5, 91).random()
        self._hour_of_day = 0.15 * np.sin(2 * np.pi * hours / 24 + phase)
        self._vectors(seed, publishers, campaigns)
        self.level, self.opening, self._scale, self._mean = np.zeros(n_days), 0.0, (1.0, 1.0), (0.0, 0.0)
        self._ctr_by_day = np.exp(_DAY_SPREAD * stream(seed, 5, 93).standard_normal(n_days))

    def _vectors(self, seed: int, publishers: Publishers, campaigns: Campaigns) -> None:
        """Draw the latent vectors of both sides of each pair, and the category's effect by part of the day."""
        draw = [stream(seed, 5, 92, key).standard_normal for key in range(5)]
        pub, camp = draw[0]((Publishers.size, RANK)), draw[1]((Campaigns.size, RANK))
        model, camp_model = draw[2]((N_MODELS, RANK)), draw[3]((Campaigns.size, RANK))
        self._pub = np.ascontiguousarray(0.42 * pub, dtype=np.float32)
        self._camp = np.ascontiguousarray(camp[campaigns.campaign], dtype=np.float32)
        self._model = np.ascontiguousarray(0.24 * model, dtype=np.float32)
        self._camp_model = np.ascontiguousarray(camp_model[campaigns.campaign], dtype=np.float32)
        self._band = (0.3 * draw[4]((36, 4))).astype(np.float32)  # app_category x six hours of the day
        self._app_category = publishers.app_category

    def _parts(self, rows: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of single and of pair effects, before they are centred and scaled."""
        hour, publisher, creative = rows["hour"], rows["publisher"], rows["creative"]
        single = self._single["publisher"][publisher] + self._creative[creative]
        single += self._single["model"][rows["device_model"]] + self._single["C20"][rows["C20"]]
        single += self._drift[hour // 24, rows["campaign"]]
        single += _BANNER[rows["banner_pos"]] + _CONN[rows["device_conn_type"]]
        single += _KNOWN * rows["known"] + _IP * (uniform_of(rows["ip"], salt=self._salt) - 0.5)
        pair = np.einsum("nk,nk->n", self._pub[publisher], self._camp[creative])
        pair += np.einsum("nk,nk->n", self._model[rows["device_model"]], self._camp_model[creative])
        pair += self._band[self._app_category[publisher], hour % 24 // 6]
        return single, pair

    def logit(self, rows: dict[str, np.ndarray], opening: np.ndarray) -> np.ndarray:
        """Return the logit of each row; `opening` says, for each hour, how much of the first hour's mix is left."""
        single, pair = self._parts(rows)
        out = (single - self._mean[0]) * self._scale[0] + (pair - self._mean[1]) * self._scale[1]
        hour = rows["hour"]
        return out + self._hour_of_day[hour % 24] + self.level[hour // 24] + self.opening * opening[hour]

    def calibrate(
        self, pilot: dict[str, np.ndarray], first_hour: dict[str, np.ndarray], opening: np.ndarray, volume: np.ndarray
    ) -> None:
        """Scale the parts, and find each day's level, at which the pilots have the log's click-through rates.

        `volume` is the share of the log's rows that falls into each hour.
        """
        single, pair = self._parts(pilot)
        self._mean = float(single.mean()), float(pair.mean())
        self._scale = SINGLE_SD / float(single.std()), PAIR_SD / float(pair.std())
        whole, first = self.logit(pilot, opening), self.logit(first_hour, opening)
        day, fade = pilot["hour"] // 24, opening[pilot["hour"]]
        goal = CTR * self._ctr_by_day / (self._ctr_by_day @ volume.reshape(-1, 24).sum(axis=1))
        for _ in range(30):
            self.level += _steps(whole + self.level[day] + self.opening * fade, day, goal)
            first_day = np.zeros(len(first), np.int32)
            self.opening += float(_steps(first + self.level[0] + self.opening, first_day, np.array([OPENING_CTR]))[0])


def _steps(logit: np.ndarray, group: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return Newton's step of each group's intercept towards a mean probability of `goal`."""
    p, n = sigmoid(logit), np.bincount(group, minlength=len(goal))
    lack = goal * n - np.bincount(group, p, len(goal))
    return lack / np.maximum(np.bincount(group, p * (1 - p), len(goal)), 1e-9)
