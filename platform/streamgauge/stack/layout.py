"""What the local stack is made of, where it lies and where it listens: platform/stack/stack.toml."""

import os
import pwd
import shutil
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel

from streamgauge.errors import UserError
from streamgauge.settings import CHECKOUT, base_port, data_dir, instance_name

LOOPBACK = "127.0.0.1"
STACK_DIR = CHECKOUT / "platform" / "stack"


class StackFile(BaseModel):
    versions: dict[str, str]
    base_ports: dict[str, int]
    ports: dict[str, int]


@cache
def stack_file() -> StackFile:
    path = STACK_DIR / "stack.toml"
    if not path.exists():
        raise UserError(f"there is no local stack here: {path} is missing", "run this in a checkout of Streamgauge")
    return StackFile.model_validate(tomllib.loads(path.read_text()))


def cache_dir() -> Path:
    """What install.sh fetched; shared by all instances."""
    if os.geteuid() == 0:
        return Path("/var/lib/streamgauge/cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamgauge"


@dataclass(frozen=True)
class Layout:
    """One instance's folders and ports."""

    instance: str
    root: Path
    base_port: int

    def port(self, name: str) -> int:
        return self.base_port + stack_file().ports[name]

    def part(self, name: str) -> Path:
        return self.root / name

    def log(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    @property
    def credentials(self) -> Path:
        return self.root / "credentials"

    @property
    def supervisor(self) -> Path:
        return self.root / "supervisor"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    @property
    def credentials_lock(self) -> Path:
        return self.root / ".credentials.lock"

    def check_own(self) -> None:
        """STREAMGAUGE_DATA_DIR may be somebody's home: nothing is put there, and above all nothing deleted."""
        if self.root.exists() and not self.lock.exists() and any(self.root.iterdir()):
            raise UserError(
                f"{self.root} is not empty, and not an instance's folder",
                "give the instance a folder of its own with STREAMGAUGE_DATA_DIR",
            )

    def make_folders(self) -> None:
        """Servers with a user of their own must get through to their folder, and nobody else's eyes into any."""
        self.check_own()
        self.root.mkdir(parents=True, exist_ok=True)
        self.lock.touch()
        self.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
        for folder in (self.credentials, self.supervisor, self.root / "logs"):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)


def layout() -> Layout:
    """The instance that STREAMGAUGE_INSTANCE names."""
    instance = instance_name()
    bases = stack_file().base_ports
    base = base_port() or bases.get(instance)
    if base is None:
        raise UserError(
            f"STREAMGAUGE_INSTANCE is {instance!r}, and the local stack has no such instance",
            f"use one of {', '.join(sorted(bases))}, or give it a base port with STREAMGAUGE_BASE_PORT",
        )
    return Layout(instance, data_dir().absolute(), base)


def write_private(path: Path, text: str, user: str | None = None) -> None:
    """A file that only its owner may read, from the first byte on. Written where it changes, and then replaced: whoever
    reads it meanwhile finds the old one or the new one, and never none.
    """
    if path.is_file() and path.read_text() == text and (user is None or path.owner() == user):
        return
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    if user is not None:
        give(new, user)
    new.replace(path)


def private_folder(path: Path, user: str | None = None) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    if user is not None:
        give(path, user)
    return path


def fresh_folder(path: Path, user: str | None = None) -> Path:
    """For a server's temporary files: in /tmp two users' servers would stumble over each other's."""
    shutil.rmtree(path, ignore_errors=True)
    return private_folder(path, user)


def give(path: Path, user: str) -> None:
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)
