"""Settings from the environment (`STREAMGAUGE_…`), then from the role's credentials file, then defaults.

A role is a set of logins with only the rights its processes need. The local stack writes a credentials file for
each; elsewhere the environment holds them.
"""

import os
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from streamgauge.errors import UserError

PREFIX = "STREAMGAUGE_"
Role = Literal["admin", "producer", "worker", "batch", "api", "reader"]
ROLES: tuple[Role, ...] = ("admin", "producer", "worker", "batch", "api", "reader")
CHECKOUT = Path(__file__).resolve().parents[2]


CONTRACTS = CHECKOUT / "platform" / "contracts"


class _Place(BaseSettings):
    """What is known of this instance without credentials, and needed before they can be found."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    instance: str = "demo"
    data_dir: Path | None = None
    base_port: int | None = None
    contracts_dir: Path = CONTRACTS
    lake_url: str | None = None
    batch_start: date = date(2026, 1, 1)
    runbooks_url: str = (CHECKOUT / "docs" / "runbooks").as_uri()


def instance_name() -> str:
    return _Place().instance


def base_port() -> int | None:
    """Where the local stack's ports begin, where the environment says so."""
    return _Place().base_port


def data_dir() -> Path:
    """This instance's own folder: /var/lib/streamgauge/INSTANCE for root, in the XDG data home for others."""
    place = _Place()
    if place.data_dir is not None:
        return place.data_dir
    if os.geteuid() == 0:
        return Path("/var/lib/streamgauge") / place.instance
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "streamgauge" / place.instance


def contracts_dir() -> Path:
    return _Place().contracts_dir


def lake_root() -> str:
    """As `Settings.lake`, without credentials."""
    return _Place().lake_url or str(data_dir() / "lake")


def batch_start() -> date:
    """The first day of which the batch layer keeps hours: events before it are never made into facts."""
    return _Place().batch_start


def runbooks_url() -> str:
    """The folder of the pages that alerts link to."""
    return _Place().runbooks_url


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    instance: str = "demo"
    data_dir: Path
    contracts_dir: Path = CONTRACTS
    kafka_bootstrap_servers: str
    kafka_username: str
    kafka_password: SecretStr
    registry_url: str
    postgres_dsn: SecretStr
    redis_url: SecretStr
    lake_url: str | None = None
    dagster_url: str | None = None
    """Where people find Dagster's pages, for links."""
    api_url: str | None = None
    prometheus_url: str | None = None
    alertmanager_url: str | None = None
    alert_webhook_url: SecretStr | None = None
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"

    @property
    def lake(self) -> str:
        """A folder, or an object store's URL such as s3://bucket/prefix; its own login is in the AWS_… environment."""
        return self.lake_url or str(self.data_dir / "lake")

    @classmethod
    def for_role(cls, role: Role) -> "Settings":
        folder = data_dir()
        try:
            return cls(_env_file=folder / "credentials" / f"{role}.env", data_dir=folder)  # pyright: ignore[reportCallIssue]
        except ValidationError as e:
            names = ", ".join(f"{PREFIX}{str(error['loc'][0]).upper()}" for error in e.errors())
            raise UserError(
                f"settings for the role {role} are missing or wrong: {names}",
                "start the local stack with `streamgauge stack up`, or set them in the environment",
            ) from e
