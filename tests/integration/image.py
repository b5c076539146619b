"""Containers without an engine: made by buildah, run in a chroot. The image is built from its own Dockerfile.

The base image can't be pulled where there is no registry of images, so one of the same name is made from Debian's
packages: the same distribution with the same Python.
"""

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streamgauge.settings import CHECKOUT
from streamgauge.stack.layout import cache_dir

BASE = "docker.io/library/python:3.11-slim-bookworm"
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Container:
    """`root` holds buildah's storage."""

    root: Path
    name: str

    def command(self, *arguments: str, environment: Mapping[str, str] | None = None, folder: str = "/") -> list[str]:
        variables = [part for name, value in (environment or {}).items() for part in ("--env", f"{name}={value}")]
        return [*_buildah(self.root), "run", "--workingdir", folder, *variables, self.name, "--", *arguments]

    def read_only(
        self, *arguments: str, environment: Mapping[str, str], folder: str, writable: Iterable[str], user: int
    ) -> list[str]:
        """The command, as Kubernetes runs it: as this user, with `writable` as empty folders, and nothing else that can
        be written.
        """
        buildah = _buildah(self.root)
        root = _run([*buildah, "mount", self.name])
        listed = _run([*buildah, "inspect", "--format", "{{range .OCIv1.Config.Env}}{{println .}}{{end}}", self.name])
        variables = [*listed.splitlines(), *(f"{name}={value}" for name, value in environment.items())]
        mounts = [f"mount -t tmpfs -o mode=1777 tmpfs {root}{path}" for path in writable]
        script = " && ".join(
            (
                f"mount --bind {root} {root}",
                *(f"mount --rbind {path} {root}{path}" for path in ("/dev", "/proc")),
                *mounts,
                f"mount -o remount,bind,ro {root}",
                f'exec chroot --userspec={user}:{user} {root} env -i --chdir={folder} "$@"',
            )
        )
        return ["unshare", "--mount", "sh", "-c", script, "sh", *(v for v in variables if v), *arguments]

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None, folder: str = "/") -> str:
        return _run(self.command(*arguments, environment=environment, folder=folder))

    def add(self, folder: str, *paths: Path) -> None:
        for path in paths:
            into = f"{folder}/{path.name}" if path.is_dir() else folder + "/"
            _run([*_buildah(self.root), "add", "--quiet", self.name, str(path), into])


@contextmanager
def debian(root: Path, suite: str, packages: Iterable[str] = ()) -> Generator[Container]:
    """A Debian with Python and these packages, that trusts whom this machine trusts."""
    buildah = _buildah(root)
    name = _run([*buildah, "from", "scratch"])
    archive = _archive(suite, ("ca-certificates", "python3", "python3-venv", "python3-pip", *packages))
    _run([*buildah, "add", "--quiet", name, str(archive), "/"])
    settings = {
        # Debian's own Python refuses pip; the official image's is nobody else's.
        "PIP_BREAK_SYSTEM_PACKAGES": "1",
        **dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT"), str(_AUTHORITIES)),
        "UV_SYSTEM_CERTS": "true",
    }
    settings |= {name: os.environ[name] for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX") if name in os.environ}
    _run([*buildah, "config", *(p for n, v in settings.items() for p in ("--env", f"{n}={v}")), name])
    try:
        yield Container(root, name)
    finally:
        _run([*buildah, "rm", "--all"])
        _run([*buildah, "rmi", "--all", "--force"])


@contextmanager
def built_image(root: Path) -> Generator[Container]:
    """A container of the image that platform/deploy/Dockerfile makes."""
    buildah = _buildah(root)
    with debian(root, "bookworm") as base:
        _run([*buildah, "commit", "--quiet", base.name, BASE])
        dockerfile = CHECKOUT / "platform" / "deploy" / "Dockerfile"
        _run([*buildah, "bud", "--pull-never", "--tag", "streamgauge", "--file", str(dockerfile), str(CHECKOUT)])
        yield Container(root, _run([*buildah, "from", "--pull-never", "localhost/streamgauge"]))


def _archive(suite: str, packages: tuple[str, ...]) -> Path:
    """Kept in the cache: a Debian of that name changes little, and takes a minute to make."""
    key = hashlib.sha256(",".join(packages).encode()).hexdigest()[:8]
    archive = cache_dir() / f"debian-{suite}-{key}.tar"
    with (cache_dir() / "debian.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            tree, new = archive.with_suffix(".tree"), archive.with_suffix(".new")
            _run(["rm", "-rf", str(tree)])
            included = f"--include={','.join(packages)}"
            _run(["debootstrap", "--variant=minbase", included, suite, str(tree), _mirror()])
            _run(["cp", str(_AUTHORITIES), f"{tree}{_AUTHORITIES}"])
            _run(["tar", "-C", str(tree), "-cf", str(new), "."])
            _run(["rm", "-rf", str(tree)])
            new.replace(archive)
    return archive


def _mirror() -> str:
    """Where this machine has its own packages from."""
    uris = _run(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(CREATED_BY)"]).splitlines()
    found = [u.split()[0] for u in uris if u.split()[1:] == ["bookworm", "Packages"]]
    assert found, "apt knows no archive of bookworm"
    return found[0]


def _buildah(root: Path) -> list[str]:
    return ["buildah", "--root", str(root / "storage"), "--runroot", str(root / "run")]


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout.strip()
