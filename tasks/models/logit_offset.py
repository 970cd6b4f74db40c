"""Click probabilities of a learner that was shown only a share of the rows without a click."""

import math


class ShiftedLogits:
    """What a learner of down-sampled rows adds to its logits, so that they speak of all rows again.

    Attributes
    ----------
    negative_rate_
        Share of the rows without a click that it was shown, above 0, at most 1; whoever leaves rows
        out sets it (:func:`tasks.training.fit.fit_stream`).

    Notes
    -----
    Where p is the probability among the rows shown and w the rate, the probability among all rows is
    p / (p + (1 - p) / w), in logits a constant: logit + log w.

    References
    ----------
    He et al. (2014), "Practical lessons from predicting clicks on ads at Facebook", section 6.3.
    """

    negative_rate_: float = 1.0

    @property
    def logit_shift_(self) -> float:
        """Logarithm of the rate; 0 where every row was shown."""
        return math.log(self.negative_rate_)
