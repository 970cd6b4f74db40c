"""The knobs of renewal: what the model that is to serve learns after it was judged."""

from typing import Literal

from pydantic import Field

from tasks.knobs.sections import Bounds, Section


class Renewal(Section):
    """How a model is kept up to date: docs/renewal.md."""

    learn_test: bool = Field(
        description="whether the model that is to serve learns the test rows too, once it is judged"
    )
    way: Literal["anew", "warm", "auto"] = Field(
        description="anew: from scratch on all rows; warm: go on with the new rows; auto: as `make backtest` found"
    )
    max_logit_shift: float = Field(
        gt=0,
        description="mean shift of the logit on the test rows; beyond it the judged one serves",
    )
    max_extra_loss: float = Field(
        ge=0, description="share of the judged one's loss that it may add on the test rows"
    )
    calibration_ratio: Bounds = Field(
        description="mean prediction over click rate on the test rows, [low, high]"
    )
