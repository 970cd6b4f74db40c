"""Where an impression is shown: sites and apps in one numbering, with what follows from each.

Shares of the head and the tails' shapes were measured on the first hour of the real log (aggregates only).
"""

import numpy as np
import pyarrow as pa

from tasks.simulation.draws import Tables, assign, hex_pool, stream, tail_weights

N_SITES, N_APPS = 4736, 8551  # besides the constant that marks the other kind of impression
N_DOMAINS, N_APP_DOMAINS = 7744, 558
NO_SITE, NO_SITE_DOMAIN, APP_SITE_CATEGORY = "85f751fd", "c4e18dd6", "50e219e0"
NO_APP, NO_APP_DOMAIN, SITE_APP_CATEGORY = "ecad2386", "7801e8d9", "07d7df22"
SITE_HEAD = (0.4577, 0.0847, 0.0426, 0.0330, 0.0265, 0.0248, 0.0152)
APP_HEAD = (0.1085, 0.0864, 0.0533, 0.0510, 0.0372, 0.0340, 0.0257)
LATE_TOP_SITE = 0.22  # of site impressions once the opening hours are over
LATE_BANNER_1 = 0.2978  # of all impressions, so that the ten days together show 29 %
LATE_APP_SHARE, OPENING_APP_SHARE = 0.3716, 0.2175
DOMAIN_NOISE = 0.004  # site_id decides the domain in 99.6 % of rows

_SITE_CATEGORIES = {
    "f028772b": 0.461, "3e814130": 0.286, APP_SITE_CATEGORY: 0.076, "28905ebd": 0.062,
    "76b2941d": 0.051, "335d28a8": 0.030, "0569f928": 0.015, "72722551": 0.006,
}  # fmt: skip
_APP_CATEGORIES = {
    "0f2161f8": 0.701, "f95efa07": 0.120, "cef3e649": 0.068, "8ded1f7a": 0.057,
    SITE_APP_CATEGORY: 0.029, "75d80bbe": 0.007, "d1327cf5": 0.007, "4ce2e9fc": 0.005,
}  # fmt: skip
# (banner_pos, C1): share of the impressions on apps, and on sites other than the largest one
_APP_PLACES = {
    ("0", "1005"): 0.7900, ("1", "1010"): 0.1590, ("0", "1002"): 0.0270, ("1", "1005"): 0.0150,
    ("0", "1007"): 0.0050, ("5", "1008"): 0.0010, ("7", "1012"): 0.0005,
}  # fmt: skip
_SITE_PLACES = {
    ("0", "1005"): 0.5540, ("1", "1005"): 0.3680, ("0", "1002"): 0.0760, ("0", "1001"): 0.0010,
    ("4", "1005"): 0.0005, ("2", "1012"): 0.0005, ("3", "1001"): 0.0002,
}  # fmt: skip


class Publishers:
    """Sites 0 to N_SITES - 1, apps after them; arrays over that numbering hold what a publisher decides."""

    size = N_SITES + N_APPS

    def __init__(self, *, seed: int):
        rng = stream(seed, 2)
        site = tail_weights(SITE_HEAD, N_SITES, shift=50, power=2.5)
        app = tail_weights(APP_HEAD, N_APPS, shift=80, power=2.7)
        self._place(site, app, rng)
        late_site, late_app = self._late(site, app, rng)
        self._sites, self._apps = Tables([site, late_site]), Tables([app, late_app])
        self.share = np.concatenate([0.64 * late_site, 0.36 * late_app])
        self._domains(site, app, rng)
        self._pools(seed)

    def _place(self, site: np.ndarray, app: np.ndarray, rng: np.random.Generator) -> None:
        """Give each publisher its banner position and C1; the largest site is always (0, 1005)."""
        places = sorted({*_APP_PLACES, *_SITE_PLACES})
        shares = [
            np.array([table.get(place, 0.0) for place in places])
            for table in (_SITE_PLACES, _APP_PLACES)
        ]
        used = [np.flatnonzero(share) for share in shares]
        place = np.concatenate(
            [
                [places.index(("0", "1005"))],
                used[0][assign(site[1:], shares[0][used[0]], rng)],
                used[1][assign(app, shares[1][used[1]], rng)],
            ]
        )
        self.banner_pool = pa.array([str(value) for value in (0, 1, 2, 3, 4, 5, 7)])
        self.c1_pool = pa.array(["1001", "1002", "1005", "1007", "1008", "1010", "1012"])
        banner = [self.banner_pool.to_pylist().index(banner) for banner, _ in places]
        c1 = [self.c1_pool.to_pylist().index(c1) for _, c1 in places]
        self.banner_pos, self.C1 = np.array(banner, np.int32)[place], np.array(c1, np.int32)[place]

    def _late(
        self, site: np.ndarray, app: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the shares after the opening: other sizes for all, and more traffic at banner position 1."""
        late_app = app * np.exp(0.5 * rng.standard_normal(N_APPS))
        late_app *= np.where(self.C1[N_SITES:] == 5, 0.45, 1.0)
        late_app /= late_app.sum()
        on_app = late_app[self.banner_pos[N_SITES:] == 1].sum()
        wanted = (LATE_BANNER_1 - LATE_APP_SHARE * on_app) / (1 - LATE_APP_SHARE)
        late_site = site * np.exp(0.5 * rng.standard_normal(N_SITES))
        late_site[0] = 0.0
        first = self.banner_pos[:N_SITES] == 1
        late_site[first] *= wanted / late_site[first].sum()
        late_site[~first] *= (1 - LATE_TOP_SITE - wanted) / late_site[~first].sum()
        late_site[0] = LATE_TOP_SITE
        return late_site, late_app

    def _domains(self, site: np.ndarray, app: np.ndarray, rng: np.random.Generator) -> None:
        """Give each publisher its domain and category codes; code 0 of a domain is the constant."""
        domain = np.arange(1, N_SITES + 1)
        shared = np.flatnonzero(rng.random(N_SITES) < 0.22)
        shared = shared[shared >= 20]
        domain[shared] = domain[rng.integers(20, np.maximum(shared, 21))]
        domain[20:][rng.random(N_SITES - 20) < 0.06] = 0
        self.site_domain = np.concatenate([domain, np.zeros(N_APPS, int)]).astype(np.int32)
        tail = tail_weights((0.5,), 18, shift=0, power=2.0)[1:] * 0.008
        category = assign(site[1:], np.array([*_SITE_CATEGORIES.values(), *tail, 0.0003]), rng)
        self.site_category = np.concatenate([[3], category, np.full(N_APPS, 2)]).astype(np.int32)
        shares = tail_weights(
            (0.221, 0.325, 0.109, 0.091, 0.086, 0.053), N_APP_DOMAINS + 1, shift=3, power=2.5
        )
        self.app_domain = np.concatenate([np.zeros(N_SITES, int), assign(app, shares, rng)]).astype(
            np.int32
        )
        tail = tail_weights((0.5,), 29, shift=0, power=1.5)[1:] * 0.012
        category = assign(app, np.array([*_APP_CATEGORIES.values(), *tail]), rng)
        self.app_category = np.concatenate([np.full(N_SITES, 4), category]).astype(np.int32)

    def _pools(self, seed: int) -> None:
        self.site_pool = hex_pool(
            N_SITES + 1, salt=seed * 16 + 1, names=(NO_SITE, "1fbe01fe", "543a539e")
        )
        self.app_pool = hex_pool(
            N_APPS + 1, salt=seed * 16 + 2, names=(NO_APP, "febd1138", "e2fcccd2")
        )
        names: tuple[str, ...] = (NO_SITE_DOMAIN, "f3845767", "c7ca3108")
        self.site_domain_pool = hex_pool(N_DOMAINS + 1, salt=seed * 16 + 3, names=names)
        names = (NO_APP_DOMAIN, "2347f47a", "82e27996", "d9b5648e", "5c5a694b", "45a51db4")
        self.app_domain_pool = hex_pool(N_APP_DOMAINS + 1, salt=seed * 16 + 4, names=names)
        self.site_category_pool = hex_pool(26, salt=seed * 16 + 5, names=tuple(_SITE_CATEGORIES))
        self.app_category_pool = hex_pool(36, salt=seed * 16 + 6, names=tuple(_APP_CATEGORIES))

    def draw(self, is_app: np.ndarray, opening: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return the publisher of each row: from the opening mix, or from the later one."""
        late = (~opening).astype(np.int32)
        publisher = np.empty(len(u), dtype=np.int32)
        publisher[~is_app] = self._sites.draw(u[~is_app], late[~is_app])
        publisher[is_app] = self._apps.draw(u[is_app], late[is_app]) + N_SITES
        return publisher
