"""What all sections of an env file share: keys that are known, values of exactly the declared types."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Bounds = Annotated[list[float], Field(min_length=2, max_length=2)]


class Section(BaseModel):
    """Keys that are all known, with values of exactly the declared types."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
