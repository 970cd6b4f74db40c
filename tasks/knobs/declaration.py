"""Every knob of an env file: its type, its domain, and what it does.

A section is a class, a knob a field of it: this is the one place where a knob is declared, but for those
of a search (:mod:`tasks.knobs.searches`). Reading an env file against it is the work of :mod:`tasks.knobs.reading`.
Nothing is converted: ``bits: "16"`` is text and no number.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from tasks.errors import ConfigError
from tasks.evaluation.gates import Gates as Limits
from tasks.hashing.contract import MAX_BITS
from tasks.knobs.ab_test import AbTest
from tasks.knobs.blends import Blend, blend_or_model
from tasks.knobs.monitor import Monitor
from tasks.knobs.notices import Notices
from tasks.knobs.renewals import Renewal
from tasks.knobs.retention import Keep
from tasks.knobs.searches import Search
from tasks.knobs.sections import Bounds, Count, Part, Section, Share, Text
from tasks.logs.value_text import is_integer

TASK_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,53}"  # `train-` and it make a name that AWS accepts
BENTO_NAME = r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?"


class Ingest(Section):
    """How the raw log is read."""

    max_bad_share: Share = Field(
        description="above this share of bad rows the log is refused; below, they go to quarantine"
    )


class Checks(Section):
    """The data contract, beyond the schema."""

    min_ctr: Share = Field(description="lowest click rate of a sound log")
    max_ctr: Share = Field(description="highest click rate of a sound log")
    max_missing_hours_share: Share = Field(description="share of hours that may have no row")

    @model_validator(mode="after")
    def _in_order(self) -> "Checks":
        if self.min_ctr >= self.max_ctr:
            raise ValueError(f"min_ctr ({self.min_ctr:g}) must be below max_ctr ({self.max_ctr:g})")
        return self


class Split(Section):
    """Which rows validate and which test, by time; the others train."""

    valid_share: Part = Field(description="share of rows that choose parameters and epochs")
    test_share: Part = Field(description="share of rows that judge the models, the newest")
    window_days: Count | None = Field(
        description="learn only so many days before the test rows; null: all of them"
    )

    @model_validator(mode="after")
    def _leave_rows(self) -> "Split":
        if self.valid_share + self.test_share >= 1:
            raise ValueError("valid_share + test_share must be below 1; rows must be left to train")
        return self


class Hash(Section):
    """How rows become arrays."""

    bits: int = Field(ge=1, le=MAX_BITS, description="2^bits weights")
    batch_rows: Count = Field(description="rows per feature file, and in memory at once")
    trial_rows: Count = Field(description="rows to show what each number of bits costs")


class Model(Section):
    """One model: a training task each."""

    kind: Text = Field(description="sgd, ftrl, ftrl_pairs, fm, or a class, package.module:Class")
    params: dict[str, Any] = Field(description="its parameters; {} keeps its defaults")
    # of an estimator only; these three may be left out, but not be null
    input: Literal["hashed", "categorical"] = Field(  # type: ignore[assignment]
        None,  # type: ignore[arg-type]
        description="how an estimator gets its rows: docs/models.md",
    )
    cardinality: int = Field(  # type: ignore[assignment]
        None, ge=2, description="categories per column of `input: categorical`; left out: 1024"
    )
    max_rows: Count = Field(  # type: ignore[assignment]
        None, description="rows an estimator learns from, the last ones; left out: 500000"
    )
    search: Search = Field(  # type: ignore[assignment]
        None,
        description="how the other parameters are chosen, by validation loss; left out: halving, or fixed for a "
        "kind without a space",
    )


AnyModel = Annotated[
    Annotated[Model, Tag("model")] | Annotated[Blend, Tag("blend")], Discriminator(blend_or_model)
]


class Training(Section):
    """How long models are trained, and on which rows."""

    max_epochs: Count = Field(description="largest number of passes over the training rows")
    patience: Count = Field(description="epochs without a better validation loss before it stops")
    negative_rate: float = Field(
        gt=0, le=1, description="share of the non-clicks to keep; the probability is corrected"
    )


class Dask(Section):
    """Where the Dask workers are: exactly one of these."""

    workers: Count | None = Field(None, description="processes of this machine")
    address: Text | None = Field(None, description="a running cluster, such as tcp://host:8786")
    fargate: dict[str, Any] | None = Field(None, description="options of FargateCluster")

    @model_validator(mode="before")
    @classmethod
    def _one_place(cls, value: Any) -> Any:
        places = set(cls.model_fields)
        if isinstance(value, Mapping) and set(value) <= places and len(value) != 1:
            raise ValueError(f"exactly one of {', '.join(sorted(places))} is needed")
        return value

    @field_validator("fargate")
    @classmethod
    def _counts_workers(cls, value: Any) -> Any:
        n_workers = (value or {}).get("n_workers")
        if value is not None and not (is_integer(n_workers) and n_workers >= 1):
            raise ValueError("n_workers, an integer of at least 1, is needed among its options")
        return value


class Engine(Section):
    """A cluster that reads logs, hashes and trains."""

    dask: Dask = Field(description="where its workers are: docs/dask.md")


def _name_or_cluster(value: Any) -> str:
    return "cluster" if isinstance(value, Mapping) else "name"


EngineName = Annotated[Literal["local", "dask"], Tag("name")]
AnyEngine = Annotated[
    EngineName | Annotated[Engine, Tag("cluster")], Discriminator(_name_or_cluster)
]


class Evaluation(Section):
    """How models are compared."""

    n_resamples: Count = Field(description="bootstrap resamples behind each interval")
    n_golden: Count = Field(description="rows whose predictions prove the packaged model")
    cluster: Text | None = Field(description="field of rows that hang together, auto, or null")


class Gates(Section):
    """What a model must reach to serve."""

    max_normalized_entropy: float = Field(
        gt=0, le=1, description="below 1: better than knowing only the click rate"
    )
    max_relative_loss: float = Field(ge=0, description="share of the champion's loss it may add")
    max_undetected_loss: float = Field(
        gt=0, description="loss that the clicks must show: docs/gates.md"
    )
    calibration_ratio: Bounds = Field(description="mean prediction over click rate, [low, high]")
    slice_calibration_ratio: Bounds = Field(description="the same for each slice")
    unseen_calibration_ratio: Bounds = Field(description="the same for values never learned")
    max_false_refusals: Part = Field(description="chance of refusing the truth: docs/gates.md")
    allow_other_data: bool = Field(
        description="whether a model of another origin may replace the champion"
    )

    @model_validator(mode="after")
    def _possible(self) -> "Gates":
        try:
            Limits.from_dict(self.model_dump())
        except ConfigError as error:
            raise ValueError(str(error).removeprefix("gates: ")) from None
        return self


class Mlflow(Section):
    """Where runs, models and decisions are kept."""

    tracking_uri: Text = Field(
        description="sqlite:///path; a team: postgresql+psycopg2://... or http://..."
    )
    artifact_root: Text = Field(description="where files of runs go, with a database as store")
    experiment: str = Field(min_length=1, max_length=500, description="name of the experiment")
    ledger: Text = Field(description="every promotion decision, one line each")


class Bento(Section):
    """The packaged service."""

    name: str = Field(
        pattern=rf"^{BENTO_NAME}$",
        description="lower-case letters, digits and . _ - inside, 63 at most",
    )


class Knobs(Section):
    """Every knob of the pipeline; ``aws`` and ``fargate`` belong to AWS and may be left out."""

    data: Text = Field(
        description="CSV, .gz, .zip, Parquet, a folder of those, s3://bucket/key, or sim://avazu"
    )
    origin: Text | None = Field(
        description="name for where the rows come from; null: the folder, prefix or simulation"
    )
    schema_: Text = Field(alias="schema", description="what the columns mean: a YAML file")
    products: Text = Field(description="folder for everything that the pipeline writes")
    seed: int = Field(
        ge=0, le=2**32 - 1, description="of sampling, searches and learners that draw"
    )
    time_limit_minutes: float = Field(gt=0, description="a task that takes longer is ended")
    ingest: Ingest
    checks: Checks
    split: Split
    hash: Hash
    models: dict[Annotated[str, Field(pattern=rf"^{TASK_NAME}$")], AnyModel] = Field(
        min_length=1, description="a training task each, all through notebooks/train.ipynb"
    )
    training: Training
    engine: AnyEngine = Field(description="where rows are read, hashed and learned: docs/dask.md")
    evaluation: Evaluation
    gates: Gates
    renewal: Renewal
    mlflow: Mlflow
    bento: Bento
    monitor: Monitor
    ab_test: AbTest
    notices: Notices
    keep: Keep
    aws: dict[str, Any] | None = Field(None, description="sizes of containers: infra/ checks them")
    fargate: dict[str, Any] | None = Field(None, description="options for `engine` to refer to")
