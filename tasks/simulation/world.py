"""One simulated world: the parts, and how a row draws from them in turn."""

from datetime import date

import numpy as np

from tasks.simulation.audience import Audience
from tasks.simulation.campaigns import Campaigns
from tasks.simulation.clock import SLOT_HOURS, Clock
from tasks.simulation.draws import stream
from tasks.simulation.extras import Extras
from tasks.simulation.publishers import (
    DOMAIN_NOISE,
    LATE_APP_SHARE,
    N_DOMAINS,
    N_SITES,
    OPENING_APP_SHARE,
    Publishers,
)
from tasks.simulation.shapes import Views
from tasks.simulation.truth import CTR, Truth, sigmoid

_PILOT_ROWS, _FIRST_HOUR_ROWS = 131_072, 16_384


class World:
    """Everything that is fixed before the first row, of a size that does not depend on the number of rows."""

    def __init__(
        self, *, seed: int, days: int, start: date, ctr: float = CTR, truth: str = "factors"
    ):
        self._seed = seed
        self.clock = Clock(seed=seed, days=days, start=start)
        self.publishers = Publishers(seed=seed)
        self.campaigns = Campaigns(seed=seed, n_slots=self.clock.n_slots)
        self.audience = Audience(seed=seed)
        self.truth = Truth(
            seed=seed,
            n_days=days,
            publishers=self.publishers,
            campaigns=self.campaigns,
            first_weekday=start.weekday(),
            shape=truth,
        )
        ends = self.clock.ends(_PILOT_ROWS)
        hours = np.searchsorted(ends, np.arange(_PILOT_ROWS), side="right").astype(np.int32)
        pilot = self.draw(hours, stream(seed, 6))
        first_hour = self.draw(np.zeros(_FIRST_HOUR_ROWS, np.int32), stream(seed, 7))
        self.truth.calibrate(pilot, first_hour, self.clock.opening, self.clock.share, ctr)

    def draw(self, hour: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return the rows' codes and ranks by field, for rows that fall into these hours."""
        n = len(hour)
        opening = rng.random(n) < self.clock.opening[hour]
        is_app = rng.random(n) < np.where(opening, OPENING_APP_SHARE, LATE_APP_SHARE)
        publisher = self.publishers.draw(is_app, opening, rng.random(n))
        context = np.where(is_app, 2, publisher > 0)
        creative = self.campaigns.draw(hour // SLOT_HOURS, context, rng.random(n))
        c1 = self.publishers.C1[publisher]
        rows = {"hour": hour, "publisher": publisher, "creative": creative, "C1": c1}
        rows["campaign"] = self.campaigns.campaign[creative]
        rows["banner_pos"] = self.publishers.banner_pos[publisher]
        domain = self.publishers.site_domain[publisher]
        odd = np.flatnonzero((rng.random(n, dtype=np.float32) < DOMAIN_NOISE) & ~is_app)
        domain[odd] = 1 + (N_DOMAINS - 1) * rng.random(len(odd)) ** 3
        rows["site_domain"] = domain
        rows |= self.audience.draw(is_app, opening, c1, rng)
        rows["site"] = np.where(is_app, 0, publisher + 1).astype(np.int32)
        rows["app"] = np.where(is_app, publisher - N_SITES + 1, 0).astype(np.int32)
        return rows

    def p_click(
        self,
        rows: dict[str, np.ndarray],
        effect: np.ndarray | None = None,
        views: Views | None = None,
    ) -> np.ndarray:
        """Return the known click probability of each row.

        `effect` is what further columns add to the logits; `views` remembers the rows before these.
        """
        logit = self.truth.logit(rows, self.clock.opening, views)
        return sigmoid(logit if effect is None else logit + effect)

    def keep_rate(self, extras: Extras, ctr: float) -> None:
        """Shift the effects of further columns so that the log keeps its click rate."""
        ends = self.clock.ends(_PILOT_ROWS)
        hours = np.searchsorted(ends, np.arange(_PILOT_ROWS), side="right").astype(np.int32)
        pilot = self.draw(hours, stream(self._seed, 6))
        logit = self.truth.logit(pilot, self.clock.opening)
        extras.shift = 0.0
        logit += extras.draw(_PILOT_ROWS, -1 % 2**31)[1]
        low, high = -20.0, 20.0
        for _ in range(50):
            middle = (low + high) / 2
            is_low = sigmoid(logit + middle).mean() < ctr
            low, high = (middle, high) if is_low else (low, middle)
        extras.shift = middle
