"""Errors that a user can do something about."""


class UserError(Exception):
    """What went wrong, and what to do about it. The CLI prints both and no traceback."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
