"""The constant that corrects the logits of a learner trained on a sample of the rows without a click."""

import math


class LogitOffsetMixin:
    """Adds a constant to the logits of a learner of down-sampled rows, so that they hold for all rows.

    Attributes
    ----------
    negative_rate_
        Share of the rows without a click that it was trained on, above 0, at most 1; set by what
        leaves rows out (:func:`tasks.training.fit.fit_stream`).

    Notes
    -----
    Where p is the probability in the sample and w the rate, the probability among all rows is
    p / (p + (1 - p) / w), in logits a constant: logit + log w.

    References
    ----------
    He et al. (2014), "Practical lessons from predicting clicks on ads at Facebook", section 6.3.
    """

    negative_rate_: float = 1.0

    @property
    def logit_offset_(self) -> float:
        """Logarithm of the rate; 0 where no row was left out."""
        return math.log(self.negative_rate_)
