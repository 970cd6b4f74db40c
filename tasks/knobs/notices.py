"""The knobs of notices: who is told, and of what."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from tasks.knobs.sections import Section

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Notices(Section):
    """Who is told what a day brought: docs/notices.md."""

    addresses: list[str] = Field(
        min_length=0,
        description="names of environment variables, each with a receiver's address; [] sends nothing",
    )
    events: list[Literal["day", "promotion", "refusal", "alert", "failure"]] = Field(
        min_length=1, description="what is told: day, promotion, refusal, alert, failure"
    )
    quiet: bool = Field(description="whether a day without any other event is left out")
    timeout_s: Annotated[float, Field(gt=0, le=120)] = Field(
        description="how long to wait for a receiver, seconds"
    )
    usd_per_core_hour: Annotated[float, Field(ge=0)] | None = Field(
        description="price of a core, for the cost of a run; null: core hours only"
    )

    @field_validator("addresses", mode="before")
    @classmethod
    def _names_only(cls, value: Any) -> Any:
        """An address pasted here is a secret in a file: it is refused without being shown."""
        listed = value if isinstance(value, list) else []
        for at, name in enumerate(listed, start=1):
            if isinstance(name, str) and not _VARIABLE.fullmatch(name):
                raise ValueError(
                    f"entry {at} is no name of an environment variable, such as CLICKLAB_SLACK; addresses are "
                    "secrets and stay in the environment (docs/notices.md)"
                )
        return value
