"""An S3-compatible server of a test's own, in a folder."""

import secrets
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from pyarrow import fs  # pyright: ignore[reportMissingTypeStubs]

from streamgauge.stack.layout import cache_dir
from tests.integration.free_port import free_port

BUCKET = "lake"
_fs: Any = fs


@contextmanager
def object_store(folder: Path) -> Generator[dict[str, str]]:
    """The environment that leads to it."""
    found = sorted(cache_dir().glob("versitygw-*"))
    assert found, "run platform/stack/install_test_tools.sh"
    port = free_port()
    key, secret = "test", secrets.token_hex(16)
    data = folder / "buckets"
    data.mkdir()
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            [str(found[-1]), "--port", f"127.0.0.1:{port}", "--health", "/health", "posix", str(data)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"ROOT_ACCESS_KEY": key, "ROOT_SECRET_KEY": secret},
        )
    try:
        _wait(port, folder / "gateway.log")
        files = _fs.S3FileSystem(
            access_key=key,
            secret_key=secret,
            endpoint_override=f"127.0.0.1:{port}",
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )
        files.create_dir(BUCKET)
        yield {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
    finally:
        process.terminate()
        process.wait(10)


def _wait(port: int, log: Path) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=1).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text())
