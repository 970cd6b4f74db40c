"""Who takes part, and what of each is tried on the validation rows."""

from bench.quality.choice import Contestant, grid
from bench.quality.ffm import FieldAware
from bench.quality.logistic import Logistic
from bench.quality.ours import Ours
from bench.quality.trees import Trees
from bench.quality.vowpal import Vowpal

_VW = ("--loss_function", "logistic", "-b", "20")
_VW_PAIRS = ("--loss_function", "logistic", "-b", "22", "-q", "::")
_FTRL = grid(alpha=[0.05, 0.1, 0.2], l1=[0.3], l2=[5.0]) + grid(alpha=[0.01, 0.02, 0.05], l1=[0.0], l2=[0.0])  # fmt: skip

OURS: tuple[Contestant, ...] = (
    Ours("sgd", "sgd", "sgd", grid(alpha=[1e-6, 1e-5, 1e-4], eta0=[0.02, 0.05])),
    Ours("ftrl", "ftrl", "ftrl", _FTRL),
    Ours("fm", "fm", "fm", grid(factor_alpha=[0.03, 0.06], min_evidence=[30.0, 100.0])),
)
PEERS: tuple[Contestant, ...] = (
    Vowpal("vw", "VW", _VW, grid(learning_rate=[0.05, 0.15, 0.3, 0.5])),
    Vowpal("vw_ftrl", "VW, --ftrl", (*_VW, "--ftrl"), grid(ftrl_alpha=[0.02, 0.05, 0.1, 0.2])),
    Vowpal(
        "vw_pairs",
        "VW, -q ::",
        _VW_PAIRS,
        grid(learning_rate=[0.05, 0.15, 0.4]),
        with_crosses=False,
    ),
    Logistic(),
    Trees("lightgbm_past", "LightGBM, past rates", past=True),
    Trees("lightgbm", "LightGBM, categories", past=False),
    FieldAware(),
)
CONTESTANTS = {one.key: one for one in (*OURS, *PEERS)}
