"""What a person decides by a command."""

from dataclasses import dataclass

from streamgauge.audit.log import user_name
from streamgauge.errors import UserError


@dataclass(frozen=True)
class Decision:
    by: str
    reason: str


def decision(by: str | None, reason: str, hint: str) -> Decision:
    """Who decides, by default whose login it is, and why. Raises UserError, with the hint, where no reason is given."""
    if not reason.strip():
        raise UserError("the reason is empty", hint)
    return Decision(by or user_name(), reason.strip())
