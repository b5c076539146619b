"""Small files beside the lake, in a folder or an object store."""

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyarrow import fs  # pyright: ignore[reportMissingTypeStubs]

from streamgauge.stores.lake import explained, storage_options

_fs: Any = fs
"""It comes without types."""


_BLOCK = 1 << 20
"""Bytes that are held at once: files of the lake may be larger than memory."""


class Files:
    """`root` is the lake's. A file is put in the place of an earlier one whole."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")

    def url(self, path: str) -> str:
        return f"{self._root}/{path}"

    def write(self, path: str, text: str, media_type: str) -> str:
        """Returns where it lies."""
        url = self.url(path)
        with explained(url):
            if "://" not in self._root:
                _replace(Path(url), text)
                return url
            files, at = _object_store(url)
            with files.open_output_stream(at, metadata={"Content-Type": media_type}) as file:
                file.write(text.encode())
        return url

    def read(self, path: str) -> str | None:
        """None where there is no such file."""
        url = self.url(path)
        with explained(url):
            if "://" not in self._root:
                return Path(url).read_text() if Path(url).is_file() else None
            files, at = _object_store(url)
            if files.get_file_info(at).type != _fs.FileType.File:
                return None
            with files.open_input_stream(at) as file:
                return file.read().decode()

    def digest(self, path: str) -> tuple[int, str]:
        """How many bytes the file has, and their SHA-256, hexadecimal. Raises LakeError where there is none."""
        url = self.url(path)
        with explained(url):
            if "://" not in self._root:
                with Path(url).open("rb") as file:
                    return _digest(file)
            files, at = _object_store(url)
            with files.open_input_stream(at) as file:
                return _digest(file)

    def names(self, folder: str) -> list[str]:
        """Of the files in it; none where there is no such folder."""
        url = self.url(folder)
        with explained(url):
            if "://" not in self._root:
                return [p.name for p in Path(url).glob("*") if p.is_file()]
            files, at = _object_store(url)
            found: Any = files.get_file_info(_fs.FileSelector(at, allow_not_found=True))
            return [info.base_name for info in found]


def _digest(file: Any) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while block := file.read(_BLOCK):
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


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
