"""The knobs of A/B read-outs: what is fixed before an experiment starts."""

from typing import Annotated

from pydantic import Field

from tasks.knobs.sections import Part, Section, Text

Covariate = Annotated[str, Field(pattern=r"^(none|before|shadow:.+)$")]


class AbTest(Section):
    """What is fixed before an experiment is read: docs/ab_test.md."""

    experiment: Text = Field(description="file that declares the variants and their weights")
    control: Text = Field(description="variant that the others are compared with")
    smallest_lift: Part = Field(description="lift in clicks worth knowing, 0.02 is 2%")
    smallest_loss_change: Part = Field(description="change of log loss worth knowing")
    alpha: Part = Field(description="chance of a false verdict, over all looks and variants")
    power: Part = Field(description="chance of seeing the smallest lift")
    covariate: Covariate = Field(description="none, before, or shadow:NAME: reduces the variance")
    slices: list[Text] = Field(description="fields whose values are compared one by one")
