"""The block ``search`` of a model: how its parameters are chosen, by method."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from tasks.knobs.sections import Count, Section, Text


class Fixed(Section):
    """Parameters as given."""

    method: Literal["fixed"] = Field(description="the parameters as given")


class _Trials(Section):
    max_rows: Count = Field(150_000, description="rows per trial, the last before validation")
    max_epochs: Count = Field(2, description="epochs per trial")


class Grid(_Trials):
    """Every combination of some values."""

    method: Literal["grid"] = Field(description="every combination")
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        min_length=1, description="the values to try, by parameter"
    )


class Span(Section):
    """An interval of one parameter."""

    low: float = Field(description="smallest value")
    high: float = Field(description="largest value")
    log: bool = Field(False, description="whether to search its logarithm")

    @model_validator(mode="after")
    def _in_order(self) -> "Span":
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be above 0 where log is true, found {self.low:g}")
        return self


def _span_or_choices(value: Any) -> str:
    return "choices" if isinstance(value, list) else "span"


Choices = Annotated[
    Annotated[list[Any], Field(min_length=1), Tag("choices")] | Annotated[Span, Tag("span")],
    Discriminator(_span_or_choices),
]


class Optuna(_Trials):
    """Trials that Optuna proposes."""

    method: Literal["optuna"] = Field(description="trials that Optuna proposes")
    # these two may be left out, but not be null, which the search refuses
    n_trials: Count = Field(  # type: ignore[assignment]
        None, description="trials in all, over all processes that share the storage"
    )
    minutes: float = Field(  # type: ignore[assignment]
        None, gt=0, description="time that the trials may take together"
    )
    pruner: bool = Field(True, description="whether a trial worse than the median ends early")
    storage: Text | None = Field(None, description="database URL of the study; left out: memory")
    space: dict[str, Choices] | None = Field(
        None, description="choices or {low, high, log} by parameter; left out: the learner's own"
    )

    @model_validator(mode="after")
    def _has_a_budget(self) -> "Optuna":
        if not {"n_trials", "minutes"} & self.model_fields_set:
            raise ValueError("n_trials or minutes must be given: the budget of the search")
        return self


class Halving(Section):
    """A few trials near the defaults on recent rows, the best of them against the default in full: docs/experiments.md."""

    method: Literal["halving"] = Field(
        description="trials near the defaults; the default stays unless one is better beyond chance"
    )
    n_trials: Count = Field(9, description="trials in all, the default among them; left out: 9")
    # left out: a share of the rows, which a number cannot say
    max_rows: Count = Field(  # type: ignore[assignment]
        None,
        description="rows per trial, the last before validation; left out: a quarter, 25000 to 1000000",
    )
    max_epochs: Count = Field(2, description="epochs per trial")
    storage: Text | None = Field(None, description="database URL of the study; left out: memory")
    space: dict[str, Choices] | None = Field(
        None, description="choices or {low, high, log} by parameter; left out: near the defaults"
    )


Search = Annotated[Halving | Fixed | Grid | Optuna, Field(discriminator="method")]
