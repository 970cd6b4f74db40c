"""The knobs of retention: what `make gc` leaves."""

from pydantic import Field

from tasks.knobs.sections import Count, Section, Text


class Keep(Section):
    """What `make gc` leaves, besides all that is in use: docs/disk.md."""

    days: float = Field(ge=0, description="nothing that is younger goes")
    bentos: Count = Field(description="newest Bentos that stay")
    models: Count = Field(
        description="registered versions, former champions, and runs of each task, the newest, whose models stay"
    )
    pointers: list[Text] = Field(
        min_length=0, description="pointers whose history stays; each a path or an address of S3"
    )
