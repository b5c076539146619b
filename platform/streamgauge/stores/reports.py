"""Where the data-quality reports lie: one page a stream and day, beside the lake, in a folder or an object store."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyarrow import fs  # pyright: ignore[reportMissingTypeStubs]

from streamgauge.errors import UserError
from streamgauge.stores.lake import explained, storage_options

_fs: Any = fs
"""It comes without types."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Reports:
    """`root` is the lake's. A page is put in the place of an earlier one whole."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")

    def url(self, stream: str, day: str) -> str:
        return f"{self._root}/{_path(stream, day)}"

    def write(self, stream: str, day: str, page: str) -> str:
        """Returns where it lies."""
        url = self.url(stream, day)
        with explained(url):
            if "://" not in self._root:
                self._write_file(Path(url), page)
                return url
            files, path = _object_store(url)
            with files.open_output_stream(path, metadata={"Content-Type": "text/html; charset=utf-8"}) as file:
                file.write(page.encode())
        return url

    def read(self, stream: str, day: str) -> str | None:
        """None where there is no report of that day."""
        url = self.url(stream, day)
        with explained(url):
            if "://" not in self._root:
                return Path(url).read_text() if Path(url).is_file() else None
            files, path = _object_store(url)
            if files.get_file_info(path).type != _fs.FileType.File:
                return None
            with files.open_input_stream(path) as file:
                return file.read().decode()

    def days(self, stream: str) -> list[str]:
        """Those that have a report, the newest first."""
        folder = self.url(stream, "2000-01-01").rpartition("/")[0]
        names: list[str]
        with explained(folder):
            if "://" not in self._root:
                names = [p.name for p in Path(folder).glob("*.html")]
            else:
                files, path = _object_store(folder)
                found: Any = files.get_file_info(_fs.FileSelector(path, allow_not_found=True))
                names = [info.base_name for info in found]
        days = [name.removesuffix(".html") for name in names]
        return sorted(filter(_DAY.fullmatch, days), reverse=True)

    @staticmethod
    def _write_file(path: Path, page: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        built = path.with_suffix(".part")
        built.write_text(page)
        built.replace(path)


def _object_store(url: str) -> tuple[Any, str]:
    """The file system and the path in it; the login is where the lake's is."""
    if not url.startswith(("s3://", "s3a://")):
        return _fs.FileSystem.from_uri(url)
    options = storage_options(url)
    endpoint = urlsplit(options.get("aws_endpoint_url", ""))
    files = _fs.S3FileSystem(
        access_key=options.get("aws_access_key_id"),
        secret_key=options.get("aws_secret_access_key"),
        session_token=options.get("aws_session_token"),
        region=options.get("aws_region") or options.get("aws_default_region"),
        endpoint_override=endpoint.netloc or None,
        scheme=endpoint.scheme or None,
    )
    return files, url.partition("://")[2]


def _path(stream: str, day: str) -> str:
    """Both may come from a URL: nothing in them leads out of the folder."""
    if not _NAME.fullmatch(stream) or not _DAY.fullmatch(day):
        raise UserError(f"there is no report {stream} of {day}", "give a stream's name, and a day as 2026-11-05")
    return f"reports/{stream}/{day}.html"
