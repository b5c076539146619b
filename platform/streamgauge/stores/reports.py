"""Where the data-quality reports lie: one page a stream and day, beside the lake, in a folder or an object store."""

import re

from streamgauge.errors import UserError
from streamgauge.stores.files import Files

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Reports:
    """`root` is the lake's. A page is put in the place of an earlier one whole."""

    def __init__(self, root: str) -> None:
        self._files = Files(root)

    def url(self, stream: str, day: str) -> str:
        return self._files.url(_path(stream, day))

    def write(self, stream: str, day: str, page: str) -> str:
        """Returns where it lies."""
        return self._files.write(_path(stream, day), page, "text/html; charset=utf-8")

    def read(self, stream: str, day: str) -> str | None:
        """None where there is no report of that day."""
        return self._files.read(_path(stream, day))

    def days(self, stream: str) -> list[str]:
        """Those that have a report, the newest first."""
        names = self._files.names(_path(stream, "2000-01-01").rpartition("/")[0])
        days = [name.removesuffix(".html") for name in names if name.endswith(".html")]
        return sorted(filter(_DAY.fullmatch, days), reverse=True)


def _path(stream: str, day: str) -> str:
    """Both may come from a URL: nothing in them leads out of the folder."""
    if not _NAME.fullmatch(stream) or not _DAY.fullmatch(day):
        raise UserError(f"there is no report {stream} of {day}", "give a stream's name, and a day as 2026-11-05")
    return f"reports/{stream}/{day}.html"
