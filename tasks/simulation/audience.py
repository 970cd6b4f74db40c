"""Who sees an impression: address, device, model, connection, and C20, which goes with the audience.

Addresses and devices follow Heaps' law; a rank stands for the value until :func:`tasks.simulation.draws.hex_strings` writes it.
"""

import numpy as np
import pyarrow as pa

from tasks.simulation.draws import (
    PowerLaw,
    Tables,
    hex_pool,
    mix32,
    stream,
    tail_weights,
    uniform_of,
)

N_MODELS, N_C20 = 8251, 171
UNKNOWN_DEVICE = 0xA99F214A
MODEL_HEAD = (0.0718, 0.0516, 0.0385, 0.0234, 0.0222, 0.0175)
KNOWN_ON_APP, KNOWN_ON_SITE = 0.435, 0.041
N_BUSY, BUSY_SHARE = (
    12,
    0.035,
)  # carriers' gateways: the few addresses that everybody seems to share
SAME_MODEL = 0.55  # an address shows the model it is known for in this share of its rows
_CONN_APP, _CONN_SITE = (0.787, 0.149, 0.062, 0.002), (0.939, 0.061, 0.0, 0.0)
_NO_C20_APP, _NO_C20_SITE = (0.474, 0.474), (0.665, 0.452)  # in the opening hours, later


class Audience:
    """Draws everything about the person and the device behind an impression."""

    def __init__(self, *, seed: int):
        self._salt = seed * 16
        self._ips = PowerLaw(shift=230, power=1.19)
        self._devices = PowerLaw(shift=12, power=1.05)
        self._models = Tables(tail_weights(MODEL_HEAD, N_MODELS, shift=80, power=2.1))
        self.model_pool = hex_pool(
            N_MODELS, salt=self._salt + 7, names=("8a4875bd", "d787e91b", "1f0bc64f")
        )
        self._conns = Tables([_CONN_SITE, _CONN_APP])
        self.conn_pool = pa.array(["0", "2", "3", "5"])
        self.type_pool = pa.array(["0", "1", "2", "4", "5"])
        self._c20(stream(seed, 4))

    def _c20(self, rng: np.random.Generator) -> None:
        numbers = ["100084", "100083", "100111", "100077", "100000"]
        free = [str(n) for n in range(100001, 100249) if str(n) not in numbers]
        numbers += rng.choice(free, N_C20 - len(numbers), replace=False).tolist()
        self.c20_pool = pa.array(["-1", *numbers])
        site = tail_weights((0.443, 0.134, 0.010, 0.054, 0.010), N_C20, shift=8, power=2.2)
        app = tail_weights((0.020, 0.010, 0.340, 0.010, 0.067), N_C20, shift=8, power=2.2)
        app[5:] = app[5:][np.argsort(np.arange(N_C20 - 5) + rng.normal(0, 30, N_C20 - 5))]
        rows = [
            [minus, *(1 - minus) * tail]
            for tail, pair in ((site, _NO_C20_SITE), (app, _NO_C20_APP))
            for minus in pair
        ]
        self._c20s = Tables(np.array(rows))

    def draw(
        self, is_app: np.ndarray, opening: np.ndarray, c1: np.ndarray, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Return ranks (`ip`), 32-bit values (`device_ip`, `device_id`) and codes of the rest."""
        n, app = len(is_app), is_app.astype(np.int32)
        u = rng.random(n)
        busy = u < BUSY_SHARE
        ip = self._ips.draw((u - BUSY_SHARE).clip(0) / (1 - BUSY_SHARE)) + np.uint32(N_BUSY)
        ip[busy] = N_BUSY * (u[busy] / BUSY_SHARE) ** 2
        u, own = rng.random(n), rng.random(n, dtype=np.float32) < SAME_MODEL
        own &= ~busy
        u[own] = uniform_of(ip[own], salt=self._salt + 9)
        model = self._models.draw(u)
        known = rng.random(n) < np.where(is_app, KNOWN_ON_APP, KNOWN_ON_SITE)
        device = np.full(n, UNKNOWN_DEVICE, dtype=np.uint32)
        device[known] = mix32(
            self._devices.draw(rng.random(int(known.sum()))), salt=self._salt + 10
        )
        u = rng.random(n)
        kind = np.where(u < 1e-6, 2, 1).astype(np.int32)
        kind[c1 == 1] = 0
        kind[c1 == 5] = np.where(u[c1 == 5] < 0.928, 3, 4)
        return {
            "ip": ip,
            "known": known,
            "device_ip": mix32(ip, salt=self._salt + 8),
            "device_id": device,
            "device_model": model,
            "device_type": kind,
            "device_conn_type": self._conns.draw(rng.random(n), app),
            "C20": self._c20s.draw(rng.random(n), app * 2 + ~opening),
        }
