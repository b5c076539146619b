"""Settings from the environment (`STREAMGAUGE_…`), then from the role's credentials file, then defaults.

A role is a set of logins with only the rights its processes need. The local stack writes a credentials file for
each; elsewhere the environment holds them.
"""

import os
from datetime import date
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from streamgauge.errors import UserError

PREFIX = "STREAMGAUGE_"
Role = Literal["admin", "producer", "worker", "batch", "api", "reader"]
ROLES: tuple[Role, ...] = ("admin", "producer", "worker", "batch", "api", "reader")
CHECKOUT = Path(__file__).resolve().parents[2]


CONTRACTS = CHECKOUT / "platform" / "contracts"
ACCESS_FILE = CHECKOUT / "platform" / "access.yaml"


KAFKA_PROPERTIES = ("sasl.", "enable.sasl.", "ssl.", "enable.ssl.", "socket.", "client.", "broker.address.")
"""What `kafka_properties` may set. The rest decides what is read, acknowledged and committed, and is not the user's."""
_WEB_ADDRESSES = (
    "dagster_url",
    "api_url",
    "prometheus_url",
    "alertmanager_url",
    "zipkin_url",
    "victoria_logs_url",
)
"""Of pages and programs that are asked over HTTP: an address that is none would be tried for ever, or end a process."""


class InvalidLogins(ValueError):
    """Settings that are needed together and aren't all there, name files that don't exist, or are no addresses."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names


class _Place(BaseSettings):
    """What is known of this instance without credentials, and needed before they can be found."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    instance: str = "demo"
    data_dir: Path | None = None
    base_port: int | None = None
    contracts_dir: Path = CONTRACTS
    access_file: Path = ACCESS_FILE
    lake_url: str | None = None
    batch_start: date = date(2026, 1, 1)
    runbooks_url: str | None = None
    source_url: str | None = None


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


def access_file() -> Path:
    return _Place().access_file


def lake_root() -> str:
    """As `Settings.lake`, without credentials."""
    return _Place().lake_url or str(data_dir() / "lake")


def batch_start() -> date:
    """The first day of which the batch layer keeps hours: events before it are never made into facts."""
    return _Place().batch_start


def source_url() -> str | None:
    """Where people find this code at the revision that runs, such as https://…/blob/main; None where nobody said."""
    return _Place().source_url


def runbooks_url(api_url: str | None) -> str:
    """The folder of the pages that alerts link to: somewhere else, or those that the API serves."""
    return _Place().runbooks_url or f"{(api_url or '').rstrip('/')}/docs/runbooks"


class LogSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = "text"


class Settings(LogSettings):
    instance: str = "demo"
    data_dir: Path
    contracts_dir: Path = CONTRACTS
    access_file: Path = ACCESS_FILE
    """Who may do what."""
    kafka_bootstrap_servers: str
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "SASL_PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER"] = "SCRAM-SHA-256"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Path | None = None
    """PEM; without it the system's authorities are trusted."""
    kafka_certificate_file: Path | None = None
    kafka_key_file: Path | None = None
    kafka_key_password: SecretStr | None = None
    kafka_properties: dict[str, str] = {}
    """More of librdkafka's `sasl.…`, `ssl.…`, `socket.…` and `client.…` settings, as JSON: what a mechanism or a
    network needs that has no setting of its own here."""
    registry_url: str
    registry_username: str | None = None
    registry_password: SecretStr | None = None
    registry_ca_file: Path | None = None
    registry_certificate_file: Path | None = None
    registry_key_file: Path | None = None
    postgres_dsn: SecretStr
    redis_url: SecretStr
    lake_url: str | None = None
    pseudonym_key: SecretStr | None = None
    """Any long random text, from which each stream's key follows by which its personal values become pseudonyms."""
    audit_key: SecretStr | None = None
    """Any long random text, from which the key follows that signs checkpoints of the audit log."""
    dagster_url: str | None = None
    """Where people find Dagster's pages, for links."""
    dagster_key: SecretStr | None = None
    """An API key for commands that ask Dagster, where it asks for one."""
    api_url: str | None = None
    api_anonymous: Literal["loopback", "off"] = "off"
    """Whether who asks from this machine needs no API key. A proxy on this machine asks for everybody, and need not say
    so: only the local stack, before which there is none, turns this on."""
    prometheus_url: str | None = None
    alertmanager_url: str | None = None
    zipkin_url: str | None = None
    """Where spans go unless OpenTelemetry's own settings name a collector, and where links to traces lead."""
    victoria_logs_url: SecretStr | None = None
    """Where log lines go beside stderr, and where links to them lead; with its login."""
    alert_webhook_url: SecretStr | None = None
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"

    @model_validator(mode="after")
    def _check_logins(self) -> Self:
        """Said here, as a broker or a registry would refuse the connection without saying why."""
        missing: list[str] = []
        with_password = self.kafka_sasl_mechanism == "PLAIN" or self.kafka_sasl_mechanism.startswith("SCRAM")
        if self.kafka_security_protocol.startswith("SASL") and with_password:
            missing += [n for n in ("kafka_username", "kafka_password") if getattr(self, n) is None]
        for certificate, key in (
            ("kafka_certificate_file", "kafka_key_file"),
            ("registry_certificate_file", "registry_key_file"),
            ("registry_username", "registry_password"),
        ):
            given = [n for n in (certificate, key) if getattr(self, n) is not None]
            missing += [n for n in (certificate, key) if len(given) == 1 and n not in given]
        files = [n for n, f in type(self).model_fields.items() if n.endswith("_file") and f.default is None]
        missing += [n for n in files if (path := getattr(self, n)) is not None and not path.is_file()]
        alien = [n for n in self.kafka_properties if not n.startswith(KAFKA_PROPERTIES)]
        wrong = [n for n in _WEB_ADDRESSES if not _is_web_address(getattr(self, n))]
        if missing or alien or wrong:
            raise InvalidLogins([*missing, *(["kafka_properties"] if alien else []), *wrong])
        return self

    @property
    def logs_url(self) -> str | None:
        """Of VictoriaLogs, with the login."""
        return None if self.victoria_logs_url is None else self.victoria_logs_url.get_secret_value()

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
            names = ", ".join(f"{PREFIX}{name.upper()}" for error in e.errors() for name in _names(error))
            raise UserError(
                f"settings for the role {role} are missing or wrong: {names}",
                "start the local stack with `streamgauge stack up`, or set them in the environment",
            ) from e


def _is_web_address(value: str | SecretStr | None) -> bool:
    if not value:
        return True
    try:
        parts = urlsplit(value if isinstance(value, str) else value.get_secret_value())
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _names(error: ErrorDetails) -> list[str]:
    cause = error.get("ctx", {}).get("error")
    return cause.names if isinstance(cause, InvalidLogins) else [str(error["loc"][0])]
