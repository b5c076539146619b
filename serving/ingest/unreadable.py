"""What stands in the place of an event that can't be read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Unreadable:
    """Why there is no event. Says nothing of the values."""

    field: str | None
    reason: str
